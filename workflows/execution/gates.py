"""What may not run now though it could: suspended workflows, and limits that are used up.

A job that is stopped here is handed back with its `hold`, so that no claim finds it until the hold is lifted: it costs
nothing while it waits, whatever its number.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence

from workflows.engine.definition import Task
from workflows.models.statements import ClaimedJob


def admit(owner: str, jobs: Sequence[ClaimedJob]) -> list[ClaimedJob]:
    """Of the jobs just claimed, those that may be worked on. The others are handed back, held."""
    return list(jobs)


def enter_step(owner: str, job: ClaimedJob, task: Task) -> bool:
    """Take a slot of the task's `resource`. False where none is free: then the job was handed back, held."""
    return True


def leave_steps(job_id: uuid.UUID, tasks: Collection[str]) -> None:
    """Give back the slots of steps that have ended, inside their commit; who waited for them goes on after it."""


def leave_job(job: ClaimedJob) -> None:
    """Give back the place of a job that has ended, or failed, among those of its workflow, inside that commit."""
