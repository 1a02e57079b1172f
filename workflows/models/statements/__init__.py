"""The hot path: claim, checkpoint, extend, release. Kept beside the models, and tested to mean what they say.

PostgreSQL has a set-wise statement for each; every other database has the same meaning through the ORM, where a claim
is a compare-and-set. A test runs both on PostgreSQL and compares.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from django.db import connection

from workflows.models.failpoints import PRESENT, failpoint, failpoint_after_commit

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
        claimed = postgresql.claim(queue, owner, limit, lease_seconds)
    else:
        claimed = portable.claim(queue, owner, limit, lease_seconds)
    if claimed:
        failpoint("claim.committed")
    return claimed


def checkpoint(owner: str, batch: Sequence[Checkpoint]) -> set[uuid.UUID]:
    """Write each job's step behind its guard and answer the jobs that were written.

    A job that is not answered lost its lease, or has a signal its worker has not seen; nothing of it was written.
    """
    if not connection.in_atomic_block:  # the statement is the whole transaction
        failpoint("ckpt.before_commit")
    if connection.vendor == "postgresql":
        written = postgresql.checkpoint(owner, batch)
    else:
        written = portable.checkpoint(owner, batch)
    if written:
        failpoint("audit.appended")
        failpoint_after_commit("ckpt.after_commit")
        if PRESENT and any(step.to_status == "PEND" for step in batch):
            failpoint_after_commit("park.after_commit")
    return written


def open_line() -> Line | None:
    """A connection on which checkpoints are sent without waiting for them; None where the database has one writer."""
    return Line() if connection.vendor == "postgresql" else None


def send(line: Line, owner: str, batch: Sequence[Checkpoint]) -> None:
    """Begin a checkpoint; `answered` must be asked before the next one. See `checkpoint`."""
    failpoint("ckpt.before_commit")
    postgresql.send(line, owner, batch)


def answered(line: Line) -> set[uuid.UUID]:
    """The jobs that the checkpoint on the line has written, as soon as it is committed."""
    written = postgresql.answered(line)
    if written:
        failpoint("audit.appended")
        failpoint("ckpt.after_commit")
    return written


def extend(owner: str, lease_seconds: int) -> int:
    """Make every lease of `owner` last `lease_seconds` from now, where it has not passed; answer how many it holds."""
    held = portable.extend(owner, lease_seconds)
    failpoint("hb.sent")
    return held


def release(owner: str, job_ids: Iterable[uuid.UUID], *, begun: bool) -> int:
    """Hand jobs back at once instead of letting their leases run out. A job that was not `begun` is not counted as
    claimed."""
    return portable.release(owner, job_ids, begun=begun)
