"""Dead letters: a row for every time that a job fails, written in the commit that fails it, and what became of it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from workflows.engine import events
from workflows.engine.causes import fingerprint, message_of
from workflows.engine.contract import Json
from workflows.models import DeadLetter

if TYPE_CHECKING:
    from .commit import Step

Resolution = DeadLetter.Resolution
_RESOLVED_BY: Mapping[type, Resolution] = {
    events.RetryRequested: Resolution.RETRIED,
    events.SkipRequested: Resolution.SKIPPED,
    events.RestartRequested: Resolution.RESTARTED,
    events.CancelRequested: Resolution.CANCELLED,
}


def bury(step: Step) -> None:
    """Write the dead letter of a step whose job fails, inside its commit."""
    error: Mapping[str, Json] = step.state.error or {}
    task = error.get("task") or ""
    plugin = ""
    if task:
        spec = step.definition.task(task)
        plugin = spec.plugin or spec.type
    job = step.job
    write_letter(job.id, job.workflow, job.version, error, task=task, plugin=plugin, at=step.now)


def write_letter(
    job_id: uuid.UUID,
    workflow: str,
    version: int,
    error: Mapping[str, Json],
    *,
    at: datetime,
    task: str = "",
    plugin: str = "",
) -> None:
    """Write the dead letter of a job that fails at `at`. `error` has a `name` and a `cause`; a failure of the job as
    a whole has no `task`, and no `plugin`."""
    name = str(error.get("name") or "Unexpected")[:200]
    cause = str(error.get("cause") or "")
    message = message_of(cause)
    DeadLetter.objects.create(
        job_id=job_id,
        workflow=workflow,
        version=version,
        task=task,
        plugin=plugin,
        error=name,
        cause=cause,
        message=message,
        fingerprint=fingerprint(plugin, name, message),
        failed_at=at,
    )


def resolve(job_id: uuid.UUID, *, resolution: str, actor: str, at: datetime) -> None:
    """Note what became of the open dead letter of a job, inside the transaction that takes the job out of FAIL."""
    letters = DeadLetter.objects.filter(job_id=job_id, resolved_at__isnull=True)
    letters.update(resolved_at=at, resolution=resolution, resolved_by=actor[:150])


def resolve_by(step: Step) -> None:
    """Note that a step takes its job out of FAIL. Which repair it was, the last event of it says; a step that was
    decided by none of them moved the job to another version."""
    last = type(step.decided[-1][2]) if step.decided else None
    resolution = _RESOLVED_BY.get(last, Resolution.MIGRATED) if last else Resolution.MIGRATED
    resolve(step.job.id, resolution=resolution, actor=step.actor, at=step.now)
