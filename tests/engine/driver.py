"""Driving the engine by hand: one job, its clock, and checks that hold after every single step."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from workflows.engine.codec import event_from_json, event_to_json
from workflows.engine.decide import Decision, decide
from workflows.engine.definition import Definition
from workflows.engine.events import (
    UNSET,
    CancelRequested,
    ChildrenFailed,
    ChildrenFinished,
    Command,
    Event,
    EventReceived,
    JobStarted,
    Record,
    Responded,
    RestartRequested,
    RetryRequested,
    SkipRequested,
    TaskCompleted,
    TaskFailed,
    TaskParked,
    TimePassed,
)
from workflows.engine.parsing import parse
from workflows.engine.state import JobState

START = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)


def plugin(**fields: Any) -> dict[str, Any]:
    return {"type": "plugin", "plugin": "test.step", **fields}


def human(**fields: Any) -> dict[str, Any]:
    return {"type": "human", "department": "claims", **fields}


def edge(source: str, target: str, when: str | None = None, **fields: Any) -> dict[str, Any]:
    condition = {} if when is None else {"when": when}
    return {"from": source, "to": target, **condition, **fields}


def document(tasks: dict[str, Any], *transitions: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": "test", "tasks": tasks, "transitions": list(transitions), **fields}


def define(tasks: dict[str, Any], *transitions: dict[str, Any], **fields: Any) -> Definition:
    return parse(document(tasks, *transitions, **fields))


def canonical(state: JobState) -> str:
    return json.dumps(state.to_json(), sort_keys=True, allow_nan=False)


class Job:
    """One job of a definition. Every verb is one event; `records` and `commands` are those of the last one."""

    def __init__(self, definition: Definition, input: Any = None, *, start: bool = True) -> None:
        self.definition = definition
        self.now = START
        self.state = JobState.new({} if input is None else input)
        self.log: list[tuple[dict[str, Any], datetime]] = []
        self.history: list[Record] = []
        self.records: tuple[Record, ...] = ()
        self.commands: tuple[Command, ...] = ()
        if start:
            self.send(JobStarted("job-1", START, 50))

    def send(self, event: Event) -> Decision:
        before = canonical(self.state)
        decision = decide(self.definition, self.state, event, self.now)
        assert canonical(self.state) == before, "decide changed the state it was given"
        stored = json.loads(json.dumps(event_to_json(event)))
        assert event_from_json(stored) == event
        after = canonical(decision.state)
        restored = JobState.from_json(json.loads(after), self.state.input)
        assert canonical(restored) == after, "the state does not survive its JSON form"
        self.log.append((stored, self.now))
        # What the next step works on is always a state that was stored and read back.
        self.state, self.records, self.commands = restored, decision.records, decision.commands
        self.history.extend(decision.records)
        return decision

    # ---- verbs ----

    def done(self, task: str, output: Any = None, outcome: str | None = None, iteration: int | None = None) -> Decision:
        return self.send(TaskCompleted(task, self._iteration(task, iteration), output, outcome))

    def fail(self, task: str, error: str = "Broken", cause: str = "") -> Decision:
        return self.send(TaskFailed(task, self._iteration(task, None), error, cause))

    def park(self, task: str, reason: str = "", until: datetime | None = None) -> Decision:
        return self.send(TaskParked(task, self._iteration(task, None), reason, until))

    def answer(
        self, task: str, outcome: str | None = "approve", output: Any = None, iteration: int | None = None
    ) -> None:
        self.send(Responded(task, self._iteration(task, iteration), outcome, output, "ann"))

    def wait(self, **time: float) -> Decision:
        self.now += timedelta(**time)
        return self.send(TimePassed())

    def retry(self, task: str | None = None, input: Any = UNSET) -> Decision:
        return self.send(RetryRequested(task, input, "ann"))

    def skip(self, task: str, output: Any = None, outcome: str | None = None) -> Decision:
        return self.send(SkipRequested(task, output, "ann", outcome))

    def cancel(self, compensate: bool = False) -> Decision:
        return self.send(CancelRequested("ann", "no longer needed", compensate))

    def restart(self, task: str) -> Decision:
        return self.send(RestartRequested(task, "ann", "from here"))

    def event(self, task: str, data: Any = None) -> Decision:
        return self.send(EventReceived(task, self._iteration(task, None), data, "event-1"))

    def children(self, task: str, output: Any = None, outcome: str | None = None) -> Decision:
        return self.send(ChildrenFinished(task, *self._run(task), output, outcome))

    def children_failed(self, task: str, error: str = "Broken", cause: str = "") -> Decision:
        return self.send(ChildrenFailed(task, *self._run(task), error, cause))

    def _run(self, task: str) -> tuple[int, int]:
        standing = self.state.tasks[task]
        return standing.iteration, standing.attempt

    def _iteration(self, task: str, given: int | None) -> int:
        if given is not None:
            return given
        return self.state.tasks[task].iteration if task in self.state.tasks else 1

    # ---- what a test asks ----

    @property
    def runnable(self) -> tuple[str, ...]:
        return self.state.runnable

    @property
    def status(self) -> str:
        return self.state.status

    def standing(self, task: str) -> str:
        return self.state.tasks[task].status if task in self.state.tasks else "-"

    @property
    def happened(self) -> list[str]:
        return [record.event for record in self.records]

    def replayed(self) -> JobState:
        state = JobState.new(self.state.input)
        for stored, now in self.log:
            state = decide(self.definition, state, event_from_json(stored), now).state
        return state
