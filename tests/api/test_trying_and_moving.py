"""Simulation, back-test and migration over REST."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.execution.jobs import publish, submit
from tests.factories import DepartmentFactory, UserFactory
from workflows.execution.worker import drain
from workflows.models import Job
from workflows.operations import moving
from workflows.operations.bulk import BulkRepairs

pytestmark = pytest.mark.django_db
CLAIM = "/api/v1/definitions/claim/"


def document(task: str = "verify", **fields: Any) -> dict[str, Any]:
    human = {"type": "human", "department": "claims", "due": "P1D", **fields}
    return {
        "name": "claim",
        "tasks": {task: human, "end": {"type": "pass"}},
        "transitions": [{"from": task, "to": "end"}],
    }


@pytest.fixture(autouse=True)
def _department(db: None) -> None:
    DepartmentFactory(code="claims")


def post(client: APIClient, path: str, body: Any) -> Any:
    return client.post(path, body, format="json")


# ---- simulation -----------------------------------------------------------------------------------------------------


def test_a_simulation_tells_path_deciders_and_due_dates(configurator: APIClient) -> None:
    publish(document())
    body = {"input": {}, "now": "2030-01-01T00:00:00Z", "outcomes": {"verify": [{"outcome": "reject"}]}}
    found = post(configurator, f"{CLAIM}simulate/", body)
    assert found.status_code == 200
    done = found.json()
    assert [(step["task"], step["outcome"]) for step in done["path"]] == [("verify", "reject"), ("end", None)]
    assert done["path"][0]["asked"]["department"] == "claims"
    assert done["path"][0]["asked"]["due_at"] == "2030-01-02T00:00:00Z"
    assert (done["status"], done["version"], done["stopped"]) == ("DONE", 1, "")
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"input": {}, "version": 9}, 404),
        ({"input": {}, "version": "newest"}, 422),
        ({"input": {}, "version": "draft"}, 404),
        ({"input": {}, "version": 1, "document": {}}, 422),
        ({"input": {}, "document": {"name": "claim"}}, 422),
        ({"input": {}, "outcomes": {"nowhere": ["x"]}}, 422),
        ({"input": {}, "outcomes": {"verify": ["maybe"]}}, 422),
        ({"input": {}, "outcomes": {"verify": "approve"}}, 422),
        ({"input": {}, "outcomes": {"verify": [{"after": "P1Y"}]}}, 422),
        ({"input": {}, "now": "soon"}, 422),
        ({"input": "\0"}, 422),
        ({"input": {}, "x": 1}, 422),
    ],
)
def test_a_simulation_that_cannot_be_is_refused_with_its_reason(
    configurator: APIClient, body: Any, status: int
) -> None:
    publish(document())
    answer = post(configurator, f"{CLAIM}simulate/", body)
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")


# ---- back-test ------------------------------------------------------------------------------------------------------


def test_a_back_test_lists_past_jobs_whose_path_or_decider_would_change(
    configurator: APIClient, operator: APIClient
) -> None:
    definition = publish({"name": "claim", "tasks": {"a": {"type": "pass"}}})
    job = submit(definition, {"n": 1}, correlation_id="C-1")
    drain()
    new = {"name": "claim", "tasks": {"b": {"type": "pass"}}}
    body = {"document": new, "limit": 10}
    assert post(configurator, f"{CLAIM}backtest/", body).json()["examined"] == 0, "a foreign job"
    configurator.user.groups.set(operator.user.groups.all() | configurator.user.groups.all())  # type: ignore[attr-defined]
    found = post(configurator, f"{CLAIM}backtest/", body).json()
    assert (found["examined"], found["changed"], found["unchanged"], found["unknown"]) == (1, 1, 0, 0)
    assert [(row["job"], row["verdict"], row["correlation_id"]) for row in found["jobs"]] == [
        (str(job.pk), "path", "C-1")
    ]
    for wrong, status in (({"limit": 1001}, 422), ({"limit": 0}, 422), ({"against": 9}, 404), ({"version": 9}, 404)):
        assert post(configurator, f"{CLAIM}backtest/", wrong).status_code == status


# ---- migration ------------------------------------------------------------------------------------------------------


def test_live_jobs_are_moved_after_a_dry_run(operator: APIClient) -> None:
    definition = publish(document())
    jobs = [submit(definition) for _ in range(2)]
    drain()
    publish(document("look"))
    dry = post(operator, f"{CLAIM}migrate/", {"from": 1, "to": 2}).json()
    assert (dry["dry_run"], dry["total"], dry["clean"]["count"]) == (True, 2, 0)
    assert [(row["code"], row["task"], row["count"]) for row in dry["needs_mapping"]] == [
        ("needs_mapping", "verify", 2)
    ]
    body = {"from": [1], "to": 2, "mapping": {"verify": "look"}}
    assert post(operator, f"{CLAIM}migrate/", body).json()["clean"]["count"] == 2
    assert set(Job.objects.values_list("version", flat=True)) == {1}
    done = post(operator, f"{CLAIM}migrate/", {**body, "dry_run": False, "reason": "renamed"}).json()
    assert (done["moved"], done["refused"], done["dry_run"]) == (2, [], False)
    history = operator.get(f"/api/v1/jobs/{jobs[0].pk}/history/").json()["results"]
    moved = next(row for row in history if row["event"] == "job.migrated")
    assert (moved["actor"], moved["data"]["cause"]) == (operator.user.username, "renamed")  # type: ignore[attr-defined]


def test_more_jobs_than_one_request_moves_are_moved_by_the_workers(
    operator: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "MAX_AT_ONCE", 2)
    definition = publish(document())
    jobs = [submit(definition) for _ in range(3)]
    drain()
    publish(document("look"))
    body = {"from": 1, "to": 2, "mapping": {"verify": "look"}, "dry_run": False}
    started = post(operator, f"{CLAIM}migrate/", body)
    assert (started.status_code, started.json()["total"]) == (202, 3)
    assert set(Job.objects.values_list("version", flat=True)) == {1}
    BulkRepairs().run_once()
    assert set(Job.objects.values_list("version", flat=True)) == {2}
    told = operator.get(started["Location"]).json()
    assert (told["id"], told["verb"], told["progress"]["done"]) == (started.json()["repair"], "migrate", len(jobs))
    several = post(operator, f"{CLAIM}migrate/", {**body, "to": 1, "from": [2, 3], "mapping": {}})
    assert (several.status_code, several.json()["errors"][0]["code"]) == (422, "too_many")


def test_one_job_is_moved_or_the_task_in_the_way_is_named(operator: APIClient) -> None:
    job = submit(publish(document()))
    drain()
    publish(document("look"))
    where = f"/api/v1/jobs/{job.pk}/migrate/"
    refused = post(operator, where, {"to": 2})
    assert refused.status_code == 409
    assert refused.json()["errors"][0] | {"detail": ""} == {
        "pointer": "/mapping/verify",
        "code": "needs_mapping",
        "detail": "",
    }
    lacks = post(operator, where, {"to": 2, "mapping": {"verify": "gone"}})
    assert (lacks.status_code, lacks.json()["errors"][0]["code"]) == (422, "unknown_task")
    assert "'gone'" in lacks.json()["errors"][0]["detail"]
    assert post(operator, where, {"to": 9}).json()["errors"][0]["code"] == "unknown_version"
    assert post(operator, where, {"to": 2, "mapping": {"verify": "look"}}).json()["version"] == 2


@pytest.mark.parametrize(
    "body",
    [{}, {"to": 0}, {"to": "2"}, {"to": 2, "mapping": []}, {"to": 2, "mapping": {"a": 1}}, {"to": 2, "from": "x"},
     {"to": 2, "status": ["DONE"]}, {"to": 2, "jobs": ["x"]}, {"to": 9}, {"to": 1, "mapping": {"x": "verify"}}],
)  # fmt: skip
def test_a_move_that_cannot_be_is_refused(operator: APIClient, body: Any) -> None:
    publish(document())
    assert post(operator, f"{CLAIM}migrate/", body).status_code == 422


def test_who_may_not_is_turned_away(client: APIClient, configurator: APIClient, client_of: Any) -> None:
    job = submit(publish(document()), submitted_by=client.user)  # type: ignore[attr-defined]
    for caller in (client, configurator, client_of(UserFactory(is_superuser=True), scopes=("read",))):
        assert post(caller, f"{CLAIM}migrate/", {"to": 1}).status_code == 403
    assert post(client, f"/api/v1/jobs/{job.pk}/migrate/", {"to": 1}).status_code == 403
    for path in ("simulate/", "backtest/"):
        assert post(client, CLAIM + path, {"input": {}}).status_code == 403
