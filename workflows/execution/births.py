"""Writing new jobs: the rows that every job begins with, whoever asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db import models, transaction
from django.db.models import Value

from workflows.models import History, Job, JobData, JobStatus

from . import doorbell


def write_jobs(jobs: Sequence[tuple[Job, Any]], *, actor: str = "") -> None:
    """Write unsaved jobs, each with its input and the first row of its history, in the caller's transaction, and wake
    workers after it. The number of statements does not grow with the number of jobs."""
    for job, _ in jobs:
        job.history_count = 1
    Job.objects.bulk_create([job for job, _ in jobs])
    JobData.objects.bulk_create([_data(job, given) for job, given in jobs])
    History.objects.bulk_create([_born(job, actor) for job, _ in jobs])
    for queue in sorted({job.queue for job, _ in jobs}):
        transaction.on_commit(partial(doorbell.ring, queue))


def _data(job: Job, given: Any) -> JobData:
    # A bare None would be SQL's NULL; the input may be JSON's null.
    return JobData(job=job, input=Value(None, models.JSONField()) if given is None else given)


def _born(job: Job, actor: str) -> History:
    data: dict[str, Any] = {"workflow": job.workflow, "version": job.version, "priority": job.priority}
    if job.parent_id is not None:
        data |= {"parent": str(job.parent_id), "index": job.item_index}
    return History(
        job=job, sequence=1, at=job.created_at, event="job.submitted", actor=actor, to_status=JobStatus.NEW, data=data
    )
