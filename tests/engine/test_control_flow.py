"""Which task runs when: starts, splits, joins, dead paths, errors that are caught, and the end."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.engine.driver import Job, define, edge, human, plugin
from workflows.engine.events import JobStarted

ABC = {"a": plugin(), "b": plugin(), "c": plugin()}
DIAMOND = {"a": plugin(), "b": plugin(), "c": plugin(), "d": plugin()}


def test_every_task_without_an_incoming_transition_starts_at_once() -> None:
    assert Job(define(ABC, edge("a", "c"))).runnable == ("a", "b")


def test_a_task_that_only_a_loop_leads_to_starts_at_once() -> None:
    definition = define({"a": plugin(), "b": plugin()}, edge("a", "b"), edge("b", "a", "output == 1", loop={}))
    assert Job(definition).runnable == ("a",)


def test_the_job_is_done_when_nothing_is_active_any_more() -> None:
    job = Job(define({"a": plugin(), "b": plugin()}))
    job.done("a")
    assert job.status == "READY"
    job.done("b", {"x": 1})
    assert (job.status, job.happened[-1], job.state.output) == ("DONE", "job.done", {"x": 1})


def test_split_all_takes_every_transition_that_holds() -> None:
    job = Job(define(ABC, edge("a", "b", "output > 1"), edge("a", "c", "output > 2")))
    job.done("a", 3)
    assert job.runnable == ("b", "c")


def test_split_first_takes_the_first_that_holds_in_document_order() -> None:
    tasks = {"a": plugin(split="first"), "b": plugin(), "c": plugin(), "d": plugin()}
    edges = [edge("a", "b", "output > 5"), edge("a", "d", "output > 1"), edge("a", "c", "output > 0")]
    job = Job(define(tasks, *edges))
    job.done("a", 2)
    assert (job.runnable, job.standing("b"), job.standing("c")) == (("d",), "skipped", "skipped")


def test_split_first_does_not_evaluate_what_comes_after_the_one_taken() -> None:
    tasks = {"a": plugin(split="first"), "b": plugin(), "c": plugin()}
    job = Job(define(tasks, edge("a", "b", "true"), edge("a", "c", "output.missing == 1", on_error=["X"])))
    job.done("a", {})
    assert job.runnable == ("b",)


@pytest.mark.parametrize(("output", "runs"), [(1, "b"), (2, "c")])
def test_a_default_holds_where_no_other_did_wherever_it_stands(output: int, runs: str) -> None:
    for split in ("all", "first"):
        tasks = {"a": plugin(split=split), "b": plugin(), "c": plugin()}
        job = Job(define(tasks, edge("a", "c", default=True), edge("a", "b", "output == 1")))
        job.done("a", output)
        assert job.runnable == (runs,)


def test_a_join_of_all_waits_for_every_branch() -> None:
    job = Job(define(DIAMOND, edge("a", "b"), edge("a", "c"), edge("b", "d"), edge("c", "d")))
    job.done("a")
    job.done("b")
    assert job.runnable == ("c",)
    job.done("c")
    assert job.runnable == ("d",)


def test_a_join_of_all_does_not_wait_for_a_dead_branch() -> None:
    edges = [edge("a", "b", "output == 1"), edge("a", "c"), edge("b", "d"), edge("c", "d")]
    job = Job(define(DIAMOND, *edges))
    job.done("a", 2)
    job.done("c")
    assert (job.standing("b"), job.runnable) == ("skipped", ("d",))


def test_a_task_all_of_whose_transitions_are_dead_is_skipped_and_death_travels_on() -> None:
    tasks = {name: plugin() for name in "abcdef"}
    edges = [edge("a", "b", "output == 1"), edge("b", "c"), edge("c", "d"), edge("a", "e"), edge("d", "f")]
    job = Job(define(tasks, *edges, edge("e", "f")))
    job.done("a", 0)
    assert [record.task for record in job.records if record.event == "task.skipped"] == ["b", "c", "d"]
    job.done("e")
    assert job.runnable == ("f",)


def test_death_travels_through_a_thousand_tasks() -> None:
    names = [f"t{index}" for index in range(1000)]
    edges = [edge(one, two, "output == 1") for one, two in pairwise(names)]
    job = Job(define({name: plugin() for name in names}, *edges))
    job.done("t0", 0)
    assert job.status == "DONE"


def test_nested_diamonds_join_inside_out() -> None:
    tasks = {name: plugin() for name in ("a", "b", "b1", "b2", "bj", "c", "j")}
    edges = [edge("a", "b"), edge("a", "c"), edge("b", "b1", "output == 1"), edge("b", "b2"), edge("b1", "bj")]
    job = Job(define(tasks, *edges, edge("b2", "bj"), edge("bj", "j"), edge("c", "j")))
    for name in ("a", "c", "b"):
        job.done(name, 2)
    assert (job.standing("b1"), job.runnable) == ("skipped", ("b2",))
    job.done("b2")
    job.done("bj")
    assert job.runnable == ("j",)


def test_a_join_of_any_runs_at_the_first_and_later_ones_change_nothing() -> None:
    tasks = {**DIAMOND, "d": plugin(join="any")}
    job = Job(define(tasks, edge("a", "b"), edge("a", "c"), edge("b", "d"), edge("c", "d")))
    job.done("a")
    job.done("c")
    assert job.runnable == ("b", "d")
    job.done("d", 1)
    job.done("b")
    assert (job.status, job.state.tasks["d"].iteration) == ("DONE", 1)


def test_a_join_of_any_waits_while_one_branch_lives_and_is_skipped_when_all_are_dead() -> None:
    tasks = {**DIAMOND, "d": plugin(join="any")}
    edges = [edge("a", "b", "output == 1"), edge("a", "c"), edge("b", "d"), edge("c", "d", "output == 1")]
    job = Job(define(tasks, *edges))
    job.done("a", 0)
    assert job.standing("d") == "-"
    job.done("c", 0)
    assert (job.standing("d"), job.status) == ("skipped", "DONE")


def test_on_error_takes_the_first_transition_that_matches_and_the_others_are_dead() -> None:
    edges = [edge("a", "b"), edge("a", "c", on_error=["Refused"]), edge("a", "d", on_error=["*"])]
    job = Job(define(DIAMOND, *edges))
    job.fail("a", "Refused", "no funds")
    assert (job.runnable, job.standing("b"), job.standing("d")) == (("c",), "skipped", "skipped")
    assert job.happened[0] == "task.caught"
    assert job.state.tasks["a"].error == {"name": "Refused", "cause": "no funds"}


def test_on_error_may_ask_for_the_error_in_its_when() -> None:
    edges = [
        edge("a", "b", "error.cause == 'x'", on_error=["*"]),
        edge("a", "c", "error.name == 'Refused'", on_error=["*"]),
    ]
    job = Job(define(ABC, *edges))
    job.fail("a", "Refused", "y")
    assert job.runnable == ("c",)


def test_a_caught_error_is_readable_downstream() -> None:
    tasks = {"a": plugin(), "b": {"type": "pass", "input": "${tasks.a.error.name}: ${tasks.a.error.cause}"}}
    job = Job(define(tasks, edge("a", "b", on_error=["*"])))
    job.fail("a", "Refused", "no funds")
    assert job.state.output == "Refused: no funds"


def test_on_error_transitions_are_dead_when_the_task_ends_well() -> None:
    job = Job(define(ABC, edge("a", "b"), edge("a", "c", on_error=["*"])))
    job.done("a")
    assert (job.runnable, job.standing("c")) == (("b",), "skipped")


def test_an_error_nobody_catches_is_a_dead_letter_and_the_other_branches_go_on() -> None:
    job = Job(define({"a": plugin(), "b": human(), "c": plugin()}, edge("b", "c")))
    job.fail("a", "Broken", "why")
    assert (job.status, job.happened) == ("FAIL", ["task.failed", "job.failed"])
    assert job.state.error == {"name": "Broken", "cause": "why", "task": "a"}
    job.answer("b")
    assert (job.status, job.runnable) == ("READY", ("c",))
    job.done("c")
    assert job.status == "FAIL"


def test_a_when_that_cannot_be_evaluated_fails_its_task_with_the_name_in_the_cause() -> None:
    job = Job(define(ABC, edge("a", "b", "output.valid"), edge("a", "c", on_error=["*"])))
    job.done("a", {"other": 1})
    assert (job.status, job.standing("a"), job.standing("c")) == ("FAIL", "failed", "-")
    assert job.state.error is not None
    assert job.state.error["name"] == "ExpressionError"
    assert "output.valid" in str(job.state.error["cause"])


def test_a_when_has_to_give_true_or_false() -> None:
    job = Job(define({"a": plugin(), "b": plugin()}, edge("a", "b", "output")))
    job.done("a", 1)
    assert job.status == "FAIL"


def test_the_output_of_the_job_is_the_mapping_with_null_for_paths_not_taken() -> None:
    output = {"paid": "${tasks.b.output.amount}", "from": "${input.who}", "n": "${tasks.a.output + 1}"}
    job = Job(define(ABC, edge("a", "b", "output == 1"), edge("a", "c"), output=output), {"who": "x"})
    job.done("a", 2)
    job.done("c")
    assert job.state.output == {"paid": None, "from": "x", "n": 3}


def test_an_output_that_cannot_be_worked_out_is_a_dead_letter_of_the_job() -> None:
    job = Job(define({"a": plugin()}, output={"n": "${tasks.a.output + 1}"}))
    job.done("a", "text")
    assert (job.status, job.state.error["name"] if job.state.error else None) == ("FAIL", "ExpressionError")
    job.retry()
    assert job.status == "FAIL"


def test_runnable_tasks_keep_the_order_in_which_they_became_ready() -> None:
    job = Job(define({"z": plugin(), "a": plugin(), "m": plugin()}))
    assert job.runnable == ("z", "a", "m")


def test_events_that_no_longer_fit_change_nothing_and_are_told() -> None:
    job = Job(define({"a": plugin(), "b": human()}, edge("a", "b")))
    for act in (lambda: job.answer("b"), lambda: job.answer("a"), lambda: job.done("nobody"), lambda: job.skip("a")):
        before = job.state.to_json()
        act()
        assert (job.happened, job.state.to_json()) == (["response.ignored"], before)
    job.done("a")
    job.done("a")
    assert job.happened == ["response.ignored"]
    job.answer("b", iteration=2)
    assert job.records[0].data["reason"] == "The task is in iteration 1."


def test_a_job_starts_only_once() -> None:
    job = Job(define({"a": plugin()}))
    job.send(JobStarted("other", job.now, 1))
    assert (job.happened, job.state.job_id) == (["response.ignored"], "job-1")
