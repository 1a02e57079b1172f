"""ISO 8601 durations and RFC 3339 timestamps, as the definition writes them.

Years and months have no fixed length, so a duration of them is refused rather than guessed.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from .exceptions import InvalidDuration, InvalidTimestamp

_DURATION = re.compile(
    r"P(?!\Z)(?:(?P<weeks>\d{1,9}(?:\.\d{1,6})?)W)?(?:(?P<days>\d{1,9}(?:\.\d{1,6})?)D)?"
    r"(?:T(?!\Z)(?:(?P<hours>\d{1,9}(?:\.\d{1,6})?)H)?(?:(?P<minutes>\d{1,9}(?:\.\d{1,6})?)M)?"
    r"(?:(?P<seconds>\d{1,9}(?:\.\d{1,6})?)S)?)?",
    re.ASCII,
)
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_LONGEST = timedelta(days=36_525)


def parse_duration(text: str) -> timedelta:
    """Read `P3D`, `PT1M30S` or `P2W`.

    Raises InvalidDuration for anything else, for years and months, and for more than a hundred years.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidDuration(
            f"{text[:80]!r} is no duration: write weeks, days, hours, minutes or seconds, as in PT30M."
        )
    parts = {unit: float(amount) for unit, amount in match.groupdict().items() if amount is not None}
    try:
        duration = timedelta(**parts)
    except OverflowError:
        duration = timedelta.max
    if duration > _LONGEST:
        raise InvalidDuration(f"{text[:80]!r} is longer than a hundred years.")
    return duration


def parse_duration_parts(text: str) -> tuple[float, float, timedelta]:
    """The same text as (weeks, days, the rest), for calendars, where a day is not 24 hours. Raises InvalidDuration."""
    parse_duration(text)
    match = _DURATION.fullmatch(text)
    parts = {} if match is None else {unit: float(amount or 0) for unit, amount in match.groupdict().items()}
    weeks, days = parts.pop("weeks", 0.0), parts.pop("days", 0.0)
    return weeks, days, timedelta(**parts)


def format_duration(duration: timedelta) -> str:
    """The shortest ISO 8601 text in seconds, which reads back as the same duration."""
    micros = duration // timedelta(microseconds=1)
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    seconds, fraction = divmod(micros, 1_000_000)
    tail = f".{fraction:06d}".rstrip("0") if fraction else ""
    return f"{sign}PT{seconds}{tail}S"


def parse_timestamp(text: str) -> datetime:
    """Read an RFC 3339 timestamp as a datetime in UTC. Raises InvalidTimestamp where the offset is missing."""
    if _TIMESTAMP.fullmatch(text) is None:
        raise InvalidTimestamp(f"{text[:80]!r} is no timestamp: write it as in 2030-01-31T12:00:00Z.")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidTimestamp(f"{text[:80]!r} is no timestamp: {error}.") from None


def format_timestamp(moment: datetime) -> str:
    """The RFC 3339 text of an aware datetime, in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
