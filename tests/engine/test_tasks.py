"""What each type of task does when its turn comes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.engine.driver import START, Job, define, edge, human, plugin
from workflows.engine.decide import expected, step_input
from workflows.engine.events import OpenWork, Publish, WithdrawWork
from workflows.engine.exceptions import ExpressionError


def test_a_plugin_task_without_a_mapping_works_on_the_input_of_the_job() -> None:
    job = Job(define({"a": plugin()}), {"x": 1})
    assert step_input(job.definition, job.state, "a") == {"x": 1}


def test_a_plugin_task_works_on_its_mapping() -> None:
    mapping = {"n": "${input.x}", "t": "no. ${input.x}", "job": "${job.id}", "p": "${job.priority}", "c": 1}
    job = Job(define({"a": plugin(input=mapping)}), {"x": 7})
    given = step_input(job.definition, job.state, "a")
    assert given == {"n": 7, "t": "no. 7", "job": "job-1", "p": 50, "c": 1}


def test_a_mapping_that_names_what_is_not_there_is_an_expression_error() -> None:
    job = Job(define({"a": plugin(input={"n": "${input.missing.deep}"})}), {"x": 7})
    with pytest.raises(ExpressionError, match=r"input\.missing"):
        step_input(job.definition, job.state, "a")


def test_the_time_a_job_was_created_can_be_read_as_text_and_reckoned_with() -> None:
    mapping = {"at": "${job.created_at}", "late": "${job.created_at + duration('24h')}"}
    job = Job(define({"a": {"type": "pass", "input": mapping}}))
    assert job.state.output == {"at": "2030-01-01T12:00:00Z", "late": "2030-01-02T12:00:00Z"}


def test_pass_gives_its_input_as_output() -> None:
    job = Job(define({"a": {"type": "pass", "input": {"n": "${input.x * 2}"}}}), {"x": 4})
    assert (job.status, job.state.output) == ("DONE", {"n": 8})


def test_emit_publishes_and_goes_on() -> None:
    job = Job(define({"a": {"type": "emit", "event": "claim.declined", "data": {"no": "${input.no}"}}}), {"no": "C1"})
    assert job.commands == (Publish("a", 1, "claim.declined", {"no": "C1"}),)
    assert job.status == "DONE"


def test_a_human_task_asks_its_department_and_parks() -> None:
    task = human(title="Check ${input.no}", due="P3D", form={"type": "object"}, assignee="${input.who}", priority=80)
    job = Job(define({"a": task}), {"no": "C1", "who": "bob"})
    opened = OpenWork("a", 1, "human", "Check C1", "claims", data={"no": "C1", "who": "bob"})
    command = job.commands[0]
    assert isinstance(command, OpenWork)
    assert (command.title, command.department, command.data) == (opened.title, opened.department, opened.data)
    assert (command.outcomes, command.assignee, command.priority) == (("approve", "reject"), "bob", 80)
    assert command.due_at == START + timedelta(days=3)
    assert (job.status, job.happened[-1], job.state.wake_at) == ("PEND", "task.parked", None)
    assert [(item.task, item.kind, item.department) for item in job.state.waiting] == [("a", "human", "claims")]


def test_the_answer_of_a_person_is_the_outcome_and_output() -> None:
    job = Job(define({"a": human()}))
    job.answer("a", "reject", {"why": "x"})
    assert (job.status, job.state.outcome, job.state.output) == ("DONE", "reject", {"why": "x"})
    assert (job.records[0].event, job.records[0].actor) == ("task.completed", "ann")


@pytest.mark.parametrize("outcome", ["maybe", None, ""])
def test_an_answer_that_is_no_outcome_of_the_task_is_ignored(outcome: str | None) -> None:
    job = Job(define({"a": human(outcomes=["yes", "no"])}))
    job.answer("a", outcome)
    assert (job.happened, job.standing("a")) == (["response.ignored"], "waiting")


def test_a_request_that_could_not_be_opened_fails_its_task() -> None:
    job = Job(define({"a": human()}))
    job.fail("a", "UnknownDepartment", "claims is gone")
    assert (job.status, job.standing("a"), job.state.waiting) == ("FAIL", "failed", ())


def test_what_a_human_task_expects_can_be_asked() -> None:
    job = Job(define({"a": human(outcomes=["yes", "no"]), "b": plugin()}))
    assert expected(job.definition, job.state, "a") == (1, ("yes", "no"))
    assert expected(job.definition, job.state, "b") is None


def test_an_external_task_sends_its_message_and_parks_until_the_answer() -> None:
    task = {"type": "external", "queue": "bank", "message": {"sum": "${input.sum}"}, "due": "PT1H"}
    job = Job(define({"a": task, "b": plugin()}, edge("a", "b", "outcome == 'paid'")), {"sum": 5})
    publish, opened = job.commands
    assert publish == Publish("a", 1, "task.requested", {"sum": 5}, queue="bank")
    assert isinstance(opened, OpenWork)
    assert (opened.kind, opened.queue, opened.department, opened.data) == ("external", "bank", None, {"sum": 5})
    job.answer("a", "paid", {"ref": 1})
    assert job.runnable == ("b",)


def test_a_wait_for_a_duration_ends_when_the_time_has_passed() -> None:
    job = Job(define({"a": {"type": "wait", "for": "PT10M"}, "b": plugin()}, edge("a", "b")))
    assert (job.status, job.state.wake_at) == ("PEND", START + timedelta(minutes=10))
    job.wait(minutes=9)
    assert job.status == "PEND"
    job.wait(minutes=1)
    assert job.runnable == ("b",)


def test_a_wait_until_a_moment_of_the_input() -> None:
    job = Job(define({"a": {"type": "wait", "until": "${input.at}"}}), {"at": "2030-01-01T14:00:00+01:00"})
    assert job.state.wake_at == START + timedelta(hours=1)


def test_a_wait_for_the_past_does_not_wait() -> None:
    assert Job(define({"a": {"type": "wait", "until": "2020-01-01T00:00:00Z"}})).status == "DONE"


@pytest.mark.parametrize("at", ["tomorrow", 5, None])
def test_a_wait_for_no_moment_at_all_is_an_expression_error(at: object) -> None:
    job = Job(define({"a": {"type": "wait", "until": "${input.at}"}}), {"at": at})
    assert job.state.error is not None
    assert job.state.error["name"] == "ExpressionError"


def test_a_wait_takes_no_answer() -> None:
    job = Job(define({"a": {"type": "wait", "for": "PT10M"}}))
    job.answer("a")
    assert job.happened == ["response.ignored"]


def test_fail_ends_the_job_in_failure_whatever_else_runs() -> None:
    tasks = {"a": plugin(), "b": plugin(), "f": {"type": "fail", "error": "Refused", "cause": "for ${input.who}"}}
    job = Job(define(tasks, edge("a", "f")), {"who": "x"})
    job.done("a")
    assert (job.status, job.runnable, job.standing("f")) == ("FAIL", (), "failed")
    assert job.state.error == {"name": "Refused", "cause": "for x", "task": "f"}


def test_skipping_a_fail_task_lets_the_job_go_on() -> None:
    tasks = {"a": plugin(), "f": {"type": "fail", "error": "Refused"}}
    job = Job(define(tasks))
    assert job.status == "FAIL"
    job.skip("f")
    assert (job.status, job.runnable) == ("READY", ("a",))


def test_a_plugin_may_park_and_is_answered_from_outside() -> None:
    job = Job(define({"a": plugin()}))
    job.park("a", "payment pending", START + timedelta(hours=1))
    assert (job.status, job.state.wake_at) == ("PEND", START + timedelta(hours=1))
    assert job.state.waiting[0].reason == "payment pending"
    job.answer("a", "settled", {"x": 1})
    assert (job.status, job.state.outcome) == ("DONE", "settled")


def test_a_parked_plugin_that_nobody_answers_times_out() -> None:
    job = Job(define({"a": plugin()}))
    job.park("a", until=START + timedelta(hours=1))
    job.wait(hours=1)
    assert job.state.error is not None
    assert job.state.error["name"] == "Timeout"


def test_a_human_task_that_nobody_answers_in_time_is_withdrawn_and_times_out() -> None:
    tasks = {"a": human(timeout="PT1H"), "b": plugin()}
    job = Job(define(tasks, edge("a", "b", on_error=["Timeout"])))
    job.wait(hours=1)
    assert job.commands == (WithdrawWork("a", 1, "timeout"),)
    assert (job.runnable, job.happened) == (("b",), ["task.caught"])


def test_a_due_date_alone_stops_nothing() -> None:
    job = Job(define({"a": human(due="PT1H")}))
    job.wait(hours=100)
    assert job.status == "PEND"


def test_an_internal_task_whose_mapping_fails_goes_through_its_own_on_error() -> None:
    tasks = {"a": {"type": "pass", "input": "${input.missing}"}, "b": plugin()}
    job = Job(define(tasks, edge("a", "b", on_error=["ExpressionError"])))
    assert job.runnable == ("b",)


def test_the_deadline_of_the_job_ends_it_in_failure_and_a_retry_lifts_it() -> None:
    job = Job(define({"a": human(), "b": plugin()}, edge("a", "b"), timeout="PT1H"))
    assert job.state.wake_at == START + timedelta(hours=1)
    job.wait(hours=1)
    assert (job.status, job.standing("a"), job.happened) == ("FAIL", "waiting", ["job.failed"])
    assert job.state.error is not None
    assert (job.state.error["name"], job.state.wake_at) == ("Timeout", None)
    job.retry()
    assert (job.status, job.state.wake_at) == ("PEND", None)
    job.answer("a")
    assert job.runnable == ("b",)


def test_an_answer_after_the_deadline_is_kept_and_used_when_the_job_goes_on() -> None:
    tasks = {"a": human(), "b": {"type": "emit", "event": "late"}}
    job = Job(define(tasks, edge("a", "b"), timeout="PT1H"))
    job.wait(hours=1)
    job.answer("a")
    assert (job.status, job.commands) == ("FAIL", ())
    job.retry()
    assert (job.status, [type(command) for command in job.commands]) == ("DONE", [Publish])


def test_timers_ring_in_the_order_in_which_they_were_due() -> None:
    tasks = {"late": {"type": "wait", "for": "PT2H"}, "early": {"type": "wait", "for": "PT1H"}}
    job = Job(define(tasks))
    job.wait(hours=5)
    assert [record.task for record in job.records if record.task] == ["early", "late"]


def test_the_deadline_wins_over_what_is_due_after_it() -> None:
    job = Job(define({"a": {"type": "wait", "for": "PT2H"}}, timeout="PT1H"))
    job.wait(hours=5)
    assert (job.status, job.standing("a")) == ("FAIL", "waiting")


def test_what_a_department_has_to_know_goes_with_the_request() -> None:
    fields = {
        "quorum": {"need": 2, "of": 3, "veto": True},
        "constraints": {"not_initiator": True, "not_completed_by": ["a"]},
        "escalate": [{"after": "P1D", "to": "leads", "priority": 90}],
        "follow_up": "P1D",
        "due": "P2D",
    }
    (command,) = Job(define({"a": human(**fields)})).commands
    assert isinstance(command, OpenWork)
    assert {name: getattr(command, name) for name in fields} == fields


def test_an_external_task_that_nobody_answers_in_time_is_withdrawn_and_times_out() -> None:
    job = Job(define({"a": {"type": "external", "queue": "bank", "timeout": "PT1H"}}))
    job.wait(hours=1)
    assert (job.commands, job.standing("a")) == ((WithdrawWork("a", 1, "timeout"),), "failed")


def test_a_wait_that_is_longer_than_its_time_limit_times_out() -> None:
    job = Job(define({"a": {"type": "wait", "for": "PT2H", "timeout": "PT1H"}}))
    job.wait(hours=1)
    assert job.state.error is not None
    assert (job.state.error["name"], job.commands) == ("Timeout", ())


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("${1 / input.zero}", "Division by zero"),
        ("${input.n % input.zero}", "Division by zero"),
        ("${input.n / 0.0}", "Division by zero"),
        ("${input.rows.map(x, input.rows.map(y, x + y))}", "too long"),
        ("${input.n + input.text}", "has no meaning"),
        ("${input.rows[5000]}", "input.rows[5000]"),
    ],
)
def test_an_expression_that_comes_to_nothing_fails_its_task_by_name(expression: str, said: str) -> None:
    given = {"n": 5, "zero": 0, "text": "x", "rows": list(range(900))}
    job = Job(define({"a": {"type": "pass", "input": expression}}), given)
    assert job.state.error is not None
    assert (job.status, job.state.error["name"]) == ("FAIL", "ExpressionError")
    assert said in str(job.state.error["cause"])
