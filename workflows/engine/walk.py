"""A whole job in thought: the same `decide`, with answers that are given or assumed instead of people and services.

Nothing is run, asked, sent or kept here; whoever calls says what each step comes to. Time moves on to whatever is due
next, so a wait of three days takes none. A walk is bounded: it stops, and says so, when its budget is used up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from .contract import Json
from .decide import decide
from .definition import Definition
from .events import (
    ChildrenFailed,
    ChildrenFinished,
    Event,
    EventReceived,
    JobStarted,
    OpenWork,
    Publish,
    Record,
    Responded,
    StartChildren,
    TaskCompleted,
    TaskFailed,
    TimePassed,
)
from .parsing import fragment
from .state import MOVING, READY, JobState, Waiting

MAX_DEPTH = 10
TOO_LONG = "The walk was longer than it may be: too many steps."
_TOLD = {"task.completed": "completed", "task.failed": "failed", "task.caught": "caught", "task.withdrawn": "withdrawn"}


@dataclass(frozen=True, slots=True)
class Given:
    """What one run of a task comes to: an outcome and an output, or an error. `after` is how long it takes.

    `assumed` says in a sentence what was assumed, where nobody said it.
    """

    outcome: str | None = None
    output: Json = None
    error: str | None = None
    cause: str = ""
    after: timedelta | None = None
    assumed: str = ""


class Answers(Protocol):
    """Who says what the steps of a walk come to. `place` names a task: `pay`, `ship/pack` in a child workflow, `m[3]`
    for an item of a map."""

    def given(self, place: str, iteration: int) -> Given | None:
        """What was said beforehand about this run; None where nothing was."""

    def step(self, definition: Definition, state: JobState, task: str, now: datetime) -> Event | Given | None:
        """What a worker would bring back from a runnable task; None where that cannot be told."""

    def assumed(self, place: str, waiting: Waiting, request: OpenWork | None) -> Given | None:
        """What a waiting task is taken to be answered with; None where that cannot be told."""

    def child(self, workflow: str, version: int | None) -> Definition | None:
        """What a `workflow` task runs; None where there is no such workflow."""


@dataclass(frozen=True, slots=True)
class PathStep:
    """One run of one task that ended. `result` is completed, failed (nothing took the error), caught or withdrawn.

    `request` is what was asked of people or systems, where somebody was.
    """

    task: str
    type: str
    iteration: int
    at: datetime
    result: str
    outcome: str | None = None
    output: Json = None
    error: str | None = None
    cause: str | None = None
    assumed: str = ""
    request: OpenWork | None = None
    asked_at: datetime | None = None


@dataclass(slots=True)
class Budget:
    """How many events a walk, with all its children, may still decide on."""

    left: int = 1_000


@dataclass(slots=True)
class Walk:
    """What came of a walk. `stopped` says why it went no further though the job had not ended; `missing` is the run it
    had no answer for, as (task, iteration)."""

    state: JobState
    now: datetime
    path: list[PathStep] = field(default_factory=list)
    published: list[tuple[datetime, str, Publish]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stopped: str = ""
    missing: tuple[str, int] | None = None


def walk(
    definition: Definition,
    input: Json,
    answers: Answers,
    *,
    now: datetime,
    budget: Budget,
    job_id: str = "simulation",
    priority: int | None = None,
    created_at: datetime | None = None,
) -> Walk:
    """Walk a job of this definition from its start to its end, or to where it can go no further."""
    walker = _Walker(definition, definition, input, answers, now, budget, "", 0)
    chosen = definition.priority if priority is None else priority
    walker.apply(JobStarted(job_id, created_at or now, chosen))
    walker.run()
    return walker.walk


class _Walker:
    """One walk in the making. `root` is the whole definition that a fragment was cut out of."""

    def __init__(
        self,
        root: Definition,
        definition: Definition,
        input: Json,
        answers: Answers,
        now: datetime,
        budget: Budget,
        prefix: str,
        depth: int,
    ) -> None:
        self.root = root
        self.definition = definition
        self.answers = answers
        self.budget = budget
        self.prefix = prefix
        self.depth = depth
        self.walk = Walk(JobState.new(input), now)
        self.requests: dict[tuple[str, int], OpenWork] = {}
        self.asked_at: dict[tuple[str, int], datetime] = {}
        self.children: dict[str, StartChildren] = {}
        self.assumed: dict[tuple[str, int], str] = {}

    def place(self, task: str) -> str:
        return self.prefix if self.definition.fragment else self.prefix + task

    # ---- deciding ----

    def apply(self, event: Event) -> bool:
        """Decide on an event; False where it did not fit."""
        self.budget.left -= 1
        decision = decide(self.definition, self.walk.state, event, self.walk.now)
        moved = decision.state is not self.walk.state
        self.walk.state = decision.state
        for command in decision.commands:
            if isinstance(command, OpenWork):
                self.requests[command.task, command.iteration] = command
                self.asked_at[command.task, command.iteration] = self.walk.now
            elif isinstance(command, StartChildren):
                self.children[command.task] = command
            elif isinstance(command, Publish):
                self.walk.published.append((self.walk.now, self.place(command.task), command))
        for record in decision.records:
            self._tell(record)
        return moved

    def _tell(self, record: Record) -> None:
        if record.event == "response.ignored":
            self.walk.stopped = self.walk.stopped or f"{record.task}: {record.data.get('reason')}"
        elif record.event in _TOLD and record.task is not None:
            run = (record.task, record.iteration)
            self.walk.path.append(
                PathStep(
                    task=self.place(record.task),
                    type=self.definition.task(record.task).type,
                    iteration=record.iteration,
                    at=self.walk.now,
                    result=_TOLD[record.event],
                    outcome=record.outcome,
                    output=record.output,
                    error=record.error,
                    cause=record.cause,
                    assumed=self.assumed.pop(run, ""),
                    request=self.requests.get(run),
                    asked_at=self.asked_at.get(run),
                )
            )

    # ---- going on ----

    def run(self) -> None:
        while not self.walk.stopped and self.walk.state.phase in MOVING:
            if self.budget.left <= 0:
                self.walk.stopped = TOO_LONG
            elif self.walk.state.runnable:
                self._step(self.walk.state.runnable[0])
            elif not (self._answer() or self._wait()):
                break

    def _step(self, name: str) -> None:
        """What a worker would do."""
        iteration = self.walk.state.tasks[name].iteration
        given = self.answers.given(self.place(name), iteration)
        found = given or self.answers.step(self.definition, self.walk.state, name, self.walk.now)
        if found is None:
            self._miss(name, iteration)
        elif not isinstance(found, Given):
            self.apply(found)
        else:
            self._assume(name, iteration, found)
            if self._takes(name, iteration, READY, found.after, self.walk.now):
                self.apply(_step_event(name, iteration, found))

    def _answer(self) -> bool:
        """Answer whatever waits for somebody, the first to be answered first; False where nothing does."""
        missed: Waiting | None = None
        chosen: tuple[datetime, Waiting, Given] | None = None
        for waiting in self.walk.state.waiting:
            if waiting.kind in ("wait", "retry"):
                continue
            place = self.place(waiting.task)
            given = self.answers.given(place, waiting.iteration)
            if given is None and waiting.kind == "children":
                self._run_children(waiting)
                return True
            request = self.requests.get((waiting.task, waiting.iteration))
            given = given or self.answers.assumed(place, waiting, request)
            if given is None:
                missed = missed or waiting
                continue
            since = waiting.since or self.walk.now
            moment = max(self.walk.now, since + given.after) if given.after else self.walk.now
            if chosen is None or moment < chosen[0]:
                chosen = (moment, waiting, given)
        if chosen is not None:
            _, waiting, given = chosen
            self._assume(waiting.task, waiting.iteration, given)
            if self._takes(waiting.task, waiting.iteration, "waiting", given.after, waiting.since or self.walk.now):
                self._end(waiting, given)
        elif missed is not None:
            self._miss(missed.task, missed.iteration)
        return chosen is not None or missed is not None

    def _end(self, waiting: Waiting, given: Given) -> None:
        name, iteration = waiting.task, waiting.iteration
        attempt = self.walk.state.tasks[name].attempt
        event: Event
        if waiting.kind == "children" and given.error is not None:
            event = ChildrenFailed(name, iteration, attempt, given.error, given.cause)
        elif waiting.kind == "children":
            event = ChildrenFinished(name, iteration, attempt, given.output, given.outcome)
        elif given.error is not None:
            event = TaskFailed(name, iteration, given.error, given.cause)
        elif waiting.kind == "event":
            event = EventReceived(name, iteration, given.output)
        else:
            offered = self.definition.task(name).outcomes
            outcome = offered[0] if given.outcome is None and offered else given.outcome
            event = Responded(name, iteration, outcome, given.output)
        self.apply(event)

    def _wait(self) -> bool:
        """Let the time pass to whatever is due next; False where nothing is."""
        wake_at = self.walk.state.wake_at
        if wake_at is None:
            return False
        self.walk.now = max(self.walk.now, wake_at)
        return self.apply(TimePassed())

    def _takes(self, name: str, iteration: int, status: str, after: timedelta | None, since: datetime) -> bool:
        """Let the time pass that an answer takes; False where the task was no longer there to be answered."""
        until = since + after if after else self.walk.now
        while (wake_at := self.walk.state.wake_at) is not None and wake_at < until and self.budget.left > 0:
            self._wait()
            if self.walk.state.runnable and status != READY:
                return False  # what runs now comes before an answer that is still to come
            standing = self.walk.state.tasks[name]
            if (standing.status, standing.iteration) != (status, iteration):
                return False
        self.walk.now = max(self.walk.now, until)
        return True

    def _assume(self, name: str, iteration: int, given: Given) -> None:
        if given.assumed:
            self.assumed[name, iteration] = given.assumed
            self.walk.notes.append(given.assumed)

    def _miss(self, name: str, iteration: int) -> None:
        self.walk.missing = (self.place(name), iteration)
        self.walk.stopped = f"There is no answer for {self.place(name)}, iteration {iteration}."

    # ---- children ----

    def _run_children(self, waiting: Waiting) -> None:
        """Walk the child jobs of a task one after the other, as if they ran at once."""
        name = waiting.task
        command = self.children[name]
        outputs: list[Json] = []
        errors: list[tuple[str, str]] = []
        outcome: str | None = None
        latest = self.walk.now
        for index, item in enumerate(command.items):
            child = self._child(command, item, index)
            if self.budget.left <= 0:
                self.walk.stopped = TOO_LONG
            if self.walk.stopped:
                return
            if child is None:
                cause = f"There is no workflow {command.workflow!r} to run."
                self._end(waiting, Given(error="DefinitionNotFound", cause=cause))
                return
            child.run()
            walk = child.walk
            self.walk.path += walk.path
            self.walk.published += walk.published
            self.walk.notes += walk.notes
            if walk.stopped:
                self.walk.stopped, self.walk.missing = walk.stopped, walk.missing
                return
            latest = max(latest, walk.now)
            failed = walk.state.status != "DONE"
            error = (walk.state.error or {}) if failed else {}
            if failed:
                errors.append((error.get("name") or "Cancelled", error.get("cause") or ""))
            outputs.append(None if failed else walk.state.output)
            outcome = walk.state.outcome
        self.walk.now = latest
        if len(errors) > command.tolerated_failures:
            self._end(waiting, Given(error=errors[0][0], cause=errors[0][1]))
        elif command.kind == "map":
            self._end(waiting, Given(output=outputs))
        else:
            self._end(waiting, Given(outcome, outputs[0]))

    def _child(self, command: StartChildren, item: Json, index: int) -> _Walker | None:
        """The walker of one child job, about to start."""
        place = self.place(command.task)
        if self.depth >= MAX_DEPTH:
            self.walk.stopped = f"{place} is nested deeper than {MAX_DEPTH} jobs."
        if command.kind == "workflow":
            definition = self.answers.child(str(command.workflow), command.version)
            if definition is None:
                return None
            root, given, prefix = definition, item, f"{place}/"
        else:
            path = f"{self.definition.fragment}/{command.task}" if self.definition.fragment else command.task
            root, definition = self.root, fragment(self.root, path)
            own = {"item": item, "index": index} if command.kind == "map" else {"given": item}
            given = {**command.names, **own}
            prefix = f"{place}[{index}]" if command.kind == "map" else place
        child = _Walker(root, definition, given, self.answers, self.walk.now, self.budget, prefix, self.depth + 1)
        child.walk.stopped = self.walk.stopped
        state = self.walk.state
        child.apply(JobStarted(state.job_id, state.created_at or self.walk.now, command.priority))
        return child


def _step_event(name: str, iteration: int, given: Given) -> Event:
    if given.error is not None:
        return TaskFailed(name, iteration, given.error, given.cause)
    return TaskCompleted(name, iteration, given.output, given.outcome)


def deciders(path: list[PathStep]) -> Iterator[tuple[str, int, Json]]:
    """Who is asked on a path: (task, iteration, what says who decides), in order."""
    for step in path:
        if step.request is not None:
            asked = step.request
            who = {"department": asked.department, "queue": asked.queue, "assignee": asked.assignee}
            yield step.task, step.iteration, {**who, "quorum": asked.quorum, "constraints": asked.constraints}
