"""When a schedule is due: cron lines in their zone, intervals, and the days on which the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.intake.exceptions import InvalidTimetable
from workflows.intake.timetable import Timetable

BERLIN = ZoneInfo("Europe/Berlin")
CREATED = datetime(2026, 1, 1, 8, 30, tzinfo=UTC)


def table(**fields: Any) -> Timetable:
    return Timetable.read(**{"cron": "", "every": "", "time_zone": "Europe/Berlin", "created_at": CREATED, **fields})


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


def due(timetable: Timetable, after: datetime, count: int) -> list[str]:
    return [f"{moment.astimezone(BERLIN):%m-%d %H:%M %Z}" for moment in islice(timetable.times(after), count)]


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("30 2 * * *", "2026-07-01 02:30", ["07-02 02:30 CEST", "07-03 02:30 CEST"]),
        ("0 9 * * MON-FRI", "2026-07-03 10:00", ["07-06 09:00 CEST", "07-07 09:00 CEST"]),
        ("0 9 L * *", "2026-07-01 00:00", ["07-31 09:00 CEST", "08-31 09:00 CEST"]),
        # The clocks go on at 02:00: the skipped time comes when they have.
        ("30 2 * * *", "2026-03-28 12:00", ["03-29 03:00 CEST", "03-30 02:30 CEST"]),
        # The clocks go back at 03:00: the repeated time comes once.
        ("30 2 * * *", "2026-10-24 12:00", ["10-25 02:30 CEST", "10-26 02:30 CET"]),
        # Every half hour is every half hour of the wall: twice in the repeated hour, not at all in the skipped one.
        ("*/30 * * * *", "2026-10-25 01:45", ["10-25 02:00 CEST", "10-25 02:30 CEST", "10-25 02:00 CET"]),
        ("*/30 * * * *", "2026-03-29 01:15", ["03-29 01:30 CET", "03-29 03:00 CEST", "03-29 03:30 CEST"]),
    ],
)
def test_a_cron_line_goes_by_the_clocks_of_its_zone(cron: str, after: str, expected: list[str]) -> None:
    assert due(table(cron=cron), local(after), len(expected)) == expected


def test_a_time_that_comes_twice_is_not_due_again_the_second_time() -> None:
    between = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)  # 02:15, for the second time
    assert due(table(cron="30 2 * * *"), between, 1) == ["10-26 02:30 CET"]


def test_an_interval_is_real_time_from_its_anchor() -> None:
    hourly = table(every="PT6H")
    assert hourly.after(CREATED) == CREATED + timedelta(hours=6), "the first is due one interval after it was made"
    assert hourly.after(CREATED + timedelta(hours=13)) == CREATED + timedelta(hours=18)
    start = datetime(2026, 3, 28, 12, tzinfo=UTC)
    daily = table(every="P1D", starts_at=start)
    assert list(islice(daily.times(CREATED), 3)) == [start + timedelta(days=number) for number in range(3)]


def test_nothing_is_due_before_it_starts_or_after_it_ends() -> None:
    start, end = local("2026-07-10 00:00"), local("2026-07-12 09:00")
    bounded = table(cron="0 9 * * *", starts_at=start, ends_at=end)
    assert due(bounded, CREATED, 9) == ["07-10 09:00 CEST", "07-11 09:00 CEST", "07-12 09:00 CEST"]
    assert bounded.after(end) is None


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"cron": "0 0 31 2 *"}, "/cron", "never_fires"),
        ({"cron": "0 0 31 4,6 *"}, "/cron", "never_fires"),
        ({"cron": "99 * * * *"}, "/cron", "bad_cron"),
        ({"cron": "0 0 32 1 *"}, "/cron", "bad_cron"),
        ({"cron": "* * * * * *"}, "/cron", "bad_cron"),
        ({"cron": "@daily"}, "/cron", "bad_cron"),
        ({"cron": "at noon on every friday"}, "/cron", "bad_cron"),
        ({"every": "PT0S"}, "/every", "too_short"),
        ({"every": "PT0.5S"}, "/every", "too_short"),
        ({"every": "P1M"}, "/every", "bad_duration"),
        ({"every": "an hour"}, "/every", "bad_duration"),
        ({"every": "PT1H", "cron": "0 0 * * *"}, "", "cron_or_every"),
        ({}, "", "cron_or_every"),
        ({"every": "PT1H", "time_zone": "Europe/Nowhere"}, "/time_zone", "unknown_time_zone"),
        ({"every": "PT1H", "starts_at": CREATED, "ends_at": CREATED}, "/ends_at", "out_of_order"),
    ],
)
def test_times_that_never_come_or_cannot_be_read_are_refused(fields: dict[str, Any], pointer: str, code: str) -> None:
    with pytest.raises(InvalidTimetable) as refused:
        table(**fields)
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [(pointer, code)]


def test_the_29th_of_february_comes() -> None:
    assert due(table(cron="0 0 29 2 *"), CREATED, 1) == ["02-29 00:00 CET"]


LINES = ["*/7 * * * *", "30 2 * * *", "0 */3 * * *", "15 1-3 * * SUN", "59 23 28-31 * *", "0 2,3 * 3,10 *"]


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(LINES),
    st.sampled_from(["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "UTC"]),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),
)
def test_going_from_one_due_time_to_the_next_misses_none_and_repeats_none(
    cron: str, zone: str, moment: datetime
) -> None:
    timetable = table(cron=cron, time_zone=zone)
    listed = list(islice(timetable.times(moment), 6))
    assert all(one < other for one, other in zip([moment, *listed], listed, strict=False))
    walked = [moment]
    for _ in listed:
        walked.append(timetable.after(walked[-1]))  # type: ignore[arg-type]
    assert walked[1:] == listed
