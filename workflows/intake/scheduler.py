"""The clock of the schedules: takes what is due, each due time once, whatever the number of workers and clusters.

A schedule is taken by moving its `next_at` on, in the transaction that starts its jobs and writes its runs: of any
number at once, one finds it as it was. The unique constraint on (schedule, due time) is the same promise once more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from workflows.engine.durations import parse_duration
from workflows.models import Backfill, Job, Schedule, ScheduleRun

from .schedules import RUNNING, due_between, running, start, timetable_of

logger = logging.getLogger(__name__)

SCHEDULES, BACKFILLS = 50, 20
AT_ONCE = 1_000
"""How many due times of one schedule are taken in one transaction."""

Result = ScheduleRun.Result
MADE_UP_FOR = (Result.MISSED, Result.SKIPPED, Result.REFUSED)
"""What a backfill starts though its due time was taken."""


class Scheduler:
    """Starts what is due, what waited for the one before, and what is made up for."""

    name = "scheduler"
    every_seconds = 1.0

    def run_once(self) -> dict[str, int]:
        """Take up to a portion of due schedules, waiting runs and backfills; answer how many jobs were started."""
        due = Schedule.objects.filter(paused=False, next_at__lte=Now()).order_by("next_at")
        started = _each(due.values_list("pk", flat=True)[:SCHEDULES], _take)
        waiting = ScheduleRun.objects.filter(result=Result.BUFFERED, schedule__paused=False)
        # In no order: what has to wait for long must not keep the others from being looked at.
        started += _each(waiting.order_by("?").values_list("schedule_id", flat=True)[:SCHEDULES], _start_buffered)
        backfills = Backfill.objects.filter(finished_at__isnull=True).order_by("?")
        return {"started": started + _each(backfills.values_list("pk", flat=True)[:BACKFILLS], _go_on)}


def _each(ids: Iterable[int], act: Any) -> int:
    """Do it for each by itself: what fails on one is logged and stops no other."""
    count = 0
    for pk in list(ids):
        try:
            with transaction.atomic():
                count += act(pk)
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            logger.exception("%s failed for %s", act.__name__, pk)
            if act is not _go_on:
                Schedule.objects.filter(pk=pk).update(error=f"{type(error).__name__}: {error}")
    return count


def _mine(schedules: Any, pk: int) -> Any:
    """The row, locked; None where somebody else has it now. SQLite has no row locks: there the writes compare."""
    return schedules.select_for_update(skip_locked=True, of=("self",)).filter(pk=pk).first()


# ---- what is due ----------------------------------------------------------------------------------------------------


def _take(schedule_id: int) -> int:
    """Take the due times of one schedule; answer how many jobs were started."""
    schedule: Schedule | None = _mine(Schedule.objects.filter(paused=False, next_at__lte=Now()), schedule_id)
    if schedule is None or schedule.next_at is None:
        return 0
    now = max(timezone.now(), schedule.next_at)
    timetable = timetable_of(schedule)
    due = [schedule.next_at]
    due += islice(due_between(timetable, _just_after(schedule.next_at), now), AT_ONCE - 1)
    moved = Schedule.objects.filter(pk=schedule.pk, next_at=schedule.next_at, paused=False)
    if not moved.update(next_at=timetable.after(due[-1])):
        return 0  # another worker moved it first, and starts these
    taken = set(ScheduleRun.objects.filter(schedule=schedule, due_at__in=due).values_list("due_at", flat=True))
    limit = now - parse_duration(schedule.catch_up)
    runs = [_run(schedule, at, Result.MISSED) for at in due if at < limit and at not in taken]
    wanted = [at for at in due if at >= limit and at not in taken]
    return _write(schedule, runs, wanted)


def _write(schedule: Schedule, runs: list[ScheduleRun], wanted: list[datetime]) -> int:
    """Start of the wanted due times those that the schedule's overlap allows, and write what became of each."""
    free = wanted
    if schedule.overlap != Schedule.Overlap.ALLOW and wanted:
        free = [] if running(schedule) else wanted[:1]
        late = wanted[len(free) :]
        if late and schedule.overlap == Schedule.Overlap.BUFFER_ONE and not _has_buffered(schedule):
            runs.append(_run(schedule, late.pop(0), Result.BUFFERED))
        runs += [_run(schedule, at, Result.SKIPPED) for at in late]
    count = 0
    for at, job, error in start(schedule, free) if free else []:
        runs.append(_run(schedule, at, Result.STARTED if job else Result.REFUSED, job=job, error=error))
        count += 1 if job else 0
    ScheduleRun.objects.bulk_create(runs)
    if free:
        _tell(schedule, next((run.error for run in reversed(runs) if run.error), ""))
    return count


