"""Limits over REST: who has their slots, who waits, and what may be set."""

from __future__ import annotations

from typing import Any

import pytest

from tests.execution.jobs import chain, register, submit
from workflows.execution.worker import drain
from workflows.intake.publishing import publish
from workflows.models import Job, Limit, Slot

pytestmark = pytest.mark.django_db

LIMITS = "/api/v1/limits/"
BANK = f"{LIMITS}resource:bank/"


@pytest.fixture(autouse=True)
def _plugins(settings: Any, db: None) -> None:
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    register("echo", "Echo")


@pytest.fixture
def definition() -> Any:
    document = chain("limited", "echo")
    document["tasks"]["step1"]["resource"] = "bank"
    inner = {"type": "plugin", "plugin": "echo", "resource": "of-an-item"}
    document["tasks"]["each"] = {"type": "map", "items": "${input.items}", "task": inner}
    return publish({**document, "max_concurrency": 5, "rate_limit": {"limit": 1000, "per": "PT1S"}}).definition


def test_what_a_definition_limits_is_there_as_soon_as_it_is_published(definition: Any, operator: Any) -> None:
    rows = operator.get(LIMITS).json()["results"]
    assert [(row["code"], row["max_concurrency"], row["rate_limit"], row["rate_per"]) for row in rows] == [
        ("resource:bank", None, None, None),
        ("resource:of-an-item", None, None, None),
        ("workflow:limited", 5, 1000, 1),
    ]


def test_publishing_again_keeps_what_operators_have_set(definition: Any, operator: Any) -> None:
    operator.patch(BANK, {"max_concurrency": 1}, format="json")
    publish({**definition.document, "title": "Other", "max_concurrency": 6})
    assert Limit.objects.get(code="resource:bank").max_concurrency == 1
    assert Limit.objects.get(code="workflow:limited").max_concurrency == 6


@pytest.mark.django_db(transaction=True)
def test_a_raised_limit_lets_those_go_on_who_waited(definition: Any, operator: Any) -> None:
    answer = operator.patch(BANK, {"max_concurrency": 1, "description": "The bank's own limit"}, format="json")
    assert (answer.status_code, answer.json()["description"]) == (200, "The bank's own limit")
    holder = submit(definition, queue="elsewhere")
    Slot.objects.create(limit=Limit.objects.get(code="resource:bank"), job=holder, task="step1")
    for _ in range(3):
        submit(definition, {"items": []})
    drain()
    seen = operator.get(BANK).json()
    assert (seen["running"], seen["waiting"]) == (1, 3)
    assert [(row["job"], row["task"]) for row in seen["holders"]] == [(str(holder.pk), "step1")]
    listed = operator.get(LIMITS).json()["results"][0]
    assert (listed["running"], listed["waiting"]) == (1, 3)
    operator.patch(BANK, {"max_concurrency": 3}, format="json")
    assert Job.objects.filter(hold="resource:bank").count() == 1, "so many as there is room for"
    drain()
    assert Job.objects.filter(status="DONE").count() == 3


@pytest.mark.django_db(transaction=True)
def test_a_limit_that_is_lifted_holds_nobody(definition: Any, operator: Any) -> None:
    operator.patch(BANK, {"max_concurrency": 1}, format="json")
    Slot.objects.create(
        limit=Limit.objects.get(code="resource:bank"), job=submit(definition, queue="elsewhere"), task="step1"
    )
    submit(definition, {"items": []})
    drain()
    operator.patch(BANK, {"max_concurrency": None}, format="json")
    drain()
    assert Job.objects.filter(status="DONE").count() == 1


@pytest.mark.parametrize(
    ("path", "body", "pointer", "code"),
    [
        (BANK, {"rate_limit": 5}, "/rate_per", "required"),
        (BANK, {"max_concurrency": 0}, "/max_concurrency", "minimum"),
        (BANK, {"max_concurrency": "many"}, "/max_concurrency", "type"),
        (BANK, {"tokens_at": "2030-01-01T00:00:00Z"}, "/tokens_at", "unknown_field"),
        (f"{LIMITS}workflow:limited/", {"max_concurrency": 9}, "/max_concurrency", "not_settable"),
    ],
)
def test_what_makes_no_sense_is_refused(
    definition: Any, operator: Any, path: str, body: Any, pointer: str, code: str
) -> None:
    answer = operator.patch(path, body, format="json")
    assert answer.status_code == 422
    assert [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]] == [(pointer, code)]


def test_an_unknown_limit_is_not_there(operator: Any) -> None:
    assert operator.get(BANK).status_code == 404
    assert operator.patch(BANK, {"max_concurrency": 1}, format="json").status_code == 404
    assert not Limit.objects.exists()


def test_configurators_may_and_nobody_else(configurator: Any, client: Any) -> None:
    assert configurator.get(LIMITS).status_code == 200
    assert client.get(LIMITS).status_code == 403
    assert client.patch(BANK, {}, format="json").status_code == 403


def test_a_page_of_limits_costs_the_same_for_every_number(
    operator: Any, django_assert_num_queries: Any, definition: Any
) -> None:
    operator.get(LIMITS)
    with django_assert_num_queries(5) as few:
        operator.get(LIMITS)
    Limit.objects.bulk_create(Limit(code=f"resource:r{number:03}") for number in range(40))
    with django_assert_num_queries(len(few)):
        assert len(operator.get(LIMITS).json()["results"]) == 43
