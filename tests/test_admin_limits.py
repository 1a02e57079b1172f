"""Limits and suspensions in the admin, and why a job waits on its page."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from tests.execution.jobs import chain, publish, register, submit
from tests.factories import UserFactory
from workflows.models import Limit, Slot, Suspension
from workflows.operations.suspend import suspend

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(settings: Any) -> Client:
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    register("echo", "Echo")
    user = UserFactory(username="olga", is_staff=True)
    user.groups.add(Group.objects.get(name="operators"))
    client = Client()
    client.force_login(user)
    return client


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:workflows_{name}", args=args)


def test_an_operator_suspends_and_resumes_a_workflow_and_the_list_of_jobs_says_so(operator: Client) -> None:
    submit(publish(chain("claims", "echo")))
    refused = operator.post(page("suspension_add"), {"workflow": "nowhere"})
    assert "There is no workflow" in refused.content.decode()
    operator.post(page("suspension_add"), {"workflow": "claims", "reason": "the bank is <closed>"})
    row = Suspension.objects.get()
    assert (row.suspended_by, row.reason) == ("olga", "the bank is <closed>")
    shown = operator.get(page("job_changelist")).content.decode()
    assert "The workflow claims is suspended since" in shown
    assert "the bank is &lt;closed&gt;" in shown
    assert operator.get(page("suspension_changelist") + "?resumed_at__isempty=1").status_code == 200
    operator.post(page("suspension_changelist"), {"action": "resume_selected", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert row.resumed_by == "olga"
    assert "is suspended since" not in operator.get(page("job_changelist")).content.decode()


def test_nobody_else_suspends_in_the_admin(db: None) -> None:
    client = Client()
    client.force_login(UserFactory(is_staff=True))
    client.post(page("suspension_add"), {"workflow": "*"})
    assert not Suspension.objects.exists()
    assert client.get(page("suspension_changelist")).status_code == 403
    assert client.get(page("limit_changelist")).status_code == 403


def test_the_page_of_a_job_says_why_it_waits(operator: Client) -> None:
    job = submit(publish(chain("claims", "echo")))
    suspend("claims", actor="otto", reason="<b>closed</b>")
    shown = operator.get(page("job_change", job.pk)).content.decode()
    assert "The workflow claims is suspended by otto: &lt;b&gt;closed&lt;/b&gt;" in shown
    assert "An operator resumes the workflow." in shown


def test_an_operator_sets_a_limit_and_sees_who_has_its_slots(operator: Client) -> None:
    limit = Limit.objects.create(code="resource:bank")
    job = submit(publish(chain("claims", "echo")))
    Slot.objects.create(limit=limit, job=job, task="step1")
    body = {"description": "The bank", "max_concurrency": "3", "rate_limit": "", "rate_per": ""}
    assert operator.post(page("limit_change", limit.pk), body).status_code == 302
    limit.refresh_from_db()
    assert (limit.max_concurrency, limit.description) == (3, "The bank")
    shown = operator.get(page("limit_change", limit.pk)).content.decode()
    assert str(job.pk) in shown
    assert operator.get(page("limit_changelist")).status_code == 200
    for wrong in ({"max_concurrency": "0"}, {"rate_limit": "5"}):
        assert operator.post(page("limit_change", limit.pk), {**body, **wrong}).status_code == 200
    limit.refresh_from_db()
    assert (limit.max_concurrency, limit.rate_limit) == (3, None)


def test_a_workflows_own_limits_are_not_set_here(operator: Client) -> None:
    limit = Limit.objects.create(code="workflow:claims", max_concurrency=2)
    operator.post(page("limit_change", limit.pk), {"description": "as published", "max_concurrency": "9"})
    limit.refresh_from_db()
    assert (limit.description, limit.max_concurrency) == ("as published", 2)
