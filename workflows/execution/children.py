"""Child jobs: the items of a `map`, child workflows, and tasks that run on another queue.

The parent's commit writes a group and nothing else. Children are made from it in portions, by whoever settles the
group: when it was made, whenever a child of it has ended, and by a service for what a crash left. Settling is one
transaction that looks at the children as they are, so it may be done any number of times, by anyone.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from workflows.engine.contract import Json
from workflows.engine.events import CloseChildren, StartChildren

from .parking import ParkedJob, Refusal


def start_children(job: ParkedJob, commands: Sequence[StartChildren]) -> list[Refusal]:
    """Write the groups, inside the parent's commit; answer what cannot be started."""
    return [Refusal(job.id, c.task, c.iteration, "Unexpected", "not there yet") for c in commands]


def close_children(job_id: uuid.UUID, commands: Sequence[CloseChildren]) -> None:
    """Mark the groups as closing, inside the parent's commit; their unfinished children are cancelled after it."""


def settle(group_ids: Iterable[int]) -> None:
    """Look at each group as it is now: make more children, cancel what is not wanted, tell the parent."""


def full_input(input: Json, group_id: int | None, fragment: str) -> Any:
    """What a job's expressions see as its input: for a fragment with the names of its parent."""
    return input
