"""Four eyes: who may not decide an item because of what they did to its job before."""

from __future__ import annotations

from typing import Any

import pytest

from departments import actions
from departments.constraints import barred_from, read_constraints
from departments.exceptions import InvalidAnswer, NotAllowed
from departments.models import WorkItem
from departments.parking import DepartmentParker
from departments.policy import verdict
from tests.departments.conftest import People
from tests.departments.makers import join, open_item, parked_job
from tests.departments.test_api_work_items import post
from workflows.engine.events import OpenWork
from workflows.models import Job

pytestmark = pytest.mark.django_db

NOT_THE_CHECKER = {"not_completed_by": ["check"]}


def checked_by(user: Any, job: Job, task: str = "check", **values: Any) -> WorkItem:
    """The item of an earlier task that this person decided."""
    department = user.departments.first()
    item = open_item(department, job=job, task=task, **values)
    return actions.complete(item.pk, user, "approve")


@pytest.fixture
def item(people: People) -> WorkItem:
    """An item that the member may not decide, having decided the one before."""
    job = parked_job()
    checked_by(people.member, job)
    return open_item(people.department, job=job, task="approve", constraints=NOT_THE_CHECKER)


@pytest.mark.parametrize("verb", ["claim", "complete"])
def test_who_decided_the_one_neither_claims_nor_decides_the_other(item: WorkItem, people: People, verb: str) -> None:
    fresh = WorkItem.objects.select_related("department").get(pk=item.pk)
    told = verdict(people.member, fresh, verb)
    assert (told.allowed, told.reason) == (
        False,
        "You decided “check” of this request, so somebody else has to decide this.",
    )
    with pytest.raises(NotAllowed, match="You decided “check”"):
        actions.claim(item.pk, people.member)
    with pytest.raises(NotAllowed, match="You decided “check”"):
        actions.complete(item.pk, people.member, "approve")
    assert post(people.member, item, verb).status_code == 403
    assert actions.complete(item.pk, people.colleague, "approve").status == "done"


def test_a_lead_and_a_superuser_are_not_above_it(people: People) -> None:
    for user in (people.lead, people.superuser):
        job = parked_job()
        if user is people.superuser:
            join(user, people.department)
        checked_by(user, job)
        item = open_item(people.department, job=job, task="approve", constraints=NOT_THE_CHECKER)
        with pytest.raises(NotAllowed, match="somebody else"):
            actions.complete(item.pk, user, "approve")


def test_the_initiator_of_the_job_does_not_decide_it(people: People) -> None:
    job = parked_job(submitted_by=people.member)
    item = open_item(people.department, job=job, constraints={"not_initiator": True})
    with pytest.raises(NotAllowed, match="You made this request"):
        actions.claim(item.pk, people.member)
    free = open_item(people.department, job=job, task="other", constraints={"not_initiator": False})
    assert actions.complete(free.pk, people.member, "approve").status == "done"


def test_an_earlier_round_and_a_vote_count_too(people: People) -> None:
    job = parked_job()
    checked_by(people.member, job, iteration=1)
    checked_by(people.colleague, job, iteration=2)
    voted_on = open_item(people.department, job=job, task="vote", quorum={"need": 2, "of": 2})
    actions.complete(voted_on.pk, people.lead, "approve")
    item = open_item(people.department, job=job, task="approve", constraints={"not_completed_by": ["check", "vote"]})
    assert set(barred_from(item)) == {people.member.pk, people.colleague.pk, people.lead.pk}


def test_another_job_bars_nobody(item: WorkItem, people: People) -> None:
    other = open_item(people.department, task="approve", constraints=NOT_THE_CHECKER)
    assert not barred_from(other)


def test_an_item_of_a_map_knows_who_did_what_in_the_job_around_it(people: People) -> None:
    parent = parked_job(submitted_by=people.colleague)
    checked_by(people.member, parent)
    child = parked_job(parent=parent, fragment="each")
    rules = {"not_completed_by": ["check"], "not_initiator": True}
    inside = open_item(people.department, job=child, task="approve", constraints=rules)
    assert set(barred_from(inside)) == {people.member.pk, people.colleague.pk}
    whole = parked_job(parent=parent)  # a workflow of its own is another request
    assert not barred_from(open_item(people.department, job=whole, task="approve", constraints=rules))


def test_a_barred_person_is_not_given_the_item(item: WorkItem, people: People) -> None:
    with pytest.raises(InvalidAnswer) as refused:
        actions.assign(item.pk, people.lead, people.member)
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [("/assignee", "barred")]
    assert actions.assign(item.pk, people.lead, people.colleague).assignee_id == people.colleague.pk


def test_an_item_is_not_sent_where_nobody_may_decide_it(item: WorkItem, people: People) -> None:
    people.elsewhere.memberships.all().delete()
    join(people.member, people.elsewhere)
    with pytest.raises(InvalidAnswer, match="everybody in Payments"):
        actions.forward(item.pk, people.lead, "payments")
    join(people.stranger, people.elsewhere)
    forwarded = actions.forward(item.pk, people.lead, "payments")
    assert forwarded.constraints == NOT_THE_CHECKER, "a forwarded item keeps its constraints"
    with pytest.raises(NotAllowed, match="somebody else"):
        actions.claim(item.pk, people.member)


def test_a_task_that_is_opened_for_a_barred_person_is_open_to_all(people: People) -> None:
    job = parked_job()
    checked_by(people.member, job)
    for user in (people.member, people.colleague):
        work = OpenWork(
            *("approve", 1, "human", "Approve"),
            department="verification",
            assignee=user.get_username(),
            constraints=NOT_THE_CHECKER,
        )
        assert DepartmentParker().open([(job, work)]) == []
        item = WorkItem.objects.get(job=job, task="approve")
        held = user is people.colleague
        assert (item.status, item.assignee_id) == (("claimed", user.pk) if held else ("open", None))
        item.delete()


def test_a_page_of_bound_items_costs_as_many_statements_as_one(people: People, django_assert_num_queries: Any) -> None:
    items = []
    for _ in range(12):
        job = parked_job(submitted_by=people.lead)
        checked_by(people.member, job)
        rules = {"not_completed_by": ["check"], "not_initiator": True}
        items.append(open_item(people.department, job=job, task="approve", constraints=rules))
    with django_assert_num_queries(3):
        read_constraints(items)
    with django_assert_num_queries(0):
        assert all(set(barred_from(item)) == {people.member.pk, people.lead.pk} for item in items)
