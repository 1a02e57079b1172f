"""A state on the move: how tasks start, end, fail and loop while one event is being decided upon.

`Progress` is the only mutable thing in the engine. It lives for one call of `decide`, works on shallow copies, and
never touches what it was made from. Nothing in it recurses: a thousand skipped tasks are a queue, not a stack.

Readings of the contract that are settled here:

* A loop counts how often its back edge was taken in the whole job, an outer loop does not reset the count; the
  taking that would exceed `max_iterations` fails the task it leaves from with `LoopLimitExceeded`.
* Where a task takes a loop, its forward transitions are not taken: their targets lie in what the loop resets.
* A transition into a `join: any` task that came too late to start it was never used up. When a loop resets that
  task, and the transition comes from outside the loop, it starts the new iteration; the one that was used is spent.
* What a task returned stays readable after a loop has reset it, until it runs, or is skipped, once more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from . import compensation, retry, starting
from .contract import Json
from .definition import RUN_BY_WORKER, Definition, Transition, compensated_task
from .durations import format_timestamp
from .events import CloseChildren, Command, Record, StopAwaiting, WithdrawWork
from .exceptions import ExpressionError
from .scope import names_of
from .state import (
    ACTIVE,
    DEAD,
    DONE,
    FAILED,
    MOVING,
    PENDING,
    READY,
    RETRYING,
    SKIPPED,
    SPENT,
    TAKEN,
    WAITING,
    WITHDRAWN,
    JobState,
    TaskState,
)

MAX_STARTS = 10_000
"""Tasks without a worker that one decision starts: loops in loops must not keep a worker for hours."""


class Progress:
    """One decision in the making."""

    def __init__(self, definition: Definition, state: JobState, now: datetime) -> None:
        self.definition = definition
        self.state = state
        self.now = now
        self.tasks: dict[str, TaskState] = dict(state.tasks)
        self.transitions: dict[int, str] = dict(state.transitions)
        self.loops: dict[int, int] = dict(state.loops)
        self.active: dict[str, None] = dict.fromkeys(state.active)
        self.last = state.last
        self.phase = state.phase
        self.failure = state.failure
        self.undo = state.undo
        self.ending = state.ending
        self.commands: list[Command] = []
        self.records: list[Record] = []
        self.queue: deque[str] = deque()
        self.started = 0

    def freeze(self) -> JobState:
        """The new state."""
        before = self.state
        return JobState(
            before.input,
            before.job_id,
            before.created_at,
            before.priority,
            before.deadline,
            self.phase,
            self.tasks,
            self.transitions,
            self.loops,
            tuple(self.active),
            self.last,
            self.failure,
            before.output,
            self.undo,
            self.ending,
        )

    def names(self, extra: dict[str, Json] | None = None) -> dict[str, Any]:
        return names_of(self.definition, self.state, self.tasks, extra)

    def record(self, event: str, name: str, **details: Any) -> None:
        task = self.tasks[name]
        self.records.append(Record(event, name, task.iteration, details.pop("attempt", task.attempt), **details))

    def put(self, name: str, task: TaskState) -> None:
        """Keep the task's new standing, and the list of active tasks with it."""
        self.tasks[name] = task
        if task.active:
            self.active.setdefault(name)
        else:
            self.active.pop(name, None)

    # ---- starting ----

    def enter(self, name: str, started_by: int | None = None) -> None:
        """The task is due: plugin tasks wait for a worker, all others are started by `run`."""
        before = self.tasks.get(name)
        if before is None:
            self.put(name, TaskState(READY, started_by=started_by))
        else:
            kept: dict[str, Any] = {
                "ran": before.ran,
                "outcome": before.outcome,
                "output": before.output,
                "error": before.error,
            }
            self.put(name, TaskState(READY, before.iteration + 1, started_by=started_by, **kept))
        self.enqueue(name)

    def enqueue(self, name: str) -> None:
        task = self.definition.task(name)
        if task.type not in RUN_BY_WORKER or task.runs_elsewhere:
            self.queue.append(name)

    def run(self) -> None:
        """Start every task that needs no worker, and what follows from it, until none is left."""
        while self.queue and self.phase in MOVING:
            name = self.queue.popleft()
            # A loop that was taken meanwhile may have withdrawn it.
            if self.tasks[name].status != READY:
                continue
            self.started += 1
            if self.started > MAX_STARTS:
                cause = f"More than {MAX_STARTS} tasks ran by themselves at a stretch; let a loop wait for something."
                self.stop(name, "LoopLimitExceeded", cause)
                return
            try:
                starting.start(self, name)
            except ExpressionError as error:
                self.fail_attempt(name, "ExpressionError", str(error))

    # ---- ending ----

    def complete(self, name: str, output: Json, outcome: str | None = None, actor: str = "") -> None:
        """The task ended well; what follows from it is settled."""
        self.finish(name, output, outcome)
        self.record("task.completed", name, output=output, outcome=outcome, actor=actor)
        self.go_on(name)

    def go_on(self, name: str) -> None:
        """What follows from a task that has ended well, or from a compensation."""
        if compensated_task(name) is None:
            self.leave(name)
        else:
            compensation.undone(self)

    def finish(self, name: str, output: Json, outcome: str | None, by_hand: bool = False) -> None:
        """Mark the task done, without following its transitions."""
        before = self.tasks[name]
        done = TaskState(
            DONE,
            before.iteration,
            before.attempt,
            ran=True,
            output=output,
            outcome=outcome,
            started_by=before.started_by,
            by_hand=by_hand,
        )
        self.put(name, done)
        if compensated_task(name) is not None:
            return
        self.last = name
        if self.definition.tasks[name].compensate is not None:
            self._can_be_undone((name, before.iteration), by_hand, repeated=by_hand or before.attempt > 1)

    def _can_be_undone(self, run: tuple[str, int], by_hand: bool, repeated: bool) -> None:
        """Remember a run that has finished, last of all. What a person did in its place is nothing to undo; but where
        it had ended well before, and only its transitions failed, there is."""
        if repeated and run in self.undo:
            self.undo = (*(other for other in self.undo if other != run), run)
        elif not by_hand:
            self.undo = (*self.undo, run)

    def leave(self, name: str) -> None:
        """Take the transitions that hold after the task ended well."""
        try:
            chosen = self._choose(name)
        except ExpressionError as error:
            self.bury(name, "ExpressionError", str(error), keep=True)
            return
        self._follow(name, chosen)

    def _choose(self, name: str) -> list[Transition]:
        task = self.tasks[name]
        names = self.names({"output": task.output, "outcome": task.outcome, "error": None})
        chosen: list[Transition] = []
        default: Transition | None = None
        first_only = self.definition.tasks[name].split == "first"
        for transition in self.definition.outgoing[name]:
            if transition.on_error or (chosen and first_only):
                continue
            if transition.default:
                default = transition
            elif transition.when is None or transition.when.holds(names):
                chosen.append(transition)
        return [default] if default is not None and not chosen else chosen

    def _follow(self, name: str, chosen: Iterable[Transition]) -> None:
        loops = [transition for transition in chosen if transition.is_loop]
        for loop in loops:
            if self._used_up(loop):
                self._exceed(name, loop)
                return
        if loops:
            for loop in loops:
                self._take_loop(loop)
            return
        taken = {transition.index for transition in chosen}
        targets = []
        for transition in self.definition.outgoing[name]:
            if not transition.is_loop:
                self.transitions[transition.index] = TAKEN if transition.index in taken else DEAD
                targets.append(transition.target)
        self.settle(targets)

    def settle(self, targets: Iterable[str]) -> None:
        """Start or skip the targets whose incoming transitions have said enough; skipping travels on."""
        waiting = deque(targets)
        while waiting:
            name = waiting.popleft()
            before = self.tasks.get(name)
            if before is not None and before.status not in (PENDING, WITHDRAWN):
                continue
            edges = self.definition.incoming[name]
            words = [self.transitions.get(edge.index) for edge in edges]
            first = next((edge for edge, word in zip(edges, words, strict=True) if word == TAKEN), None)
            if self.definition.tasks[name].join == "any" and first is not None:
                self.enter(name, started_by=first.index)
            elif None in words:
                continue
            elif first is not None:
                self.enter(name)
            else:
                waiting.extend(self._skip(name))

    def _skip(self, name: str) -> list[str]:
        before = self.tasks.get(name)
        self.put(name, TaskState(SKIPPED, 1 if before is None else before.iteration + 1, attempt=0))
        self.record("task.skipped", name)
        targets = []
        for transition in self.definition.outgoing[name]:
            if not transition.is_loop:
                self.transitions[transition.index] = DEAD
                targets.append(transition.target)
        return targets

    # ---- failing ----

    def fail_attempt(self, name: str, error: str, cause: str) -> None:
        """One attempt failed: tried again, caught by a transition, or left for a person."""
        task = self.tasks[name]
        policies = self.definition.task(name)
        index = retry.find(policies, error)
        if index is not None:
            policy = policies.retry[index]
            granted = task.retries.get(str(index), 0)
            if retry.may_retry(policy, granted):
                seed = f"{self.state.job_id}/{name}/{task.iteration}/{task.attempt}"
                wake_at = self.now + retry.delay(policy, granted, seed)
                self._retry_later(name, {"name": error, "cause": cause}, {str(index): granted + 1}, wake_at)
                return
        self.give_up(name, error, cause)

    def _retry_later(self, name: str, error: dict[str, str], granted: dict[str, int], wake_at: datetime) -> None:
        task = _at_rest(self.tasks[name], RETRYING)
        retries = {**task.retries, **granted}
        self.put(name, replace(task, error=error, retries=retries, since=self.now, wake_at=wake_at))
        data = {"retry_at": format_timestamp(wake_at)}
        self.record("task.retrying", name, error=error["name"], cause=error["cause"], data=data)
        if wake_at <= self.now:
            self.try_again(name)

    def try_again(self, name: str) -> None:
        """A retry is due: the next attempt of the same iteration."""
        task = self.tasks[name]
        self.put(name, replace(task, status=READY, attempt=task.attempt + 1, since=None, wake_at=None))
        self.enqueue(name)

    def give_up(self, name: str, error: str, cause: str, keep: bool = False, loop: int | None = None) -> None:
        """No attempt is left: the first transition that catches the error is taken, else a person is needed.

        `keep` leaves the output in place, where the task itself had ended well.
        """
        try:
            catcher = self._catcher(name, error, cause)
        except ExpressionError as failure:
            self.bury(name, "ExpressionError", str(failure), keep=keep)
            return
        if catcher is None:
            self.bury(name, error, cause, keep=keep, loop=loop)
        elif catcher.is_loop and self._used_up(catcher):
            self._exceed(name, catcher)
        else:
            self._mark_failed(name, error, cause, keep=keep, caught=True)
            task = self.tasks[name]
            data = {"to": catcher.target}
            details = {"error": error, "cause": cause, "output": task.output, "outcome": task.outcome}
            self.record("task.caught", name, data=data, **details)
            self._follow(name, [catcher])

    def _catcher(self, name: str, error: str, cause: str) -> Transition | None:
        names: dict[str, Any] | None = None
        for transition in self.definition.outgoing.get(name, ()):
            if not transition.catches(error):
                continue
            # A loop that is used up cannot catch the news that it is used up.
            if error == "LoopLimitExceeded" and transition.is_loop and self._used_up(transition):
                continue
            if transition.when is not None:
                names = names or self.names({"output": None, "outcome": None, "error": {"name": error, "cause": cause}})
                if not transition.when.holds(names):
                    continue
            return transition
        return None

    def bury(self, name: str, error: str, cause: str, keep: bool = False, loop: int | None = None) -> None:
        """A dead letter: the task waits for a person, the other branches go on."""
        self._mark_failed(name, error, cause, keep=keep, loop=loop)
        task = self.tasks[name]
        self.record("task.failed", name, error=error, cause=cause, output=task.output, outcome=task.outcome)
        compensation.after_failure(self, {"name": error, "cause": cause, "task": name})

    def stop(self, name: str, error: str, cause: str) -> None:
        """The task fails, and with it the job, whatever else could go on."""
        self.bury(name, error, cause)
        if self.phase == "active":  # its failure may be what the others are undone for
            self.failure = {"name": error, "cause": cause, "task": name}
            self.phase = "failed"

    def _mark_failed(
        self, name: str, error: str, cause: str, keep: bool, caught: bool = False, loop: int | None = None
    ) -> None:
        task = _at_rest(self.tasks[name], FAILED)
        if not keep:
            task = replace(task, ran=False, output=None, outcome=None)
        self.put(name, replace(task, error={"name": error, "cause": cause}, caught=caught, loop=loop))

    def _exceed(self, name: str, loop: Transition) -> None:
        cause = f"The loop from {loop.source} to {loop.target} was taken {loop.max_iterations} times."
        self.give_up(name, "LoopLimitExceeded", cause, keep=self.tasks[name].status == DONE, loop=loop.index)

    # ---- loops and withdrawal ----

    def _used_up(self, loop: Transition) -> bool:
        return loop.max_iterations is not None and self.loops.get(loop.index, 0) >= loop.max_iterations

    def _take_loop(self, loop: Transition) -> None:
        count = self.loops[loop.index] = self.loops.get(loop.index, 0) + 1
        self.record("loop.taken", loop.source, data={"to": loop.target, "count": count})
        self.restart(loop.target)

    def restart(self, target: str) -> None:
        """Start the target as a new iteration, with everything downstream of it reset."""
        reset = self.definition.reset_by(target)
        members = set(reset)
        for name in reset:
            self._reset(name, members)
        self.enter(target)
        self.settle(name for name in reset if self.definition.tasks[name].join == "any")

    def _reset(self, name: str, members: set[str]) -> None:
        for edge in self.definition.incoming[name]:
            if edge.source in members:
                self.transitions.pop(edge.index, None)
        task = self.tasks.get(name)
        if task is None:
            return
        if task.started_by is not None and task.started_by in self.transitions:
            self.transitions[task.started_by] = SPENT
        if task.active:
            self.withdraw(name, "loop")
        else:
            self.put(name, replace(_at_rest(task, PENDING), retries={}, started_by=None))

    def withdraw(self, name: str, reason: str) -> None:
        """The task is no longer wanted: whoever was asked for an answer is told so."""
        task = self.tasks[name]
        self.close_work(name, reason)
        self.put(name, replace(_at_rest(task, WITHDRAWN), retries={}, started_by=None))
        self.record("task.withdrawn", name, data={"reason": reason})

    def close_work(self, name: str, reason: str) -> None:
        """Take back what a waiting task has asked for."""
        task = self.tasks[name]
        if task.status != WAITING:
            return
        if task.kind in ("human", "external"):
            self.commands.append(WithdrawWork(name, task.iteration, reason))
        elif task.kind == "event":
            self.commands.append(StopAwaiting(name, task.iteration, task.attempt))
        elif task.kind == "children":
            self.commands.append(CloseChildren(name, task.iteration, task.attempt, reason))

    def is_active(self, name: str) -> bool:
        return name in self.tasks and self.tasks[name].status in ACTIVE


def _at_rest(task: TaskState, status: str) -> TaskState:
    """The task with the given status and nothing left of its waiting."""
    return replace(
        task,
        status=status,
        caught=False,
        loop=None,
        kind="",
        since=None,
        wake_at=None,
        timeout_at=None,
        department=None,
        queue=None,
        reason="",
    )
