"""What holds for every definition and every history, tried on many that nobody would write.

`make properties` makes a long run of it: HYPOTHESIS_PROFILE=long.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.engine.driver import START, Job, canonical, define, edge, human, plugin
from workflows.engine.codec import event_from_json, event_to_json
from workflows.engine.decide import decide
from workflows.engine.definition import Definition, compensated_task, compensation_of
from workflows.engine.events import (
    AwaitEvent,
    CancelRequested,
    ChildrenFailed,
    ChildrenFinished,
    CloseChildren,
    Command,
    Event,
    EventReceived,
    JobStarted,
    OpenWork,
    Publish,
    Record,
    Responded,
    RestartRequested,
    RetryRequested,
    SkipRequested,
    StartChildren,
    StopAwaiting,
    TaskCompleted,
    TaskFailed,
    TaskParked,
    TimePassed,
    WithdrawWork,
)
from workflows.engine.exceptions import InvalidDefinition
from workflows.engine.graph import Graph
from workflows.engine.migration import migrate
from workflows.engine.state import DEAD, READY, SKIPPED, SPENT, TAKEN, WAITING, JobState

QUIET: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much]}
settings.register_profile("quick", max_examples=80, stateful_step_count=40, **QUIET)
settings.register_profile("long", max_examples=2_500, stateful_step_count=50, **QUIET)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
many = settings(settings.get_profile(PROFILE))

pytestmark = pytest.mark.timeout(0 if PROFILE == "long" else 120)

ASKED = frozenset({"human", "external", "event", "children"})
"""What a task waits for that somebody was told about."""
CONDITIONS = [None, None, None, "output == 1", "output != 1", "outcome == 'approve'", "outcome == 'reject'", "output.x"]
ERRORS = ["Down", "Refused"]
INPUT = {"items": [1, 2, 3], "none": [], "text": "x"}
outcomes = st.sampled_from(["approve", "reject"])
outputs = st.sampled_from([0, 1, {"x": True}])
by_chance = st.integers(0, 3).map(lambda number: number == 3)
rarely = st.integers(0, 24).map(lambda number: number == 24)


# ---- definitions that nobody would write ----------------------------------------------------------------------------


def work_of_any_type(inputs: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """One task of any type, without its place in a graph."""
    items = st.sampled_from(["${input.items}", "${input.none}", "${input.text}", [1, "${input.text}"]])
    inner = st.sampled_from([plugin(input="${item}"), human(title="${index}"), {"type": "pass"}])
    return st.one_of(
        st.just(plugin()),
        st.just(plugin(compensate="test.undo")),
        st.just(plugin(compensate="test.undo")),
        st.just(plugin(compensate="test.undo", retry=[{"errors": ["Down"], "max_attempts": 2}])),
        inputs.map(lambda given: plugin(compensate="test.undo", input=given)),
        st.just(plugin(queue="far", compensate="test.undo")),
        st.just({"type": "http", "url": "https://example.org/${input.text}"}),
        st.just(human()),
        st.just(human(compensate="test.undo")),
        st.just({"type": "external", "queue": "bank"}),
        st.just({"type": "wait", "for": "PT1H"}),
        st.sampled_from([{"type": "event", "event": "paid"}, {"type": "event", "event": "x", "correlation_key": "k"}]),
        st.fixed_dictionaries({"type": st.just("pass"), "input": inputs}),
        st.fixed_dictionaries({"type": st.just("emit"), "event": st.just("told"), "data": inputs}),
        st.just({"type": "workflow", "workflow": "other"}),
        st.fixed_dictionaries({"type": st.just("map"), "items": items, "task": inner}),
        st.sampled_from([{"type": "pass"}, {"type": "pass"}, {"type": "fail", "error": "Refused"}]),
    )


@st.composite
def tasks_of(draw: st.DrawFn, count: int) -> dict[str, Any]:
    tasks: dict[str, Any] = {}
    for index in range(count):
        inputs = st.sampled_from([0, 1, "${input.text}", "${input.missing}"])
        task = dict(draw(work_of_any_type(inputs)))
        task |= {"join": draw(st.sampled_from(["all", "any"])), "split": draw(st.sampled_from(["all", "first"]))}
        if draw(by_chance):
            interval = draw(st.sampled_from(["PT0S", "PT1M"]))
            errors = [draw(st.sampled_from(["Down", "Timeout", "*"]))]
            task["retry"] = [{"errors": errors, "max_attempts": draw(st.integers(1, 3)), "interval": interval}]
        if draw(by_chance):
            task["timeout"] = draw(st.sampled_from(["PT30M", "PT2H"]))
        tasks[f"t{index}"] = task
    return tasks


@st.composite
def definitions(draw: st.DrawFn, *, loops: bool = True) -> Definition:
    count = draw(st.integers(2, 8))
    tasks = draw(tasks_of(count))
    edges: list[dict[str, Any]] = []
    defaults: set[int] = set()
    for target in range(1, count):
        sources = [number for number in range(target) if tasks[f"t{number}"]["type"] != "fail"]
        for source in sorted(draw(st.sets(st.sampled_from(sources), max_size=3))) if sources else ():
            fields: dict[str, Any] = {}
            choice = draw(st.integers(0, 6))
            when = draw(st.sampled_from(CONDITIONS))
            if choice == 0:
                fields["on_error"] = [draw(st.sampled_from([*ERRORS, "*", "Timeout"]))]
                when = None
            elif choice == 1 and source not in defaults:
                defaults.add(source)
                fields["default"] = True
                when = None
            edges.append(edge(f"t{source}", f"t{target}", when, **fields))
    for _ in range(draw(st.integers(0, 2)) if loops else 0):
        target = f"t{draw(st.integers(0, count - 1))}"
        after = Graph(tuple(tasks), [(item["from"], item["to"]) for item in edges if "loop" not in item])
        when = draw(st.sampled_from(["output == 1", "output != 1", "outcome == 'reject'"]))
        edges.append(edge(draw(st.sampled_from(after.downstream(target))), target, when, loop={"max_iterations": 2}))
    whole: dict[str, Any] = {}
    if draw(by_chance):
        whole["timeout"] = "PT3H"
    if draw(by_chance):
        whole["on_failure"] = "compensate"
    try:
        return define(tasks, *edges, **whole)
    except InvalidDefinition:
        # Not every drawing is legal (a loop that goes nowhere, a task that nothing leads to): draw less.
        for task in tasks.values():
            task.update({"split": "all"} | ({"type": "pass"} if task["type"] == "fail" else {}))
            task.pop("error", None)
        forward = [item for item in edges if "loop" not in item and "default" not in item and "when" in item]
        return define(tasks, *forward, **whole)


# ---- one job, as the server runs it ---------------------------------------------------------------------------------


class Books:
    """What the others were asked and told: requests that are open, and the runs that can be undone."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.open: dict[tuple[str, str, int], int] = {}
        """(what, task, iteration) of every open request, with the attempt that asked."""
        self.undoable: list[tuple[str, int]] = []
        self.undone: list[str] = []

    def close(self, event: Event) -> None:
        """Who answers closes what was asked; who could not ask has nothing to close."""
        what = {Responded: "work", EventReceived: "event", ChildrenFinished: "children"}.get(type(event))
        if what is not None:
            self.open.pop((what, event.task, event.iteration), None)  # type: ignore[union-attr]
        if isinstance(event, TaskFailed):
            for what in ("work", "event", "children"):
                self.open.pop((what, event.task, event.iteration), None)

    def carry_out(self, command: Command, state: JobState) -> None:
        names = {OpenWork: "work", AwaitEvent: "event", StartChildren: "children"}
        closing = {WithdrawWork: "work", StopAwaiting: "event", CloseChildren: "children"}
        if type(command) in names:
            key = (names[type(command)], command.task, command.iteration)
            assert key not in self.open, f"asked twice: {key}"
            self.open[key] = getattr(command, "attempt", 0)
        elif type(command) in closing:
            key = (closing[type(command)], command.task, command.iteration)
            assert key in self.open, f"withdrawn what was never asked: {key}"
            assert self.open.pop(key) == getattr(command, "attempt", 0)
        else:
            assert isinstance(command, Publish)

    def write(self, record: Record) -> None:
        if record.event == "job.compensating":
            expected = [name for name, _ in reversed(self.undoable)]
            assert record.data["tasks"] == expected, "what is to be undone is not what was done"
        if record.task is None:
            return
        ended = record.event == "task.completed"
        by_hand = record.event == "task.skipped" and bool(record.actor)
        undone = compensated_task(record.task)
        if undone is not None and (ended or by_hand):
            assert self.undoable.pop() == (undone, record.iteration), "undone in the wrong order"
        elif undone is None and self.definition.tasks[record.task].compensate is not None and (ended or by_hand):
            run = (record.task, record.iteration)
            if run in self.undoable:
                self.undoable.remove(run)
                self.undoable.append(run)
            elif ended:
                self.undoable.append(run)


