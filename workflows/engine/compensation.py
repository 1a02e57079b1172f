"""Compensation: what a job has done is undone, in the reverse order of its finishing, before the job ends.

A saga in the sense of Garcia-Molina and Salem (1987): every finished task that names a `compensate` plugin is undone by
it, one after the other, each retried as the task itself is. One that fails for good is a dead letter like any other:
a person retries or skips it, and the rest follows. The job ends cancelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from .definition import compensation_of
from .events import Record
from .state import READY, TaskState

if TYPE_CHECKING:
    from .progress import Progress


def begin(
    progress: Progress, *, actor: str = "", reason: str = "", failure: Mapping[str, str | None] | None = None
) -> None:
    """Withdraw what is active, and undo the rest from the last to the first. `failure` stays the error of the job.

    The job's own time limit ends here: undoing takes as long as it takes.
    """
    _stop(progress)
    progress.state = replace(progress.state, deadline=None)
    progress.ending = {"actor": actor, "reason": reason}
    progress.failure = failure
    progress.phase = "compensating"
    tasks = [name for name, _ in reversed(progress.undo)]
    progress.records.append(Record("job.compensating", actor=actor, cause=reason or None, data={"tasks": tasks}))
    _next(progress)


def after_failure(progress: Progress, error: Mapping[str, str | None]) -> None:
    """A task failed for good. Where the document says so, that is the moment to undo the others."""
    if progress.definition.on_failure == "compensate" and progress.phase == "active":
        begin(progress, reason=f"{error['task']} failed: {error['name']}", failure=error)


def undone(progress: Progress) -> None:
    """The compensation at work has ended well, or was skipped by a person."""
    progress.undo = progress.undo[:-1]
    _next(progress)


def end(progress: Progress, *, actor: str = "", reason: str = "") -> None:
    """End the job as cancelled; what is still active is withdrawn."""
    _stop(progress)
    progress.phase = "cancelled"
    progress.records.append(Record("job.cancelled", actor=actor, cause=reason or None))


def _stop(progress: Progress) -> None:
    progress.queue.clear()
    for name in tuple(progress.active):
        if progress.is_active(name):
            progress.withdraw(name, "cancelled")
    progress.active.clear()


def _next(progress: Progress) -> None:
    if not progress.undo:
        end(progress, **(progress.ending or {}))
        return
    task, iteration = progress.undo[-1]
    name = compensation_of(task)
    progress.put(name, TaskState(READY, iteration))
    progress.enqueue(name)
