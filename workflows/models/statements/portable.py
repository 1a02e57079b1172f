"""The hot path through the ORM: for SQLite, and as the meaning that the PostgreSQL statements are tested against."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Case, F, Value, When
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from workflows.models.history import History
from workflows.models.jobs import CLAIMABLE, FINISHED, Job, JobData
from workflows.models.messages import Message, Signal
from workflows.models.task_runs import TaskRun

from .rows import Checkpoint, ClaimedJob


def claim(queue: str, owner: str, limit: int, lease_seconds: int) -> list[ClaimedJob]:
    """See the package. Candidates are read first, then each is taken only if nobody else has: a compare-and-set."""
    waiting = Job.objects.filter(queue=queue, status__in=CLAIMABLE, claimed_by__isnull=True, hold="", run_at__lte=Now())
    if not waiting.exists():  # an idle poll reads and takes no write lock
        return []
    claimed = []
    with transaction.atomic():
        for job in waiting.select_related("data").order_by("rank", "id")[:limit]:
            now = timezone.now()  # one machine: its clock is the database's
            taken = Job.objects.filter(
                pk=job.pk, fence=job.fence, claimed_by__isnull=True, status=job.status, hold=""
            ).update(
                claimed_by=owner,
                claimed_until=now + timedelta(seconds=lease_seconds),
                fence=F("fence") + 1,
                claims=F("claims") + 1,
                started_at=Coalesce("started_at", Value(now)),
            )
            if taken:  # zero rows: another worker was first, and has it
                job.fence, job.claims = job.fence + 1, job.claims + 1
                claimed.append(ClaimedJob.of(job, now))
    return claimed


def checkpoint(owner: str | None, batch: Sequence[Checkpoint]) -> set[uuid.UUID]:
    """See the package. Without an `owner` the caller holds the job's row lock instead of a lease, and the fence rises
    so that a worker that does hold one can write no more."""
    written: set[uuid.UUID] = set()
    with transaction.atomic():
        for step in batch:
            if _write_job(owner, step):
                _write_rows(step)
                written.add(step.job_id)
    return written


def _write_job(owner: str | None, step: Checkpoint) -> bool:
    guard: dict[str, Any] = {
        "pk": step.job_id,
        "fence": step.fence,
        "signals": step.signals,
        "status": step.from_status,
    }
    values: dict[str, Any] = {
        "status": step.to_status,
        "wake_at": step.wake_at,
        "claims": 0 if step.release else 1,
        "history_count": F("history_count") + len(step.history),
        "finished_at": step.at if step.to_status in FINISHED else None,
        "due_at": step.due_at,
        "due_paused_at": step.due_paused_at,
    }
    if owner is None:
        values["fence"] = F("fence") + 1
    else:
        guard["claimed_by"] = owner
    if step.release or owner is None:
        values.update(claimed_by=None, claimed_until=None)
    if step.to_status in FINISHED:
        values["hold"] = ""
    if step.outcome is not None:
        values["outcome"] = step.outcome
    return bool(Job.objects.filter(**guard).update(**values))


def _write_rows(step: Checkpoint) -> None:
    base = Job.objects.values_list("history_count", flat=True).get(pk=step.job_id) - len(step.history)
    JobData.objects.filter(pk=step.job_id).update(state=step.state, output=step.output, error=step.error)
    if step.signals and not step.keep_signals:
        Signal.objects.filter(job_id=step.job_id, sequence__lte=step.signals).delete()
    History.objects.bulk_create(
        History(
            job_id=step.job_id,
            sequence=base + place,
            at=row.at,
            event=row.event,
            task=row.task,
            iteration=row.iteration,
            actor=row.actor,
            from_status=row.from_status,
            to_status=row.to_status,
            data=row.data,
            decided=row.decided,
        )
        for place, row in enumerate(step.history, start=1)
    )
    for run in step.runs:
        _write_run(step.job_id, base, run)
    Message.objects.bulk_create(
        Message(
            id=message.id,
            job_id=step.job_id,
            sequence=base + message.place,
            type=message.type,
            task=message.task,
            iteration=message.iteration,
            destination=message.destination,
            data=message.data,
            created_at=message.created_at,
        )
        for message in step.messages
    )


def _write_run(job_id: uuid.UUID, base: int, run: Any) -> None:
    ended = {
        "status": run.status,
        "outcome": run.outcome,
        "output": run.output,
        "error": run.error,
        "cause": run.cause,
        "actor": run.actor,
        "sequence": base + run.place,
        "finished_at": run.finished_at,
    }
    key = {"job_id": job_id, "task": run.task, "iteration": run.iteration, "attempt": run.attempt}
    if not TaskRun.objects.filter(**key).update(**ended):
        TaskRun.objects.create(**key, **ended, input=run.input, department=run.department, started_at=run.started_at)


def extend(owner: str, lease_seconds: int) -> int:
    """See the package. A lease that has passed is not revived: somebody else may be about to take the job."""
    held = Job.objects.filter(claimed_by=owner, claimed_until__gte=Now())
    with transaction.atomic():
        if connection.features.has_select_for_update_skip_locked:
            # A job that is being written at this moment gets its time with the next beat. Waiting for it, in another
            # order than the checkpoint that writes it, could be a deadlock.
            free = held.select_for_update(skip_locked=True, of=("self",)).order_by().values_list("pk", flat=True)
            held = held.filter(pk__in=list(free))
        return int(held.update(claimed_until=Now() + timedelta(seconds=lease_seconds)))


def release(owner: str, job_ids: Iterable[uuid.UUID], *, begun: bool) -> int:
    """See the package."""
    fewer = F("claims") if begun else Case(When(claims__gt=0, then=F("claims") - 1), default=Value(0))
    held = Job.objects.filter(pk__in=list(job_ids), claimed_by=owner)
    return int(held.update(claimed_by=None, claimed_until=None, claims=fewer))