class Server:
    """One job between doors, workers and the database.

    Doors write signals, which are kept; a worker's own events are kept from its next commit on, decided after the
    signals that came meanwhile; a repair takes the job from the worker, whose events since the last commit are lost.
    """

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.now = START
        self.base = self.state = JobState.new(INPUT)
        self.signals: list[Event] = []
        self.own: list[Event] = []
        self.decisions: list[tuple[Event, datetime, JobState, tuple[Record, ...], tuple[Command, ...]]] = []
        self.log: list[tuple[str, datetime]] = []
        self.books = Books(definition)
        self.work(JobStarted("job-1", START, 50))
        self.commit()

    def signal(self, event: Event) -> None:
        self.signals.append(event)
        self.decide_all()

    def work(self, event: Event) -> None:
        self.own.append(event)
        self.decide(event)

    def repair(self, event: Event) -> None:
        self.kill()
        self.work(event)
        self.commit()

    def kill(self) -> None:
        """The worker is gone, with everything it has not committed."""
        self.own = []
        self.decide_all()

    def commit(self) -> None:
        for event, now, state, records, commands in self.decisions:
            self.log.append((json.dumps(event_to_json(event)), now))
            self.books.close(event)
            for command in commands:
                self.books.carry_out(command, state)
            for record in records:
                self.books.write(record)
        self.base = self.state = stored_and_read(self.state)
        self.signals, self.own, self.decisions = [], [], []

    def decide_all(self) -> None:
        self.state, self.decisions = self.base, []
        for event in (*self.signals, *self.own):
            self.decide(event)

    def decide(self, event: Event) -> None:
        before = canonical(self.state)
        decision = decide(self.definition, self.state, event, self.now)
        assert canonical(self.state) == before, "decide changed the state it was given"
        assert event_from_json(json.loads(json.dumps(event_to_json(event)))) == event
        if decision.state is self.state:
            assert not decision.commands
            assert [record.event for record in decision.records] in ([], ["response.ignored"])
        else:
            self.decisions.append((event, self.now, decision.state, decision.records, decision.commands))
        self.state = decision.state

    def replayed(self) -> JobState:
        state = JobState.new(INPUT)
        for text, now in self.log:
            state = decide(self.definition, state, event_from_json(json.loads(text)), now).state
        return state


