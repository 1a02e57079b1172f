"""Plugins that misbehave in every way a plugin can, and a few that do not."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from workflows.engine.contract import Answer, Completed, Failed, NewDocument, Parked, Plugin, StepContext, StepError


class ServiceUnavailable(StepError):
    """The service is away."""


class Echo(Plugin):
    """Hands its input back."""

    def run(self, context: StepContext) -> Answer | Mapping[str, Any] | None:
        return Completed({"input": context.input, "attempt": context.attempt, "key": context.idempotency_key})


class Nothing(Plugin):
    """Does nothing."""

    def run(self, context: StepContext) -> None:
        return None


class Raises(Plugin):
    """Raises an error nobody expects."""

    def run(self, context: StepContext) -> None:
        raise ValueError("the plugin is broken")


class FailsByName(Plugin):
    """Raises an error with a name, the first `times` attempts."""

    def run(self, context: StepContext) -> Answer:
        if context.attempt <= self.configuration.get("times", 10**9):
            raise ServiceUnavailable("come back later")
        return Completed({"attempt": context.attempt})


class AnswersFailed(Plugin):
    """Says in its answer that it failed."""

    def run(self, context: StepContext) -> Answer:
        return Failed("Refused", "not today")


class ReturnsNoJson(Plugin):
    """Returns what cannot be kept."""

    def run(self, context: StepContext) -> Answer:
        return Completed({"value": object()} if self.configuration.get("kind") == "object" else {"value": float("nan")})


class ReturnsNonsense(Plugin):
    """Returns what is no answer at all."""

    def run(self, context: StepContext) -> Any:
        return 42


class CallsExit(Plugin):
    """Tries to leave politely."""

    def run(self, context: StepContext) -> None:
        sys.exit(3)


class KillsProcess(Plugin):
    """Takes the whole process with it."""

    def run(self, context: StepContext) -> None:
        os._exit(9)


class NeverReturns(Plugin):
    """Waits for ever, and catches what it can."""

    def run(self, context: StepContext) -> None:
        while True:
            try:
                time.sleep(60)
            except Exception:  # noqa: S112  (what this plugin is for)
                continue


class BlocksSignals(Plugin):
    """Waits for ever where no signal reaches it."""

    def run(self, context: StepContext) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        while True:
            time.sleep(60)


class Parks(Plugin):
    """Waits for an answer from outside."""

    def run(self, context: StepContext) -> Answer:
        return Parked("waits for the test")


class WritesLetter(Plugin):
    """Hands a document back."""

    def run(self, context: StepContext) -> Answer:
        text = f"Dear {context.input.get('name', 'reader')}"
        return Completed({}, documents=[NewDocument("letter.txt", "text/plain", text.encode())])


class Remembers(Plugin):
    """Keeps the contexts it ran with, for the test to look at."""

    seen: ClassVar[list[StepContext]] = []

    def run(self, context: StepContext) -> None:
        self.seen.append(context)


class Slow(Plugin):
    """Notes in a file that it began, and by which process, and takes its time."""

    def run(self, context: StepContext) -> Answer:
        with open(self.configuration["file"], "a", encoding="ascii") as file:
            file.write(f"{context.task} {os.getpid()} {context.idempotency_key} {context.fence}\n")
        time.sleep(self.configuration.get("seconds", 0))
        return Completed({"pid": os.getpid()})


class Simulated(Plugin):
    """Must never run; its simulation hands its input back."""

    def run(self, context: StepContext) -> None:
        raise AssertionError("a simulation ran a plugin")

    def simulate(self, context: StepContext) -> Answer:
        return Completed({"seen": context.input}, "simulated")


class SimulationRaises(Simulated):
    """Breaks when it is simulated."""

    def simulate(self, context: StepContext) -> Answer:
        raise ValueError("broken")


class SimulationAnswersNonsense(Simulated):
    """Answers what is no answer."""

    def simulate(self, context: StepContext) -> Any:
        return 42


class Undoes(Plugin):
    """Notes what it undoes. Its configuration may let it fail `times` attempts, or kill its process while there is no
    file `kill`."""

    def run(self, context: StepContext) -> Answer:
        note = {"task": context.task, "key": context.idempotency_key, "input": context.input, "undoes": context.undoes}
        with open(self.configuration["file"], "a", encoding="utf-8") as file:
            file.write(json.dumps({**note, "attempt": context.attempt, "fence": context.fence}) + "\n")
        kill = self.configuration.get("kill")
        if kill and not os.path.exists(kill):
            with open(kill, "w", encoding="ascii"):
                os.kill(os.getpid(), signal.SIGKILL)
        if context.attempt <= self.configuration.get("times", 0):
            raise ServiceUnavailable("come back later")
        return Completed({"undone": True})


class Waits(Plugin):
    """Says that it has begun, and goes on when the test lets it."""

    began: ClassVar[threading.Event] = threading.Event()
    go_on: ClassVar[threading.Event] = threading.Event()
    runs: ClassVar[list[str]] = []

    def run(self, context: StepContext) -> Answer:
        self.runs.append(f"{context.task} {context.iteration} {context.fence}")
        self.began.set()
        self.go_on.wait(20)
        return Completed({"fence": context.fence})


class Marks(Plugin):
    """Notes in a file when it begins and when it ends, by the clock that all processes of a machine share."""

    def run(self, context: StepContext) -> None:
        self._mark(f"begin {context.job_id} {os.getpid()}")
        time.sleep(self.configuration.get("seconds", 0))
        self._mark(f"end {context.job_id} {os.getpid()}")

    def _mark(self, text: str) -> None:
        with open(self.configuration["file"], "a", encoding="ascii") as file:
            file.write(f"{time.monotonic()} {text}\n")
