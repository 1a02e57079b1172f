"""Tasks that others finish: events, child workflows, maps, and steps on another queue."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.engine.driver import START, Job, define, edge, human, plugin
from workflows.engine.decide import decide, expected, step_input
from workflows.engine.events import (
    AwaitEvent,
    ChildrenFinished,
    CloseChildren,
    EventReceived,
    JobStarted,
    OpenWork,
    StartChildren,
    StopAwaiting,
)
from workflows.engine.parsing import fragment
from workflows.engine.starting import MAX_ITEMS
from workflows.engine.state import JobState

WAITING_TASKS: dict[str, dict[str, Any]] = {
    "event": {"type": "event", "event": "paid"},
    "workflow": {"type": "workflow", "workflow": "other"},
    "map": {"type": "map", "items": [1, 2], "task": plugin()},
    "queue": plugin(queue="far"),
    "http": {"type": "http", "url": "https://example.org", "queue": "far", "retry": []},
}


def closing(name: str, reason: str, attempt: int = 1) -> Any:
    return StopAwaiting("a", 1, attempt) if name == "event" else CloseChildren("a", 1, attempt, reason)


def mapped(inner: dict[str, Any], items: Any = "${input.items}", **fields: Any) -> dict[str, Any]:
    return {"type": "map", "items": items, "task": inner, **fields}


def started(job: Job) -> StartChildren:
    (command,) = job.commands
    assert isinstance(command, StartChildren)
    return command


# ---- what they have in common ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WAITING_TASKS)
def test_it_waits_for_something_named(name: str) -> None:
    job = Job(define({"a": WAITING_TASKS[name]}))
    (item,) = job.state.waiting
    assert (job.status, item.task, item.kind) == ("PEND", "a", "event" if name == "event" else "children")
    assert item.reason
    assert expected(job.definition, job.state, "a") is None


@pytest.mark.parametrize("name", WAITING_TASKS)
def test_nobody_answers_in_its_place(name: str) -> None:
    job = Job(define({"a": WAITING_TASKS[name]}))
    job.answer("a")
    assert (job.happened, job.standing("a")) == (["response.ignored"], "waiting")


@pytest.mark.parametrize("name", WAITING_TASKS)
def test_its_time_limit_takes_back_what_was_asked_and_is_the_error_timeout(name: str) -> None:
    tasks = {"a": {**WAITING_TASKS[name], "timeout": "PT1H"}, "b": plugin()}
    job = Job(define(tasks, edge("a", "b", on_error=["Timeout"])))
    assert job.state.wake_at == START + timedelta(hours=1)
    job.wait(hours=1)
    assert job.commands == (closing(name, "timeout"),)
    assert (job.runnable, job.happened) == (("b",), ["task.caught"])


@pytest.mark.parametrize("name", WAITING_TASKS)
def test_a_retry_asks_again_as_another_attempt(name: str) -> None:
    job = Job(define({"a": {**WAITING_TASKS[name], "timeout": "PT1H", "retry": [{"errors": ["Timeout"]}]}}))
    job.wait(hours=1)
    job.wait(seconds=1)
    (command,) = job.commands
    assert isinstance(command, AwaitEvent | StartChildren)
    assert (command.attempt, job.state.tasks["a"].attempt) == (2, 2)


@pytest.mark.parametrize("name", WAITING_TASKS)
def test_cancelling_skipping_and_looping_over_it_takes_back_what_was_asked(name: str) -> None:
    job = Job(define({"a": WAITING_TASKS[name]}))
    job.cancel()
    assert (job.status, job.commands) == ("CANC", (closing(name, "cancelled"),))
    job = Job(define({"a": WAITING_TASKS[name]}))
    job.skip("a", {"x": 1})
    assert (job.status, job.state.output, job.commands) == ("DONE", {"x": 1}, (closing(name, "skipped"),))
    job = Job(define({"s": plugin(), "a": WAITING_TASKS[name]}, edge("s", "a")))
    job.done("s")
    job.restart("s")
    assert job.commands == (closing(name, "loop"),)


@pytest.mark.parametrize("name", WAITING_TASKS)
def test_what_cannot_be_asked_fails_the_task_and_leaves_nothing_to_take_back(name: str) -> None:
    job = Job(define({"a": WAITING_TASKS[name]}))
    job.fail("a", "DefinitionNotFound", "gone")
    assert (job.status, job.commands) == ("FAIL", ())


# ---- event ----------------------------------------------------------------------------------------------------------


def test_an_event_is_awaited_by_its_name_and_key_and_its_data_is_the_output() -> None:
    task = {"type": "event", "event": "order.paid", "correlation_key": "order ${input.no}"}
    job = Job(define({"a": task}), {"no": 7})
    assert job.commands == (AwaitEvent("a", 1, 1, "order.paid", "order 7"),)
    assert job.state.waiting[0].reason == "order.paid order 7"
    job.event("a", {"sum": 5})
    assert (job.status, job.state.output, job.commands) == ("DONE", {"sum": 5}, ())


def test_an_event_without_a_key_is_awaited_by_the_reference_of_the_job() -> None:
    assert Job(define({"a": {"type": "event", "event": "paid"}})).commands == (AwaitEvent("a", 1, 1, "paid", None),)


def test_a_key_that_cannot_be_worked_out_fails_the_task() -> None:
    job = Job(define({"a": {"type": "event", "event": "paid", "correlation_key": "${input.no}"}}))
    assert job.state.error is not None
    assert (job.state.error["name"], job.commands) == ("ExpressionError", ())


def test_an_event_for_a_task_that_waits_for_something_else_changes_nothing() -> None:
    job = Job(define({"a": human()}))
    job.send(EventReceived("a", 1, {}))
    assert job.happened == ["response.ignored"]


# ---- workflow -------------------------------------------------------------------------------------------------------


def test_a_child_workflow_gets_the_input_of_the_task_and_its_end_is_that_of_the_task() -> None:
    task = {"type": "workflow", "workflow": "billing", "version": 3, "input": {"n": "${input.n}"}, "priority": 80}
    job = Job(define({"a": task, "b": plugin()}, edge("a", "b", "outcome == 'paid' && output.sum == 2")), {"n": 5})
    command = started(job)
    assert (command.kind, command.workflow, command.version) == ("workflow", "billing", 3)
    assert (command.items, command.priority, command.names) == (({"n": 5},), 80, {})
    job.children("a", {"sum": 2}, "paid")
    assert (job.runnable, job.commands) == (("b",), ())


def test_a_child_that_fails_fails_the_task_by_its_error() -> None:
    tasks = {"a": {"type": "workflow", "workflow": "billing"}, "b": plugin()}
    job = Job(define(tasks, edge("a", "b", on_error=["Refused"])))
    job.children_failed("a", "Refused", "no funds")
    assert (job.runnable, job.commands) == (("b",), (CloseChildren("a", 1, 1, "failed"),))
    assert job.state.tasks["a"].error == {"name": "Refused", "cause": "no funds"}


def test_news_of_the_children_of_an_earlier_attempt_changes_nothing() -> None:
    job = Job(define({"a": {"type": "workflow", "workflow": "billing", "retry": [{"interval": "PT0S"}]}}))
    job.children_failed("a")
    assert job.state.tasks["a"].attempt == 2
    job.send(ChildrenFinished("a", 1, 1, {"late": True}))
    assert (job.happened, job.standing("a")) == (["response.ignored"], "waiting")


# ---- map ------------------------------------------------------------------------------------------------------------


def test_a_map_starts_a_child_for_each_item_and_gives_them_the_names_they_read() -> None:
    inner = plugin(input={"row": "${item}", "n": "${index}", "who": "${input.who}", "rate": "${tasks.r.output.rate}"})
    tasks = {"r": plugin(), "x": plugin(), "a": mapped(inner, max_concurrency=4, tolerated_failures=2)}
    job = Job(define(tasks, edge("r", "a"), edge("x", "a")), {"items": ["p", "q"], "who": "ann"})
    job.done("x", {"secret": 1})
    job.done("r", {"rate": 2, "rest": "long"})
    command = started(job)
    assert (command.kind, command.items) == ("map", ("p", "q"))
    assert (command.max_concurrency, command.tolerated_failures) == (4, 2)
    assert command.names == {"input": {"who": "ann"}, "tasks": {"r": {"output": {"rate": 2}}}}
    job.children("a", [1, 2])
    assert (job.status, job.state.output) == ("DONE", [1, 2])


@pytest.mark.parametrize(
    ("reads", "names"),
    [
        ("${input}", {"input": {"a": {"b": 1, "c": 2}, "l": [1, 2]}}),
        ("${input.a.b} ${input.a}", {"input": {"a": {"b": 1, "c": 2}}}),
        ("${input.l[1]}", {"input": {"l": [1, 2]}}),
        ("${has(input.x) ? input.x : 0}", {"input": {}}),
        ("${job.priority}", {"job": {"id": "job-1", "created_at": "2030-01-01T12:00:00Z", "priority": 50}}),
        ("${item} ${index} text", {}),
    ],
)
def test_children_are_given_what_they_read_and_nothing_else(reads: str, names: dict[str, Any]) -> None:
    given = {"a": {"b": 1, "c": 2}, "l": [1, 2]}
    job = Job(define({"a": mapped(plugin(input=reads), items=[1])}), given)
    assert started(job).names == names
    item = child(job.definition, "a", {**names, "item": 1, "index": 0})
    whole = child(job.definition, "a", {"input": given, **names, "item": 1, "index": 0})
    assert step_input(item.definition, item.state, "a") == step_input(whole.definition, whole.state, "a")


def test_a_map_over_an_empty_list_is_done_at_once() -> None:
    job = Job(define({"a": mapped(plugin())}), {"items": []})
    assert (job.status, job.state.output, job.commands) == ("DONE", [], ())


@pytest.mark.parametrize(
    ("items", "kind"), [("text", "a text"), ({"a": 1}, "an object"), (5, "a number"), (None, "null"), (True, "true")]
)
def test_a_map_over_what_is_no_list_fails_by_name(items: Any, kind: str) -> None:
    job = Job(define({"a": mapped(plugin())}), {"items": items})
    assert job.state.error is not None
    assert (job.status, job.state.error["name"], job.commands) == ("FAIL", "ValidationError", ())
    assert kind in str(job.state.error["cause"])


def test_a_map_over_what_is_not_there_fails_with_the_name_that_is_missing() -> None:
    job = Job(define({"a": mapped(plugin())}))
    assert job.state.error is not None
    assert job.state.error["name"] == "ExpressionError"
    assert "input.items" in str(job.state.error["cause"])


def test_a_map_over_more_than_a_million_items_fails_by_name() -> None:
    definition = define({"a": mapped(plugin())})
    job = JobState.new({"items": [0] * (MAX_ITEMS + 1)})
    state = decide(definition, job, JobStarted("job-1", START, 50), START).state
    assert state.error is not None
    assert state.error["name"] == "ValidationError"
    assert "1000000" in str(state.error["cause"])


def test_a_person_may_give_a_map_that_failed_other_items() -> None:
    job = Job(define({"a": mapped(plugin())}), {"items": "text"})
    job.retry("a", ["x"])
    assert started(job).items == ("x",)


def test_the_queue_of_the_inner_task_is_where_its_items_run() -> None:
    job = Job(define({"a": mapped(plugin(queue="far"))}), {"items": [1]})
    assert started(job).queue == "far"
    assert fragment(job.definition, "a").tasks["a"].queue is None


def test_what_is_no_expression_in_the_inner_task_is_not_read_as_one() -> None:
    inner = human(form={"type": "string", "pattern": "^${"}, title="${item}")
    assert started(Job(define({"a": mapped(inner)}), {"items": [1]})).names == {}


# ---- fragments ------------------------------------------------------------------------------------------------------


def child(definition: Any, path: str, given: dict[str, Any]) -> Job:
    return Job(fragment(definition, path), given)


def test_an_item_is_a_job_of_the_inner_task_alone_with_item_and_index() -> None:
    inner = plugin(input={"row": "${item.name}", "n": "${index}", "who": "${input.who}"}, retry=[{"max_attempts": 2}])
    parent = define({"a": mapped(inner, retry=[{}]), "b": plugin()}, edge("a", "b"), timeout="PT1H")
    item = child(parent, "a", {"input": {"who": "ann"}, "item": {"name": "x"}, "index": 3})
    assert step_input(item.definition, item.state, "a") == {"row": "x", "n": 3, "who": "ann"}
    assert (item.definition.fragment, item.definition.timeout, list(item.definition.tasks)) == ("a", None, ["a"])
    assert len(item.definition.tasks["a"].retry) == 1
    item.done("a", {"x": 1}, "well")
    assert (item.status, item.state.output, item.state.outcome) == ("DONE", {"x": 1}, "well")


def test_an_item_without_a_mapping_works_on_the_item() -> None:
    item = child(define({"a": mapped(plugin())}), "a", {"item": 5, "index": 0})
    assert step_input(item.definition, item.state, "a") == 5


def test_a_person_may_be_asked_about_each_item() -> None:
    inner = human(title="Row ${index}: ${item}", outcomes=["yes", "no"])
    item = child(define({"a": mapped(inner)}), "a", {"item": "x", "index": 2})
    (command,) = item.commands
    assert isinstance(command, OpenWork)
    assert (command.title, command.data) == ("Row 2: x", "x")
    item.answer("a", "no")
    assert (item.status, item.state.outcome) == ("DONE", "no")


def test_time_can_be_reckoned_with_inside_a_map_as_outside() -> None:
    inner = {"type": "pass", "input": {"late": "${job.created_at + duration('24h')}", "at": "${job.created_at}"}}
    job = Job(define({"a": mapped(inner)}), {"items": [1]})
    item = child(job.definition, "a", {**started(job).names, "item": 1, "index": 0})
    assert item.state.output == {"late": "2030-01-02T12:00:00Z", "at": "2030-01-01T12:00:00Z"}


def test_a_map_in_a_map_is_a_map_in_the_child() -> None:
    inner = mapped(plugin(input={"cell": "${item}", "who": "${input.who}"}), items="${item.cells}")
    job = Job(define({"a": mapped(inner)}), {"items": [{"cells": [1, 2]}], "who": "ann"})
    names = started(job).names
    row = child(job.definition, "a", {**names, "item": {"cells": [1, 2]}, "index": 0})
    command = started(row)
    assert command.items == (1, 2)
    cell = child(job.definition, "a/a", {**command.names, "item": 2, "index": 1})
    assert step_input(cell.definition, cell.state, "a") == {"cell": 2, "who": "ann"}


def test_a_step_on_another_queue_is_given_the_input_that_its_parent_worked_out() -> None:
    fields = {"retry": [{}], "compensate": "test.undo", "join": "any", "timeout": "PT5M"}
    task = plugin(queue="far", input={"n": "${input.n}"}, **fields)
    job = Job(define({"a": task}), {"n": 5})
    command = started(job)
    assert (command.kind, command.queue, command.items, command.names) == ("queue", "far", ({"n": 5},), {})
    step = child(job.definition, "a", {"given": {"n": 5}})
    assert step_input(step.definition, step.state, "a") == {"n": 5}
    alone = step.definition.tasks["a"]
    assert (alone.queue, alone.retry, alone.compensate, alone.timeout) == (None, (), None, timedelta(minutes=5))


def test_a_request_on_another_queue_is_worked_out_by_its_parent() -> None:
    task = {"type": "http", "url": "https://example.org/${input.n}", "queue": "far"}
    job = Job(define({"a": task}), {"n": 5})
    assert job.definition.tasks["a"].retry
    request = {"method": "GET", "url": "https://example.org/5", "headers": {}}
    assert started(job).items == (request,)
    step = child(job.definition, "a", {"given": request})
    assert step_input(step.definition, step.state, "a") == request
    assert step.definition.tasks["a"].retry == ()


@pytest.mark.parametrize("path", ["nobody", "b", "a/a", "a/b", ""])
def test_only_what_runs_apart_can_be_cut_out(path: str) -> None:
    with pytest.raises(KeyError):
        fragment(define({"a": mapped(plugin()), "b": plugin()}), path)


# ---- http -----------------------------------------------------------------------------------------------------------


def test_a_request_is_worked_out_from_its_parts() -> None:
    task = {
        "type": "http",
        "method": "POST",
        "url": "https://example.org/${input.no}",
        "headers": {"X-No": "${input.no}", "X-List": "${input.list}"},
        "body": {"no": "${input.no}"},
    }
    job = Job(define({"a": task}), {"no": 7, "list": [1]})
    assert job.runnable == ("a",)
    assert step_input(job.definition, job.state, "a") == {
        "method": "POST",
        "url": "https://example.org/7",
        "headers": {"X-No": "7", "X-List": "[1]"},
        "body": {"no": 7},
    }


def test_a_request_without_a_body_has_none_and_its_input_is_one() -> None:
    plain = Job(define({"a": {"type": "http", "url": "https://example.org"}}), {"x": 1})
    assert "body" not in step_input(plain.definition, plain.state, "a")
    put = Job(define({"a": {"type": "http", "url": "https://example.org", "method": "PUT", "input": {"n": 1}}}))
    assert step_input(put.definition, put.state, "a")["body"] == {"n": 1}


def test_a_person_who_edits_the_input_of_a_request_edits_the_request() -> None:
    job = Job(define({"a": {"type": "http", "url": "https://example.org"}}))
    job.fail("a", "HttpError.404")
    request = {"method": "GET", "url": "https://example.org/other", "headers": {}}
    job.retry("a", request)
    assert step_input(job.definition, job.state, "a") == request