def stored_and_read(state: JobState) -> JobState:
    """The state as the database gives it back, which is what it was, byte for byte."""
    text = canonical(state)
    restored = JobState.from_json(json.loads(text), state.input)
    assert canonical(restored) == text, "the state does not survive its JSON form"
    assert restored == state
    for name in ("status", "runnable", "waiting", "wake_at", "error", "outcome"):
        assert getattr(restored, name) == getattr(state, name), name
    return restored


def check(state: JobState, definition: Definition) -> None:
    """What holds after every single decision."""
    assert len(set(state.active)) == len(state.active)
    moving = state.phase in ("active", "compensating")
    if state.phase == "compensating":
        assert [compensated_task(name) for name in state.active] == [state.undo[-1][0]], "one is undone at a time"
    for name, task in state.tasks.items():
        if state.phase in ("active", "failed"):
            assert (name in state.active) == task.active
        assert task.iteration >= 1
        if task.status == READY and moving:
            task_of = definition.task(name)
            assert task_of.type in ("plugin", "http"), f"{name} is left to a worker"
            assert not task_of.runs_elsewhere
        if task.status == WAITING:
            assert task.kind
            assert task.kind in ASKED or task.kind == "plugin" or task.wake_at is not None
    for name in definition.tasks:
        begun = name in state.tasks and state.tasks[name].status not in ("pending", "withdrawn")
        words = [state.transitions.get(transition.index) for transition in definition.incoming[name]]
        if words and not begun and state.phase == "active":
            # Nothing that could run is left waiting: no join waits for what can no longer come.
            assert None in words, f"{name} waits though all is settled: {words}"
            assert definition.tasks[name].join == "all" or TAKEN not in words
        if begun and state.phase == "active" and definition.tasks[name].join == "all":
            assert None not in words, f"{name} did not wait for all: {words}"
        skipped = name in state.tasks and state.tasks[name].status == SKIPPED
        assert not skipped or set(words) <= {DEAD, SPENT}, f"{name} is skipped though it might run: {words}"
        assert set(words) <= {None, TAKEN, DEAD, SPENT}
    check_ending(state)


