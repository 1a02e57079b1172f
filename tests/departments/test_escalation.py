"""Due times, follow-ups and escalations of items, on the calendar of their department."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from departments import actions, escalation
from departments.escalation import Escalations, steps_of
from departments.models import WorkItem
from departments.parking import DepartmentParker
from tests.departments.conftest import People
from tests.departments.makers import open_item, parked_job
from tests.departments.test_api_work_items import client_of
from tests.departments.test_races import at_once
from workflows.engine.durations import format_timestamp
from workflows.engine.events import OpenWork
from workflows.execution.parking import Refusal
from workflows.models import Calendar, History

pytestmark = pytest.mark.django_db

FRIDAY = datetime(2026, 11, 20, 16, tzinfo=UTC)
OFFICE = {day: [["09:00", "17:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}


@pytest.fixture
def on_friday(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: FRIDAY)


def opened(people: People, **values: Any) -> WorkItem:
    work = OpenWork("verify", 1, "human", "Verify", department="verification", **values)
    job = parked_job()
    assert DepartmentParker().open([(job, work)]) == []
    return WorkItem.objects.get(job=job)


def works_by_calendar(people: People, **values: Any) -> None:
    people.department.calendar = Calendar.objects.create(
        **{"code": "office", "name": "Office", "hours": OFFICE} | values
    )
    people.department.save()


@pytest.mark.usefixtures("on_friday")
def test_an_item_is_due_in_the_working_time_of_its_department(people: People) -> None:
    around_the_clock = FRIDAY + timedelta(hours=8)
    fields = {"due": "PT8H", "due_at": around_the_clock, "follow_up": "P1D", "escalate": {"after": "PT2H"}}
    plain = opened(people, **fields)
    assert (plain.due_at, plain.follow_up_at) == (around_the_clock, FRIDAY + timedelta(days=1))
    assert plain.escalate_at == FRIDAY + timedelta(hours=2)
    works_by_calendar(people)
    counted = opened(people, **fields)
    assert counted.due_at == datetime(2026, 11, 23, 16, tzinfo=UTC)
    assert counted.follow_up_at == datetime(2026, 11, 23, 16, tzinfo=UTC)
    assert counted.escalate_at == datetime(2026, 11, 23, 10, tzinfo=UTC)


def test_a_calendar_that_nothing_can_be_counted_on_fails_the_task_by_name(people: People) -> None:
    works_by_calendar(people, hours={})
    job = parked_job()
    work = OpenWork("verify", 1, "human", "Verify", department="verification", due="P1D", due_at=FRIDAY)
    [refused] = DepartmentParker().open([(job, work)])
    assert Refusal(*refused).error == "NoWorkingTime"
    assert not WorkItem.objects.exists()


def test_the_steps_of_an_escalation_come_in_order_and_by_default_when_the_item_is_due() -> None:
    due = FRIDAY + timedelta(days=2)
    steps = steps_of([{"to": "payments"}, {"after": "PT1H", "priority": 80}], FRIDAY, due, None)
    assert steps == [
        {"at": format_timestamp(FRIDAY + timedelta(hours=1)), "priority": 80},
        {"at": format_timestamp(due), "to": "payments"},
    ]
    assert steps_of({}, FRIDAY, due, None) == []
    assert steps_of({"to": "payments"}, FRIDAY, None, None) == [], "an item that is never due is never late"


def due_item(people: People, *steps: dict[str, Any], **values: Any) -> WorkItem:
    """An item whose steps are all due, a minute apart."""
    begin = timezone.now() - timedelta(hours=1)
    timed = [{"at": format_timestamp(begin + timedelta(minutes=number)), **step} for number, step in enumerate(steps)]
    return open_item(people.department, escalations=timed, escalate_at=begin, **values)


def test_a_step_without_a_department_turns_to_the_leads(people: People) -> None:
    item = due_item(people, {}, status="claimed", assignee=people.member)
    assert Escalations().run_once() == {"escalated": 1}
    item.refresh_from_db()
    assert (item.priority, item.status, item.assignee_id) == (100, "claimed", people.member.pk)
    assert (item.escalated_at is not None, item.escalate_at, item.version) == (True, None, 2)
    said = History.objects.get(event="item.escalated")
    assert said.data == {"item": str(item.pk), "department": "verification", "held_by": "member", "priority": 100}
    assert Escalations().run_once() == {"escalated": 0}


def test_a_step_with_a_department_sends_the_item_there_open(people: People) -> None:
    item = due_item(people, {"to": "payments"}, status="claimed", assignee=people.member)
    Escalations().run_once()
    item.refresh_from_db()
    assert (item.department, item.status, item.assignee, item.priority) == (people.elsewhere, "open", None, 50)
    assert History.objects.get(event="item.escalated").data["target"] == "payments"
    assert actions.complete(item.pk, people.outsider, "approve").status == "done"


def test_steps_come_one_after_the_other_and_never_lower_a_priority(people: People) -> None:
    item = due_item(people, {"priority": 80}, {"priority": 10}, {"to": "payments", "priority": 90}, {"to": "nowhere"})
    counts = [Escalations().run_once()["escalated"] for _ in range(5)]
    item.refresh_from_db()
    assert counts == [1, 1, 1, 1, 0]
    assert (item.priority, item.department) == (100, people.elsewhere), "to a department that is gone: to the leads"
    assert History.objects.filter(event="item.escalated").count() == 4


def test_a_step_that_another_worker_has_carried_out_is_not_followed_by_one_that_is_not_due(people: People) -> None:
    later = timezone.now() + timedelta(hours=1)
    item = due_item(people, {}, escalated_at=None)
    WorkItem.objects.filter(pk=item.pk).update(escalations=[{"at": format_timestamp(later)}], escalate_at=later)
    assert escalation._escalate(item.pk, item.job_id) == 0
    item.refresh_from_db()
    assert (item.version, item.escalated_at) == (1, None)


def test_what_is_decided_is_not_escalated(people: People) -> None:
    item = due_item(people, {})
    actions.complete(item.pk, people.member, "approve")
    assert Escalations().run_once() == {"escalated": 0}
    assert not History.objects.filter(event="item.escalated").exists()


def test_looking_for_what_is_due_costs_one_statement(people: People, django_assert_num_queries: Any) -> None:
    open_item(
        people.department, escalations=[{"at": "2999-01-01T00:00:00Z"}], escalate_at=FRIDAY + timedelta(days=9999)
    )
    with django_assert_num_queries(1):
        Escalations().run_once()


@pytest.mark.django_db(transaction=True)
def test_each_step_counts_once_whatever_the_number_of_workers(people: People) -> None:
    items = [due_item(people, {"to": "payments"}, {}) for _ in range(4)]
    for _ in range(3):
        at_once([partial(Escalations().run_once) for _ in range(6)])
    assert Escalations().run_once() == {"escalated": 0}
    assert History.objects.filter(event="item.escalated").count() == 2 * len(items)
    assert {item.version for item in WorkItem.objects.all()} == {3}


def test_the_api_says_what_was_escalated(people: People) -> None:
    late = due_item(people, {})
    open_item(people.department)
    Escalations().run_once()
    client = client_of(people.member)
    found = client.get("/api/v1/work-items/?escalated=true").json()["results"]
    assert [row["id"] for row in found] == [str(late.pk)]
    assert found[0]["escalated_at"] is not None
    assert len(client.get("/api/v1/work-items/?escalated=false").json()["results"]) == 1
    assert client.get("/api/v1/work-items/?escalated=perhaps").status_code == 400


def test_the_service_runs_in_every_worker() -> None:
    from workflows.execution.services import EVERYWHERE

    assert [service.name for service in EVERYWHERE].count(escalation.Escalations.name) == 1
