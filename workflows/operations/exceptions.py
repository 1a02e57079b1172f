"""Why an operator's repair was refused. The message is meant for the operator."""

from __future__ import annotations

from workflows.models import Job


class OperationError(Exception):
    """Base of the refusals of this floor."""


class WrongState(OperationError):
    """The job, or the task, is not in a state in which this can be done."""

    def __init__(self, job: Job, detail: str) -> None:
        super().__init__(detail)
        self.job = job
        self.detail = detail


class NotSupported(OperationError):
    """This server cannot do that yet."""
