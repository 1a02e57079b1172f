"""Working calendars: what is working time, and how durations are counted in it.

A calendar holds the working hours of a week in one time zone, and the days on which nobody works. Hours are wall-clock
times: where the clocks change during them, that day is longer or shorter, as it is for the people. A wall-clock time
that the clocks skip is read with the offset before the change, one that comes twice is the first (RFC 5545, 3.3.5).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

from .durations import parse_duration_parts
from .exceptions import InvalidCalendar, NoWorkingTime
from .faults import Fault

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_SPANS: Final = 12
MAX_HOLIDAYS: Final = 5_000
_GAP_DAYS: Final = 3_653
"""Ten years: where no working day comes for so long, none is expected any more."""
_HORIZON_DAYS: Final = 36_525
"""A hundred years: nothing is counted further, so that no duration costs more than that to count."""

_NO_HOUR: Final = "no_working_time"
_MIDNIGHT: Final = 24 * 60
Span = tuple[int, int]
"""Working hours of a day, as minutes after midnight: from, and up to."""


def zone_of(name: Any) -> ZoneInfo | None:
    """The time zone of an IANA name such as `Europe/Berlin`; None where there is none of that name."""
    if not isinstance(name, str) or not name or len(name) > 64:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not found, a path out of the folder, a folder
        return None


def calendar_faults(time_zone: Any, hours: Any, holidays: Any) -> list[Fault]:
    """Everything that is wrong with a calendar, each with its place below `/time_zone`, `/hours` or `/holidays`."""
    faults: list[Fault] = []
    if zone_of(time_zone) is None:
        detail = f"{str(time_zone)[:64]!r} is no time zone: write its IANA name, such as Europe/Berlin."
        faults.append(Fault("/time_zone", "unknown_time_zone", detail))
    _read_hours(hours, faults)
    _read_holidays(holidays, faults)
    return faults


class WorkingCalendar:
    """When an office works.

    `hours` maps `mon` to `sun` to spans such as `[["09:00", "12:00"], ["13:00", "17:00"]]`; a weekday that is left out
    is free, and `24:00` is the end of a day. `holidays` are dates such as `2026-12-25`. Raises InvalidCalendar with
    every fault, and NoWorkingTime for a week without a working hour.
    """

    def __init__(self, time_zone: str, hours: Mapping[str, Any], holidays: Collection[str] = ()) -> None:
        faults = calendar_faults(time_zone, hours, holidays)
        if [fault.code for fault in faults] == [_NO_HOUR]:
            raise NoWorkingTime(faults[0].detail)
        if faults:
            raise InvalidCalendar(faults)
        self.zone = ZoneInfo(time_zone)
        self._week = _read_hours(hours, [])
        self._holidays = _read_holidays(holidays, [])
        self._day_seconds = [sum(stop - start for start, stop in spans) * 60 for spans in self._week]
        self._spans_of = lru_cache(maxsize=4_096)(self._work_out)

    @property
    def week(self) -> tuple[int, timedelta]:
        """How many working days a week has, and how long one of them is on average."""
        days = sum(1 for seconds in self._day_seconds if seconds)
        return days, timedelta(seconds=sum(self._day_seconds)) / days

    def require_working_day(self, after: date) -> None:
        """Raise NoWorkingTime where no working day comes within ten years after a date."""
        self._working_day(after, 1)

    # ---- questions ----

    def is_working(self, moment: datetime) -> bool:
        """Whether the office works at a moment. The end of a span is outside it."""
        moment = moment.astimezone(UTC)
        return any(start <= moment < stop for start, stop in self._spans(self._date(moment)))

    def next_working(self, moment: datetime) -> datetime:
        """The moment itself where the office works then, else the beginning of the next span. Raises NoWorkingTime."""
        moment = moment.astimezone(UTC)
        for start, stop in self._spans_from(self._date(moment)):
            if stop > moment:
                return max(start, moment)
        raise AssertionError("unreachable")

    def add(self, moment: datetime, duration: timedelta | str) -> datetime:
        """The moment at which so much working time has passed, in UTC.

        A timedelta is working time. An ISO 8601 text says more: its hours, minutes and seconds are working time, and
        its days working days: the same time of day so many working days later, kept within that day's hours. A moment
        on a free day counts as the end of the working day before it. A week is as many working days as the calendar
        has in one; a part of a day is that part of an average one. Raises InvalidDuration, ValueError for a negative
        duration, and NoWorkingTime where that moment is not within a hundred years.
        """
        if isinstance(duration, str):
            weeks, days, clock = parse_duration_parts(duration)
            in_week, average = self.week
            whole, part = divmod(weeks * in_week + days, 1)
            return self.add(self.add_days(moment, int(whole)), clock + average * part)
        if duration < timedelta(0):
            raise ValueError("A duration that is counted in working time is not negative.")
        moment = moment.astimezone(UTC)
        if not duration:
            return moment
        for start, stop in self._spans_from(self._date(moment)):
            here = stop - max(start, moment)
            if here <= timedelta(0):
                continue
            if duration <= here:
                return max(start, moment) + duration
            duration -= here
        raise AssertionError("unreachable")

    def add_days(self, moment: datetime, days: int) -> datetime:
        """The same time of day so many working days later, kept within that day's hours; in UTC. See `add`."""
        moment = moment.astimezone(UTC)
        if days == 0:
            return moment
        local = moment.astimezone(self.zone)
        day = self._working_day(local.date(), days)
        spans = self._spans(day)
        if not self._spans(local.date()):
            return spans[-1][1]
        same_time = datetime.combine(day, local.time(), self.zone).astimezone(UTC)
        return min(max(same_time, spans[0][0]), spans[-1][1])

    def working_time(self, start: datetime, end: datetime) -> timedelta:
        """How much working time lies between two moments; negative where the end comes first.

        Counts a hundred years at most.
        """
        if end < start:
            return -self.working_time(end, start)
        start, end = start.astimezone(UTC), end.astimezone(UTC)
        total = timedelta(0)
        day, last = self._date(start), self._date(end)
        last = min(last, day + timedelta(days=_HORIZON_DAYS))
        while day <= last:
            for opens, closes in self._spans(day):
                total += max(min(closes, end) - max(opens, start), timedelta(0))
            day += timedelta(days=1)
        return total

    # ---- days ----

    def _date(self, moment: datetime) -> date:
        return moment.astimezone(self.zone).date()

    def _works_on(self, day: date) -> bool:
        return bool(self._day_seconds[day.weekday()]) and day not in self._holidays and bool(self._spans(day))

    def _working_day(self, day: date, count: int) -> date:
        """The `count`th working day after a date. Raises NoWorkingTime."""
        free = 0
        for _ in range(_HORIZON_DAYS):
            day = _next_day(day)
            if self._works_on(day):
                count, free = count - 1, 0
                if count == 0:
                    return day
            else:
                free += 1
                if free > _GAP_DAYS:
                    raise NoWorkingTime("The calendar has no working day in ten years: look at its holidays.")
        raise NoWorkingTime("So much working time does not come within a hundred years.")

    def _spans_from(self, day: date) -> Iterator[tuple[datetime, datetime]]:
        """The working spans of a day and of all later ones, in order. Raises NoWorkingTime at the end."""
        yield from self._spans(day)
        free = 0
        for _ in range(_HORIZON_DAYS):
            day = _next_day(day)
            spans = self._spans(day)
            yield from spans
            free = 0 if spans else free + 1
            if free > _GAP_DAYS:
                raise NoWorkingTime("The calendar has no working day in ten years: look at its holidays.")
        raise NoWorkingTime("So much working time does not come within a hundred years.")

    def _spans(self, day: date) -> Sequence[tuple[datetime, datetime]]:
        if not self._day_seconds[day.weekday()] or day in self._holidays:
            return ()
        return self._spans_of(day)

    def _work_out(self, day: date) -> Sequence[tuple[datetime, datetime]]:
        """The working spans of a working day, in UTC. What a change of the clocks makes overlap is counted once."""
        found: list[tuple[datetime, datetime]] = []
        for start, stop in self._week[day.weekday()]:
            opens, closes = self._at(day, start), self._at(day, stop)
            if found:
                opens = max(opens, found[-1][1])
            if opens < closes:
                found.append((opens, closes))
        return tuple(found)

    def _at(self, day: date, minute: int) -> datetime:
        if minute == _MIDNIGHT:
            day, minute = _next_day(day), 0
        return datetime.combine(day, time(minute // 60, minute % 60), self.zone).astimezone(UTC)


def _next_day(day: date) -> date:
    try:
        return day + timedelta(days=1)
    except OverflowError:
        raise NoWorkingTime("So much working time does not come before the year 10000.") from None


# ---- reading the parts ----------------------------------------------------------------------------------------------


def _read_hours(hours: Any, faults: list[Fault]) -> list[list[Span]]:
    """The spans of each weekday, Monday first. Adds to `faults` what is wrong."""
    week: list[list[Span]] = [[] for _ in WEEKDAYS]
    if not isinstance(hours, Mapping):
        faults.append(Fault("/hours", "wrong_type", 'This has to be an object, as in {"mon": [["09:00", "17:00"]]}.'))
        return week
    for name, spans in hours.items():
        where = f"/hours/{str(name)[:20]}"
        if name not in WEEKDAYS:
            faults.append(Fault(where, "unknown_weekday", f"The weekdays are {', '.join(WEEKDAYS)}."))
        elif not isinstance(spans, list | tuple) or len(spans) > MAX_SPANS:
            detail = f'This has to be a list of at most {MAX_SPANS} spans, as in [["09:00", "17:00"]].'
            faults.append(Fault(where, "wrong_type", detail))
        else:
            week[WEEKDAYS.index(name)] = _read_spans(spans, where, faults)
    if not faults and not any(week):
        faults.append(Fault("/hours", _NO_HOUR, "The calendar has no working hour: give a weekday its hours."))
    return week


def _read_spans(spans: Sequence[Any], where: str, faults: list[Fault]) -> list[Span]:
    found: list[Span] = []
    for index, span in enumerate(spans):
        ends = [_minute(end) for end in span] if isinstance(span, list | tuple) else []
        if len(ends) != 2 or ends[0] is None or ends[1] is None:
            detail = 'A span is two times, as in ["09:00", "12:30"]; the end of the day is 24:00.'
            faults.append(Fault(f"{where}/{index}", "invalid_span", detail))
        elif ends[0] >= ends[1]:
            detail = "The span ends before it begins; split what goes over midnight into two days."
            faults.append(Fault(f"{where}/{index}", "inverted_span", detail))
        else:
            found.append((ends[0], ends[1]))
    found.sort()
    if any(second[0] < first[1] for first, second in pairwise(found)):
        faults.append(Fault(where, "overlapping_spans", "Two spans of this day overlap; join them, or part them."))
    return found


def _minute(text: Any) -> int | None:
    """The minute of the day of a text such as 09:30; None where it is none."""
    if not isinstance(text, str) or len(text) != 5 or text[2] != ":":
        return None
    hour, minute = text[:2], text[3:]
    if not (text.isascii() and hour.isdigit() and minute.isdigit()) or int(minute) > 59:
        return None
    found = int(hour) * 60 + int(minute)
    return found if found <= _MIDNIGHT else None


def _read_holidays(holidays: Any, faults: list[Fault]) -> frozenset[date]:
    """The free days. Adds to `faults` what is wrong."""
    if not isinstance(holidays, list | tuple | set | frozenset) or len(holidays) > MAX_HOLIDAYS:
        detail = f'This has to be a list of at most {MAX_HOLIDAYS} dates, as in ["2026-12-25"].'
        faults.append(Fault("/holidays", "wrong_type", detail))
        return frozenset()
    found = set()
    for index, text in enumerate(holidays):
        try:
            if not isinstance(text, str) or len(text) != 10:
                raise ValueError(text)
            found.add(date.fromisoformat(text))
        except ValueError:
            detail = f"{str(text)[:20]!r} is no date: write it as in 2026-12-25."
            faults.append(Fault(f"/holidays/{index}", "invalid_date", detail))
    return frozenset(found)