def _tell(schedule: Schedule, error: str) -> None:
    """Keep why the last start was refused; nothing where it was not."""
    if error != schedule.error:
        Schedule.objects.filter(pk=schedule.pk).update(error=error)


def _has_buffered(schedule: Schedule) -> bool:
    return ScheduleRun.objects.filter(schedule=schedule, result=Result.BUFFERED).exists()


def _run(schedule: Schedule, at: datetime, result: str, **facts: Any) -> ScheduleRun:
    return ScheduleRun(schedule=schedule, due_at=at, result=result, **facts)


def _just_after(moment: datetime) -> datetime:
    return moment + datetime.resolution


# ---- what waited for the one before ---------------------------------------------------------------------------------


def _start_buffered(schedule_id: int) -> int:
    """Start the run that waits, once the one before has ended."""
    schedule: Schedule | None = _mine(Schedule.objects.filter(paused=False), schedule_id)
    if schedule is None or running(schedule):
        return 0
    run = ScheduleRun.objects.filter(schedule=schedule, result=Result.BUFFERED).first()
    if run is None:
        return 0
    [(_, job, error)] = start(schedule, [run.due_at])
    _settle(run, Result.BUFFERED, job, error)
    _tell(schedule, error)
    return 1 if job else 0


def _settle(run: ScheduleRun, before: str, job: Job | None, error: str, backfill: Backfill | None = None) -> None:
    """Write what became of a run that was there already. Raises where somebody else was first: their job stands, and
    this one is rolled back."""
    changed = ScheduleRun.objects.filter(pk=run.pk, result=before).update(
        result=Result.STARTED if job else Result.REFUSED, job=job, error=error, at=timezone.now(), backfill=backfill
    )
    if not changed:
        raise _TakenMeanwhile(f"{run} was taken by another worker.")


class _TakenMeanwhile(Exception):
    """Rolls the transaction back."""


# ---- what is made up for --------------------------------------------------------------------------------------------


def _go_on(backfill_id: int) -> int:
    """Start as many due times of a backfill as may run at once; it is finished when all have ended."""
    backfill: Backfill | None = _mine(
        Backfill.objects.filter(finished_at__isnull=True).select_related("schedule"), backfill_id
    )
    if backfill is None:
        return 0
    busy = Job.objects.filter(schedule_runs__backfill=backfill, status__in=RUNNING).count()
    if backfill.next_at is None:
        if not busy:
            Backfill.objects.filter(pk=backfill.pk).update(finished_at=timezone.now())
        return 0
    room = min(backfill.max_concurrency - busy, AT_ONCE)
    if room <= 0:
        return 0
    timetable = timetable_of(backfill.schedule)
    found = list(islice(due_between(timetable, backfill.next_at, backfill.to_at), AT_ONCE))
    runs = ScheduleRun.objects.filter(schedule=backfill.schedule, due_at__in=found)
    known = {run.due_at: run for run in runs}
    wanted = [at for at in found if at not in known or known[at].result in MADE_UP_FOR][:room]
    # All that lies before the first one left out has been looked at.
    last = wanted[-1] if len(wanted) == room else (found[-1] if found else backfill.to_at)
    following = next(due_between(timetable, _just_after(last), backfill.to_at), None)
    same = Backfill.objects.filter(pk=backfill.pk, next_at=backfill.next_at, finished_at__isnull=True)
    if not same.update(next_at=following, started=backfill.started + len(wanted)):
        return 0
    return _make_up(backfill, wanted, known)


def _make_up(backfill: Backfill, wanted: list[datetime], known: dict[datetime, ScheduleRun]) -> int:
    schedule, runs, count = backfill.schedule, [], 0
    for at, job, error in start(schedule, wanted) if wanted else []:
        count += 1 if job else 0
        if at in known:
            _settle(known[at], known[at].result, job, error, backfill)
        else:
            result = Result.STARTED if job else Result.REFUSED
            runs.append(_run(schedule, at, result, job=job, error=error, backfill=backfill))
    ScheduleRun.objects.bulk_create(runs)
    return count
