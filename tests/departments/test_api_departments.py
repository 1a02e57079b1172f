"""Departments over REST: configuration by script."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from rest_framework.test import APIClient

from departments.models import Department, Membership
from tests.departments.conftest import People
from tests.departments.makers import member
from tests.factories import DepartmentFactory, UserFactory

URL = "/api/v1/departments/"


@pytest.fixture
def client(people: People) -> APIClient:
    """A configurator's."""
    user = UserFactory(username="configurator")
    user.groups.add(Group.objects.get(name="configurators"))
    found = APIClient()
    found.force_authenticate(user)
    return found


def roles(code: str) -> dict[str, str]:
    return dict(Membership.objects.filter(department__code=code).values_list("user__username", "role"))


def test_a_department_is_made_with_its_members(client: APIClient) -> None:
    body = {
        "code": "archive",
        "name": "Archive",
        "members": [{"username": "member", "role": "lead"}, {"username": "outsider"}],
    }
    made = client.post(URL, body, format="json")
    assert made.status_code == 201
    assert made["Location"].endswith("/api/v1/departments/archive/")
    assert roles("archive") == {"member": "lead", "outsider": "member"}
    assert client.get(made["Location"]).json() == made.json()
    assert {(entry["username"], entry["role"]) for entry in made.json()["members"]} == {
        ("member", "lead"),
        ("outsider", "member"),
    }


def test_a_code_that_is_taken_is_a_conflict_and_changes_nothing(client: APIClient) -> None:
    answer = client.post(URL, {"code": "payments", "name": "Other"}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "department_exists")
    assert Department.objects.get(code="payments").name == "Payments"


def test_the_members_sent_are_the_whole_list(client: APIClient) -> None:
    body = {"members": [{"username": "lead", "role": "member"}, {"username": "stranger", "role": "lead"}]}
    assert client.patch(f"{URL}verification/", body, format="json").status_code == 200
    assert roles("verification") == {"lead": "member", "stranger": "lead"}
    assert client.patch(f"{URL}verification/", {"members": []}, format="json").json()["members"] == []
    assert roles("verification") == {}


def test_a_name_alone_leaves_the_members(client: APIClient) -> None:
    before = roles("verification")
    answer = client.patch(f"{URL}verification/", {"name": "Checks"}, format="json")
    assert answer.json()["name"] == Department.objects.get(code="verification").name == "Checks"
    assert roles("verification") == before


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/code", "/name"}),
        ({"code": "two words", "name": "x"}, {"/code"}),
        ({"code": "", "name": "x"}, {"/code"}),
        ({"code": "a\n", "name": "x"}, {"/code"}),
        ({"code": "ab", "name": " "}, {"/name"}),
        ({"code": "ab", "name": "x" * 201}, {"/name"}),
        ({"code": "ab", "name": "x", "colour": 1}, {"/colour"}),
        ({"code": "ab", "name": "x", "members": "member"}, {"/members"}),
        (
            {
                "code": "ab",
                "name": "x",
                "members": [{"username": "member"}, {"username": "nobody"}, {"username": "member"}],
            },
            {"/members/1/username", "/members/2/username"},
        ),
        ({"code": "ab", "name": "x", "members": [{"username": "member", "role": "king"}]}, {"/members/0/role"}),
        ({"code": "ab", "name": "x", "members": [{"role": "lead"}]}, {"/members/0/username"}),
        ({"code": "ab", "name": "x", "members": ["member"]}, {"/members/0"}),
    ],
)
def test_a_department_that_does_not_fit_is_refused_with_every_fault(
    client: APIClient, body: Any, pointers: set[str]
) -> None:
    answer = client.post(URL, body, format="json")
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == pointers
    assert Department.objects.count() == 2


def test_an_unknown_member_changes_nobody(client: APIClient) -> None:
    before = roles("verification")
    body = {"name": "New", "members": [{"username": "nobody"}]}
    answer = client.patch(f"{URL}verification/", body, format="json")
    assert answer.json()["errors"][0]["pointer"] == "/members/0/username"
    assert roles("verification") == before
    assert Department.objects.get(code="verification").name == "Verification"


def test_the_code_stays_what_definitions_call_it(client: APIClient) -> None:
    assert client.patch(f"{URL}verification/", {"code": "checks"}, format="json").status_code == 422


@pytest.mark.parametrize("who", ["member", "lead", "operator", "system", "stranger"])
def test_only_configurators_and_superusers_see_and_change_departments(people: People, who: str) -> None:
    client = APIClient()
    client.force_authenticate(people.named(who))
    body = {"members": [{"username": who, "role": "lead"}]}
    assert client.get(URL).status_code == 403
    assert client.get(f"{URL}verification/").status_code == 403
    assert client.get(f"{URL}nowhere/").status_code == 403
    assert client.patch(f"{URL}payments/", body, format="json").status_code == 403
    assert client.post(URL, {"code": "mine", "name": "Mine"}, format="json").status_code == 403
    assert roles("payments") == {"outsider": "member"}


def test_a_superuser_may(people: People) -> None:
    client = APIClient()
    client.force_authenticate(people.superuser)
    assert client.get(URL).status_code == 200
    assert client.get(f"{URL}nowhere/").status_code == 404


@pytest.mark.parametrize("more", [0, 20])
def test_the_list_costs_the_same_queries_however_many_departments_there_are(
    client: APIClient, more: int, django_assert_num_queries: Any
) -> None:
    for _ in range(more):
        member(DepartmentFactory())
    with django_assert_num_queries(4):
        found = client.get(f"{URL}?page_size=100").json()["results"]
    assert len(found) == 2 + more
    assert [row["code"] for row in found] == sorted(row["code"] for row in found)
