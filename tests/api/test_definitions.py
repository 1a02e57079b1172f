"""Definitions over REST."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.intake.makers import document_of, make_definition
from workflows.models import Definition

pytestmark = pytest.mark.django_db
DEFINITIONS = "/api/v1/definitions/"

YAML = """
name: claim
tasks:
  start: {type: pass}
transitions: []
"""


def test_a_document_is_published_as_version_one_and_can_be_read(configurator: APIClient) -> None:
    response = configurator.post(DEFINITIONS, document_of("claim", title="Claim"), format="json")
    assert response.status_code == 201
    assert response["Location"].endswith(f"{DEFINITIONS}claim/versions/1/")
    kept = configurator.get(f"{DEFINITIONS}claim/").json()
    assert kept == configurator.get(f"{DEFINITIONS}claim/versions/1/").json() == response.json()
    assert kept["document"] == document_of("claim", title="Claim")
    assert kept["published_by"] == configurator.user.username  # type: ignore[attr-defined]


def test_a_document_equal_to_the_newest_makes_no_new_version(configurator: APIClient) -> None:
    configurator.post(DEFINITIONS, document_of("claim"), format="json")
    again = configurator.post(DEFINITIONS, YAML, content_type="application/yaml")
    assert (again.status_code, again.json()["version"]) == (200, 1)
    changed = configurator.post(DEFINITIONS, document_of("claim", title="Other"), format="json")
    assert (changed.status_code, changed.json()["version"]) == (201, 2)


def test_the_list_holds_the_newest_version_of_each_workflow_by_name(client: APIClient) -> None:
    make_definition("order")
    make_definition("claim")
    make_definition("claim", version=2, title="Second")
    page = client.get(f"{DEFINITIONS}?page_size=1").json()
    found = page["results"] + client.get(page["next"]).json()["results"]
    assert [(row["name"], row["version"]) for row in found] == [("claim", 2), ("order", 1)]
    assert "document" not in found[0]


@pytest.mark.parametrize("path", ["nothing/", "claim/versions/9/", "claim/versions/99999999999999/"])
def test_what_was_never_published_is_not_found(client: APIClient, path: str) -> None:
    make_definition("claim")
    assert client.get(DEFINITIONS + path).status_code == 404


def test_who_is_no_configurator_publishes_nothing(client: APIClient) -> None:
    assert client.post(DEFINITIONS, document_of("claim"), format="json").status_code == 403
    assert not Definition.objects.exists()


BROKEN = {
    "name": "claim",
    "colour": "red",
    "tasks": {"start": {"type": "plugin", "plugin": "no.such"}, "ask": {"type": "human", "department": "no-such"}},
    "transitions": [{"from": "start", "to": "nowhere"}],
}


def test_every_fault_of_a_document_is_told_at_once(configurator: APIClient) -> None:
    response = configurator.post(DEFINITIONS, BROKEN, format="json")
    assert response.status_code == 422
    errors = response.json()["errors"]
    pointers = {error["pointer"] for error in errors}
    assert {"/colour", "/tasks/start/plugin", "/tasks/ask/department", "/transitions/0/to"} <= pointers
    assert all(error["code"] and error["detail"] for error in errors)
    assert not Definition.objects.exists()


def test_a_document_can_be_checked_without_publishing(client: APIClient) -> None:
    good = client.post(f"{DEFINITIONS}validate/", document_of("claim"), format="json")
    assert (good.status_code, good.json()) == (200, {"valid": True, "errors": []})
    bad = client.post(f"{DEFINITIONS}validate/", BROKEN, format="json").json()
    assert bad["valid"] is False
    assert len(bad["errors"]) >= 4
    assert not Definition.objects.exists()


@pytest.mark.parametrize(
    ("raw", "media_type", "status"),
    [
        (b"a: [", "application/yaml", 400),
        (b"a: 1\na: 2\n", "application/yaml", 400),
        (b"a: &x 1\nb: *x\n", "application/yaml", 400),
        (b"!!python/object:os.system {}", "application/yaml", 400),
        (b"\xff", "application/yaml", 400),
        (b"name: " + b"x" * 2_000_000, "application/yaml", 413),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
        (b"<a/>", "application/xml", 415),
    ],
)
def test_a_body_that_is_no_document_is_refused(
    configurator: APIClient, raw: bytes, media_type: str, status: int
) -> None:
    response: Any = configurator.post(DEFINITIONS, raw, content_type=media_type)
    assert response.status_code == status, response.content[:300]


def test_the_tag_of_a_version_saves_sending_it(client: APIClient) -> None:
    make_definition("claim")
    first = client.get(f"{DEFINITIONS}claim/")
    assert client.get(f"{DEFINITIONS}claim/", headers={"If-None-Match": first["ETag"]}).status_code == 304
