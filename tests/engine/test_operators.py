"""What a person may do to a job: retry, skip, cancel, restart from a task."""

from __future__ import annotations

import pytest

from tests.engine.driver import Job, define, edge, human, plugin
from workflows.engine.decide import step_input
from workflows.engine.definition import Definition
from workflows.engine.events import OpenWork, Publish, WithdrawWork


def test_a_failed_task_is_retried_by_hand_and_its_attempts_count_on() -> None:
    job = Job(define({"a": plugin(retry=[{"max_attempts": 2}])}))
    job.fail("a")
    job.wait(seconds=1)
    job.fail("a")
    assert job.status == "FAIL"
    job.retry("a")
    assert (job.status, job.runnable, job.state.tasks["a"].attempt) == ("READY", ("a",), 3)
    assert (job.records[0].event, job.records[0].actor) == ("task.retried", "ann")
    job.fail("a")
    assert job.standing("a") == "retrying"


def test_a_retry_may_replace_the_input() -> None:
    job = Job(define({"a": plugin(input={"x": "${input.x}"})}), {"x": 1})
    job.fail("a")
    job.retry("a", {"x": 2})
    assert step_input(job.definition, job.state, "a") == {"x": 2}
    job.fail("a")
    job.retry("a")
    assert step_input(job.definition, job.state, "a") == {"x": 2}


def test_a_retry_may_replace_the_input_by_null() -> None:
    job = Job(define({"a": plugin()}), {"x": 1})
    job.fail("a")
    job.retry("a", None)
    assert step_input(job.definition, job.state, "a") is None


def test_a_retry_without_a_name_takes_every_failed_task() -> None:
    job = Job(define({"a": plugin(), "b": plugin(), "c": human()}))
    job.fail("a")
    job.fail("b")
    job.retry()
    assert job.runnable == ("a", "b")


def test_a_retried_human_task_is_asked_again() -> None:
    job = Job(define({"a": human(timeout="PT1H")}), {"x": 1})
    job.wait(hours=1)
    job.retry("a", {"x": 2})
    (opened,) = job.commands
    assert isinstance(opened, OpenWork)
    assert opened.data == {"x": 2}
    job.answer("a")
    assert job.status == "DONE"


def test_a_retried_internal_task_runs_again() -> None:
    job = Job(define({"a": {"type": "emit", "event": "e", "data": "${input.x}"}}))
    assert job.status == "FAIL"
    job.retry("a", "given")
    assert job.commands == (Publish("a", 1, "e", "given"),)
    assert job.status == "DONE"


def test_retrying_what_has_not_failed_is_ignored() -> None:
    job = Job(define({"a": plugin(), "b": plugin()}, edge("a", "b", on_error=["*"])))
    job.retry("a")
    assert job.happened == ["response.ignored"]
    job.fail("a")
    job.retry("a")
    assert job.happened == ["response.ignored"]


def test_skipping_a_failed_task_finishes_it_by_hand_and_takes_its_transitions() -> None:
    job = Job(define({"a": plugin(), "b": plugin()}, edge("a", "b", "output.ok")))
    job.fail("a")
    job.skip("a", {"ok": True})
    assert (job.runnable, job.standing("a"), job.state.tasks["a"].by_hand) == (("b",), "done", True)
    assert (job.records[0].event, job.records[0].actor) == ("task.skipped", "ann")


def test_skipping_a_waiting_task_withdraws_its_request() -> None:
    job = Job(define({"a": human(), "b": plugin()}, edge("a", "b", "outcome == 'approve'")))
    job.skip("a", outcome="approve")
    assert (job.commands, job.runnable) == ((WithdrawWork("a", 1, "skipped"),), ("b",))


def test_skipping_with_an_output_the_transitions_cannot_read_fails_again() -> None:
    job = Job(define({"a": plugin(), "b": plugin()}, edge("a", "b", "output.ok")))
    job.fail("a")
    job.skip("a", {})
    assert (job.status, job.standing("a")) == ("FAIL", "failed")
    job.skip("a", {"ok": True})
    assert job.runnable == ("b",)


def test_cancelling_withdraws_everything_active_and_ends_the_job() -> None:
    tasks = {"a": plugin(), "b": human(), "c": {"type": "wait", "for": "P1D"}, "d": plugin(retry=[{}])}
    job = Job(define(tasks))
    job.fail("d")
    job.cancel()
    assert job.commands == (WithdrawWork("b", 1, "cancelled"),)
    assert [record.task for record in job.records if record.event == "task.withdrawn"] == ["a", "b", "c", "d"]
    assert (job.status, job.runnable, job.state.wake_at, job.state.waiting) == ("CANC", (), None, ())
    assert (job.records[-1].event, job.records[-1].actor) == ("job.cancelled", "ann")


def test_nothing_moves_a_cancelled_job() -> None:
    job = Job(define({"a": plugin(), "b": human(), "c": plugin()}))
    job.fail("c")
    job.cancel()
    for act in (lambda: job.done("a"), lambda: job.answer("b"), job.retry, lambda: job.skip("c"), job.cancel):
        act()
        assert (job.status, job.happened) == ("CANC", ["response.ignored"])
    job.wait(days=100)
    assert job.status == "CANC"


