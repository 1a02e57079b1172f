"""The calendars a process counts on: read once a second at most, compiled again only where their row has changed."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from workflows.engine.calendar import WorkingCalendar
from workflows.engine.durations import parse_duration
from workflows.models import Calendar

from .exceptions import CalendarNotFound

FRESH_SECONDS = 1.0

_kept: dict[str, tuple[float, Calendar, WorkingCalendar]] = {}


def working_calendar(code: str) -> WorkingCalendar:
    """The calendar of a code, at most a second old.

    Raises CalendarNotFound where there is none, and NoWorkingTime or InvalidCalendar for a row that was written around
    the checks.
    """
    kept = _kept.get(code)
    if kept is not None and time.monotonic() - kept[0] < FRESH_SECONDS:
        return kept[2]
    row = Calendar.objects.filter(code=code).first()
    if row is None:
        _kept.pop(code, None)
        raise CalendarNotFound(f"There is no calendar {code!r}.")
    compiled = kept[2] if kept is not None and _facts(kept[1]) == _facts(row) else row.compiled()
    _kept[code] = (time.monotonic(), row, compiled)
    return compiled


def forget() -> None:
    """Read every calendar anew: for tests, whose databases come and go."""
    _kept.clear()


def moved(moment: datetime, duration: str | timedelta, calendar: str | None) -> datetime:
    """A moment moved on by a duration, counted on a calendar, or around the clock without one. Raises as
    `working_calendar` and `WorkingCalendar.add` do."""
    if calendar is not None:
        return working_calendar(calendar).add(moment, duration)
    return moment + (parse_duration(duration) if isinstance(duration, str) else duration)


def _facts(row: Calendar) -> tuple[str, object, object]:
    return row.time_zone, row.hours, row.holidays
