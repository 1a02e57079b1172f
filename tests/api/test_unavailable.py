"""A database that is away is said as such, by every door, so that the client knows to try again."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError, connection
from django.test import Client

from tests.execution import jobs
from workflows.execution.worker import JobWorker
from workflows.intake import submit
from workflows.models import Job


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


@contextlib.contextmanager
def another_writer() -> Iterator[None]:
    """Somebody else has the place of SQLite's one writer, and this thread's connection has little patience."""
    with contextlib.closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 50")
        yield
        other.execute("ROLLBACK")
    connection.close()  # the next one has its patience again


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(not settings.DATABASE_URL.startswith("sqlite"), reason="SQLite's one writer")
def test_behind_a_writer_that_does_not_end_writers_are_put_off_and_readers_answered(client, settings, caplog):
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    jobs.register("nothing", "Nothing")
    job = jobs.submit(jobs.publish(jobs.chain("waits", "nothing")))
    worker = JobWorker("default")
    with another_writer():
        answer = client.post("/api/v1/jobs/", {"workflow": "waits", "input": {}}, content_type="application/json")
        assert (answer.status_code, answer["Retry-After"]) == (503, "5")
        assert answer.json()["type"] == "/problems/unavailable"
        assert "locked" not in answer.content.decode()
        answer = client.get("/api/v1/jobs/")
        assert [found["id"] for found in answer.json()["results"]] == [str(job.pk)]
        assert worker.tick(0.1) == 0
        assert "lost the database: database is locked" in caplog.text
    assert worker.tick(0.1) == 1
    worker.close()
    assert Job.objects.get(pk=job.pk).status == "DONE"
