"""The step of the benchmark's workflow. What is measured is the engine, so the step does nothing."""

from __future__ import annotations

from workflows.engine.contract import Plugin, StepContext


class DoNothing(Plugin):
    """Completes at once, without output."""

    idempotent = True

    def run(self, context: StepContext) -> None:
        """Nothing."""
