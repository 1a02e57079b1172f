"""Answers of systems to external tasks, and to steps of plugins that wait for one."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from departments import actions
from departments.exceptions import InvalidAnswer, ItemConflict, NotAllowed, NotVisible
from departments.models import DepartmentResponse, WorkItem
from tests.departments.conftest import People
from tests.departments.makers import external_item, open_item, parked_job
from workflows.engine.state import JobState, TaskState
from workflows.models import History, Job, JobData, Signal


@pytest.fixture
def item(people: People) -> WorkItem:
    return external_item(people.department)


def respond(item: WorkItem, user: Any, **values: Any) -> tuple[DepartmentResponse, bool]:
    plain = {"status": "shipped", "data": {"parcel": "P-1"}}
    return actions.respond_external(item.job_id, item.task, user, **plain | values)


def test_an_answer_is_stored_as_received_and_wakes_the_job(item: WorkItem, people: People) -> None:
    response, created = respond(item, people.member, format="xml", body="<response/>")
    assert created
    assert (response.format, response.body, response.received_by) == ("xml", "<response/>", people.member)
    item.refresh_from_db()
    assert (item.status, item.outcome, item.answer) == ("done", "shipped", {"parcel": "P-1"})
    assert (item.decided_by, item.version) == (people.member, 2)
    assert Job.objects.get(pk=item.job_id).status == "READY"
    fact = Signal.objects.get(job=item.job_id).event
    assert {
        "task": "ship",
        "outcome": "shipped",
        "output": {"parcel": "P-1"},
        "actor": "member",
    }.items() <= fact.items()
    assert History.objects.get(job=item.job_id).event == "task.responded"


@pytest.mark.parametrize("who", ["member", "lead", "operator", "system", "superuser"])
def test_members_operators_and_systems_may_answer(item: WorkItem, people: People, who: str) -> None:
    assert respond(item, people.named(who))[1]


def test_a_repeated_response_id_changes_nothing(item: WorkItem, people: People) -> None:
    first, _ = respond(item, people.member, response_id="r-1")
    again, created = respond(item, people.member, response_id="r-1", status="lost", data=None)
    assert (again.pk, created) == (first.pk, False)
    assert WorkItem.objects.get(pk=item.pk).outcome == "shipped"
    assert Signal.objects.filter(job=item.job_id).count() == 1


def test_a_repeat_after_the_job_has_ended_gets_the_first_answer_still(item: WorkItem, people: People) -> None:
    first, _ = respond(item, people.member, response_id="r-1")
    Job.objects.filter(pk=item.job_id).update(status="DONE", finished_at=datetime.now(UTC))
    assert respond(item, people.member, response_id="r-1") == (first, False)


def test_a_response_id_answers_one_task_only(item: WorkItem, people: People) -> None:
    other = external_item(people.department, job=item.job, task="pack")
    respond(item, people.member, response_id="r-1")
    with pytest.raises(ItemConflict) as error:
        respond(other, people.member, response_id="r-1")
    assert error.value.code == "response_id_taken"
    assert WorkItem.objects.get(pk=other.pk).status == "open"


def test_the_same_response_id_for_another_job_is_another_answer(item: WorkItem, people: People) -> None:
    respond(item, people.member, response_id="r-1")
    assert respond(external_item(people.department), people.member, response_id="r-1")[1]


def test_a_second_answer_is_told_who_answered_first(item: WorkItem, people: People) -> None:
    respond(item, people.member)
    with pytest.raises(ItemConflict, match="member answered “shipped” on") as error:
        respond(item, people.colleague, status="lost")
    assert error.value.code == "not_waiting"
    assert error.value.item is not None


def test_a_finished_job_takes_no_answer(people: People) -> None:
    job = parked_job(status="DONE", finished_at=datetime.now(UTC))
    item = external_item(people.department, job=job, status="withdrawn")
    with pytest.raises(ItemConflict) as error:
        respond(item, people.member)
    assert error.value.code == "job_finished"


def test_a_task_that_a_person_decides_is_not_answered_by_a_system(people: People) -> None:
    item = open_item(people.department)
    with pytest.raises(ItemConflict) as error:
        actions.respond_external(item.job_id, "verify", people.member, status="approve", data={})
    assert error.value.code == "human"


def test_a_task_that_never_waited_is_a_conflict(item: WorkItem, people: People) -> None:
    with pytest.raises(ItemConflict) as error:
        actions.respond_external(item.job_id, "elsewhere", people.operator, status="done", data={})
    assert (error.value.code, error.value.item) == ("not_waiting", None)


def test_the_newest_iteration_is_answered(people: People) -> None:
    job = parked_job()
    external_item(people.department, job=job, status="withdrawn", iteration=1)
    newest = external_item(people.department, job=job, iteration=2)
    assert respond(newest, people.member)[0].iteration == 2


@pytest.mark.parametrize("who", ["outsider", "stranger"])
def test_to_everybody_else_the_job_does_not_exist(item: WorkItem, people: People, who: str) -> None:
    with pytest.raises(NotVisible) as hidden:
        respond(item, people.named(who))
    with pytest.raises(NotVisible) as absent:
        actions.respond_external(uuid.uuid4(), "ship", people.named(who), status="x", data=None)
    assert str(hidden.value) == str(absent.value)
    assert not DepartmentResponse.objects.exists()


def test_who_sees_the_job_but_is_of_another_department_is_told_who_may_answer(item: WorkItem, people: People) -> None:
    open_item(people.elsewhere, job=item.job, task="pay")
    with pytest.raises(NotAllowed, match="members of Verification"):
        respond(item, people.outsider)


def test_a_request_to_a_queue_is_answered_by_systems_and_operators_only(people: People) -> None:
    item = external_item(people.department, queue="carrier")
    WorkItem.objects.filter(pk=item.pk).update(department=None)
    with pytest.raises(NotVisible):
        respond(item, people.member)
    assert respond(item, people.system)[1]


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"status": ""}, {"/status"}),
        ({"status": "two words"}, {"/status"}),
        ({"status": "x" * 101}, {"/status"}),
        ({"status": None}, {"/status"}),
        ({"status": "a\0"}, {"/status"}),
        ({"status": "done\n"}, {"/status"}),
        ({"data": {"a": float("inf")}}, {"/data/a"}),
        ({"data": "x\0"}, {"/data"}),
        ({"response_id": ""}, {"/response_id"}),
        ({"response_id": "x" * 201}, {"/response_id"}),
        ({"response_id": 7}, {"/response_id"}),
        ({"response_id": "\0"}, {"/response_id"}),
        ({"status": "", "data": "\0"}, {"/status", "/data"}),
    ],
)
def test_an_answer_that_cannot_be_kept_is_refused_and_changes_nothing(
    item: WorkItem, people: People, values: dict[str, Any], where: set[str]
) -> None:
    with pytest.raises(InvalidAnswer) as error:
        respond(item, people.member, **values)
    assert {fault.pointer for fault in error.value.faults} == where
    assert WorkItem.objects.get(pk=item.pk).status == "open"
    assert not Signal.objects.exists()


def test_where_the_outcomes_are_named_no_other_is_taken(people: People) -> None:
    item = external_item(people.department, outcomes=["shipped", "lost"])
    with pytest.raises(InvalidAnswer, match="shipped, lost"):
        respond(item, people.member, status="eaten")
    assert respond(item, people.member, status="lost")[1]


def waiting_step(job: Job, since: datetime | None = None) -> None:
    """The state of a job whose plugin step `call` waits for an answer from outside."""
    now = since or datetime(2026, 10, 4, 10, 41, tzinfo=UTC)
    task = TaskState(status="waiting", kind="plugin", since=now, iteration=2)
    state = JobState(input=None, job_id=str(job.pk), created_at=now, tasks={"call": task}, active=("call",))
    JobData.objects.filter(job=job).update(state=state.to_json())


def test_a_step_that_waits_for_an_answer_gets_it_without_a_department(people: People) -> None:
    job = parked_job()
    waiting_step(job)
    response, created = actions.respond_external(job.pk, "call", people.system, status="paid", data={"sum": 5})
    assert (created, response.work_item, response.iteration) == (True, None, 2)
    assert Signal.objects.get(job=job).event["iteration"] == 2
    with pytest.raises(ItemConflict) as error:
        actions.respond_external(job.pk, "call", people.system, status="paid", data={"sum": 5})
    assert error.value.code == "not_waiting"


def test_a_step_that_waits_again_in_a_later_attempt_is_answered_again(people: People) -> None:
    job = parked_job()
    waiting_step(job)
    actions.respond_external(job.pk, "call", people.system, status="paid", data=None)
    waiting_step(job, since=datetime.now(UTC))
    assert actions.respond_external(job.pk, "call", people.system, status="paid", data=None)[1]
    assert Signal.objects.filter(job=job).count() == 2
