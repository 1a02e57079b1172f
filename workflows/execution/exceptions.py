"""What can go wrong while jobs are executed. The docstring is the message."""

from __future__ import annotations

from typing import Any


class ExecutionError(Exception):
    """Base of the errors of this floor."""


class LeaseLost(ExecutionError):
    """The lease of the job has passed to another worker; nothing more may be written for it."""


class DefinitionNotFound(ExecutionError):
    """There is no such version of this workflow."""


class CalendarNotFound(ExecutionError):
    """There is no such calendar."""


class RunNotFound(ExecutionError):
    """There is no such run of this task."""


class JobNotFound(ExecutionError):
    """There is no such job."""


class JobArchived(JobNotFound):
    """The job has ended long ago and is in the archive: it is read there, and never changed."""

    def __init__(self, job: Any) -> None:
        super().__init__(
            f"The job is {job.status} since {job.finished_at:%Y-%m-%d %H:%M:%S %Z} and archived: nothing of it can be "
            "changed any more."
        )
        self.job = job


class JobFinished(ExecutionError):
    """The job has ended and takes no more answers."""

    def __init__(self, job: Any) -> None:
        super().__init__(
            f"The job is {job.status} since {job.finished_at:%Y-%m-%d %H:%M:%S %Z} and takes no more answers."
        )
        self.job = job


class NotDecided(ExecutionError):
    """The event does not fit the job as it stands; nothing was written."""
