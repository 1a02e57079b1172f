"""What can go wrong when somebody acts on a work item. The message is a sentence for the person who acted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workflows.engine.faults import Fault

    from .models import WorkItem


class DepartmentsError(Exception):
    """Base of everything that the departments raise on purpose: a sentence, and a word for programs (`code`)."""

    code = "error"

    def __init__(self, detail: str, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code


class NotVisible(DepartmentsError):
    """There is no such item, or not for this person: the two must look alike."""

    code = "not_found"

    def __init__(self, detail: str = "There is no such work item.") -> None:
        super().__init__(detail)


class NotAllowed(DepartmentsError):
    """The person may see it, but not do this; `detail` says who can."""

    code = "not_allowed"


class ItemConflict(DepartmentsError):
    """Somebody was first, or the item is in another state: `item` is as it is now, `detail` says who, when and what.

    `code` is one of `decided`, `withdrawn`, `skipped`, `claimed` (by another), `not_claimed`, `external` (only a system
    answers it), `not_waiting` (the task waits for no answer), `human` (only a person's decision answers it),
    `response_id_taken`, `job_finished`, `job_archived`, `quorum` (several decide it, nobody holds it), `voted` (this
    person has). `item` is None where the task has none.
    """

    code = "conflict"

    def __init__(self, item: WorkItem | None, detail: str, code: str) -> None:
        super().__init__(detail, code)
        self.item = item


class VersionMismatch(DepartmentsError):
    """The item was changed since the version that the person saw; it can still be acted upon."""

    code = "version_mismatch"

    def __init__(self, item: WorkItem, seen: int) -> None:
        super().__init__(f"The item is at version {item.version} now, and you saw version {seen}. Read it again.")
        self.item = item


class InvalidAnswer(DepartmentsError):
    """The decision, the response or the named person does not fit; `faults` holds every fault with its pointer."""

    code = "invalid_answer"

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.pointer or '/'}: {fault.detail}" for fault in self.faults))
