"""Going back: what a loop resets, withdraws and keeps, and where it ends."""

from __future__ import annotations

from typing import Any

from tests.engine.driver import Job, define, edge, human, plugin
from workflows.engine.decide import step_input
from workflows.engine.definition import Definition
from workflows.engine.events import WithdrawWork


def review(limit: int = 5, **fields: Any) -> Definition:
    tasks = {"a": plugin(), "check": human(outcomes=["ok", "back"]), "end": plugin(), **fields}
    return define(
        tasks,
        edge("a", "check"),
        edge("check", "end", "outcome == 'ok'"),
        edge("check", "a", "outcome == 'back'", loop={"max_iterations": limit}),
    )


def test_a_loop_starts_its_target_again_as_a_new_iteration() -> None:
    job = Job(review())
    job.done("a", 1)
    job.answer("check", "back")
    assert (job.runnable, job.state.tasks["a"].iteration) == (("a",), 2)
    assert job.happened == ["task.completed", "loop.taken"]
    assert job.standing("check") == "pending"
    job.done("a", 2)
    assert job.state.tasks["check"].iteration == 2
    job.answer("check", "ok")
    job.done("end")
    assert job.status == "DONE"


def test_what_an_earlier_iteration_returned_can_be_read_by_the_next() -> None:
    tasks = {
        "a": {"type": "pass", "input": {"hint": "${has(tasks.check.output) ? tasks.check.output : 'none'}"}},
        "check": human(outcomes=["ok", "back"]),
    }
    job = Job(define(tasks, edge("a", "check"), edge("check", "a", "outcome == 'back'", loop={})))
    assert job.state.tasks["a"].output == {"hint": "none"}
    job.answer("check", "back", "mind the date")
    assert job.state.tasks["a"].output == {"hint": "mind the date"}


def test_a_loop_withdraws_what_is_still_active_downstream_of_its_target() -> None:
    tasks = {"a": plugin(), "check": human(outcomes=["ok", "back"]), "other": human(), "step": plugin(), "far": human()}
    job = Job(
        define(
            tasks,
            edge("a", "check"),
            edge("a", "other"),
            edge("a", "step"),
            edge("check", "a", "outcome == 'back'", loop={}),
        )
    )
    job.done("a")
    job.answer("check", "back")
    assert job.commands == (WithdrawWork("other", 1, "loop"),)
    assert [record.task for record in job.records if record.event == "task.withdrawn"] == ["other", "step"]
    assert (job.standing("far"), job.runnable) == ("waiting", ("a",))
    job.done("step", iteration=1)
    assert job.happened == ["response.ignored"]
    job.done("a")
    assert (job.state.tasks["other"].iteration, job.state.tasks["step"].iteration) == (2, 2)


def test_a_loop_clears_dead_letters_downstream_of_its_target() -> None:
    tasks = {"a": plugin(), "check": human(outcomes=["ok", "back"]), "step": plugin()}
    job = Job(define(tasks, edge("a", "check"), edge("a", "step"), edge("check", "a", "outcome == 'back'", loop={})))
    job.done("a")
    job.fail("step")
    assert job.status == "FAIL"
    job.answer("check", "back")
    assert (job.status, job.runnable) == ("READY", ("a",))


def test_a_join_keeps_what_came_from_outside_the_loop() -> None:
    tasks = {"out": plugin(), "a": plugin(), "j": plugin(), "check": human(outcomes=["ok", "back"])}
    job = Job(
        define(
            tasks,
            edge("out", "j"),
            edge("a", "j"),
            edge("j", "check"),
            edge("check", "a", "outcome == 'back'", loop={}),
        )
    )
    job.done("out")
    job.done("a")
    job.done("j")
    job.answer("check", "back")
    assert job.runnable == ("a",)
    job.done("a")
    assert job.runnable == ("j",)


def any_join() -> Definition:
    tasks = {"out": plugin(), "a": plugin(), "j": plugin(join="any"), "check": human(outcomes=["ok", "back"])}
    return define(
        tasks,
        edge("out", "j"),
        edge("a", "j", "output == 1"),
        edge("j", "check"),
        edge("check", "a", "outcome == 'back'", loop={}),
    )


def test_what_had_started_a_join_of_any_is_spent_when_the_loop_resets_it() -> None:
    job = Job(any_join())
    job.done("out")
    job.done("j")
    job.answer("check", "back")
    assert (job.state.transitions[0], job.runnable) == ("spent", ("a",))
    job.done("a", 1)
    assert (job.runnable, job.state.tasks["j"].iteration) == (("j",), 2)


def test_a_spent_transition_counts_as_dead() -> None:
    job = Job(any_join())
    job.done("out")
    job.done("j")
    job.answer("check", "back")
    job.done("a", 0)
    assert (job.standing("j"), job.status) == ("skipped", "DONE")


def test_a_late_transition_into_a_join_of_any_was_not_used_up_and_starts_the_next_iteration() -> None:
    job = Job(any_join())
    job.done("a", 1)
    job.done("out")
    job.done("j")
    job.answer("check", "back")
    assert job.runnable == ("a", "j")