def check_ending(state: JobState) -> None:
    """A job has ended, or it says what would move it."""
    if state.status == "PEND":
        assert state.waiting
        assert all(item.kind for item in state.waiting)
    elif state.status == "READY":
        assert state.runnable
    elif state.status == "FAIL":
        assert state.error is not None
        assert state.error["name"]
    else:
        assert state.status in ("DONE", "CANC")
        assert not state.active
        assert not state.waiting
        assert state.wake_at is None


class AnyJob(RuleBasedStateMachine):
    """Any definition, and anything that can happen to a job of it, in any order."""

    server: Server

    @initialize(definition=definitions())
    def start(self, definition: Definition) -> None:
        self.server = Server(definition)

    # ---- the worker ----

    @precondition(lambda self: self.server.state.runnable)
    @rule(output=outputs, outcome=outcomes, kept=st.booleans())
    def a_step_ends_well(self, output: Any, outcome: str, kept: bool) -> None:
        name = self.server.state.runnable[0]
        self.server.work(TaskCompleted(name, self.server.state.tasks[name].iteration, output, outcome))
        self.commit_if(kept)

    @precondition(lambda self: self.server.state.runnable)
    @rule(error=st.sampled_from(ERRORS), kept=st.booleans())
    def a_step_fails(self, error: str, kept: bool) -> None:
        name = self.server.state.runnable[0]
        self.server.work(TaskFailed(name, self.server.state.tasks[name].iteration, error, "why"))
        self.commit_if(kept)

    @precondition(lambda self: self.server.state.runnable)
    @rule(limited=st.booleans())
    def a_step_parks(self, limited: bool) -> None:
        name = self.server.state.runnable[0]
        until = self.server.now + timedelta(hours=1) if limited else None
        self.server.work(TaskParked(name, self.server.state.tasks[name].iteration, "why", until))
        self.server.commit()

    @precondition(lambda self: self.server.own)
    @rule()
    def the_worker_commits(self) -> None:
        self.server.commit()

    @precondition(lambda self: self.server.own)
    @rule()
    def the_worker_is_killed(self) -> None:
        self.server.kill()

    @precondition(lambda self: self.server.books.open)
    @rule(data=st.data())
    def a_request_cannot_be_opened(self, data: st.DataObject) -> None:
        self.server.commit()
        waiting = [item for item in self.server.state.waiting if item.kind in ASKED]
        if waiting:
            item = data.draw(st.sampled_from(waiting))
            self.server.work(TaskFailed(item.task, item.iteration, "UnknownDepartment", "gone"))
            self.server.commit()

    @precondition(lambda self: self.server.state.wake_at is not None)
    @rule(late=st.sampled_from([0, 0, 60, 10_000]))
    def time_passes(self, late: int) -> None:
        wake_at = self.server.state.wake_at or self.server.now
        self.server.now = max(self.server.now, wake_at) + timedelta(seconds=late)
        self.server.work(TimePassed())
        wake_at = self.server.state.wake_at
        assert wake_at is None or wake_at > self.server.now, "it would be woken again and again"
        self.server.commit()

    # ---- doors ----

    @precondition(lambda self: self.server.books.open)
    @rule(data=st.data(), output=outputs, outcome=outcomes)
    def an_answer_comes(self, data: st.DataObject, output: Any, outcome: str) -> None:
        (what, task, iteration), attempt = data.draw(st.sampled_from(sorted(self.server.books.open.items())))
        self.server.signal(
            {
                "work": lambda: Responded(task, iteration, outcome, output, "ann"),
                "event": lambda: EventReceived(task, iteration, output, "e-1"),
                "children": lambda: ChildrenFinished(task, iteration, attempt, output, outcome),
            }[what]()
        )
        self.commit_if(not self.server.own)

    @precondition(lambda self: any(what == "children" for what, _, _ in self.server.books.open))
    @rule(data=st.data())
    def children_fail(self, data: st.DataObject) -> None:
        groups = sorted((key, attempt) for key, attempt in self.server.books.open.items() if key[0] == "children")
        (_, task, iteration), attempt = data.draw(st.sampled_from(groups))
        self.server.signal(ChildrenFailed(task, iteration, attempt, "Down", "child 3 of 7"))
        self.commit_if(not self.server.own)

    @precondition(lambda self: any(item.kind == "plugin" for item in self.server.base.waiting))
    @rule(outcome=outcomes)
    def a_parked_step_is_answered(self, outcome: str) -> None:
        item = next(item for item in self.server.base.waiting if item.kind == "plugin")
        self.server.signal(Responded(item.task, item.iteration, outcome, {"x": True}, "ann"))
        self.commit_if(not self.server.own)

    # ---- people ----

    @rule(task=st.integers(0, 7), undo=by_chance, kind=st.integers(0, 6))
    def somebody_asks_for_something_that_may_not_fit(self, task: int, undo: bool, kind: int) -> None:
        name = compensation_of(f"t{task}") if undo else f"t{task}"
        known = name if name in self.server.state.tasks else "nobody"
        fit = [
            Responded(known, 99, "approve", None, "ann"),
            EventReceived(known, 99),
            ChildrenFinished(known, 1, 99),
            ChildrenFailed(known, 1, 99, "Down"),
            JobStarted("other", START, 1),
            RetryRequested("nobody", actor="ann"),
            SkipRequested("nobody", actor="ann"),
        ][kind]
        before = self.server.state
        self.server.decide(fit)
        assert self.server.state is before

    @precondition(lambda self: self.server.base.status == "FAIL")
    @rule(one=st.booleans(), edited=st.booleans())
    def somebody_retries(self, one: bool, edited: bool) -> None:
        letters = self.dead_letters()
        name = letters[0] if one and letters else None
        self.server.repair(RetryRequested(name, 1, "ann") if edited and name else RetryRequested(name, actor="ann"))

    @rule(data=st.data(), output=outputs, outcome=outcomes, often=by_chance)
    def somebody_skips(self, data: st.DataObject, output: Any, outcome: str, often: bool) -> None:
        self.server.kill()
        names = sorted(self.server.state.tasks)
        if names and (often or self.server.state.status == "FAIL"):
            self.server.repair(SkipRequested(data.draw(st.sampled_from(names)), output, "ann", outcome, "by hand"))

    @rule(task=st.integers(0, 7), often=rarely)
    def somebody_restarts_from_a_task(self, task: int, often: bool) -> None:
        if often:
            self.server.repair(RestartRequested(f"t{task}", "ann", "again"))

    @rule(compensate=st.booleans(), often=rarely)
    def somebody_cancels(self, compensate: bool, often: bool) -> None:
        if often:
            self.server.repair(CancelRequested("ann", "enough", compensate))

    @precondition(lambda self: self.server.base.undo and self.server.base.phase == "active")
    @rule(often=by_chance)
    def somebody_takes_it_all_back(self, often: bool) -> None:
        if often:
            self.server.repair(CancelRequested("ann", "all of it", compensate=True))

    @rule(often=by_chance)
    def somebody_moves_it_to_the_version_it_is_on(self, often: bool) -> None:
        if often and not self.server.own:
            moved = migrate(self.server.definition, self.server.definition, self.server.base, {}, self.server.now)
            assert canonical(moved.state) == canonical(self.server.base)
            assert (moved.commands, moved.records) == ((), ())

    # ---- what always holds ----

    @invariant()
    def it_is_in_order(self) -> None:
        if not hasattr(self, "server"):
            return
        server = self.server
        check(server.state, server.definition)
        check(server.base, server.definition)
        wanted = {(item.task, item.iteration) for item in server.base.waiting if item.kind in ASKED}
        assert {(task, iteration) for _, task, iteration in server.books.open} == wanted, (
            "open is not what it waits for"
        )
        assert list(server.base.undo) == server.books.undoable, "what can be undone is not what was done"

    def teardown(self) -> None:
        """From wherever it is, a job that is looked after comes to its end."""
        if not hasattr(self, "server"):
            return
        server = self.server
        server.commit()
        for _ in range(400):
            if server.base.status in ("DONE", "CANC"):
                break
            self.look_after()
            self.it_is_in_order()
        assert server.base.status in ("DONE", "CANC"), "it neither ends nor says what for"
        assert not server.books.open, "something is left open at the end"
        assert canonical(server.replayed()) == canonical(server.base), "replayed, it is another"

    def look_after(self) -> None:
        server = self.server
        state = server.state
        if state.runnable:
            name = state.runnable[0]
            server.work(TaskCompleted(name, state.tasks[name].iteration, {"x": False}, "approve"))
        elif state.status == "FAIL" and state.phase != "compensating":
            server.work(CancelRequested("ann", "enough", compensate=True))
        elif state.status == "FAIL":
            server.work(RetryRequested(actor="ann"))
        elif server.books.open:
            (what, task, iteration), attempt = min(server.books.open.items())
            if what == "work":
                server.work(Responded(task, iteration, "approve", {"x": False}, "ann"))
            elif what == "event":
                server.work(EventReceived(task, iteration, {"x": False}))
            else:
                server.work(ChildrenFinished(task, iteration, attempt, {"x": False}))
        elif any(item.kind == "plugin" for item in state.waiting):
            item = next(item for item in state.waiting if item.kind == "plugin")
            server.work(Responded(item.task, item.iteration, "approve", {"x": False}, "ann"))
        else:
            assert state.wake_at is not None, "it waits for nothing"
            server.now = max(server.now, state.wake_at)
            server.work(TimePassed())
        server.commit()

    def commit_if(self, kept: bool) -> None:
        if kept:
            self.server.commit()

    def dead_letters(self) -> list[str]:
        state = self.server.state
        return [name for name in state.active if state.tasks[name].dead_letter]


