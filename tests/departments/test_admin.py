"""Departments in the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from tablib import Dataset

from departments.admin import DepartmentResource, MembershipResource
from departments.models import Comment, Department, DepartmentResponse, Membership, WorkItem
from tests.departments.conftest import People
from tests.departments.makers import external_item, open_item
from tests.factories import UserFactory


@pytest.fixture
def client(people: People) -> Client:
    """A superuser's browser."""
    found = Client()
    found.force_login(UserFactory(is_superuser=True, is_staff=True))
    return found


@pytest.mark.parametrize("model", ["department", "membership", "workitem", "departmentresponse", "comment"])
def test_every_list_opens_searches_and_filters(client: Client, people: People, model: str) -> None:
    item = external_item(people.department)
    DepartmentResponse.objects.create(job=item.job, work_item=item, task="ship", status="x", received_by=people.member)
    Comment.objects.create(item=item, author=people.member, text="Hello")
    page = client.get(f"/admin/departments/{model}/")
    assert page.status_code == 200
    assert client.get(f"/admin/departments/{model}/?q=verification").status_code == 200
    row: Any = admin.site.get_model_admin({m._meta.model_name: m for m in MODELS}[model]).model.objects.first()
    assert client.get(f"/admin/departments/{model}/{row.pk}/change/").status_code == 200


MODELS = (Department, Membership, WorkItem, DepartmentResponse, Comment)


@pytest.mark.parametrize("model", [WorkItem, DepartmentResponse, Comment])
def test_what_was_asked_and_answered_is_only_read(client: Client, people: People, model: Any) -> None:
    open_item(people.department)
    name = model._meta.model_name
    assert client.get(f"/admin/departments/{name}/add/").status_code == 403
    if row := model.objects.first():
        assert client.post(f"/admin/departments/{name}/{row.pk}/change/", {"status": "done"}).status_code == 403
        assert client.post(f"/admin/departments/{name}/{row.pk}/delete/", {"post": "yes"}).status_code == 403
        assert model.objects.get(pk=row.pk).status == "open"


def test_a_department_keeps_its_code_and_takes_members_on_its_page(client: Client, people: People) -> None:
    form = {
        "code": "other",
        "name": "Checks",
        "description": "",
        "memberships-TOTAL_FORMS": "1",
        "memberships-INITIAL_FORMS": "0",
        "memberships-0-user": str(people.stranger.pk),
        "memberships-0-role": "lead",
    }
    assert client.post(f"/admin/departments/department/{people.elsewhere.pk}/change/", form).status_code == 302
    people.elsewhere.refresh_from_db()
    assert (people.elsewhere.code, people.elsewhere.name) == ("payments", "Checks")
    assert Membership.objects.get(user=people.stranger).role == "lead"


def test_departments_and_members_travel_as_files(people: People) -> None:
    Department.objects.filter(code="payments").update(description="Pays.")
    rows = DepartmentResource().export().dict
    assert {"code": "payments", "name": "Payments", "description": "Pays.", "calendar": ""} in rows
    result = DepartmentResource().import_data(
        Dataset(
            ("verification", "Checks", ""), ("archive", "Archive", "Keeps."), headers=["code", "name", "description"]
        )
    )
    assert not result.has_errors()
    assert result.totals["new"] == result.totals["update"] == 1
    assert Department.objects.get(code="verification").name == "Checks"
    people_file = Dataset(("archive", "member", "lead"), headers=["department", "user", "role"])
    assert not MembershipResource().import_data(people_file).has_errors()
    assert Membership.objects.get(department__code="archive").role == "lead"
    wrong = Dataset(("archive", "nobody", "lead"), headers=["department", "user", "role"])
    assert MembershipResource().import_data(wrong).has_errors()
