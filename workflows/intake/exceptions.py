"""What can go wrong at the door where jobs, definitions and documents come in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from workflows.engine.faults import Fault


class IntakeError(Exception):
    """Base of everything intake raises on purpose."""


class InvalidSubmission(IntakeError):
    """The submission cannot become a job; `faults` holds every reason, each with a JSON Pointer."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.pointer or '/'} {fault.detail}" for fault in self.faults))


class UnknownWorkflow(InvalidSubmission):
    """There is no such workflow, no such version of it that is not retired, and no enabled plugin of that name."""


class IdempotencyConflict(IntakeError):
    """The idempotency key was used for another submission: `job` is that one, `fields` point at what differs."""

    def __init__(self, job: Any, fields: Iterable[str]) -> None:
        self.job = job
        self.fields = tuple(fields)
        super().__init__(f"This key was used for job {job.id}, with another {', '.join(self.fields) or 'body'}.")


class InvalidDocument(IntakeError):
    """The file is refused: too large, of a type that is not taken, or not of the type its name says."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        self.detail = detail
        super().__init__(detail)


class InvalidSchedule(IntakeError):
    """The schedule could not do what it says; `faults` holds every reason, each with its place."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.pointer or '/'} {fault.detail}" for fault in self.faults))


class InvalidTimetable(InvalidSchedule):
    """It cannot be worked out when the schedule is due."""


class ScheduleExists(IntakeError):
    """There is a schedule of this name already."""


class EventNotFound(IntakeError):
    """There is no such event."""


class NoSuchVersion(IntakeError):
    """The workflow has no such version, or no draft."""


class DraftChanged(IntakeError):
    """Somebody changed, published or discarded the draft since the caller looked."""


class VersionPublished(IntakeError):
    """A version was published after the draft was begun: publishing the draft would undo what that one changed."""
