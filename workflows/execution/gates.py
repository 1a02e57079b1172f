"""What may not run now though it could: suspended workflows, and limits that are used up.

A job that is stopped here is handed back with its `hold`, so that no claim finds it until the hold is lifted: it costs
nothing while it waits, whatever its number. Suspending costs nothing either: the jobs of a suspended workflow are held
when they are claimed, and not before.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime

from workflows.engine.definition import Definition, Task
from workflows.models import Suspension
from workflows.models.statements import ClaimedJob

from .definitions import get_definition
from .holds import hold_back, suspended_by
from .slots import give_back, take_places, take_step

EVERYTHING = Suspension.EVERYTHING
LOOK_SECONDS = 1.0

_looked_at: float | None = None
_drained = False


def may_claim() -> bool:
    """False while everything is suspended: then nothing is claimed, and no row is touched. Looked up once a second."""
    global _looked_at, _drained
    now = time.monotonic()
    if _looked_at is None or now - _looked_at >= LOOK_SECONDS:
        _drained = Suspension.objects.active().filter(workflow=EVERYTHING).exists()
        _looked_at = now
    return not _drained


def forget() -> None:
    """Look again at the next claim: this process has suspended or resumed something."""
    global _looked_at
    _looked_at = None


def admit(owner: str, jobs: Sequence[ClaimedJob]) -> list[ClaimedJob]:
    """Of the jobs just claimed, those that may be worked on. The others are handed back, held.

    Asked after the claim, so that whoever suspends and then sees no lease knows that none can follow.
    """
    return _within_limits(owner, _not_suspended(owner, jobs)) if jobs else []


def _not_suspended(owner: str, jobs: Sequence[ClaimedJob]) -> list[ClaimedJob]:
    names = {EVERYTHING, *(job.workflow for job in jobs)}
    suspended = set(Suspension.objects.active().filter(workflow__in=names).values_list("workflow", flat=True))
    if not suspended:
        return list(jobs)
    admitted: list[ClaimedJob] = []
    held: dict[str, list[ClaimedJob]] = {}
    for job in jobs:
        by = EVERYTHING if EVERYTHING in suspended else job.workflow
        if by in suspended:
            held.setdefault(by, []).append(job)
        else:
            admitted.append(job)
    for by, late in held.items():
        hold_back(owner, late, suspended_by(by))
    return admitted


def _within_limits(owner: str, jobs: Sequence[ClaimedJob]) -> list[ClaimedJob]:
    limited: dict[str, list[tuple[ClaimedJob, Definition]]] = {}
    for job in jobs:
        definition = _limited_definition(job)
        if definition is not None:
            limited.setdefault(job.workflow, []).append((job, definition))
    if not limited:
        return list(jobs)
    may = {job.id for workflow, mine in limited.items() for job in take_places(owner, workflow, mine)}
    asked = {job.id for mine in limited.values() for job, _ in mine}
    return [job for job in jobs if job.id not in asked or job.id in may]


def _limited_definition(job: ClaimedJob) -> Definition | None:
    """The definition, where it limits its jobs. A part of a job is not counted: the job is."""
    if job.fragment:
        return None
    try:
        definition = get_definition(job.workflow, job.version)
    except Exception:  # whatever is wrong with it, the executor says so
        return None
    return definition if definition.max_concurrency is not None or definition.rate_limit is not None else None


def enter_step(owner: str, job: ClaimedJob, task: Task, *, hold: bool, wake_at: datetime | None = None) -> bool:
    """Take a slot of the task's `resource`. False where none is free: then, with `hold`, the job was handed back. Its
    hold is lifted at `wake_at`, the earliest timer of the job, where it has one."""
    return task.resource is None or take_step(owner, job, task.name, task.resource, hold=hold, wake_at=wake_at)


def leave_steps(job_id: uuid.UUID, tasks: Collection[str]) -> None:
    """Give back the slots of steps that have ended, inside their commit; who waited for them goes on after it."""
    give_back(job_id, tasks)


def leave_job(job: ClaimedJob) -> None:
    """Give back the place of a job that has ended, or failed, among those of its workflow, inside that commit."""
    give_back(job.id, [""])
