"""No job can wait for nothing: what finds the jobs that would, whatever went wrong.

Each check reads the live database, set-wise, and changes nothing. What it says is true for one moment: a job that is
about to be woken can be among the found, so a finding counts when it stays.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from workflows.engine.exceptions import InvalidState
from workflows.engine.state import JobState
from workflows.execution.holds import RESOURCE, SUSPENDED, holds, is_limit
from workflows.execution.slots import lost_slots
from workflows.models import (
    CLAIMABLE,
    ChildGroup,
    EventWaiter,
    Job,
    JobStatus,
    Limit,
    Signal,
    Slot,
    Suspension,
)

from .findings import LATE, Check, Found, Window, told

logger = logging.getLogger(__name__)

EXAMINED_MOST = 50_000
"""So many parked jobs without an open request are looked at one by one; each is a state to read."""
PORTION = 500
FAR = timedelta(days=3660)
"""A time to run so far ahead is a mistake."""

_wake_ups: list[Callable[[], Exists]] = []


def register_wake_up(condition: Callable[[], Exists]) -> None:
    """Let a higher floor say which parked jobs it would wake: `condition()` is true of them, with OuterRef("pk")."""
    if condition not in _wake_ups:
        _wake_ups.append(condition)


# ---- the checks -----------------------------------------------------------------------------------------------------


def no_wake_up(window: Window) -> Iterator[Found]:
    """Parked jobs that nothing would ever wake: no request is open, no timer set, no event or child waited for, no
    fact unread, and no step waits for an answer."""
    for job in _without_rows():
        if not _awaits_answer(job):
            yield Found(str(job.pk), f"{job.workflow} {job.pk}")


def _without_rows() -> Iterator[Job]:
    """Parked jobs for which no row would come to wake them. A parked step has none; that only the state says."""
    wakes: list[Exists] = [
        Exists(EventWaiter.objects.filter(job=OuterRef("pk"), closed_at__isnull=True)),
        Exists(ChildGroup.objects.filter(job=OuterRef("pk"), closed_at__isnull=True)),
        Exists(Signal.objects.filter(job=OuterRef("pk"))),
        *(wake_up() for wake_up in _wake_ups),
    ]
    parked = Job.objects.filter(status=JobStatus.PEND, wake_at__isnull=True).select_related("data")
    found = parked.exclude(reduce(or_, (Q(wake) for wake in wakes)))
    examined = 0
    last: Any = None
    while examined < EXAMINED_MOST:
        portion = list((found if last is None else found.filter(pk__gt=last)).order_by("pk")[:PORTION])
        yield from portion
        examined += len(portion)
        if len(portion) < PORTION:
            return
        last = portion[-1].pk


def _awaits_answer(job: Job) -> bool:
    try:
        state = JobState.from_json(job.data.state or {}, job.data.input)
    except InvalidState:
        return False
    return any(each.kind == "plugin" for each in state.waiting)


def unread_facts(window: Window) -> Iterable[Found]:
    """Parked jobs that were told something and not made ready for it: nobody will read it."""
    unread = Exists(Signal.objects.filter(job=OuterRef("pk"), created_at__lt=timezone.now() - LATE))
    return told(Job.objects.filter(unread, status=JobStatus.PEND), "pk", "workflow", say="{1} {0}")


def late_timers(window: Window) -> Iterable[Found]:
    """Jobs whose timer is long past, parked or held for a limit: no worker's timers are running."""
    waits = Q(status=JobStatus.PEND) | Q(status=JobStatus.READY, hold__startswith=RESOURCE)
    late = Job.objects.filter(waits, wake_at__lt=timezone.now() - LATE)
    return told(late, "pk", "workflow", "wake_at", say="{1} {0}: due since {2:%Y-%m-%d %H:%M:%S %Z}")


def far_run_at(window: Window) -> Iterable[Found]:
    """Jobs that are to run in more than ten years."""
    far = Job.objects.filter(status__in=CLAIMABLE, run_at__gt=timezone.now() + FAR)
    return told(far, "pk", "workflow", "run_at", say="{1} {0}: to run at {2:%Y-%m-%d}")


def groundless_holds(window: Window) -> Iterable[Found]:
    """Jobs held for a suspension that is over, a limit that is not there, or a word that means nothing."""
    groundless = [hold for hold in holds() if not _stands(hold)]
    if not groundless:
        return ()
    return told(Job.objects.filter(hold__in=groundless), "pk", "workflow", "hold", say="{1} {0}: {2}")


def _stands(hold: str) -> bool:
    if hold == SUSPENDED:
        return True
    if is_limit(hold):
        return Limit.objects.filter(code=hold).exists()
    if not hold.startswith(f"{SUSPENDED}:"):
        return False
    return Suspension.objects.active().filter(workflow=hold.removeprefix(f"{SUSPENDED}:")).exists()


def lost_leases(window: Window) -> Iterable[Found]:
    """Jobs whose worker is long gone, and which nobody has handed back: no worker's rescuer is running."""
    return told(Job.objects.abandoned(timezone.now() - LATE), "pk", "workflow", say="{1} {0}")


def slots_of_nobody(window: Window) -> Iterable[Found]:
    """Slots of a limit whose holder is gone: what waits for them waits for nothing."""
    old = Slot.objects.filter(lost_slots(), taken_at__lt=timezone.now() - LATE)
    return told(old, "pk", "limit__code", "job_id", "task", say="{1}: {2} {3}")


CHECKS: Sequence[Check] = (
    Check("no_wake_up", "Parked jobs that nothing would ever wake.", no_wake_up),
    Check("unread_facts", "Parked jobs that were told something which nobody will read.", unread_facts),
    Check("late_timers", "Jobs whose timer is over five minutes past: are workers running?", late_timers),
    Check("lost_leases", "Jobs whose worker is gone for over five minutes: are workers running?", lost_leases),
    Check("far_run_at", "Jobs that are to run in more than ten years.", far_run_at),
    Check("groundless_holds", "Jobs held for a suspension or a limit that is not there.", groundless_holds),
    Check("slots_of_nobody", "Slots whose holder has been gone for over five minutes.", slots_of_nobody),
)
"""What the service looks for every five minutes: all of it by indexes that hold little."""


class Stranded:
    """Looks for jobs that wait for nothing, and says so in the log and, by its counts, in the metrics."""

    name = "stranded"
    every_seconds = 300.0

    def run_once(self) -> dict[str, int]:
        """Run every check; answer how many each found."""
        counts = {}
        for check in CHECKS:
            finding = check.find()
            counts[check.name] = finding.count
            if finding.count:
                examples = "; ".join(finding.examples)
                logger.error("%s: %d found. %s %s", check.name, finding.count, check.meaning, examples)
        return counts
