"""Subscriptions and schemas over REST: configurators keep them, and a useless one is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from rest_framework.test import APIClient

from tests.factories import UserFactory
from tests.intake.makers import make_definition
from workflows.models import EventSchema, Subscription

pytestmark = pytest.mark.django_db
SUBSCRIPTIONS = "/api/v1/subscriptions/"
SCHEMAS = "/api/v1/event-schemas/"
ROW = {"name": "start-shipping", "type": "order.placed", "workflow": "ship"}


def faults(response: Any, status: int = 422) -> set[tuple[str, str]]:
    assert response.status_code == status, response.content[:500]
    return {(error["pointer"], error["code"]) for error in response.json()["errors"]}


def test_a_subscription_is_made_read_changed_and_removed(configurator: APIClient) -> None:
    make_definition("ship")
    made = configurator.post(SUBSCRIPTIONS, {**ROW, "input": {"order": "${event.data}"}}, format="json")
    assert made.status_code == 201, made.content
    page = f"{SUBSCRIPTIONS}start-shipping/"
    assert made["Location"].endswith(page)
    body = dict(made.json())
    assert body.pop("created_at")
    assert body == {
        **ROW,
        **{"when": "", "version": None, "input": {"order": "${event.data}"}, "correlation_id": "", "enabled": True},
    }
    assert configurator.get(page).json() == made.json()
    assert [row["name"] for row in configurator.get(SUBSCRIPTIONS).json()["results"]] == ["start-shipping"]
    changed = configurator.patch(page, {"enabled": False, "when": "event.key != ''"}, format="json")
    assert (changed.status_code, changed.json()["enabled"], changed.json()["when"]) == (200, False, "event.key != ''")
    assert configurator.delete(page).status_code == 204
    assert configurator.get(page).status_code == 404
    assert not Subscription.objects.exists()


def test_a_subscription_that_could_never_start_a_job_is_refused_by_field(configurator: APIClient) -> None:
    make_definition("ship")

    def refused(**fields: Any) -> set[tuple[str, str]]:
        return faults(configurator.post(SUBSCRIPTIONS, {**ROW, **fields}, format="json"))

    assert refused(when="event.", workflow="gone") == {("/when", "invalid"), ("/workflow", "invalid")}
    assert refused(input={"a": "${job.id}"}) == {("/input", "invalid")}
    assert refused(name="two words") == {("/name", "invalid")}
    assert refused(enabled="yes") == {("/enabled", "type")}
    assert refused(typ="x") == {("/typ", "unknown_field")}
    assert faults(configurator.post(SUBSCRIPTIONS, {}, format="json")) == {
        *(("/name", "required"), ("/type", "required"), ("/workflow", "required"))
    }
    assert not Subscription.objects.exists()


def test_a_name_that_is_taken_is_a_conflict(configurator: APIClient) -> None:
    make_definition("ship")
    assert configurator.post(SUBSCRIPTIONS, ROW, format="json").status_code == 201
    again = configurator.post(SUBSCRIPTIONS, ROW, format="json")
    assert again.status_code == 409
    assert "start-shipping already" in again.json()["detail"]


def test_a_change_that_is_refused_changes_nothing(configurator: APIClient) -> None:
    make_definition("ship")
    configurator.post(SUBSCRIPTIONS, ROW, format="json")
    page = f"{SUBSCRIPTIONS}start-shipping/"
    assert faults(configurator.patch(page, {"when": "("}, format="json")) == {("/when", "invalid")}
    assert faults(configurator.patch(page, {"name": "other"}, format="json")) == {("/name", "unknown_field")}
    assert configurator.get(page).json()["when"] == ""


def test_a_schema_is_made_read_changed_and_removed(configurator: APIClient) -> None:
    schema = {"type": "object", "required": ["total"]}
    made = configurator.post(SCHEMAS, {"type": "order.placed", "schema": schema}, format="json")
    assert made.status_code == 201, made.content
    page = f"{SCHEMAS}order.placed/"
    assert made["Location"].endswith(page)
    assert configurator.get(page).json()["schema"] == schema
    assert [row["type"] for row in configurator.get(SCHEMAS).json()["results"]] == ["order.placed"]
    assert configurator.post(SCHEMAS, {"type": "order.placed", "schema": schema}, format="json").status_code == 409
    assert faults(configurator.patch(page, {"schema": {"type": "thing"}}, format="json")) == {("/schema", "invalid")}
    assert configurator.patch(page, {"description": "An order"}, format="json").json()["schema"] == schema
    assert configurator.delete(page).status_code == 204
    assert not EventSchema.objects.exists()


@pytest.mark.parametrize("where", [SUBSCRIPTIONS, SCHEMAS])
def test_only_configurators_see_and_change_them_with_the_scope_configure(
    where: str, client: APIClient, operator: APIClient, client_of: Callable[..., APIClient]
) -> None:
    assert client.get(where).status_code == operator.get(where).status_code == 403
    assert client.post(where, ROW, format="json").status_code == 403
    user = UserFactory()
    user.groups.add(Group.objects.get(name="configurators"))
    assert client_of(user, ("configure",)).get(where).status_code == 200
    assert client_of(user, ("read", "submit")).post(where, ROW, format="json").status_code == 403
