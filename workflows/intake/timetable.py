"""When a schedule is due: pure, from its cron line or its interval to moments.

A cron line is read in the schedule's time zone, as Debian's cron does it: a line that names its hour and minute comes
once a day on the days when the clocks change, too (a skipped time at the moment the clocks have moved on, a repeated
one the first time); a line with a star for its minute or hour goes by the clock on the wall, so it comes twice in a
repeated hour and not at all in a skipped one. An interval is real time, whatever the clocks do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from workflows.engine.calendar import zone_of
from workflows.engine.durations import format_duration, parse_duration
from workflows.engine.exceptions import InvalidDuration
from workflows.engine.faults import Fault

from .exceptions import InvalidTimetable

SHORTEST = timedelta(seconds=1)
FIVE_FIELDS = "five fields, minute hour day month weekday, as in 30 2 * * MON-FRI"


@dataclass(frozen=True, slots=True)
class Timetable:
    """The due times of one schedule. Exactly one of `cron` and `every` is set; `anchor` is where intervals begin."""

    zone: ZoneInfo
    anchor: datetime
    cron: str = ""
    every: timedelta | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    @classmethod
    def read(
        cls,
        *,
        cron: str,
        every: str,
        time_zone: str,
        created_at: datetime,
        starts_at: datetime | None = None,
        ends_at: datetime | None = None,
    ) -> Timetable:
        """From the columns of a schedule. Raises InvalidTimetable with every fault."""
        faults: list[Fault] = []
        zone = zone_of(time_zone)
        if zone is None:
            detail = f"{time_zone[:64]!r} is no time zone: write its IANA name, such as Europe/Berlin"
            faults.append(Fault("/time_zone", "unknown_time_zone", detail))
        if bool(cron) == bool(every):
            faults.append(Fault("", "cron_or_every", "needs either cron or every, and not both"))
        interval = _interval(every, faults) if every else None
        if cron:
            _check_cron(cron, faults)
        if starts_at is not None and ends_at is not None and ends_at <= starts_at:
            faults.append(Fault("/ends_at", "out_of_order", "must be later than starts_at"))
        if faults or zone is None:
            raise InvalidTimetable(faults)
        return cls(zone, starts_at or created_at, cron, interval, starts_at, ends_at)

    def after(self, moment: datetime) -> datetime | None:
        """The first due time later than a moment, in UTC; None where none comes any more."""
        return next(self.times(moment), None)

    def times(self, moment: datetime) -> Iterator[datetime]:
        """Every due time later than a moment, in order, in UTC."""
        moment = moment.astimezone(UTC)
        if self.starts_at is not None:
            # What begins at a time is due at that time, too.
            moment = max(moment, self.starts_at.astimezone(UTC) - timedelta(microseconds=1))
        for found in self._all(moment):
            if self.ends_at is not None and found > self.ends_at:
                return
            yield found

    def _all(self, moment: datetime) -> Iterator[datetime]:
        if self.every is not None:
            anchor = self.anchor.astimezone(UTC)
            first = 0 if self.starts_at is not None else 1
            number = max((moment - anchor) // self.every + 1, first)
            while True:
                try:
                    yield anchor + number * self.every
                except OverflowError:
                    return
                number += 1
        for found in CronSim(self.cron, moment.astimezone(self.zone)):
            due = found.astimezone(UTC)
            if due > moment:  # in a repeated hour the first of two equal times may lie behind
                moment = due
                yield due


def _interval(text: str, faults: list[Fault]) -> timedelta | None:
    try:
        interval = parse_duration(text)
    except InvalidDuration as error:
        faults.append(Fault("/every", "bad_duration", str(error)))
        return None
    if interval < SHORTEST:
        faults.append(Fault("/every", "too_short", f"must be {format_duration(SHORTEST)} or longer"))
    return interval


def _check_cron(cron: str, faults: list[Fault]) -> None:
    """Whether the line is one, and ever comes: looked at in UTC, for no zone keeps a date from coming."""
    if len(cron.split()) != 5:
        faults.append(Fault("/cron", "bad_cron", f"must have {FIVE_FIELDS}"))
        return
    try:
        comes = next(CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC)), None) is not None
    except CronSimError as error:
        if str(error) == "Bad day-of-month" and _is_read(cron):
            comes = False
        else:
            faults.append(Fault("/cron", "bad_cron", f"cannot be read ({str(error).lower()}): write {FIVE_FIELDS}"))
            return
    if not comes:
        faults.append(Fault("/cron", "never_fires", f"never comes: there is no such day as in {cron!r}"))


def _is_read(cron: str) -> bool:
    """Whether the line can be read in a month of 31 days, so that it is the month that lacks the day."""
    fields = cron.split()
    fields[3] = "1"
    try:
        CronSim(" ".join(fields), datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError:
        return False
    return True