def test_whatever_happens_to_a_job_it_ends_or_waits_for_something_named_and_replays_byte_for_byte() -> None:
    run_state_machine_as_test(AnyJob, settings=many)


# ---- jobs that nobody disturbs --------------------------------------------------------------------------------------


ANSWERS: dict[str, Callable[[Job, str, Any, str], Any]] = {
    "human": lambda job, name, output, outcome: job.answer(name, outcome, output),
    "external": lambda job, name, output, outcome: job.answer(name, outcome, output),
    "event": lambda job, name, output, outcome: job.event(name, output),
    "children": lambda job, name, output, outcome: job.children(name, output, outcome),
}


@many
@given(st.data())
def test_an_acyclic_job_that_is_answered_and_never_fails_runs_each_task_at_most_once(data: st.DataObject) -> None:
    job = Job(data.draw(definitions(loops=False)), INPUT)
    for _ in range(60):
        if job.status in ("DONE", "FAIL", "CANC"):
            break
        for name in job.runnable:
            job.done(name, data.draw(outputs), data.draw(outcomes))
        for item in job.state.waiting:
            if item.kind in ANSWERS and item in job.state.waiting:
                ANSWERS[item.kind](job, item.task, data.draw(outputs), data.draw(outcomes))
        if job.state.wake_at is not None:
            job.wait(seconds=max(0.0, (job.state.wake_at - job.now).total_seconds()))
    assert job.status in ("DONE", "FAIL", "CANC")
    assert all(task.iteration == 1 for task in job.state.tasks.values())
    completed = [record.task for record in job.history if record.event == "task.completed"]
    assert len(completed) == len(set(completed))
    assert canonical(job.replayed()) == canonical(job.state)
