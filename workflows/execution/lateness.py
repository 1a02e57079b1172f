"""When a job is due, when that time does not count, and who is late.

The clock of a job stands still while it waits for nothing but third parties: for events, and for external tasks that
went to a queue. Whatever the office itself has to do, a department's answer, a retry, a timer, a child, lets it run. It
stops and goes on in the commits that make it so, as two more rows of their history; a job without a due time costs
nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from workflows.engine.durations import format_timestamp
from workflows.engine.exceptions import InvalidCalendar, NoWorkingTime
from workflows.engine.state import JobState, Waiting
from workflows.models import History, Job, JobStatus
from workflows.models.statements import HistoryRow

from .calendars import moved, working_calendar
from .exceptions import CalendarNotFound

if TYPE_CHECKING:
    from .commit import Step

logger = logging.getLogger(__name__)

BATCH = 500
PAUSED, RESUMED, BREACHED = "sla.paused", "sla.resumed", "sla.breached"


def due_after(step: Step) -> tuple[datetime | None, datetime | None]:
    """(`due_at`, `due_paused_at`) of the job once the step is written: time that a third party takes does not count."""
    job = step.job
    if job.due_at is None or stands_still(step.status, step.state) == (job.due_paused_at is not None):
        return job.due_at, job.due_paused_at
    if job.due_paused_at is None:
        return job.due_at, step.now
    return _later(job.due_at, job.due_paused_at, step.told_at or job.now, step.definition.sla_calendar), None


def rows_of(step: Step, due_at: datetime | None, paused_at: datetime | None) -> list[HistoryRow]:
    """What the history says about it: nothing, or that the clock stops, or that it goes on."""
    before = step.job.due_paused_at
    if (before is None) == (paused_at is None):
        return []
    if paused_at is not None:
        tasks = [waiting.task for waiting in step.state.waiting]
        return [HistoryRow(at=step.now, event=PAUSED, data={"tasks": tasks})]
    data = {} if due_at is None else {"due_at": format_timestamp(due_at)}
    if before is not None:
        data["since"] = format_timestamp(before)
    return [HistoryRow(at=step.now, event=RESUMED, data=data)]


def stands_still(status: str, state: JobState) -> bool:
    """Whether a job in this state waits for nothing but third parties."""
    if status != JobStatus.PEND:
        return False
    waiting = state.waiting
    return bool(waiting) and all(_third_party(each) for each in waiting)


def _third_party(waiting: Waiting) -> bool:
    return waiting.kind == "event" or (waiting.kind == "external" and waiting.department is None)


def _later(due_at: datetime, paused_at: datetime, until: datetime, calendar: str | None) -> datetime:
    """The due time moved on by the working time of the pause."""
    until = max(until, paused_at)
    try:
        passed = until - paused_at if calendar is None else working_calendar(calendar).working_time(paused_at, until)
        return moved(due_at, passed, calendar)
    except (CalendarNotFound, InvalidCalendar, NoWorkingTime) as error:
        # Of all that a commit must do, this is the least: it is not for a calendar to stop a job.
        logger.warning("A pause is counted around the clock: %s", error)
        return due_at + (until - paused_at)


class Lateness:
    """Reports jobs that are past their time, each once. It stops nothing."""

    name = "lateness"
    every_seconds = 60.0

    def run_once(self) -> dict[str, int]:
        """Report every late job; answer how many."""
        count = 0
        while found := self._report():
            count += found
            if found < BATCH:
                break
        return {"breached": count}

    def _report(self) -> int:
        late = Job.objects.filter(
            due_at__lt=Now(), due_breached_at__isnull=True, finished_at__isnull=True, due_paused_at__isnull=True
        )
        if not late.exists():
            return 0
        with transaction.atomic():
            jobs = list(late.select_for_update(skip_locked=True, of=("self",)).order_by("due_at")[:BATCH])
            now = timezone.now()
            Job.objects.filter(pk__in=[job.pk for job in jobs]).update(
                due_breached_at=now, history_count=F("history_count") + 1
            )
            History.objects.bulk_create(_breaches(jobs, now))
        return len(jobs)


def _breaches(jobs: Iterable[Job], now: datetime) -> Iterable[History]:
    for job in jobs:
        if job.due_at is not None:
            data = {"due_at": format_timestamp(job.due_at), "status": job.status}
            yield History(job=job, sequence=job.history_count + 1, at=now, event=BREACHED, data=data)
