"""When something is due, in words: the bands of the list and the chip on each row, in the time zone of the office."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

MINUTE, HOUR, DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class Band:
    """One heading of the list."""

    name: str
    title: str


EXACT = Band("exact", "Exact match")
DECIDED = Band("decided", "Decided today")
LATE, TODAY, WEEK = Band("late", "Late"), Band("today", "Due today"), Band("week", "This week")
LATER, UNDATED = Band("later", "Later"), Band("none", "No date")


@dataclass(frozen=True, slots=True)
class Calendar:
    """The edges of the bands at one moment."""

    now: datetime
    tomorrow: datetime
    next_week: datetime

    @classmethod
    def at(cls, now: datetime) -> Calendar:
        """The edges as seen at `now`: midnight tonight, and midnight before next Monday."""
        midnight = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
        zone = timezone.get_current_timezone()

        def days_on(days: int) -> datetime:
            # By the calendar and not by 24 hours: a day on which the clock changes is shorter or longer.
            return (midnight.replace(tzinfo=None) + timedelta(days=days)).replace(tzinfo=zone)

        return cls(now, days_on(1), days_on(7 - midnight.weekday()))

    def band(self, due_at: datetime | None) -> Band:
        """The heading under which something due at `due_at` stands."""
        if due_at is None:
            return UNDATED
        for edge, band in ((self.now, LATE), (self.tomorrow, TODAY), (self.next_week, WEEK)):
            if due_at < edge:
                return band
        return LATER

    def edges(self) -> list[tuple[str, Q]]:
        """The same bands as conditions of a query."""
        return [
            (LATE.name, Q(due_at__lt=self.now)),
            (TODAY.name, Q(due_at__gte=self.now, due_at__lt=self.tomorrow)),
            (WEEK.name, Q(due_at__gte=self.tomorrow, due_at__lt=max(self.tomorrow, self.next_week))),
            (LATER.name, Q(due_at__gte=max(self.tomorrow, self.next_week))),
            (UNDATED.name, Q(due_at__isnull=True)),
        ]


@dataclass(frozen=True, slots=True)
class Due:
    """The due chip: `tone` is late, soon or plain; `text` is relative, `exact` the time with its zone."""

    tone: str
    text: str
    exact: str
    iso: str

    @property
    def icon(self) -> str:
        return {"late": "late", "soon": "soon"}.get(self.tone, "due")


def due_chip(due_at: datetime | None, created_at: datetime, now: datetime) -> Due | None:
    """The chip of something due at `due_at`, or None where there is no date.

    Due soon: an hour or less is left, or a fifth or less of the time there was.
    """
    if due_at is None:
        return None
    left = (due_at - now).total_seconds()
    if left < 0:
        return Due("late", f"{length(-left)} late", exactly(due_at), due_at.isoformat())
    allowance = max((due_at - created_at).total_seconds(), 0)
    tone = "soon" if left <= HOUR or left <= allowance / 5 else "plain"
    return Due(tone, f"in {length(left)}", exactly(due_at), due_at.isoformat())


def length(seconds: float) -> str:
    """A length of time in the one unit that matters: "25 min", "3 h", "2 days"."""
    if seconds < HOUR:
        return f"{max(1, int(seconds // MINUTE))} min"
    if seconds < 2 * DAY:
        return f"{int(seconds // HOUR)} h"
    return f"{int(seconds // DAY)} days"


def exactly(at: datetime) -> str:
    """A time with its zone, for titles and for print."""
    return timezone.localtime(at).strftime("%a %-d %b %Y, %H:%M %Z")


def shortly(at: datetime, now: datetime) -> str:
    """A time as said in a sentence: "10:41" today, else "3 Oct 10:41", with the year where it is another."""
    local, today = timezone.localtime(at), timezone.localtime(now)
    if local.date() == today.date():
        return local.strftime("%H:%M")
    return local.strftime("%-d %b %H:%M" if local.year == today.year else "%-d %b %Y %H:%M")
