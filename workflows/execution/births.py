"""Writing new jobs: the rows that every job begins with, whoever asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db import transaction

from workflows.models import Job
from workflows.models.statements.births import Assumption, Key, Outcome, write_births

from . import doorbell


def write_jobs(
    jobs: Sequence[tuple[Job, Any]],
    *,
    actor: str = "",
    assumptions: Sequence[Assumption] = (),
    key: Key | None = None,
) -> Outcome:
    """Write unsaved jobs, each with its input and the first row of its history, and wake workers after the commit.

    In the caller's transaction where there is one; else in one of its own. One statement on PostgreSQL, whatever the
    number of jobs. Nothing is written, and nobody woken, where an assumption does not hold or the key was used before.
    """
    if not jobs:
        return Outcome.WRITTEN
    outcome = write_births(jobs, actor, assumptions, key)
    if outcome is Outcome.WRITTEN:
        for queue in sorted({job.queue for job, _ in jobs}):
            transaction.on_commit(partial(doorbell.ring, queue))
    return outcome
