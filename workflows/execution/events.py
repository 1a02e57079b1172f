"""Events and those who wait for them: matched after both are committed, so neither can miss the other."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from workflows.engine.events import AwaitEvent, StopAwaiting

from .parking import ParkedJob, Refusal


def await_events(job: ParkedJob, commands: Sequence[AwaitEvent]) -> list[Refusal]:
    """Write who waits for what, inside the waiter's commit, and look for events that came before after it."""
    return [Refusal(job.id, c.task, c.iteration, "Unexpected", "not there yet") for c in commands]


def stop_awaiting(job_id: uuid.UUID, commands: Sequence[StopAwaiting]) -> None:
    """Close waiters that nobody needs any more, inside the commit."""
