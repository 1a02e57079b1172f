"""What passes between a worker and the hot statements: plain values, the same for every database."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workflows.models.jobs import Job


@dataclass(slots=True)
class ClaimedJob:
    """A job under a fresh lease, with all a worker needs to go on from the last commit."""

    id: uuid.UUID
    workflow: str
    version: int
    status: str
    priority: int
    fence: int
    claims: int
    signals: int
    correlation_id: str
    created_at: datetime
    input: Any
    state: dict[str, Any] | None
    now: datetime
    """The database's clock at the claim."""
    queue: str = "default"
    parent_id: uuid.UUID | None = None
    group_id: int | None = None
    """The group of children it belongs to, where another job waits for it."""
    fragment: str = ""
    item_index: int | None = None
    due_at: datetime | None = None
    due_paused_at: datetime | None = None

    @classmethod
    def of(cls, job: Job, now: datetime) -> ClaimedJob:
        """A job whose row is locked, as a worker would have it at `now`. Its data come along (`select_related`)."""
        own = {name: getattr(job, name) for name in cls.__slots__ if name not in ("input", "state", "now")}
        return cls(**own, input=job.data.input, state=job.data.state, now=now)


@dataclass(slots=True)
class HistoryRow:
    """One row of the history; its sequence number is given by its place."""

    at: datetime
    event: str
    task: str = ""
    iteration: int | None = None
    actor: str = ""
    from_status: str = ""
    to_status: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    decided: list[dict[str, Any]] | None = None
    """The engine's events since the row before, as JSON; None where there were none. An event without `now` was decided
    at the row's own time, and one without `task` is about the row's own task and iteration."""


@dataclass(slots=True)
class RunRow:
    """One task run, new or ended. `place` is the 1-based place of its history row in the same checkpoint."""

    task: str
    iteration: int
    attempt: int
    status: str
    place: int
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None = None
    input: Any = None
    output: Any = None
    error: str | None = None
    cause: str | None = None
    actor: str = ""
    department: str = ""


@dataclass(slots=True)
class MessageRow:
    """One outgoing message, at the 1-based `place` in the checkpoint."""

    id: uuid.UUID
    place: int
    type: str
    created_at: datetime
    task: str = ""
    iteration: int | None = None
    destination: str = ""
    data: Any = None


@dataclass(slots=True)
class Checkpoint:
    """Everything one job's step changes, to be committed whole or not at all.

    `fence`, `signals` and `from_status` are the guard: where the row has others, nothing of this is written. The
    signals it was decided with are used up, unless `keep_signals`.
    """

    job_id: uuid.UUID
    fence: int
    signals: int
    from_status: str
    to_status: str
    release: bool
    at: datetime
    state: dict[str, Any]
    outcome: str | None = None
    wake_at: datetime | None = None
    output: Any = None
    error: dict[str, Any] | None = None
    history: list[HistoryRow] = field(default_factory=list)
    runs: list[RunRow] = field(default_factory=list)
    messages: list[MessageRow] = field(default_factory=list)
    keep_signals: bool = False
    due_at: datetime | None = None
    due_paused_at: datetime | None = None
