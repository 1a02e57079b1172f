"""Drafts and versions over REST."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.factories import UserFactory
from tests.intake.makers import document_of, make_definition
from workflows.models import Definition, Draft

pytestmark = pytest.mark.django_db
CLAIM = "/api/v1/definitions/claim/"


def put(client: APIClient, document: Any, tag: str | None = None, **fields: Any) -> Any:
    headers = {} if tag is None else {"If-Match": tag}
    return client.put(f"{CLAIM}draft/", {"document": document, **fields}, format="json", headers=headers)


def test_a_draft_is_begun_changed_by_who_saw_it_and_published(configurator: APIClient) -> None:
    begun = put(configurator, {"name": "claim", "tasks": {}}, note="first")
    assert (begun.status_code, begun["ETag"]) == (201, '"1"')
    assert begun.json()["valid"] is False
    assert {error["pointer"] for error in begun.json()["errors"]} == {"/tasks"}
    assert put(configurator, document_of("claim")).status_code == 428
    assert put(configurator, document_of("claim"), '"7"').status_code == 412
    saved = put(configurator, document_of("claim"), begun["ETag"])
    assert (saved.status_code, saved["ETag"], saved.json()["valid"], saved.json()["note"]) == (
        200,
        '"2"',
        True,
        "first",
    )
    read = configurator.get(f"{CLAIM}draft/")
    assert read.json() == saved.json()
    assert configurator.get(f"{CLAIM}draft/", headers={"If-None-Match": '"2"'}).status_code == 304
    stale = configurator.post(f"{CLAIM}draft/publish/", {}, format="json", headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    published = configurator.post(f"{CLAIM}draft/publish/", {"note": "now"}, format="json", headers={"If-Match": '"2"'})
    assert (published.status_code, published.json()["version"], published.json()["note"]) == (201, 1, "now")
    assert configurator.get(f"{CLAIM}draft/").status_code == 404


def test_a_draft_with_faults_is_not_published(configurator: APIClient) -> None:
    put(configurator, {"name": "claim"})
    refused = configurator.post(f"{CLAIM}draft/publish/", {}, format="json")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/tasks"
    make_definition("claim")
    assert configurator.post(f"{CLAIM}draft/publish/", {}, format="json").status_code == 409


def test_a_draft_is_discarded(configurator: APIClient) -> None:
    put(configurator, document_of("claim"))
    assert configurator.delete(f"{CLAIM}draft/", headers={"If-Match": '"9"'}).status_code == 412
    assert configurator.delete(f"{CLAIM}draft/", headers={"If-Match": '"1"'}).status_code == 204
    assert configurator.delete(f"{CLAIM}draft/").status_code == 404
    assert not Draft.objects.exists()


@pytest.mark.parametrize(
    "body",
    [{}, {"document": []}, {"document": {}, "x": 1}, {"document": {}, "based_on": -1}, {"document": {"a": "\0"}}],
)
def test_a_body_that_is_no_draft_is_refused(configurator: APIClient, body: Any) -> None:
    assert configurator.put(f"{CLAIM}draft/", body, format="json").status_code in (400, 422)


def test_versions_are_listed_with_what_is_retired(configurator: APIClient) -> None:
    make_definition("claim")
    make_definition("claim", version=2, title="Two")
    make_definition("order")
    retired = configurator.post(f"{CLAIM}versions/2/retire/", {"reason": "wrong"}, format="json")
    assert (retired.status_code, retired.json()["retired"]) == (200, True)
    page = configurator.get(f"{CLAIM}versions/?page_size=1").json()
    rows = page["results"] + configurator.get(page["next"]).json()["results"]
    assert [(row["version"], row["retired"]) for row in rows] == [(2, True), (1, False)]
    assert configurator.get(CLAIM).json()["retired"] is True
    job = {"workflow": "claim", "input": {}}
    assert configurator.post("/api/v1/jobs/", job, format="json").json()["version"] == 1
    refused = configurator.post("/api/v1/jobs/", {**job, "version": 2}, format="json")
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "retired_version")
    back = configurator.post(f"{CLAIM}versions/2/restore/", {}, format="json")
    assert (back.status_code, back.json()["retired"]) == (200, False)
    assert configurator.get("/api/v1/definitions/nothing/versions/").status_code == 404


def test_rolling_back_makes_the_next_version(configurator: APIClient) -> None:
    make_definition("claim")
    make_definition("claim", version=2, title="Two")
    done = configurator.post(f"{CLAIM}versions/1/rollback/", {"note": "Two was wrong"}, format="json")
    assert (done.status_code, done.json()["version"], done.json()["note"]) == (201, 3, "Two was wrong")
    assert done["Location"].endswith("/claim/versions/3/")
    assert configurator.post(f"{CLAIM}versions/3/rollback/", {}, format="json").status_code == 200
    assert configurator.post(f"{CLAIM}versions/9/rollback/", {}, format="json").status_code == 404


def test_the_difference_is_told_in_words(configurator: APIClient, client: APIClient) -> None:
    make_definition("claim")
    make_definition("claim", version=2, title="Two")
    found = client.get(f"{CLAIM}diff/?from=1&to=2").json()
    assert found["changes"] == [
        {"kind": "document.changed", "sentence": "Title `Two` added.", "pointers": ["/title"], "task": "", "was": ""}
    ]
    put(configurator, document_of("claim"))
    assert configurator.get(f"{CLAIM}diff/?from=1&to=draft").json()["changes"] == []
    assert client.get(f"{CLAIM}diff/?from=1&to=draft").status_code == 403
    assert client.get(f"{CLAIM}diff/?from=1&to=9").status_code == 404
    for query in ("", "?from=1", "?from=x&to=2", "?from=-1&to=2", f"?from={'9' * 40}&to=1"):
        assert client.get(f"{CLAIM}diff/{query}").status_code == 422


def test_who_is_no_configurator_or_has_another_scope_changes_nothing(client: APIClient, client_of: Any) -> None:
    make_definition("claim")
    superuser = client_of(UserFactory(is_superuser=True), scopes=("read",))
    for caller in (client, superuser):
        assert put(caller, document_of("claim")).status_code == 403
        for path in ("draft/publish/", "versions/1/retire/", "versions/1/restore/", "versions/1/rollback/"):
            assert caller.post(CLAIM + path, {}, format="json").status_code == 403
    assert client.get(f"{CLAIM}draft/").status_code == 403
    assert Definition.objects.count() == 1


def test_a_list_of_versions_takes_as_many_queries_whatever_its_length(
    client: APIClient, django_assert_max_num_queries: Any
) -> None:
    for version in range(1, 30):
        make_definition("claim", version=version, title=str(version))
    with django_assert_max_num_queries(4):
        assert len(client.get(f"{CLAIM}versions/").json()["results"]) == 29
