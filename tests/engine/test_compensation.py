"""Undoing: what has finished is taken back in the reverse order of its finishing, and a failure to do so says so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.engine.driver import Job, define, edge, human, plugin
from workflows.engine.decide import expected, undoing
from workflows.engine.definition import Definition
from workflows.engine.events import WithdrawWork


def undoable(**fields: Any) -> dict[str, Any]:
    return plugin(compensate="test.undo", **fields)


def order(**fields: Any) -> Definition:
    """Three steps that can be undone, one that cannot, and a person at the end."""
    tasks = {"a": undoable(), "b": undoable(), "n": plugin(), "c": undoable(), "h": human()}
    return define(tasks, *(edge(one, two) for one, two in ("ab", "bn", "nc", "ch")), **fields)


def through(job: Job, *tasks: str) -> Job:
    for name in tasks:
        job.done(name, {"by": name})
    return job


def test_cancelling_with_compensation_undoes_what_has_finished_last_first() -> None:
    job = through(Job(order()), "a", "b", "n", "c")
    job.cancel(compensate=True)
    assert (job.status, job.state.phase) == ("READY", "compensating")
    assert job.commands == (WithdrawWork("h", 1, "cancelled"),)
    assert job.happened == ["task.withdrawn", "job.compensating"]
    assert job.records[-1].data == {"tasks": ["c", "b", "a"]}
    undone = []
    while job.runnable:
        (name,) = job.runnable
        undone.append(undoing(job.state, name))
        job.done(name)
    assert undone == [("c", 1), ("b", 1), ("a", 1)]
    assert (job.status, job.happened) == ("CANC", ["task.completed", "job.cancelled"])
    assert (job.records[-1].actor, job.records[-1].cause) == ("ann", "no longer needed")


def test_cancelling_without_compensation_undoes_nothing() -> None:
    job = through(Job(order()), "a", "b")
    job.cancel()
    assert (job.status, job.runnable) == ("CANC", ())


def test_a_job_with_nothing_to_undo_is_cancelled_at_once() -> None:
    job = Job(order())
    job.cancel(compensate=True)
    assert (job.status, job.happened) == ("CANC", ["task.withdrawn", "job.cancelled"])


def test_the_order_is_that_of_finishing_whatever_the_document_says() -> None:
    job = Job(define({"a": undoable(), "b": undoable(), "c": plugin()}))
    through(job, "b", "a").cancel(compensate=True)
    assert job.runnable == ("undo:a",)


def test_every_finished_run_of_a_loop_is_undone_by_its_iteration() -> None:
    tasks = {"a": undoable(), "b": undoable(), "c": plugin()}
    job = Job(define(tasks, edge("a", "b"), edge("b", "a", "output == 1", loop={}), edge("b", "c", "output == 2")))
    for output in (1, 2):
        job.done("a")
        job.done("b", output)
    job.cancel(compensate=True)
    undone = []
    while job.runnable:
        undone.append(undoing(job.state, job.runnable[0]))
        job.done(job.runnable[0])
    assert undone == [("b", 2), ("a", 2), ("b", 1), ("a", 1)]


def test_what_a_person_did_in_its_place_is_not_undone() -> None:
    job = Job(define({"a": undoable(), "b": undoable(), "c": human()}, edge("a", "b"), edge("b", "c")))
    job.fail("a")
    job.skip("a", {"by": "hand"})
    through(job, "b").cancel(compensate=True)
    assert job.records[-1].data == {"tasks": ["b"]}


def test_a_run_whose_transitions_failed_is_undone_even_where_a_person_stepped_in() -> None:
    job = Job(define({"a": undoable(), "b": human()}, edge("a", "b", "output.x")))
    job.done("a", {"paid": 1})
    assert job.status == "FAIL"
    assert (job.records[-2].event, job.records[-2].output) == ("task.failed", {"paid": 1})
    job.skip("a", {"x": True})
    job.cancel(compensate=True)
    assert job.runnable == ("undo:a",)


def test_a_run_that_was_repeated_is_undone_once_and_by_its_last_end() -> None:
    job = Job(define({"a": undoable(), "b": undoable()}, edge("a", "b", "output.x")))
    job.done("a", {})
    job.retry("a")
    job.done("a", {"x": True})
    job.cancel(compensate=True)
    assert job.happened[-1] == "job.compensating"
    job.done("undo:a")
    assert job.status == "CANC"


def test_what_did_not_finish_is_not_undone() -> None:
    job = Job(define({"a": undoable(), "b": undoable()}, edge("a", "b")))
    job.done("a")
    job.fail("b")
    job.cancel(compensate=True)
    assert job.records[-1].data == {"tasks": ["a"]}


def test_undoing_is_retried_as_the_task_is() -> None:
    job = Job(define({"a": undoable(retry=[{"errors": ["Down"], "max_attempts": 2}]), "h": human()}, edge("a", "h")))
    through(job, "a").cancel(compensate=True)
    job.fail("undo:a", "Down")
    assert (job.status, job.state.waiting[0].kind, job.happened) == ("PEND", "retry", ["task.retrying"])
    job.wait(seconds=1)
    assert (job.runnable, job.state.tasks["undo:a"].attempt) == (("undo:a",), 2)
    job.done("undo:a")
    assert job.status == "CANC"


def failed_undoing() -> Job:
    job = through(Job(order()), "a", "b")
    job.cancel(compensate=True)
    job.fail("undo:b", "Refused", "the bank is closed")
    return job


def test_undoing_that_fails_is_a_dead_letter_that_names_itself() -> None:
    job = failed_undoing()
    assert (job.status, job.state.phase, job.happened) == ("FAIL", "compensating", ["task.failed", "job.failed"])
    assert job.state.error == {"name": "Refused", "cause": "the bank is closed", "task": "undo:b"}


def test_undoing_that_failed_can_be_retried_and_the_rest_follows() -> None:
    job = failed_undoing()
    job.retry("undo:b")
    assert (job.status, job.runnable) == ("READY", ("undo:b",))
    through(job, "undo:b", "undo:a")
    assert job.status == "CANC"


def test_undoing_that_failed_can_be_skipped_and_the_rest_follows() -> None:
    job = failed_undoing()
    job.skip("undo:b")
    assert (job.happened, job.runnable) == (["task.skipped"], ("undo:a",))


def test_undoing_that_failed_can_be_given_up_by_cancelling_without() -> None:
    job = failed_undoing()
    job.cancel()
    assert (job.status, job.state.undo) == ("CANC", (("a", 1), ("b", 1)))


def test_a_job_that_is_compensated_is_not_compensated_twice() -> None:
    job = failed_undoing()
    job.cancel(compensate=True)
    assert (job.happened, job.status) == (["response.ignored"], "FAIL")


def test_undoing_may_park_and_is_answered_under_its_own_name() -> None:
    job = through(Job(order()), "a")
    job.cancel(compensate=True)
    job.park("undo:a", "the bank will say")
    assert expected(job.definition, job.state, "undo:a") == (1, ())
    job.answer("undo:a", "refunded")
    assert job.status == "CANC"


def test_what_had_failed_before_is_not_taken_up_again_while_the_rest_is_undone() -> None:
    job = Job(define({"a": undoable(), "b": plugin(), "c": human()}, edge("a", "b"), edge("b", "c")))
    through(job, "a").fail("b")
    job.cancel(compensate=True)
    job.skip("b")
    assert (job.happened, job.runnable) == (["response.ignored"], ("undo:a",))
    job.retry("b")
    assert job.happened == ["response.ignored"]
    job.restart("a")
    assert job.happened == ["response.ignored"]


def test_a_document_may_ask_for_it_where_a_task_fails_for_good() -> None:
    job = through(Job(order(on_failure="compensate")), "a", "b")
    job.fail("n", "Broken", "why")
    assert (job.status, job.runnable) == ("READY", ("undo:b",))
    assert job.state.error == {"name": "Broken", "cause": "why", "task": "n"}
    through(job, "undo:b", "undo:a")
    assert (job.status, job.state.error) == ("CANC", {"name": "Broken", "cause": "why", "task": "n"})


def test_without_it_a_task_that_fails_waits_for_a_person() -> None:
    job = through(Job(order()), "a", "b")
    job.fail("n")
    assert (job.status, job.runnable) == ("FAIL", ())


def test_a_document_may_ask_for_it_at_a_fail_task() -> None:
    tasks = {"a": undoable(), "f": {"type": "fail", "error": "Refused"}}
    job = Job(define(tasks, edge("a", "f"), on_failure="compensate"))
    job.done("a")
    assert (job.runnable, job.state.error) == (("undo:a",), {"name": "Refused", "cause": "", "task": "f"})


def test_a_document_may_ask_for_it_at_the_time_limit_and_undoing_has_none() -> None:
    fields = {"on_failure": "compensate", "timeout": "PT1H"}
    job = Job(define({"a": undoable(retry=[{"errors": ["Down"]}]), "h": human()}, edge("a", "h"), **fields))
    job.done("a")
    job.wait(hours=2)
    assert (job.runnable, job.commands) == (("undo:a",), (WithdrawWork("h", 1, "cancelled"),))
    assert job.state.error is not None
    assert job.state.error["name"] == "Timeout"
    job.fail("undo:a", "Down")
    assert (job.status, job.state.wake_at) == ("PEND", job.now + timedelta(seconds=1))
    job.wait(seconds=1)
    assert job.runnable == ("undo:a",)


def test_a_document_may_ask_for_it_where_the_output_cannot_be_worked_out() -> None:
    job = Job(define({"a": undoable()}, output={"n": "${tasks.a.output + 1}"}, on_failure="compensate"))
    job.done("a", "text")
    assert job.runnable == ("undo:a",)


@pytest.mark.parametrize("name", ["human", "external", "event", "workflow", "map", "wait", "pass", "emit"])
def test_a_task_of_every_type_can_be_undone(name: str) -> None:
    fields: dict[str, Any] = {
        "human": human(),
        "external": {"type": "external", "queue": "bank"},
        "event": {"type": "event", "event": "paid"},
        "workflow": {"type": "workflow", "workflow": "other"},
        "map": {"type": "map", "items": [1], "task": plugin()},
        "wait": {"type": "wait", "for": "PT1S"},
        "pass": {"type": "pass"},
        "emit": {"type": "emit", "event": "told"},
    }[name]
    job = Job(define({"a": {**fields, "compensate": "test.undo"}, "b": human()}, edge("a", "b")))
    if name in ("human", "external"):
        job.answer("a")
    elif name == "event":
        job.event("a")
    elif name in ("workflow", "map"):
        job.children("a")
    elif name == "wait":
        job.wait(seconds=1)
    job.cancel(compensate=True)
    assert job.runnable == ("undo:a",)
