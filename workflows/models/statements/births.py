"""Births: new jobs, each with its data, the first row of its history and its idempotency key, written by one statement.

PostgreSQL has the statement; every other database has the same meaning through the ORM. A test runs both on PostgreSQL
and compares every column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection

from workflows.models.jobs import Job

from . import birth_portable, birth_postgresql
from .birth_rows import Assumption, Key, Outcome

__all__ = ["Assumption", "Key", "Outcome", "write_births"]


def write_births(
    jobs: Sequence[tuple[Job, Any]], actor: str, assumptions: Sequence[Assumption] = (), key: Key | None = None
) -> Outcome:
    """Write unsaved jobs, each with its input: all of them or none, in the caller's transaction or in one of its own.

    Nothing is written where an assumption does not hold (STALE), or where the key is there already (TAKEN); of two at
    once with one key the second waits for the first. A key is of exactly one job. `actor` is who submitted, as the
    history has it.
    """
    write = birth_postgresql.write_births if connection.vendor == "postgresql" else birth_portable.write_births
    outcome = write(jobs, actor, assumptions, key)
    if outcome is Outcome.WRITTEN:
        for job, _ in jobs:
            job._state.adding, job._state.db = False, connection.alias
    return outcome
