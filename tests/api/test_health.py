"""Liveness, readiness and numbers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from tests.intake.makers import make_definition
from workflows.api import health
from workflows.intake.submit import Submission, submit_jobs
from workflows.models import Worker


def see_a_worker(ago: timedelta = timedelta(0)) -> None:
    Worker.objects.create(name="w", queue="default", host="here", pid=1, seen_at=timezone.now() - ago)


def test_a_process_is_alive_without_asking_the_database() -> None:
    # No database mark: a query would fail the test.
    assert Client().get("/livez").status_code == 200


@pytest.mark.django_db
def test_it_is_ready_with_a_migrated_database_and_a_worker() -> None:
    see_a_worker()
    response = Client().get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ready", "reasons": []})


@pytest.mark.django_db
def test_without_a_worker_that_was_seen_lately_it_is_not_ready_and_says_why() -> None:
    assert Client().get("/readyz").status_code == 503
    see_a_worker(ago=timedelta(minutes=5))
    response = Client().get("/readyz")
    assert response.status_code == 503
    assert "worker" in response.json()["reasons"][0]


@pytest.mark.django_db
def test_a_database_that_lacks_migrations_or_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    see_a_worker()
    monkeypatch.setattr(health, "_migrated", set())
    monkeypatch.setattr(health.MigrationExecutor, "migration_plan", lambda *args: ["one"])
    response = Client().get("/readyz")
    assert (response.status_code, len(response.json()["reasons"])) == (503, 1)

    def away() -> None:
        raise OperationalError("connection to server at 10.0.0.7 failed")

    monkeypatch.setattr(health, "_unmigrated", away)
    response = Client().get("/readyz")
    assert response.status_code == 503
    assert b"10.0.0.7" not in response.content


@pytest.mark.django_db
def test_the_numbers_are_for_operators_and_count_what_is_there(operator: APIClient, client: APIClient) -> None:
    make_definition("claim")
    submit_jobs([Submission("claim", {})] * 3, submitted_by=None)
    see_a_worker()
    assert Client().get("/metrics").status_code == 401
    assert client.get("/metrics").status_code == 403
    response: Any = operator.get("/metrics")
    assert response["Content-Type"].startswith("text/plain")
    lines = response.content.decode().splitlines()
    assert 'workflow_jobs{status="NEW"} 3' in lines
    assert 'workflow_jobs{status="DONE"} 0' in lines
    assert "workflow_workers 1" in lines
    assert response.content.endswith(b"\n")
