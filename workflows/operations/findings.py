"""How invariants are checked on a live database: what a check is, what it finds, and how all jobs are gone through.

Every question is one statement, so that it sees one moment, and none is part of a transaction that would keep old
versions of rows alive on a busy server. Questions about each job by itself are asked of a window of jobs after the
other, in the order of their ids. Between two statements the system moves: see `still_there`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.db.models import Q, QuerySet

from workflows.models import Job

COUNT_MOST = 10_000
"""Findings are counted up to so many."""
EXAMPLES = 10
WINDOW = 10_000
"""So many jobs are asked about in one statement."""
AT_ONCE = 500
"""So many ids go into one statement."""
LATE = timedelta(minutes=5)
"""What ought to happen within a second, and has not for so long, does not happen."""


@dataclass(frozen=True, slots=True)
class Window:
    """Some of the jobs: those after one id and up to another, either of them left out where there is no such end; or,
    where `ids` is given, just these."""

    after: uuid.UUID | None = None
    upto: uuid.UUID | None = None
    ids: tuple[uuid.UUID, ...] | None = None

    def of(self, column: str = "pk") -> Q:
        """The condition that a row belongs to one of these jobs; `column` holds the job's id."""
        if self.ids is not None:
            return Q(**{f"{column}__in": self.ids})
        condition = Q()
        if self.after is not None:
            condition &= Q(**{f"{column}__gt": self.after})
        if self.upto is not None:
            condition &= Q(**{f"{column}__lte": self.upto})
        return condition


EVERYTHING = Window()


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that must not be. `key` says which, so that a second look can tell whether it is still there: the id
    of the job for a check that goes by jobs. `check` names the check where one look serves several."""

    key: str
    words: str
    check: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found: up to 10,000 rows."""

    rows: tuple[Found, ...] = ()

    @property
    def count(self) -> int:
        """How many were found, counted up to 10,000."""
        return len(self.rows)

    @property
    def examples(self) -> tuple[str, ...]:
        """The first of them, in words."""
        return tuple(row.words for row in self.rows[:EXAMPLES])


Look = Callable[[Window], Iterable[Found]]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must never be: its name, what it means when it is, and how it is looked for.

    `by_job` is true where every job is asked about by itself: such a look is given a window of jobs at a time, and its
    findings have the id of a job as their key. All others look at everything at once, most by an index that holds
    little. A `deep` one reads much more than the tables, and is run on demand only.
    """

    name: str
    meaning: str
    look: Look = field(repr=False)
    by_job: bool = False
    deep: bool = False

    def find(self) -> Finding:
        """Run this check alone, over everything."""
        return examine([self])[self.name]


def told(found: QuerySet[Any], *columns: str, say: str) -> Iterator[Found]:
    """The rows of a query as findings, up to 10,000 of them, in one statement.

    The first of `columns` is the key; `say` is a format string over all of them, by number.
    """
    for row in found.order_by(*dict.fromkeys((columns[0], "pk"))).values_list(*columns)[:COUNT_MOST]:
        yield Found(str(row[0]), say.format(*row))


def examine(
    checks: Sequence[Check], *, since: datetime | None = None, progress: Callable[[str], None] = lambda text: None
) -> dict[str, Finding]:
    """Run checks, and answer by name what each has found.

    With `since`, those that go by jobs leave out the jobs that were born before it. `progress` is told now and then,
    in a few words, how far it is.
    """
    found: dict[str, list[Found]] = {check.name: [] for check in checks}
    for look, asked in _looks(check for check in checks if not check.by_job):
        progress(asked[0].name)
        _take(found, asked, look(EVERYTHING))
    by_job = _looks(check for check in checks if check.by_job)
    for number, window in enumerate(windows(since) if by_job else ()):
        progress(f"jobs from number {number * WINDOW + 1}")
        for look, asked in by_job:
            if any(len(found[check.name]) < COUNT_MOST for check in asked):
                _take(found, asked, look(window))
    return {name: Finding(tuple(rows)) for name, rows in found.items()}


def still_there(checks: Sequence[Check], before: Mapping[str, Finding], *, after_seconds: float) -> dict[str, Finding]:
    """Wait, look once more for what was found, and answer what has stayed.

    On a system that works, something can be found that is about to be put right. What is there at two looks, further
    apart than the slowest of the services needs, is a fault.
    """
    again = [check for check in checks if before[check.name].count]
    if again:
        time.sleep(after_seconds)
    found: dict[str, list[Found]] = {check.name: [] for check in checks}
    for look, asked in _looks(again):
        keys = {row.key for check in asked for row in before[check.name].rows}
        for window in _windows_of(keys) if asked[0].by_job else [EVERYTHING]:
            _take(found, asked, look(window))
    stayed = {}
    for name, rows in found.items():
        known = {row.key for row in before[name].rows}
        stayed[name] = Finding(tuple(row for row in rows if row.key in known))
    return stayed


def windows(since: datetime | None = None) -> Iterator[Window]:
    """All jobs, or those born at or after a moment, so many at a time. The windows lie side by side and the last one
    has no end, so every id lies in one of them, that of a job which is gone, too."""
    last = None if since is None else _first_id(since)
    while True:
        jobs = Job.objects.order_by("pk") if last is None else Job.objects.filter(pk__gt=last).order_by("pk")
        upto = next(iter(jobs.values_list("pk", flat=True)[WINDOW - 1 : WINDOW]), None)
        yield Window(last, upto)
        if upto is None:
            return
        last = upto


def portions(window: Window, jobs: QuerySet[Any], size: int) -> Iterator[list[dict[str, Any]]]:
    """The rows of `jobs` (a query of values with `pk`) that lie in a window, `size` of them at a time."""
    last: Any = None
    while True:
        rows = jobs.filter(window.of()).order_by("pk")
        portion = list((rows if last is None else rows.filter(pk__gt=last))[:size])
        if portion:
            yield portion
        if len(portion) < size:
            return
        last = portion[-1]["pk"]


def _first_id(moment: datetime) -> uuid.UUID:
    """What comes before every id that was made at the moment or later: a UUIDv7 begins with its milliseconds."""
    return uuid.UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def _windows_of(keys: Iterable[str]) -> Iterator[Window]:
    ids = sorted(uuid.UUID(key) for key in keys)
    for start in range(0, len(ids), AT_ONCE):
        yield Window(ids=tuple(ids[start : start + AT_ONCE]))


def _looks(checks: Iterable[Check]) -> list[tuple[Look, list[Check]]]:
    """Each look once, with the checks that it serves."""
    found: dict[Look, list[Check]] = {}
    for check in checks:
        found.setdefault(check.look, []).append(check)
    return list(found.items())


def _take(found: dict[str, list[Found]], asked: Sequence[Check], rows: Iterable[Found]) -> None:
    wanted = {check.name for check in asked}
    for row in islice(rows, len(wanted) * COUNT_MOST):
        name = row.check or asked[0].name
        if name in wanted and len(found[name]) < COUNT_MOST:
            found[name].append(row)
