"""The steps of the benchmark's workflows. What is measured is the engine, so they do nothing."""

from __future__ import annotations

from workflows.engine.contract import Plugin, StepContext


class DoNothing(Plugin):
    """Completes at once, without output."""

    idempotent = True

    def run(self, context: StepContext) -> None:
        """Nothing."""


class Double(DoNothing):
    """Twice its input: an item of a map."""

    def run(self, context: StepContext) -> dict[str, int]:  # type: ignore[override]
        """Completes at once."""
        return {"n": 2 * context.input}


class DoNothingOutside(DoNothing):
    """The same, without the promise that repeating it is harmless: each step is committed by itself."""

    idempotent = False