def test_a_job_that_has_not_started_can_be_cancelled() -> None:
    job = Job(define({"a": plugin()}), start=False)
    job.cancel()
    assert job.status == "CANC"


def test_a_done_job_cannot_be_cancelled() -> None:
    job = Job(define({"a": plugin()}))
    job.done("a")
    job.cancel()
    assert (job.status, job.happened) == ("DONE", ["response.ignored"])


def test_a_failed_job_can_be_cancelled() -> None:
    job = Job(define({"a": plugin()}))
    job.fail("a")
    job.cancel()
    assert job.status == "CANC"


def test_the_order_of_finishing_is_kept_for_undoing() -> None:
    job = Job(define({"a": plugin(), "b": plugin(), "c": plugin()}))
    for name in ("c", "a"):
        job.done(name)
    assert job.state.last == "a"


# ---- restart --------------------------------------------------------------------------------------------------------


def line() -> Definition:
    return define({"a": plugin(), "b": plugin(), "c": human()}, edge("a", "b"), edge("b", "c"))


def test_a_restart_runs_a_task_and_what_follows_it_again_as_a_new_iteration() -> None:
    job = Job(line())
    job.done("a")
    job.done("b")
    job.restart("b")
    assert job.commands == (WithdrawWork("c", 1, "loop"),)
    assert (job.runnable, job.state.tasks["a"].iteration, job.state.tasks["b"].iteration) == (("b",), 1, 2)
    restarted = job.records[-1]
    assert (restarted.event, restarted.task, restarted.iteration, restarted.actor) == ("task.restarted", "b", 2, "ann")
    assert restarted.data == {"reason": "from here"}
    job.done("b")
    assert job.state.tasks["c"].iteration == 2


def test_a_restart_clears_the_dead_letters_behind_it_and_no_others() -> None:
    tasks = {"a": plugin(), "b": plugin(), "x": plugin()}
    job = Job(define(tasks, edge("a", "b")))
    job.done("a")
    job.fail("b")
    job.fail("x")
    job.restart("a")
    assert (job.standing("b"), job.standing("x"), job.runnable) == ("withdrawn", "failed", ("a",))
    job.done("a")
    job.done("b")
    assert job.status == "FAIL"


def test_a_job_that_a_fail_task_had_ended_goes_on_from_a_task_before_it() -> None:
    tasks = {"a": plugin(), "f": {"type": "fail", "error": "Refused"}, "b": plugin()}
    job = Job(define(tasks, edge("a", "f", "output == 1"), edge("a", "b", "output == 2")))
    job.done("a", 1)
    assert job.status == "FAIL"
    job.restart("a")
    assert (job.status, job.runnable, job.state.error) == ("READY", ("a",), None)
    job.done("a", 2)
    assert job.runnable == ("b",)


def test_a_restart_lifts_the_time_limit_that_had_ended_the_job() -> None:
    job = Job(define({"a": plugin(), "b": human()}, edge("a", "b"), timeout="PT1H"))
    job.done("a")
    job.wait(hours=2)
    assert job.status == "FAIL"
    job.restart("a")
    assert (job.status, job.state.wake_at) == ("READY", None)


def test_a_restarted_task_has_all_of_its_attempts_again() -> None:
    job = Job(define({"a": plugin(retry=[{"max_attempts": 2}])}))
    job.fail("a")
    job.wait(seconds=1)
    job.fail("a")
    job.restart("a")
    assert (job.state.tasks["a"].attempt, job.state.tasks["a"].retries) == (1, {})


@pytest.mark.parametrize("task", ["c", "nobody", "undo:a"])
def test_only_a_task_that_the_job_has_reached_can_be_restarted(task: str) -> None:
    job = Job(line())
    job.done("a")
    job.restart(task)
    assert (job.happened, job.runnable) == (["response.ignored"], ("b",))


def test_what_a_loop_has_reset_is_not_restarted_before_its_turn() -> None:
    job = Job(define({"a": plugin(), "b": plugin()}, edge("a", "b"), edge("b", "a", "output == 1", loop={})))
    job.done("a")
    job.done("b", 1)
    job.restart("b")
    assert (job.happened, job.runnable) == (["response.ignored"], ("a",))


def test_a_path_that_was_not_taken_can_be_started_by_hand() -> None:
    job = Job(define({"a": plugin(), "b": plugin(), "c": plugin()}, edge("a", "b", "output == 1"), edge("a", "c")))
    job.done("a", 2)
    job.restart("b")
    assert job.runnable == ("c", "b")


@pytest.mark.parametrize("end", ["done", "cancelled"])
def test_a_job_that_has_ended_is_not_restarted(end: str) -> None:
    job = Job(define({"a": plugin()}))
    job.done("a") if end == "done" else job.cancel()
    job.restart("a")
    assert (job.happened, job.records[0].data["reason"]) == (["response.ignored"], f"The job is {end}.")
