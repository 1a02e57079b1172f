"""Jobs, task runs and definitions as the worker would have left them, for reports to read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from workflows.models import Definition, History, Job, JobData, JobStatus, TaskRun, TaskRunStatus

START = datetime(2026, 11, 21, 9, 30, 0, 250000, tzinfo=UTC)


def make_definition(name: str, version: int, titles: dict[str, str | None]) -> Definition:
    """A published definition whose tasks have these titles; None is a task without one."""
    tasks: dict[str, Any] = {
        task: {"type": "pass"} | ({} if title is None else {"title": title}) for task, title in titles.items()
    }
    document = {"name": name, "tasks": tasks, "transitions": []}
    return Definition.objects.create(name=name, version=version, document=document, digest="0" * 64)


def make_job(workflow: str = "claim", version: int = 1, **fields: Any) -> Job:
    """A job with its data; finished where its status says so."""
    error = fields.pop("error", None)
    fields.setdefault("created_at", START)
    if fields.get("status") in (JobStatus.DONE, JobStatus.CANC):
        fields.setdefault("finished_at", fields["created_at"] + timedelta(hours=36))
    job = Job.objects.create(workflow=workflow, version=version, **fields)
    JobData.objects.create(job=job, input={}, error=error)
    return job


def make_run(job: Job, task: str, sequence: int, **fields: Any) -> TaskRun:
    """A run of a task, done unless told otherwise."""
    fields.setdefault("status", TaskRunStatus.DONE)
    if fields["status"] != TaskRunStatus.WAITING:
        fields.setdefault("finished_at", START + timedelta(minutes=sequence))
    return TaskRun.objects.create(job=job, task=task, sequence=sequence, **fields)


def make_event(job: Job, sequence: int, event: str = "job.submitted", **fields: Any) -> History:
    """A row of the history, a minute after the one before."""
    fields.setdefault("at", START + timedelta(minutes=sequence))
    return History.objects.create(job=job, sequence=sequence, event=event, **fields)
