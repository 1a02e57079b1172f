"""What a person may do to a job: retry, skip, cancel."""

from __future__ import annotations

from tests.engine.driver import Job, define, edge, human, plugin
from workflows.engine.decide import step_input
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
