"""What holds for every definition and every history, tried on many that nobody would write.

`ENGINE_EXAMPLES=5000` makes a long run of it.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.driver import Job, canonical, define, edge, human, plugin
from workflows.engine.definition import Definition
from workflows.engine.state import DEAD, READY, SPENT, TAKEN, WAITING

pytestmark = pytest.mark.timeout(0 if "ENGINE_EXAMPLES" in os.environ else 120)

many = settings(
    max_examples=int(os.environ.get("ENGINE_EXAMPLES", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

CONDITIONS = [None, None, "output > 1", "output <= 1", "outcome == 'approve'", "outcome == 'reject'", "output.missing"]
KINDS = ["plugin", "plugin", "plugin", "human", "external", "wait", "pass", "emit"]


@st.composite
def tasks_of(draw: st.DrawFn, count: int) -> dict[str, Any]:
    tasks: dict[str, Any] = {}
    for index in range(count):
        fields: dict[str, Any] = {
            "plugin": plugin(),
            "human": human(),
            "external": {"type": "external", "queue": "q"},
            "wait": {"type": "wait", "for": "PT1H"},
            "pass": {"type": "pass", "input": draw(st.integers(0, 3))},
            "emit": {"type": "emit", "event": "e", "data": draw(st.integers(0, 3))},
        }[draw(st.sampled_from(KINDS))]
        fields = {
            **fields,
            "join": draw(st.sampled_from(["all", "any"])),
            "split": draw(st.sampled_from(["all", "first"])),
        }
        if draw(st.integers(0, 3)) == 0:
            fields["retry"] = [{"errors": ["Down"], "max_attempts": draw(st.integers(1, 3))}]
        if draw(st.integers(0, 3)) == 0:
            fields["timeout"] = "PT2H"
        tasks[f"t{index}"] = fields
    return tasks


@st.composite
def definitions(draw: st.DrawFn, loops: bool = False) -> Definition:
    count = draw(st.integers(1, 8))
    tasks = draw(tasks_of(count))
    edges: list[dict[str, Any]] = []
    defaults: set[int] = set()
    for target in range(1, count):
        for source in sorted(draw(st.sets(st.integers(0, target - 1), max_size=3))):
            fields: dict[str, Any] = {}
            choice = draw(st.integers(0, 6))
            when = draw(st.sampled_from(CONDITIONS))
            if choice == 0:
                fields["on_error"] = [draw(st.sampled_from(["Down", "*", "Timeout"]))]
                when = None
            elif choice == 1 and source not in defaults:
                defaults.add(source)
                fields["default"] = True
                when = None
            edges.append(edge(f"t{source}", f"t{target}", when, **fields))
    if loops:
        for _ in range(draw(st.integers(1, 2))):
            source = draw(st.integers(0, count - 1))
            when = draw(st.sampled_from(["output > 1", "output == 0", "outcome == 'reject'"]))
            edges.append(edge(f"t{source}", f"t{draw(st.integers(0, source))}", when, loop={"max_iterations": 2}))
    try:
        return define(tasks, *edges)
    except Exception:
        # Not every drawing is legal (a loop that goes nowhere, a task hidden behind another): draw less.
        return define(
            tasks, *[item for item in edges if "loop" not in item and "default" not in item and "when" in item]
        )


def step(job: Job, draw: st.DrawFn) -> None:
    """One thing that may happen now, drawn from all that may."""
    moves: list[Any] = []
    for name, task in job.state.tasks.items():
        if task.status == READY:
            moves.append(lambda name=name: job.done(name, draw(st.integers(0, 3)), draw(OUTCOMES)))
            moves.append(lambda name=name: job.fail(name, draw(st.sampled_from(["Down", "Else"]))))
            moves.append(lambda name=name: job.park(name, "r"))
        elif task.status == WAITING and task.kind != "wait":
            moves.append(lambda name=name: job.answer(name, draw(OUTCOMES), draw(st.integers(0, 3))))
    if job.state.wake_at is not None:
        moves.append(lambda: job.wait(seconds=max(0.0, (job.state.wake_at - job.now).total_seconds())))
    if job.status == "FAIL":
        moves.append(job.retry)
        failed = [name for name, task in job.state.tasks.items() if task.dead_letter]
        moves.extend(lambda name=name: job.skip(name, draw(st.integers(0, 3)), "approve") for name in failed)
    if moves:
        draw(st.sampled_from(moves))()


OUTCOMES = st.sampled_from(["approve", "reject"])


def check_invariants(job: Job) -> None:
    state, definition = job.state, job.definition
    assert len(set(state.active)) == len(state.active)
    for name, task in state.tasks.items():
        assert (name in state.active) == (task.active and state.phase != "cancelled")
        assert task.iteration >= 1
        if task.status == READY:
            assert definition.tasks[name].type == "plugin" or state.phase == "failed"
        if task.status == WAITING:
            assert task.kind
    for name in definition.tasks:
        begun = name in state.tasks and state.tasks[name].status not in ("pending", "withdrawn")
        words = [state.transitions.get(transition.index) for transition in definition.incoming[name]]
        if words and not begun and state.phase == "active":
            # Nothing that could run is left waiting: no join waits for what can no longer come.
            assert None in words, f"{name} waits though all is settled: {words}"
            assert definition.tasks[name].join == "all" or TAKEN not in words
        assert set(words) <= {None, TAKEN, DEAD, SPENT}


def check_ending(job: Job) -> None:
    state = job.state
    if state.status == "PEND":
        assert state.waiting
        assert all(item.kind for item in state.waiting)
    elif state.status == "READY":
        assert state.runnable
    elif state.status == "FAIL":
        assert state.error is not None
        assert state.error["name"]
    else:
        assert state.status == "DONE"
        assert not state.active


@many
@given(st.data())
def test_every_history_of_an_acyclic_definition_ends_or_waits_for_something_named(data: st.DataObject) -> None:
    job = Job(data.draw(definitions()))
    for _ in range(60):
        check_invariants(job)
        check_ending(job)
        if job.status == "DONE":
            break
        step(job, data.draw)
    assert canonical(job.replayed()) == canonical(job.state)


@many
@given(st.data())
def test_the_same_holds_with_loops(data: st.DataObject) -> None:
    job = Job(data.draw(definitions(loops=True)))
    for _ in range(60):
        check_invariants(job)
        check_ending(job)
        if job.status == "DONE":
            break
        step(job, data.draw)
    assert canonical(job.replayed()) == canonical(job.state)


@many
@given(st.data())
def test_an_acyclic_job_that_is_answered_and_never_fails_runs_each_task_at_most_once(data: st.DataObject) -> None:
    job = Job(data.draw(definitions()))
    for _ in range(60):
        if job.status in ("DONE", "FAIL"):
            break
        for name in job.runnable:
            job.done(name, data.draw(st.integers(0, 3)), data.draw(OUTCOMES))
        for item in job.state.waiting:
            if item.kind in ("human", "external"):
                job.answer(item.task, data.draw(OUTCOMES), data.draw(st.integers(0, 3)))
        if job.state.wake_at is not None:
            job.wait(seconds=max(0.0, (job.state.wake_at - job.now).total_seconds()))
    assert job.status in ("DONE", "FAIL")
    if job.status == "FAIL":
        assert job.state.error is not None
        assert job.state.error["name"] in ("ExpressionError", "Timeout")
    assert all(task.iteration == 1 for task in job.state.tasks.values())
    completed = [record.task for record in job.history if record.event == "task.completed"]
    assert len(completed) == len(set(completed))


@many
@given(st.data())
def test_cancelling_at_any_moment_leaves_nothing_open(data: st.DataObject) -> None:
    job = Job(data.draw(definitions(loops=True)))
    opened: set[tuple[str, int]] = set()

    def keep_books() -> None:
        for command in job.commands:
            kind = type(command).__name__
            if kind == "OpenWork":
                opened.add((command.task, command.iteration))
            elif kind == "WithdrawWork":
                assert (command.task, command.iteration) in opened, "withdrawn what was never asked"
                opened.discard((command.task, command.iteration))
        for record in job.records:
            if record.event == "task.completed" and record.task is not None:
                opened.discard((record.task, record.iteration))

    keep_books()
    for _ in range(data.draw(st.integers(0, 25))):
        if job.status == "DONE":
            break
        step(job, data.draw)
        keep_books()
        waiting = {(item.task, item.iteration) for item in job.state.waiting if item.kind in ("human", "external")}
        assert opened == waiting, "the open requests are not what the job waits for"
    if job.status != "DONE":
        job.cancel()
        keep_books()
        assert job.status == "CANC"
        assert not opened
