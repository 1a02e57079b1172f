"""What the tests of plugins share: a context of a step, as the executor would give it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from workflows.engine.contract import DocumentRef, StepContext

NOW = datetime(2026, 3, 14, 9, 30, tzinfo=UTC)


def step(input: Any, **changes: Any) -> StepContext:
    """A context with this input; every other value is a plain one unless `changes` says otherwise."""
    values: dict[str, Any] = {
        "job_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "workflow": "example",
        "version": 1,
        "task": "step",
        "iteration": 1,
        "attempt": 1,
        "now": NOW,
        "idempotency_key": "key-1",
    }
    return StepContext(**{**values, "input": input, **changes})


def attached(media_type: str = "application/pdf") -> DocumentRef:
    """A document of the job."""
    return DocumentRef(id="d1", name="photo", media_type=media_type, size=10, sha256="0" * 64)
