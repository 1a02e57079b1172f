"""Limits: who may run at once, how many may start in a time, and who goes on when somebody has ended.

Whoever takes a slot, and whoever lets the next one go on, holds the lock of the limit's row. So a job is either granted
a slot that was just given back, or it is held before the giver looks for who waits: none is forgotten between the two.
What a crash leaves behind, `Limits` finds.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from workflows.engine.definition import Definition
from workflows.engine.rates import Rate
from workflows.models import FINISHED, Job, JobStatus, Limit, Slot, Suspension
from workflows.models.statements import ClaimedJob

from .holds import RESOURCE, SUSPENDED, WORKFLOW, hold_back, holds, is_limit, lift

LIFT_AT_ONCE = 1000
ENDED = (*FINISHED, JobStatus.FAIL)
"""A job that stands so has given up its place among those of its workflow."""


def resource_code(name: str) -> str:
    """The code of a task's `resource`."""
    return f"{RESOURCE}{name}"


def workflow_code(name: str) -> str:
    """The code of a workflow's own limits."""
    return f"{WORKFLOW}{name}"


def values_of(definition: Definition) -> dict[str, int | None]:
    """What a definition says of its workflow's limits, as columns of the limit."""
    rate = definition.rate_limit
    return {
        "max_concurrency": definition.max_concurrency,
        "rate_limit": None if rate is None else rate[0],
        # A fraction of a second more is a promise kept.
        "rate_per": None if rate is None else max(1, -int(-rate[1].total_seconds() // 1)),
    }


def know_limits(definition: Definition) -> None:
    """Make the rows of what a published definition limits, so that operators see them before the first job does. What
    operators have set stays; the limits of the workflow itself are those of this version."""
    resources = {task.resource for task in definition.tasks.values() if task.resource is not None}
    resources |= {str(inner["resource"]) for inner in _inner_tasks(definition) if inner.get("resource")}
    rows = [Limit(code=resource_code(name)) for name in sorted(resources)]
    Limit.objects.bulk_create(rows, ignore_conflicts=True)
    values = values_of(definition)
    mine = Limit.objects.filter(code=workflow_code(definition.name))
    if not mine.update(**values) and any(value is not None for value in values.values()):
        Limit.objects.bulk_create([Limit(code=workflow_code(definition.name), **values)], ignore_conflicts=True)


def _inner_tasks(definition: Definition) -> Iterator[Mapping[str, Any]]:
    """The tasks that maps run, and those that maps inside of them run."""
    inner = [task.inner for task in definition.tasks.values()]
    while inner:
        task = inner.pop()
        if isinstance(task, Mapping):
            yield task
            inner.append(task.get("task"))


def locked_limit(code: str, values: Mapping[str, int | None] | None = None) -> Limit:
    """The limit, its row locked until the transaction ends. One that is not there yet is made, with these values or
    without any limit."""
    found = Limit.objects.select_for_update(of=("self",), no_key=True).filter(code=code)
    limit: Limit | None = found.first()
    if limit is None:
        Limit.objects.get_or_create(code=code, defaults=dict(values or {}))
        limit = found.get()
    return limit


def rate_of(limit: Limit) -> Rate | None:
    """The rate of a limit, where it has one."""
    if limit.rate_limit is None or limit.rate_per is None:
        return None
    return Rate(limit.rate_limit, limit.rate_per)


def unlimited(limit: Limit) -> bool:
    """Whether nothing is held back by it."""
    return limit.max_concurrency is None and limit.rate_limit is None


def clock() -> datetime:
    """The database's time at this moment, also where the statement before had to wait for a lock."""
    if connection.vendor != "postgresql":
        return timezone.now()  # one machine: its clock is the database's
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


# ---- taking ---------------------------------------------------------------------------------------------------------


def take_step(
    owner: str, job: ClaimedJob, task: str, resource: str, *, hold: bool, wake_at: datetime | None = None
) -> bool:
    """Take a slot of a resource, and one of the starts its rate allows, for a step of a leased job.

    False where there is none; with `hold` the job has then been handed back, until its timer `wake_at` at most. A slot
    that an earlier claim of the job left behind is taken over.
    """
    code = resource_code(resource)
    limit = Limit.objects.filter(code=code).first()
    if limit is not None and unlimited(limit):
        _remember(limit, job, task)
        return True
    with transaction.atomic():
        limit = locked_limit(code)
        if _has_room(limit, job.id, task) and _takes_start(limit):
            _remember(limit, job, task)
            return True
        Slot.objects.filter(limit=limit, job_id=job.id, task=task).delete()
        if hold:
            hold_back(owner, [job], code, wake_at=wake_at)
        return False


def _remember(limit: Limit, job: ClaimedJob, task: str) -> None:
    Slot.objects.update_or_create(
        limit=limit, job_id=job.id, task=task, defaults={"fence": job.fence, "taken_at": timezone.now()}
    )


def _has_room(limit: Limit, job_id: uuid.UUID, task: str) -> bool:
    if limit.max_concurrency is None:
        return True
    others = Slot.objects.filter(limit=limit).exclude(job_id=job_id, task=task)
    return others.count() < limit.max_concurrency


def _takes_start(limit: Limit) -> bool:
    """Use up one start of the limit's rate; False where it comes too early. The caller holds the limit's lock."""
    rate = rate_of(limit)
    if rate is None:
        return True
    due_at = rate.granted(limit.tokens_at, clock())
    if due_at is None:
        return False
    limit.tokens_at = due_at
    Limit.objects.filter(pk=limit.pk).update(tokens_at=due_at)
    return True


def take_places(owner: str, workflow: str, jobs: Sequence[tuple[ClaimedJob, Definition]]) -> list[ClaimedJob]:
    """Give leased jobs of one workflow their places among those that may run at once, in the order given.

    Answers the jobs that may be worked on: those that have a place, old or new. The others were handed back, held.
    """
    code = workflow_code(workflow)
    with transaction.atomic():
        limit = locked_limit(code, values_of(jobs[0][1]))
        places = Slot.objects.filter(limit=limit, task="")
        placed = set(places.filter(job_id__in=[job.id for job, _ in jobs]).values_list("job_id", flat=True))
        taken = places.count() if any(definition.max_concurrency for _, definition in jobs) else 0
        may, new, late = [], [], []
        for job, definition in jobs:
            if job.id in placed:
                may.append(job)
            elif _may_begin(limit, job, definition, taken):
                taken += 1
                may.append(job)
                new.append(job)
            else:
                late.append(job)
        Slot.objects.bulk_create(Slot(limit=limit, job_id=job.id, fence=job.fence) for job in new)
        hold_back(owner, late, code)
    return may


def _may_begin(limit: Limit, job: ClaimedJob, definition: Definition, taken: int) -> bool:
    """Whether a job without a place may have one. What its own version says counts: another may say otherwise."""
    if definition.max_concurrency is not None and taken >= definition.max_concurrency:
        return False
    own = values_of(definition)
    limit.rate_limit, limit.rate_per = own["rate_limit"], own["rate_per"]
    # One that has begun before, and was retried, does not start again.
    return job.status != JobStatus.NEW or _takes_start(limit)


# ---- giving back ----------------------------------------------------------------------------------------------------


def give_back(job_id: uuid.UUID, tasks: Collection[str]) -> None:
    """Delete the slots of these tasks of a job (`""` is the job's own place), in the caller's transaction. After it as
    many go on as were given back."""
    columns = ("pk", "limit__code", "limit__max_concurrency", "limit__rate_limit")
    slots = list(Slot.objects.filter(job_id=job_id, task__in=list(tasks)).values_list(*columns))
    if not slots:
        return
    Slot.objects.filter(pk__in=[slot[0] for slot in slots]).delete()
    codes = Counter(code for _, code, most, rate in slots if most is not None or rate is not None)
    for code, count in sorted(codes.items()):
        # Robust: the commit stands, whatever becomes of this; the service looks again. No partial: Django asks for the
        # name of what failed.
        transaction.on_commit(lambda code=code, count=count: go_on(code, count), robust=True)  # type: ignore[misc]


def go_on(code: str, most: int) -> int:
    """Let the next in rank of those that a limit holds go on, at most as many as there is room for now."""
    with transaction.atomic():
        limit = Limit.objects.select_for_update(of=("self",), no_key=True).filter(code=code).first()
        room = most if limit is None else min(most, _room(limit, most))
        return lift(code, room) if room > 0 else 0


def _room(limit: Limit, most: int) -> int:
    room = most
    if limit.max_concurrency is not None:
        room = min(room, limit.max_concurrency - Slot.objects.filter(limit=limit).count())
    rate = rate_of(limit)
    if rate is not None and room > 0:
        room = min(room, rate.available(limit.tokens_at, clock()))
    return room


class Limits:
    """Lets held jobs go on for whose reason nobody else looks: starts that a rate allows now, slots of workers that
    died, suspensions that are over, limits that were raised."""

    name = "limits"
    every_seconds = 1.0

    def run_once(self) -> dict[str, int]:
        """Free lost slots, and lift as many holds as there is room for; answer how many."""
        freed = free_lost_slots()
        lifted = 0
        for hold in holds():
            if is_limit(hold):
                lifted += go_on(hold, LIFT_AT_ONCE)
            elif hold != SUSPENDED and not self._is_suspended(hold):
                lifted += lift(hold, LIFT_AT_ONCE)
        return {"freed": freed, "lifted": lifted}

    @staticmethod
    def _is_suspended(hold: str) -> bool:
        workflow = hold.removeprefix(f"{SUSPENDED}:")
        return Suspension.objects.active().filter(workflow=workflow).exists()


def lost_slots() -> Q:
    """The slots whose holder is gone: a step whose claim is over, a job that has ended or waits for a person, and the
    place of a job that no number of places is counted for, once it has begun."""
    leased = Job.objects.filter(pk=OuterRef("job_id"), claimed_by__isnull=False, fence=OuterRef("fence"))
    step = ~Q(task="") & ~Q(Exists(leased))
    ended = Q(task="") & Q(Exists(Job.objects.filter(pk=OuterRef("job_id"), status__in=ENDED)))
    begun = Q(task="", limit__max_concurrency__isnull=True) & Q(
        Exists(Job.objects.filter(pk=OuterRef("job_id")).exclude(status=JobStatus.NEW))
    )
    return step | ended | begun


def free_lost_slots() -> int:
    """Delete the slots whose holder is gone; answer how many. A slot that was taken over meanwhile stays."""
    freed = 0
    for pk, fence in Slot.objects.filter(lost_slots()).values_list("pk", "fence")[:LIFT_AT_ONCE]:
        freed += Slot.objects.filter(pk=pk, fence=fence).delete()[0]
    return freed
