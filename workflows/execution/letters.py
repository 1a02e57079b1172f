"""Dead letters: a row for every time that a job fails, written in the commit that fails it."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .commit import Step


def bury(step: Step) -> None:
    """Write the dead letter of a step whose job fails, inside its commit."""


def resolve(job_id: uuid.UUID, *, resolution: str, actor: str, at: datetime) -> None:
    """Note what became of the open dead letter of a job, inside the repair's transaction."""
