"""What passes to the statement that writes new jobs, beside the jobs themselves."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workflows.models.jobs import Job

EVENT = "job.submitted"


class Outcome(Enum):
    """What became of a statement that writes new jobs."""

    WRITTEN = auto()
    STALE = auto()
    """Nothing was written: an assumption does not hold any more."""
    TAKEN = auto()
    """Nothing was written: the idempotency key was used before."""


@dataclass(frozen=True, slots=True)
class Assumption:
    """What a submission was checked against: this version, with this digest, is published and not retired; where it was
    taken for the `newest`, none above it is."""

    workflow: str
    version: int
    digest: str
    newest: bool


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key that is used up by the job that is written with it."""

    principal: str
    key: str
    fingerprint: str
    request: dict[str, Any]


def first_data(job: Job) -> dict[str, Any]:
    """What the first row of a job's history says, but for the index of a child among its siblings."""
    data: dict[str, Any] = {"workflow": job.workflow, "version": job.version, "priority": job.priority}
    return data if job.parent_id is None else {**data, "parent": str(uuid.UUID(str(job.parent_id)))}
