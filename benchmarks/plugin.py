"""The steps of the benchmark's workflows. What is measured is the engine, so they do nothing."""

from __future__ import annotations

from workflows.engine.contract import Plugin, StepContext


class DoNothing(Plugin):
    """Completes at once, without output."""

    idempotent = True

    def run(self, context: StepContext) -> None:
        """Nothing."""


class DoNothingOutside(DoNothing):
    """The same, without the promise that repeating it is harmless: each step is committed by itself."""

    idempotent = False
