"""A database that is away is said as such, by every door, so that the client knows to try again."""

from __future__ import annotations

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError
from django.test import Client

from workflows.intake import submit


def away(*arguments, **named):
    raise OperationalError("connection refused to the server at 10.1.2.3")


@pytest.fixture
def client(admin_user):
    client = Client(raise_request_exception=False)
    client.force_login(admin_user)
    return client


@pytest.mark.django_db
def test_a_submission_is_asked_to_come_again(client, monkeypatch):
    monkeypatch.setattr(submit, "_write", away)
    monkeypatch.setattr(submit, "_drafts", away)
    answer = client.post("/api/v1/jobs/", {"workflow": "any", "input": {}}, content_type="application/json")

    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/unavailable"
    assert "10.1.2.3" not in answer.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "kind"), [("/inbox/", "text/html; charset=utf-8"), ("/api/v1/jobs/", "application/problem+json")]
)
def test_a_page_whose_session_cannot_be_read_says_so(client, monkeypatch, path, kind):
    monkeypatch.setattr(SessionStore, "load", away)
    answer = client.get(path)

    assert (answer.status_code, answer["Retry-After"], answer["Content-Type"]) == (503, "5", kind)
    assert "10.1.2.3" not in answer.content.decode()
