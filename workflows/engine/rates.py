"""How many may start in a time: the generic cell rate algorithm.

ITU-T Recommendation I.371 (annex A), in its form of virtual scheduling: one moment is kept, at which the next start is
due if they come as evenly as allowed. A start is granted up to a tolerance before it.

The tolerance lets starts that were held back together come in small bursts, since they are let go once a second. The
interval is longer by so much that the promise holds for every window: never more than `limit` starts in `per` seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

BURST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` starts in any `per` seconds, both at least 1."""

    limit: int
    per: float

    @property
    def tolerance(self) -> timedelta:
        """How early a start may be."""
        return timedelta(seconds=min(BURST_SECONDS, self.per) * (self.limit - 1) / self.limit)

    @property
    def interval(self) -> timedelta:
        """How far apart starts are in the long run. Rounded up: a microsecond too little would break the promise."""
        seconds = (self.per + self.tolerance.total_seconds()) / self.limit
        return timedelta(seconds=seconds) + timedelta(microseconds=1)

    def granted(self, due_at: datetime | None, now: datetime) -> datetime | None:
        """Ask for one start at `now`. `due_at` is what the last grant answered (None: there was none).

        Answers when the next one is due, to be kept; None where this one comes too early.
        """
        if due_at is None:
            return now + self.interval
        return None if now < due_at - self.tolerance else max(now, due_at) + self.interval

    def available(self, due_at: datetime | None, now: datetime) -> int:
        """How many starts would be granted at `now`, one after the other."""
        ahead = timedelta(0) if due_at is None else max(due_at - now, timedelta(0))
        if ahead > self.tolerance:
            return 0
        return int((self.tolerance - ahead) / self.interval) + 1