def test_a_loop_that_is_used_up_fails_the_task_it_leaves_from() -> None:
    job = Job(review(limit=2))
    for _ in range(2):
        job.done("a")
        job.answer("check", "back")
    job.done("a")
    job.answer("check", "back", {"kept": True})
    assert (job.status, job.standing("check")) == ("FAIL", "failed")
    assert job.happened == ["task.completed", "task.failed", "job.failed"]
    assert job.state.error is not None
    assert (job.state.error["name"], job.state.error["task"]) == ("LoopLimitExceeded", "check")


def test_retrying_after_the_limit_takes_the_loop_again_with_a_new_count() -> None:
    job = Job(review(limit=1))
    job.done("a")
    job.answer("check", "back")
    job.done("a")
    job.answer("check", "back")
    assert job.status == "FAIL"
    job.retry("check")
    assert (job.happened, job.runnable) == (["task.retried", "loop.taken"], ("a",))
    assert job.state.tasks["a"].iteration == 3


def test_on_error_catches_a_loop_that_is_used_up() -> None:
    tasks = {"a": plugin(), "b": plugin(), "end": plugin()}
    job = Job(
        define(
            tasks,
            edge("a", "b"),
            edge("b", "a", loop={"max_iterations": 1}),
            edge("b", "end", on_error=["LoopLimitExceeded"]),
        )
    )
    for name in ("a", "b", "a", "b"):
        job.done(name)
    assert job.runnable == ("end",)


def test_an_error_may_lead_back() -> None:
    tasks = {"a": plugin(), "b": plugin()}
    job = Job(define(tasks, edge("a", "b"), edge("b", "a", on_error=["*"], loop={"max_iterations": 1})))
    job.done("a")
    job.fail("b")
    assert (job.happened, job.runnable) == (["task.caught", "loop.taken"], ("a",))
    job.done("a")
    job.fail("b")
    assert job.state.error is not None
    assert job.state.error["name"] == "LoopLimitExceeded"


def test_a_task_may_loop_to_itself() -> None:
    tasks = {"a": plugin(input="${has(tasks.a.output) ? tasks.a.output : 0}"), "b": plugin()}
    job = Job(define(tasks, edge("a", "a", "output < 3", loop={}), edge("a", "b", "output >= 3")))
    for _ in range(3):
        job.done("a", step_input(job.definition, job.state, "a") + 1)
    assert (job.runnable, job.state.tasks["a"].iteration) == (("b",), 3)


def test_a_loop_of_internal_tasks_ends_at_its_limit() -> None:
    tasks = {"a": {"type": "pass"}, "b": {"type": "pass"}}
    job = Job(define(tasks, edge("a", "b"), edge("b", "a", loop={})))
    assert job.state.error is not None
    assert (job.state.error["name"], job.state.tasks["a"].iteration) == ("LoopLimitExceeded", 101)


def test_where_a_loop_is_taken_the_forward_transitions_are_not() -> None:
    tasks = {"a": plugin(), "b": plugin(), "end": plugin()}
    job = Job(define(tasks, edge("a", "b"), edge("b", "end"), edge("b", "a", "output == 1", loop={})))
    job.done("a")
    job.done("b", 1)
    assert (job.runnable, job.standing("end")) == (("a",), "-")


def test_an_inner_loop_does_not_reset_the_task_before_it() -> None:
    tasks = {"a": plugin(), "b": plugin(), "c": plugin()}
    job = Job(
        define(
            tasks,
            edge("a", "b"),
            edge("b", "c"),
            edge("c", "b", "output == 'inner'", loop={}),
            edge("c", "a", "output == 'outer'", loop={}),
        )
    )
    for name, output in (("a", 0), ("b", 0), ("c", "inner"), ("b", 0), ("c", "outer"), ("a", 0), ("b", 0)):
        job.done(name, output)
    assert [job.state.tasks[name].iteration for name in "abc"] == [2, 3, 3]
    job.done("c", "end")
    assert job.status == "DONE"


def test_a_join_inside_the_loop_waits_for_all_of_its_branches_again() -> None:
    tasks = {"a": plugin(), "b": plugin(), "c": plugin(), "j": plugin()}
    edges = [edge("a", "b"), edge("a", "c"), edge("b", "j"), edge("c", "j")]
    job = Job(define(tasks, *edges, edge("j", "a", "output == 1", loop={})))
    for name in ("a", "b", "c", "j"):
        job.done(name, 1)
    assert set(job.state.transitions) == set()
    job.done("a")
    job.done("b")
    assert (job.runnable, job.standing("j")) == (("c",), "pending")
    job.done("c")
    assert job.runnable == ("j",)


def test_loops_in_loops_that_wait_for_nothing_are_stopped_by_name_and_go_on_when_a_person_says_so() -> None:
    tasks = {name: {"type": "pass"} for name in "abc"}
    inner, outer = (edge(one, two, loop={"max_iterations": 1_000_000}) for one, two in ("bb", "ca"))
    job = Job(define(tasks, edge("a", "b"), edge("b", "c"), inner, outer))
    assert job.state.error is not None
    assert (job.status, job.state.error["name"], job.state.error["task"]) == ("FAIL", "LoopLimitExceeded", "b")
    before = job.state.tasks["b"].iteration
    job.retry("b")
    assert job.state.tasks["b"].iteration > before
