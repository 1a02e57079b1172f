"""The parker: what the worker's commit asks of the departments, for a whole batch."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db.models import Q

from departments.models import WorkItem
from departments.parking import DepartmentParker, department_codes
from tests.departments.conftest import People
from tests.departments.makers import external_item, open_item, parked_job
from workflows.engine.events import OpenWork, WithdrawWork
from workflows.models import Job

DUE = datetime(2026, 10, 4, 10, 41, tzinfo=UTC)


def work(**values: Any) -> OpenWork:
    plain: dict[str, Any] = {
        "task": "verify",
        "iteration": 1,
        "kind": "human",
        "title": "Verify claim CLM-1",
        "department": "verification",
        "data": {"amount": 900},
        "outcomes": ("approve", "reject"),
        "form": {"type": "object"},
        "due_at": DUE,
        "priority": 70,
    }
    return OpenWork(**plain | values)


def test_a_request_becomes_an_open_item_with_all_its_facts(people: People) -> None:
    job = parked_job(workflow="insurance_claim", correlation_id="CLM-9")
    assert DepartmentParker().open([(job, work(iteration=3))]) == []
    item = WorkItem.objects.get()
    assert (item.job, item.workflow, item.reference) == (job, "insurance_claim", "CLM-9")
    assert (item.task, item.iteration, item.kind, item.title) == ("verify", 3, "human", "Verify claim CLM-1")
    assert (item.department, item.queue, item.outcomes) == (people.department, "", ["approve", "reject"])
    assert (item.form, item.data, item.due_at, item.priority) == ({"type": "object"}, {"amount": 900}, DUE, 70)
    assert (item.status, item.assignee, item.version) == ("open", None, 1)


def test_a_request_to_a_queue_has_no_department(people: People) -> None:
    request = work(kind="external", department=None, queue="carrier", outcomes=(), form=None)
    assert DepartmentParker().open([(parked_job(), request)]) == []
    assert WorkItem.objects.values_list("department", "queue", "kind").get() == (None, "carrier", "external")


def test_an_unknown_department_is_refused_alone(people: People) -> None:
    jobs = [parked_job(), parked_job()]
    refused = DepartmentParker().open([(jobs[0], work(department="nowhere")), (jobs[1], work())])
    assert refused == [(jobs[0].pk, "verify", 1, "DepartmentNotFound", "There is no department “nowhere”.")]
    assert WorkItem.objects.get().job == jobs[1]


def test_a_named_member_holds_the_item_from_the_start(people: People) -> None:
    DepartmentParker().open([(parked_job(), work(assignee="member"))])
    item = WorkItem.objects.get()
    assert (item.status, item.assignee) == ("claimed", people.member)
    assert item.claimed_at is not None


@pytest.mark.parametrize("name", ["outsider", "nobody"])
def test_nobody_outside_the_department_is_made_to_hold_its_item(people: People, name: str) -> None:
    DepartmentParker().open([(parked_job(), work(assignee=name))])
    assert WorkItem.objects.values_list("status", "assignee").get() == ("open", None)


def test_a_title_is_never_too_long_and_never_missing(people: People) -> None:
    DepartmentParker().open([(parked_job(), work(title="x" * 999)), (parked_job(), work(title=""))])
    assert sorted(len(title) for title in WorkItem.objects.values_list("title", flat=True)) == [6, 300]


@pytest.mark.parametrize("size", [1, 30])
def test_a_batch_is_opened_in_three_statements(people: People, size: int, django_assert_num_queries: Any) -> None:
    batch: list[tuple[Job, OpenWork]] = [(parked_job(), work(assignee="member")) for _ in range(size)]
    with django_assert_num_queries(3):
        DepartmentParker().open(batch)
    assert WorkItem.objects.count() == size


def test_withdrawn_items_say_when_and_why_and_take_no_answer(people: People) -> None:
    kept, gone = open_item(people.department), open_item(people.department, version=4)
    DepartmentParker().withdraw([(gone.job_id, WithdrawWork("verify", 1, "loop"))])
    gone.refresh_from_db()
    kept.refresh_from_db()
    assert (gone.status, gone.withdrawn_reason, gone.version) == ("withdrawn", "loop", 5)
    assert gone.withdrawn_at is not None
    assert (kept.status, kept.version) == ("open", 1)


def test_what_an_operator_went_on_without_is_skipped(people: People) -> None:
    item = external_item(people.department)
    DepartmentParker().withdraw([(item.job_id, WithdrawWork("ship", 1, "skipped"))])
    assert WorkItem.objects.get().status == "skipped"


def test_another_iteration_or_task_or_a_decided_item_is_left_alone(people: People) -> None:
    job = parked_job()
    open_item(people.department, job=job, iteration=2)
    open_item(people.department, job=job, task="pay")
    open_item(people.department, job=job, status="done", decided_at=DUE)
    DepartmentParker().withdraw([(job.pk, WithdrawWork("verify", 1, "loop")), (uuid.uuid4(), work_gone())])
    assert not WorkItem.objects.filter(Q(status="withdrawn") | ~Q(version=1)).exists()


def work_gone() -> WithdrawWork:
    return WithdrawWork("verify", 2, "loop")


@pytest.mark.parametrize("size", [1, 60])
def test_a_batch_is_withdrawn_in_one_read_and_one_statement_a_reason(
    people: People, size: int, django_assert_num_queries: Any
) -> None:
    batch = [(open_item(people.department).job_id, WithdrawWork("verify", 1, "cancelled")) for _ in range(size)]
    with django_assert_num_queries(2):
        DepartmentParker().withdraw(batch)
    assert WorkItem.objects.filter(status="withdrawn").count() == size


def test_definitions_may_name_the_departments_that_exist(people: People) -> None:
    assert set(department_codes()) == {"verification", "payments"}
