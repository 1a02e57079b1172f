"""The world outside: plugins whose effects are written down, with fsync, where no database can roll them back."""

from __future__ import annotations

import os
from pathlib import Path

from tests.faults import doomed
from workflows.engine.contract import Answer, Completed, NewDocument, Parked, Plugin, StepContext, StepError


def calls(ledger: str | Path) -> list[str]:
    """The idempotency keys of all calls that came in, in their order."""
    return Path(ledger).read_text(encoding="ascii").split() if Path(ledger).exists() else []


class Refused(StepError):
    """The service does not want to."""


class Applies(Plugin):
    """Has an effect outside, which must not be repeated without need; may hand a document back, or fail after it."""

    def run(self, context: StepContext) -> Answer:
        ledger = context.input["ledger"] if context.undoes is None else context.undoes["input"]["ledger"]
        with open(ledger, "a", encoding="ascii") as file:
            file.write(f"{context.idempotency_key}\n")
            file.flush()
            os.fsync(file.fileno())
        if self.configuration.get("refuses"):
            raise Refused("not today")
        if self.configuration.get("parks"):
            return Parked("waits for an answer")
        text = self.configuration.get("document")
        return Completed({"done": True}, documents=[NewDocument("a.txt", "text/plain", text.encode())] if text else [])


class AppliesAgain(Applies):
    """The same, where repeating it is harmless."""

    idempotent = True


class AppliesLong(Applies):
    """The same; it takes until the fault has struck beside it."""

    def run(self, context: StepContext) -> Answer:
        answer = super().run(context)
        if doomed.settings.WORKFLOW_HEARTBEAT_SECONDS < 1:
            doomed.fault_struck.wait(10)
        return answer
