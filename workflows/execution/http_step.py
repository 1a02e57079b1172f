"""The `http` task: one request, from its evaluated parts to the answer or the error it stands for."""

from __future__ import annotations

from workflows.engine.contract import Answer, Failed, StepContext
from workflows.engine.definition import Task

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD"})


def run_http(task: Task, context: StepContext) -> Answer:
    """Send the request that `context.input` holds and answer with its reply, or with the error it failed by."""
    return Failed("Unexpected", "not there yet")
