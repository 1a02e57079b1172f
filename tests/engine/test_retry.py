"""Trying again: which retrier, how often, and after what delay."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.engine.driver import Job, define, edge, human, plugin
from workflows.engine import retry
from workflows.engine.definition import RetryPolicy
from workflows.engine.events import OpenWork, WithdrawWork


def delays(job: Job, task: str, error: str, count: int) -> list[float]:
    found = []
    for _ in range(count):
        job.fail(task, error)
        if job.standing(task) != "retrying":
            break
        assert job.state.wake_at is not None
        found.append((job.state.wake_at - job.now).total_seconds())
        job.wait(seconds=found[-1])
    return found


def test_the_default_retrier_makes_five_attempts_after_1_2_4_and_8_seconds() -> None:
    job = Job(define({"a": plugin(retry=[{}])}))
    assert delays(job, "a", "Any", 10) == [1, 2, 4, 8]
    assert (job.status, job.state.tasks["a"].attempt) == ("FAIL", 5)


def test_the_delay_is_capped_at_16_seconds() -> None:
    job = Job(define({"a": plugin(retry=[{"max_attempts": 8}])}))
    assert delays(job, "a", "Any", 10) == [1, 2, 4, 8, 16, 16, 16]


def test_a_task_without_a_retrier_is_not_retried() -> None:
    job = Job(define({"a": plugin()}))
    job.fail("a")
    assert job.status == "FAIL"


def test_the_first_retrier_that_matches_decides_even_when_it_is_used_up() -> None:
    policies = [{"errors": ["Down"], "max_attempts": 2}, {"errors": ["*"], "interval": "PT5S", "max_attempts": 3}]
    job = Job(define({"a": plugin(retry=policies)}))
    assert delays(job, "a", "Down", 5) == [1]
    assert job.status == "FAIL"


def test_each_retrier_has_its_own_count() -> None:
    policies = [{"errors": ["Down"], "max_attempts": 3}, {"errors": ["*"], "interval": "PT5S", "max_attempts": 3}]
    job = Job(define({"a": plugin(retry=policies)}))
    assert delays(job, "a", "Down", 1) + delays(job, "a", "Else", 1) + delays(job, "a", "Down", 1) == [1, 5, 2]
    assert delays(job, "a", "Else", 5) == [10]
    assert job.state.tasks["a"].attempt == 5


def test_an_error_no_retrier_names_goes_to_on_error_at_once() -> None:
    tasks = {"a": plugin(retry=[{"errors": ["Down"]}]), "b": plugin()}
    job = Job(define(tasks, edge("a", "b", on_error=["Refused"])))
    job.fail("a", "Refused")
    assert job.runnable == ("b",)


def test_what_retriers_gave_up_goes_to_on_error() -> None:
    tasks = {"a": plugin(retry=[{"max_attempts": 2}]), "b": plugin()}
    job = Job(define(tasks, edge("a", "b", on_error=["*"])))
    delays(job, "a", "Down", 2)
    assert job.runnable == ("b",)


def test_a_retry_is_waited_for_and_told() -> None:
    job = Job(define({"a": plugin(retry=[{}])}))
    job.fail("a", "Down", "no line")
    record = job.records[0]
    assert (record.event, record.attempt, record.error, record.cause) == ("task.retrying", 1, "Down", "no line")
    assert record.data == {"retry_at": "2030-01-01T12:00:01Z"}
    assert (job.status, job.state.waiting[0].kind) == ("PEND", "retry")
    job.wait(seconds=0.5)
    assert job.status == "PEND"
    job.wait(seconds=0.5)
    assert (job.runnable, job.state.tasks["a"].attempt) == (("a",), 2)


def test_a_retry_without_delay_is_ready_at_once() -> None:
    job = Job(define({"a": plugin(retry=[{"interval": "PT0S"}])}))
    job.fail("a")
    assert job.runnable == ("a",)


def test_a_human_task_that_times_out_is_asked_again_by_its_retrier() -> None:
    job = Job(define({"a": human(timeout="PT1H", retry=[{"errors": ["Timeout"]}])}))
    job.wait(hours=1)
    assert job.commands == (WithdrawWork("a", 1, "timeout"),)
    job.wait(seconds=1)
    assert [type(command) for command in job.commands] == [OpenWork]
    assert (job.standing("a"), job.state.tasks["a"].attempt) == ("waiting", 2)


def test_a_loop_gives_every_retrier_a_new_count() -> None:
    tasks = {"a": plugin(retry=[{"max_attempts": 2}])}
    job = Job(define(tasks, edge("a", "a", "output == 1", loop={})))
    delays(job, "a", "Down", 1)
    job.done("a", 1)
    assert delays(job, "a", "Down", 1) == [1]


def test_full_jitter_is_drawn_from_the_attempt_and_lies_below_the_delay() -> None:
    policy = RetryPolicy(jitter="full")
    drawn = [retry.delay(policy, 3, f"job/a/1/{attempt}") for attempt in range(200)]
    assert all(timedelta(0) <= delay < timedelta(seconds=8) for delay in drawn)
    assert len(set(drawn)) == 200
    assert retry.delay(policy, 3, "job/a/1/0") == drawn[0]
    assert timedelta(seconds=3) < sum(drawn, timedelta()) / 200 < timedelta(seconds=5)


@pytest.mark.parametrize("retries", [0, 1, 10, 1_000, 1_000_000])
def test_no_delay_outgrows_its_cap(retries: int) -> None:
    assert retry.delay(RetryPolicy(backoff_rate=1000.0), retries, "") <= timedelta(seconds=16)
