"""How a door tells a job something: one fact is written, and whoever works on the job decides what it means."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone

from workflows.engine.codec import event_to_json
from workflows.engine.events import Event
from workflows.models import FINISHED, ArchivedJob, History, Job, JobStatus, Signal
from workflows.models.failpoints import failpoint

from .doorbell import ring
from .exceptions import JobArchived, JobFinished, JobNotFound
from .holds import after_fact
from .ranks import rank_at


def lock_job(job_id: uuid.UUID) -> Job:
    """The job, locked until the transaction ends. Every transaction that writes to a job and to what hangs on it locks
    the job first, so no two of them can wait for each other. JobNotFound where there is none, JobArchived (which is one
    too) where it is in the archive."""
    job: Job | None = Job.objects.select_for_update(of=("self",)).filter(pk=job_id).first()
    if job is None:
        archived = ArchivedJob.objects.defer("document").filter(pk=job_id).first()
        if archived is not None:
            raise JobArchived(archived)
        raise JobNotFound(f"There is no job {job_id}.")
    return job


def signal_job(
    job_id: uuid.UUID,
    event: Event,
    *,
    history_event: str,
    actor: str = "",
    task: str = "",
    iteration: int | None = None,
    data: dict[str, Any] | None = None,
) -> Job:
    """Write one fact for a job, inside the caller's transaction, and make the job ready for a worker.

    Locks the job's row. Raises JobFinished where the job has ended, JobNotFound where there is none. A job that a
    worker holds at this moment keeps its status: the worker cannot commit over a signal it has not seen.
    """
    job = lock_job(job_id)
    if job.status in FINISHED:
        raise JobFinished(job)
    before = job.status
    if job.status == JobStatus.PEND:
        job.make_ready()
        job.wake_at = None
        job.rank = rank_at(timezone.now(), job.priority)
    job.signals += 1
    if job.hold != after_fact(job.hold):
        job.hold, job.wake_at = after_fact(job.hold), None
    Signal.objects.create(job_id=job.pk, sequence=job.signals, event=event_to_json(event))
    _write_history(
        job,
        history_event,
        actor=actor,
        task=task,
        iteration=iteration,
        data=data,
        move=(before, job.status) if before != job.status else ("", ""),
    )
    Job.objects.filter(pk=job.pk).update(
        status=job.status,
        wake_at=job.wake_at,
        rank=job.rank,
        hold=job.hold,
        signals=job.signals,
        history_count=job.history_count,
    )
    transaction.on_commit(partial(ring, job.queue))
    failpoint("resume.before_commit")
    return job


def add_history(
    job_id: uuid.UUID,
    event: str,
    *,
    actor: str,
    task: str = "",
    iteration: int | None = None,
    data: dict[str, Any] | None = None,
) -> Job:
    """Keep for ever that something happened around a job (a claim, a comment), without moving it.

    Locks the job's row, inside the caller's transaction. JobNotFound where there is none.
    """
    job = lock_job(job_id)
    _write_history(job, event, actor=actor, task=task, iteration=iteration, data=data, move=("", ""))
    Job.objects.filter(pk=job.pk).update(history_count=job.history_count)
    return job


def _write_history(
    job: Job,
    event: str,
    *,
    actor: str,
    task: str,
    iteration: int | None,
    data: dict[str, Any] | None,
    move: tuple[str, str],
) -> None:
    job.history_count += 1
    History.objects.create(
        job_id=job.pk,
        sequence=job.history_count,
        at=timezone.now(),
        event=event,
        actor=actor,
        task=task,
        iteration=iteration,
        data=data or {},
        from_status=move[0],
        to_status=move[1],
    )
    failpoint("audit.appended")
