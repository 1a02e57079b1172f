"""When a job is due, and when that time does not count."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .commit import Step


def due_after(step: Step) -> tuple[datetime | None, datetime | None]:
    """(`due_at`, `due_paused_at`) of the job once the step is written: time that a third party takes does not count."""
    return step.job.due_at, step.job.due_paused_at
