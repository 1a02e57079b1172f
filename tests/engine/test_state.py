"""The serialized workflow object: what it holds, and that it comes back as it was."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, get_args

import pytest

from tests.engine.driver import START, Job, canonical, define, edge, human, plugin
from workflows.engine import events
from workflows.engine.codec import event_from_json, event_to_json
from workflows.engine.decide import HANDLERS
from workflows.engine.events import Event, RetryRequested
from workflows.engine.exceptions import InvalidEvent, InvalidState
from workflows.engine.state import JobState


def test_a_new_state_is_ready_and_empty() -> None:
    state = JobState.new({"x": 1})
    assert (state.status, state.runnable, state.wake_at, state.waiting) == ("READY", (), None, ())
    assert (state.output, state.outcome, state.error) == (None, None, None)


def test_the_json_form_is_versioned_and_leaves_the_input_out() -> None:
    job = Job(define({"a": plugin()}), {"secret": "x"})
    data = job.state.to_json()
    assert data["schema_version"] == 1
    assert "secret" not in json.dumps(data)


def test_a_state_comes_back_byte_for_byte() -> None:
    tasks = {"a": plugin(retry=[{}]), "b": human(timeout="PT1H"), "c": {"type": "wait", "for": "P1D"}, "d": plugin()}
    job = Job(define(tasks, timeout="P9D"), {"x": 1})
    job.fail("a")
    job.park("d", "why", START + timedelta(hours=3))
    text = canonical(job.state)
    assert canonical(JobState.from_json(json.loads(text), {"x": 1})) == text
    assert job.state.wake_at == START + timedelta(seconds=1)


@pytest.mark.parametrize(
    "data",
    [
        {},
        [],
        None,
        {"schema_version": 2},
        {"schema_version": 1},
        {"tasks": {"a": {"status": "flying"}}},
        {"tasks": {"a": {"status": "done", "wings": 2}}},
        {"tasks": []},
        {"phase": "limbo"},
        {"transitions": {"x": "taken"}},
        {"created_at": "yesterday"},
    ],
)
def test_a_state_that_something_else_wrote_is_refused(data: Any) -> None:
    whole = JobState.new(1).to_json()
    if isinstance(data, dict) and data and "schema_version" not in data:
        data = {**whole, **data}
    with pytest.raises(InvalidState):
        JobState.from_json(data, 1)


def test_what_has_its_default_is_not_written() -> None:
    job = Job(define({"a": plugin()}))
    assert set(job.state.to_json()) == {
        "schema_version",
        "phase",
        "priority",
        "job_id",
        "created_at",
        "tasks",
        "active",
    }
    assert event_to_json(events.TaskCompleted("a", 1)) == {"event": "TaskCompleted", "task": "a", "iteration": 1}
    assert event_to_json(events.RetryRequested("a", None)) == {"event": "RetryRequested", "task": "a", "input": None}


EVERY_EVENT: list[Event] = [
    events.JobStarted("job-1", START, 50),
    events.TaskCompleted("a", 2, {"x": [None, 1.5, "é"]}, "well"),
    events.TaskParked("a", 1, "why", START + timedelta(microseconds=1)),
    events.TaskParked("a", 1),
    events.TaskFailed("undo:a", 1, "Down", "why"),
    events.Responded("a", 1, None, None, "ann"),
    events.EventReceived("a", 1, {"sum": 5}, "event-1"),
    events.ChildrenFinished("a", 1, 2, [1, None], "well"),
    events.ChildrenFailed("a", 1, 2, "Down", "child 3"),
    events.TimePassed(),
    events.CancelRequested("ann", "enough", compensate=True),
    events.RetryRequested("a", {"n": 1}, "ann", "why"),
    events.SkipRequested("a", {"n": 1}, "ann", "well", "why"),
    events.RestartRequested("a", "ann", "why"),
]


@pytest.mark.parametrize("event", EVERY_EVENT, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_as_it_was(event: Event) -> None:
    assert event_from_json(json.loads(json.dumps(event_to_json(event)))) == event


def test_every_event_there_is_can_be_kept() -> None:
    assert {type(event) for event in EVERY_EVENT} == set(HANDLERS) == set(get_args(Event))


def test_a_state_of_the_first_release_is_read() -> None:
    job = Job(define({"a": plugin(), "b": plugin()}))
    job.done("b", 1, "well")
    old = job.state.to_json()
    del old["last"]
    old |= {"deadline": None, "loops": {}, "failure": None, "output": None, "priority": 50, "active": ["a"]}
    assert JobState.from_json({**old, "finished": [["b", 1]]}, {}) == job.state
    assert JobState.from_json({**old, "finished": []}, {}).outcome is None


def test_a_state_while_it_is_undone_comes_back_byte_for_byte() -> None:
    definition = define({"a": plugin(compensate="test.undo", retry=[{}]), "b": human()}, edge("a", "b"))
    job = Job(definition)
    job.done("a")
    job.cancel(compensate=True)
    job.fail("undo:a")
    text = canonical(job.state)
    restored = JobState.from_json(json.loads(text), {})
    assert (canonical(restored), restored) == (text, job.state)
    assert (restored.undo, restored.ending) == ((("a", 1),), {"actor": "ann", "reason": "no longer needed"})


@pytest.mark.parametrize("data", [{}, {"event": "Exploded"}, {"event": "TaskFailed"}, {"event": "TimePassed", "x": 1}])
def test_an_event_that_something_else_wrote_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent):
        event_from_json(data)


def test_a_retry_with_null_as_input_is_not_a_retry_without_input() -> None:
    assert "input" not in event_to_json(RetryRequested())
    assert event_to_json(RetryRequested(input=None))["input"] is None
    assert event_from_json(event_to_json(RetryRequested(input=None))) != RetryRequested()
