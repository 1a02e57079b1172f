"""Durations and timestamps: read exactly, or refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.engine.durations import format_duration, format_timestamp, parse_duration, parse_timestamp
from workflows.engine.exceptions import InvalidDuration, InvalidTimestamp


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("PT1S", timedelta(seconds=1)),
        ("P3D", timedelta(days=3)),
        ("P2W", timedelta(weeks=2)),
        ("P1DT2H3M4.5S", timedelta(days=1, hours=2, minutes=3, seconds=4.5)),
        ("PT0S", timedelta(0)),
        ("PT90M", timedelta(minutes=90)),
    ],
)
def test_a_duration_is_read(text: str, value: timedelta) -> None:
    assert parse_duration(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "P", "PT", "P1DT", "1D", "P1Y", "P1M", "-P1D", "PT1H30", "pt1s", "P1D ", "PT1S\n", "P\u0661D", "P999999999W"],
)
def test_what_is_no_duration_of_fixed_length_is_refused(text: str) -> None:
    with pytest.raises(InvalidDuration):
        parse_duration(text)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=9000)))
def test_a_duration_survives_its_text(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize(
    "text", ["2030-01-01", "2030-01-01T12:00:00", "tomorrow", "2030-13-01T00:00:00Z", "2030-01-01T25:00:00Z", "1"]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InvalidTimestamp):
        parse_timestamp(text)


def test_a_moment_is_kept_in_utc() -> None:
    assert parse_timestamp("2030-01-01T13:00:00+01:00") == datetime(2030, 1, 1, 12, tzinfo=UTC)
    assert format_timestamp(parse_timestamp("2030-01-01T13:00:00.25+01:00")) == "2030-01-01T12:00:00.250000Z"
