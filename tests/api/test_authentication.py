"""Tokens: who is let in, and what for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from rest_framework.test import APIClient

from tests.factories import UserFactory
from tests.intake.makers import make_definition
from workflows.models import ApiToken

pytestmark = pytest.mark.django_db
JOBS = "/api/v1/jobs/"


def issued(*arguments: str) -> str:
    out = StringIO()
    call_command("issue_token", *arguments, stdout=out)
    return out.getvalue()


def test_a_printed_token_is_alone_on_its_line_and_lets_its_user_in() -> None:
    user = UserFactory()
    text = issued(user.username)
    token = text.strip()
    assert text == token + "\n"
    assert APIClient().get(JOBS, headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert not ApiToken.objects.filter(digest=token).exists()


def test_the_scopes_and_the_note_of_a_token_are_kept() -> None:
    issued(UserFactory().username, "--scope", "read", "--scope", "submit", "--note", "the portal")
    kept = ApiToken.objects.get()
    assert (kept.scopes, kept.note, kept.expiry) == (["read", "submit"], "the portal", None)


@pytest.mark.parametrize("arguments", [["nobody"], ["{user}", "--scope", "everything"], ["{user}", "--days", "0"]])
def test_no_token_is_issued_to_nobody_or_for_nonsense(arguments: list[str]) -> None:
    user = UserFactory()
    with pytest.raises(CommandError):
        issued(*(argument.format(user=user.username) for argument in arguments))
    assert not ApiToken.objects.exists()


def test_no_token_is_issued_to_an_inactive_user() -> None:
    with pytest.raises(CommandError):
        issued(UserFactory(is_active=False).username)


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer wrong", "Bearer a b", "Basic abc", "Bearer \u00e9", "Bearer " + "a" * 5000],
)
def test_who_brings_no_good_token_is_asked_for_one(header: str) -> None:
    response = APIClient().get(JOBS, headers={"Authorization": header} if header else {})
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert response["Content-Type"] == "application/problem+json"


def test_a_token_ends_with_its_time_its_user_and_its_row() -> None:
    for spoil in ("expire", "deactivate", "delete"):
        user = UserFactory()
        row, token = ApiToken.objects.create(user=user, expiry=timedelta(days=1))
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        assert client.get(JOBS).status_code == 200
        if spoil == "expire":
            ApiToken.objects.filter(pk=row.pk).update(expiry=row.created - timedelta(seconds=1))
        elif spoil == "deactivate":
            user.is_active = False
            user.save()
        else:
            row.delete()
        assert client.get(JOBS).status_code == 401, spoil


def test_each_scope_opens_its_own_doors_and_no_other(client_of: Callable[..., APIClient]) -> None:
    make_definition("claim")
    boss = UserFactory(is_superuser=True)
    doors: dict[str, Callable[[APIClient], Any]] = {
        "read": lambda client: client.get(JOBS),
        "submit": lambda client: client.post(JOBS, {"workflow": "claim", "input": 1}, format="json"),
        "operate": lambda client: client.post(f"{JOBS}00000000-0000-0000-0000-000000000000/cancel/", {}, format="json"),
        "configure": lambda client: client.post("/api/v1/definitions/", {}, format="json"),
    }
    for scope in ("read", "submit", "operate", "configure", "work", "respond"):
        client = client_of(boss, scopes=(scope,))
        for needed, knock in doors.items():
            assert (knock(client).status_code == 403) == (needed != scope), (scope, needed)


def test_a_session_may_submit_only_with_the_token_against_forgery() -> None:
    make_definition("claim")
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(UserFactory())
    assert browser.get(JOBS).status_code == 200
    response = browser.post(JOBS, {"workflow": "claim", "input": 1}, content_type="application/json")
    assert response.status_code == 403
    assert response["Content-Type"] == "application/problem+json"


def test_a_token_costs_one_query(django_assert_num_queries: Any) -> None:
    user = UserFactory(is_superuser=True)
    for _ in range(5):
        _, token = ApiToken.objects.create(user=user, expiry=timedelta(days=1))
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    with django_assert_num_queries(2):  # the token with its user; the page
        client.get(JOBS)
