"""Why an operator's repair was refused. The message is meant for the operator."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from workflows.engine.faults import Fault
from workflows.engine.migration import Obstacle
from workflows.models import Job, Suspension


class OperationError(Exception):
    """Base of the refusals of this floor."""


class WrongState(OperationError):
    """The job, or the task, is not in a state in which this can be done. `by` and `at` say who brought it there, and
    when, where that is known."""

    def __init__(self, job: Job, detail: str, *, by: str = "", at: datetime | None = None) -> None:
        super().__init__(detail)
        self.job = job
        self.detail = detail
        self.by = by
        self.at = at


class InvalidRequest(OperationError):
    """What was asked for does not fit the definitions; `faults` holds every reason, each with a JSON Pointer."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(" ".join(fault.detail for fault in self.faults))


class CannotMigrate(WrongState):
    """The job cannot move as it stands; `obstacles` holds every reason, with the task it is about."""

    def __init__(self, job: Job, obstacles: Sequence[Obstacle]) -> None:
        super().__init__(job, " ".join(obstacle.detail for obstacle in obstacles))
        self.obstacles = tuple(obstacles)


class BulkNotFound(OperationError):
    """There is no such repair of many jobs."""


class WrongStage(OperationError):
    """The repair of many jobs is not at a stage in which this can be done."""


class SuspensionConflict(OperationError):
    """It is suspended already, or it is not suspended."""

    def __init__(self, detail: str, suspension: Suspension | None = None) -> None:
        super().__init__(detail)
        self.suspension = suspension


class WorkflowNotFound(OperationError):
    """There is no such workflow."""
