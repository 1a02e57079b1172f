"""The steps of the benchmark's workflows. What is measured is the engine, so they do nothing."""

from __future__ import annotations

import base64
import os
import random
import time

from workflows.engine.contract import Plugin, StepContext, StepError

TEXT = base64.b64encode(random.Random(1).randbytes(60_000)).decode()  # noqa: S311  (hard to compress, not a secret)


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


# ---- under fire -----------------------------------------------------------------------------------------------------


class Flaky(StepError):
    """Passes when it is tried again."""


class Broken(StepError):
    """Stays, however often it is tried."""


class Effect(DoNothing):
    """Has an effect outside, which is a line in a file of its own process, and what its input asks for besides:
    `sleep` so many seconds, `raise` an error, `bytes` of output."""

    def run(self, context: StepContext) -> dict[str, str] | None:  # type: ignore[override]
        """One line: idempotency key, job, task, iteration, attempt, fence. Written whole or not at all."""
        asked = context.input or {}
        if asked.get("raise") == "broken":
            raise Broken("It is asked to.")
        if asked.get("raise") == "flaky" and context.attempt == 1:
            raise Flaky("It is asked to.")
        if asked.get("sleep"):
            time.sleep(asked["sleep"])
        fields = (context.idempotency_key, context.job_id, context.task, context.iteration, context.attempt)
        line = " ".join(map(str, (*fields, context.fence))) + "\n"
        file = os.open(
            f"{os.environ['BENCH_EFFECTS']}/{os.getpid()}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode=0o600
        )
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)
        size = asked.get("bytes", 0)
        return {"text": (TEXT * (size // len(TEXT) + 1))[:size]} if size else None


class EffectOutside(Effect):
    """The same, without the promise that repeating it is harmless."""

    idempotent = False
