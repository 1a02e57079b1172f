"""Working calendars: what counts as working time, and that counting there and back agrees."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.engine.calendar import WEEKDAYS, WorkingCalendar, calendar_faults
from workflows.engine.exceptions import InvalidCalendar, InvalidDuration, NoWorkingTime

BERLIN = ZoneInfo("Europe/Berlin")
OFFICE = {day: [["09:00", "12:00"], ["13:00", "17:00"]] for day in WEEKDAYS[:4]} | {"fri": [["09:00", "12:00"]]}
office = WorkingCalendar("Europe/Berlin", OFFICE, ["2026-12-25"])
always = WorkingCalendar("UTC", {day: [["00:00", "24:00"]] for day in WEEKDAYS})


def berlin(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold)


@pytest.mark.parametrize(
    ("start", "duration", "end"),
    [
        ("2026-11-16 10:00", "P1D", "2026-11-17 10:00"),
        ("2026-11-16 10:00", "P5D", "2026-11-23 10:00"),
        ("2026-11-16 10:00", "P1W", "2026-11-23 10:00"),
        ("2026-11-19 16:00", "P1D", "2026-11-20 12:00"),  # Friday ends at noon
        ("2026-11-16 20:00", "P1D", "2026-11-17 17:00"),  # after hours
        ("2026-11-16 06:00", "P1D", "2026-11-17 09:00"),  # before hours
        ("2026-11-21 11:00", "P1D", "2026-11-23 17:00"),  # Saturday counts as the end of Friday
        ("2026-12-23 10:00", "P2D", "2026-12-28 10:00"),  # a holiday and a weekend in between
        ("2026-11-16 10:00", "PT4H", "2026-11-16 15:00"),  # over lunch
        ("2026-11-16 16:00", "PT8H", "2026-11-17 17:00"),
        ("2026-11-16 16:00", "PT1H", "2026-11-16 17:00"),  # ends with the day, not at the beginning of the next
        ("2026-11-20 11:30", "PT1H", "2026-11-23 09:30"),
        ("2026-11-16 10:00", "P1DT2H", "2026-11-17 12:00"),
        ("2026-11-16 09:00", "PT24H", "2026-11-19 12:00"),  # 24 working hours, not a day
    ],
)
def test_days_are_working_days_and_hours_are_working_hours(start: str, duration: str, end: str) -> None:
    assert office.add(berlin(start), duration) == berlin(end)


def test_half_a_day_is_half_of_an_average_working_day() -> None:
    in_week, average = office.week
    assert (in_week, average) == (5, timedelta(hours=31) / 5)
    assert office.add(berlin("2026-11-16 09:00"), "P0.5D") == berlin("2026-11-16 12:06") + timedelta(hours=1)


def test_the_office_works_from_the_beginning_of_a_span_up_to_its_end() -> None:
    assert office.is_working(berlin("2026-11-16 09:00"))
    assert not office.is_working(berlin("2026-11-16 12:00"))
    assert not office.is_working(berlin("2026-12-25 09:30"))
    assert office.next_working(berlin("2026-11-16 12:30")) == berlin("2026-11-16 13:00")
    assert office.next_working(berlin("2026-12-24 18:00")) == berlin("2026-12-28 09:00")
    assert office.next_working(berlin("2026-11-16 10:00")) == berlin("2026-11-16 10:00")


def test_a_night_in_which_the_clocks_change_is_as_long_as_it_is() -> None:
    night = WorkingCalendar("Europe/Berlin", {"sun": [["00:00", "06:00"]]})
    spring, autumn = date(2026, 3, 29), date(2026, 10, 25)
    for day, hours in ((spring, 5), (autumn, 7), (date(2026, 11, 1), 6)):
        midnight = datetime(day.year, day.month, day.day, tzinfo=BERLIN)
        assert night.working_time(midnight, midnight + timedelta(days=1)) == timedelta(hours=hours)


def test_hours_that_the_clocks_skip_are_counted_once_and_hours_that_come_twice_are_both_counted() -> None:
    pieces = WorkingCalendar("Europe/Berlin", {"sun": [["01:00", "02:30"], ["03:00", "04:00"]]})
    spring = berlin("2026-03-29 00:00")
    # 02:30 is skipped: read as 03:30, so the spans meet and 01:00 to 04:00 are two hours of that night.
    assert pieces.working_time(spring, spring + timedelta(days=1)) == timedelta(hours=2)
    autumn = berlin("2026-10-25 00:00")
    assert pieces.working_time(autumn, autumn + timedelta(days=1)) == timedelta(hours=2, minutes=30)


def test_the_same_time_of_day_after_a_change_of_the_clocks_is_the_same_on_the_wall() -> None:
    assert office.add(berlin("2026-10-23 10:00"), "P1D") == berlin("2026-10-26 10:00")
    assert office.add(berlin("2026-03-27 10:00"), "P1D") == berlin("2026-03-30 10:00")


@pytest.mark.parametrize(
    ("time_zone", "hours", "holidays", "pointer", "code"),
    [
        ("Mars/Olympus", OFFICE, [], "/time_zone", "unknown_time_zone"),
        ("../../etc/passwd", OFFICE, [], "/time_zone", "unknown_time_zone"),
        ("Europe", OFFICE, [], "/time_zone", "unknown_time_zone"),
        (None, OFFICE, [], "/time_zone", "unknown_time_zone"),
        ("UTC", [], [], "/hours", "wrong_type"),
        ("UTC", {"monday": []}, [], "/hours/monday", "unknown_weekday"),
        ("UTC", {"mon": "09:00"}, [], "/hours/mon", "wrong_type"),
        ("UTC", {"mon": [["09:00"]]}, [], "/hours/mon/0", "invalid_span"),
        ("UTC", {"mon": [["09:00", "24:30"]]}, [], "/hours/mon/0", "invalid_span"),
        ("UTC", {"mon": [["9:00", "10:00"]]}, [], "/hours/mon/0", "invalid_span"),
        ("UTC", {"mon": [[9, 17]]}, [], "/hours/mon/0", "invalid_span"),
        ("UTC", {"mon": [["17:00", "09:00"]]}, [], "/hours/mon/0", "inverted_span"),
        ("UTC", {"mon": [["09:00", "09:00"]]}, [], "/hours/mon/0", "inverted_span"),
        ("UTC", {"mon": [["09:00", "12:00"], ["11:00", "17:00"]]}, [], "/hours/mon", "overlapping_spans"),
        ("UTC", {}, [], "/hours", "no_working_time"),
        ("UTC", {"mon": []}, [], "/hours", "no_working_time"),
        ("UTC", OFFICE, ["25.12.2026"], "/holidays/0", "invalid_date"),
        ("UTC", OFFICE, ["2026-02-30"], "/holidays/0", "invalid_date"),
        ("UTC", OFFICE, "2026-12-25", "/holidays", "wrong_type"),
    ],
)
def test_what_is_wrong_with_a_calendar_is_said_with_its_place(
    time_zone: Any, hours: Any, holidays: Any, pointer: str, code: str
) -> None:
    faults = calendar_faults(time_zone, hours, holidays)
    assert [(fault.pointer, fault.code) for fault in faults] == [(pointer, code)]
    error = NoWorkingTime if code == "no_working_time" else InvalidCalendar
    with pytest.raises(error, match=faults[0].detail[:10]):
        WorkingCalendar(time_zone, hours, holidays)


def test_a_calendar_whose_working_days_are_all_holidays_never_counts_for_ever() -> None:
    mondays = [(date(2026, 11, 16) + timedelta(weeks=week)).isoformat() for week in range(11 * 53)]
    closed = WorkingCalendar("UTC", {"mon": [["09:00", "17:00"]]}, mondays)
    start = datetime(2026, 11, 16, tzinfo=UTC)
    for ask in (
        lambda: closed.add(start, "PT1H"),
        lambda: closed.add(start, "P1D"),
        lambda: closed.next_working(start),
        lambda: closed.require_working_day(start.date()),
    ):
        with pytest.raises(NoWorkingTime, match="no working day in ten years"):
            ask()


def test_what_lies_further_than_a_hundred_years_is_refused_and_not_counted() -> None:
    start = datetime(2026, 11, 16, tzinfo=UTC)
    with pytest.raises(NoWorkingTime, match="hundred years"):
        WorkingCalendar("UTC", {"mon": [["09:00", "10:00"]]}).add(start, "PT876000H")
    with pytest.raises(NoWorkingTime, match="hundred years"):
        office.add(start, "P36525D")
    with pytest.raises(NoWorkingTime):
        office.add(datetime(9999, 12, 20, tzinfo=UTC), "P30D")
    with pytest.raises(InvalidDuration):
        office.add(start, "P1Y")


# ---- properties -----------------------------------------------------------------------------------------------------

few = settings(max_examples=60, deadline=None)
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))
LENGTHS = st.timedeltas(timedelta(0), timedelta(days=40))


@st.composite
def spans(draw: st.DrawFn) -> list[list[str]]:
    minutes = sorted(draw(st.lists(st.integers(0, 1440), max_size=6, unique=True)))
    ends = [f"{minute // 60:02}:{minute % 60:02}" for minute in minutes]
    return [list(pair) for pair in zip(ends[::2], ends[1::2], strict=False)]


@st.composite
def calendars(draw: st.DrawFn) -> WorkingCalendar:
    zone = draw(st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kolkata"]))
    hours = {day: draw(spans()) for day in WEEKDAYS}
    hours["wed"] = hours["wed"] or [["08:00", "16:00"]]
    holidays = draw(st.lists(st.dates(date(2025, 1, 1), date(2028, 12, 31)), max_size=5))
    return WorkingCalendar(zone, hours, [day.isoformat() for day in holidays])


@few
@given(calendars(), MOMENTS, LENGTHS)
def test_working_time_up_to_what_add_answers_is_what_was_added(
    calendar: WorkingCalendar, moment: datetime, length: timedelta
) -> None:
    assert calendar.working_time(moment, calendar.add(moment, length)) == length


@few
@given(calendars(), MOMENTS, MOMENTS, st.sampled_from(["P1D", "P4D", "PT90M", "P1DT1H", "P1W", "P0.5D"]))
def test_who_begins_later_is_never_due_earlier(
    calendar: WorkingCalendar, one: datetime, other: datetime, duration: str
) -> None:
    first, second = sorted((one, other))
    assert calendar.add(first, duration) <= calendar.add(second, duration)


@few
@given(calendars(), MOMENTS, MOMENTS, MOMENTS)
def test_working_time_adds_up(calendar: WorkingCalendar, one: datetime, two: datetime, three: datetime) -> None:
    assert calendar.working_time(one, three) == calendar.working_time(one, two) + calendar.working_time(two, three)


@few
@given(calendars(), MOMENTS)
def test_the_next_working_moment_is_a_working_one_and_none_lies_before_it(
    calendar: WorkingCalendar, moment: datetime
) -> None:
    following = calendar.next_working(moment)
    assert calendar.is_working(following)
    assert calendar.working_time(moment, following) == timedelta(0)


@few
@given(MOMENTS, LENGTHS)
def test_around_the_clock_working_time_is_time(moment: datetime, length: timedelta) -> None:
    assert always.add(moment, length) == moment + length
