"""What the inbox shows of items that several decide, that some may not decide, and that waited too long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from departments import actions
from departments.models import WorkItem
from tests.departments.conftest import People
from tests.departments.makers import open_item, parked_job
from workflows.execution.respond import add_history

pytestmark = pytest.mark.django_db


def browser(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def shown(user: Any, item: WorkItem | None = None) -> str:
    return browser(user).get("/inbox/", {"item": str(item.pk)} if item else {}).content.decode()


def test_a_vote_is_told_counted_and_leaves_the_item_to_the_others(people: People) -> None:
    item = open_item(people.department, quorum={"need": 2, "of": 3, "veto": True})
    page = shown(people.member, item)
    assert "2 of 3 votes decide this; one vote other than “Approve” is enough" in page
    assert "0 of 3 votes" in page
    assert "Claim<kbd" not in page
    act = {"outcome": "approve", "comment": "Fine.", "version": "1", "field-payable": "5"}
    answer = browser(people.member).post(f"/inbox/items/{item.pk}/complete/", act, follow=True)
    assert "You voted “Approve” on CLM-1." in answer.content.decode()
    page = shown(people.colleague, item)
    assert "1 of 3 votes" in page
    assert "So far: Approve 1." in page
    assert "member voted “Approve” on Verify." in page
    assert "You voted “approve” on" in shown(people.member, item), "told before the click"
    assert "1 of 3 votes" in shown(people.colleague), "in the list, too"
    item.refresh_from_db()
    assert item.status == "open"


def test_whom_four_eyes_keep_out_is_told_before_the_click(people: People) -> None:
    job = parked_job(submitted_by=people.member)
    rules = {"not_initiator": True, "not_completed_by": ["check"]}
    item = open_item(people.department, job=job, constraints=rules)
    page = shown(people.member, item)
    assert "Not to be decided by who decided Check or who made the request." in page
    assert "You made this request, so somebody else has to decide it." in page
    assert "disabled" in page
    assert "You made this request" not in shown(people.colleague, item)


def test_the_next_item_is_one_that_this_person_can_claim(people: People) -> None:
    open_item(people.department, quorum={"need": 1, "of": 2}, priority=100)
    for _ in range(7):
        job = parked_job(submitted_by=people.member)
        open_item(people.department, job=job, constraints={"not_initiator": True}, priority=90)
    free = open_item(people.department, priority=10)
    browser(people.member).post("/inbox/next/", {"list": ""})
    free.refresh_from_db()
    assert (free.status, free.assignee) == ("claimed", people.member)


def test_what_waited_too_long_or_is_to_be_looked_at_again_is_marked(people: People) -> None:
    now = timezone.now()
    item = open_item(people.department, escalated_at=now, follow_up_at=now - timedelta(hours=1))
    add_history(item.job_id, "item.escalated", actor="", task="verify", data={"target": "payments"})
    for page in (shown(people.member), shown(people.member, item)):
        assert "Escalated" in page
        assert "Follow up" in page
    assert "Verify waited too long and went to Payments." in shown(people.member, item)
    actions.complete(item.pk, people.member, "approve")
    assert "Escalated" not in shown(people.member, item)
