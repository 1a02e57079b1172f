"""Every error is a problem, wherever it comes from."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from workflows.api import jobs

pytestmark = pytest.mark.django_db


def told(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["type"].startswith("/problems/")
    assert body["title"]
    assert body["detail"]
    return body


def test_a_path_that_is_no_endpoint_is_a_problem(client: APIClient) -> None:
    for path in ("/api/v1/nothing/", "/api/", "/api/v2/jobs/", "/api/v1/jobs/not-an-id/"):
        told(client.get(path), 404)


def test_a_post_without_its_slash_is_told_so_and_not_redirected(client: APIClient) -> None:
    strict = APIClient(enforce_csrf_checks=True)
    for caller in (client, strict):
        assert "slash" in told(caller.post("/api/v1/jobs", {}, format="json"), 404)["detail"]


def test_a_method_that_is_not_there_is_a_problem(client: APIClient) -> None:
    told(client.delete("/api/v1/jobs/"), 405)


def test_a_representation_that_is_not_there_is_a_problem(client: APIClient) -> None:
    told(client.get("/api/v1/jobs/", headers={"Accept": "text/html"}), 406)


def test_an_unforeseen_error_is_a_problem_that_leaks_nothing(
    client: APIClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr(jobs.policy, "visible_jobs", fail)
    client.raise_request_exception = False
    response = client.get("/api/v1/jobs/")
    told(response, 500)
    assert b"secret" not in response.content
    assert "secret of the house" in caplog.text


def test_paths_outside_of_the_api_keep_their_own_pages() -> None:
    response = Client().get("/nothing-here/")
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")
