"""The hot path: claim, checkpoint, extend, release. Kept beside the models, and tested to mean what they say.

PostgreSQL has a set-wise statement for each; every other database has the same meaning through the ORM, where a claim
is a compare-and-set. A test runs both on PostgreSQL and compares.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from django.db import connection

from . import portable, postgresql
from .line import Line
from .rows import Checkpoint, ClaimedJob, HistoryRow, MessageRow, RunRow

__all__ = [
    "Checkpoint",
    "ClaimedJob",
    "HistoryRow",
    "Line",
    "MessageRow",
    "RunRow",
    "answered",
    "checkpoint",
    "claim",
    "extend",
    "open_line",
    "release",
    "send",
]


def claim(queue: str, owner: str, limit: int, lease_seconds: int) -> list[ClaimedJob]:
    """Lease up to `limit` jobs of a queue to `owner`, the first in rank first. Of two workers at once, one gets a job
    and the other does not see it."""
    if connection.vendor == "postgresql":
        return postgresql.claim(queue, owner, limit, lease_seconds)
    return portable.claim(queue, owner, limit, lease_seconds)


def checkpoint(owner: str, batch: Sequence[Checkpoint]) -> set[uuid.UUID]:
    """Write each job's step behind its guard and answer the jobs that were written.

    A job that is not answered lost its lease, or has a signal its worker has not seen; nothing of it was written.
    """
    if connection.vendor == "postgresql":
        return postgresql.checkpoint(owner, batch)
    return portable.checkpoint(owner, batch)


def open_line() -> Line | None:
    """A connection on which checkpoints are sent without waiting for them; None where the database has one writer."""
    return Line() if connection.vendor == "postgresql" else None


def send(line: Line, owner: str, batch: Sequence[Checkpoint]) -> None:
    """Begin a checkpoint; `answered` must be asked before the next one. See `checkpoint`."""
    postgresql.send(line, owner, batch)


def answered(line: Line) -> set[uuid.UUID]:
    """The jobs that the checkpoint on the line has written, as soon as it is committed."""
    return postgresql.answered(line)


def extend(owner: str, lease_seconds: int) -> int:
    """Make every lease of `owner` last `lease_seconds` from now, where it has not passed; answer how many it holds."""
    return portable.extend(owner, lease_seconds)


def release(owner: str, job_ids: Iterable[uuid.UUID], *, begun: bool) -> int:
    """Hand jobs back at once instead of letting their leases run out. A job that was not `begun` is not counted as
    claimed."""
    return portable.release(owner, job_ids, begun=begun)
