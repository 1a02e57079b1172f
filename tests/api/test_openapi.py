"""The OpenAPI document: it is valid, it is true, and nothing generated from it breaks the server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.urls import URLPattern, URLResolver, get_resolver
from hypothesis import HealthCheck, Phase, settings
from rest_framework.test import APIClient

from tests.factories import UserFactory
from tests.intake.makers import make_definition
from workflows.intake.submit import Submission, submit_job
from workflows.models import ApiToken, Job
from workflows.policy import SCOPES

pytestmark = pytest.mark.django_db


@pytest.fixture
def fuzzed() -> Iterator[Any]:
    """The API in process, called with an administrator's token, on a database with a job."""
    # As Django's own test client does: a request in this process must not close the connection of the test.
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    user = UserFactory(is_superuser=True)
    _, token = ApiToken.objects.create(user=user)
    make_definition("claim")
    submit_job(Submission("claim", {"a": 1}), submitted_by=user)
    headers = {"Authorization": f"Bearer {token}"}
    yield schemathesis.openapi.from_wsgi("/api/schema/", get_wsgi_application()), headers
    request_started.connect(close_old_connections)
    request_finished.connect(close_old_connections)


# The sizes are modest: with every kind of wrong value, six of each operation find what breaks on its first call.
modest = settings(
    max_examples=6,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def paths() -> set[str]:
    """Every path under /api/v1/ that the resolver knows, with its variables named as in OpenAPI."""

    def walk(patterns: list[Any], prefix: str) -> Any:
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, route)
            elif isinstance(pattern, URLPattern):
                yield route

    found = set()
    for route in walk(get_resolver().url_patterns, ""):
        plain = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", route.replace("^", "").replace("$", "").replace("\\.", "."))
        found.add("/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", plain))
    return {path for path in found if path.startswith("/api/v1/")}


def test_the_document_is_valid_and_says_all_without_a_warning(tmp_path: Any) -> None:
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(tmp_path / "schema.yml"))
    assert (tmp_path / "schema.yml").read_text().startswith("openapi: 3.1")


def test_every_path_is_in_the_document_and_no_other() -> None:
    document = APIClient().get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"}).json()
    assert set(document["paths"]) == paths()


def test_every_error_in_the_document_is_a_problem() -> None:
    document = APIClient().get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"}).json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert list(response["content"]) == ["application/problem+json"], (method, path, status)


def test_the_page_names_its_document_and_allows_no_foreign_script() -> None:
    page = APIClient().get("/api/docs/")
    assert page.status_code == 200
    policy = page["Content-Security-Policy"]
    scripts = next(part for part in policy.split(";") if part.strip().startswith("script-src"))
    assert "unsafe" not in scripts
    assert b"cdn" not in page.content


def test_nothing_generated_from_the_document_breaks_the_server(fuzzed: Any) -> None:
    schema, headers = fuzzed
    calls: dict[str, int] = {}
    broken: list[str] = []
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            call_all(operation, mode, headers, calls, broken)
    assert broken == []
    assert len(calls) >= 20
    assert all(calls.values())
    assert Job.objects.count() > 1, "no generated submission was ever taken"


def call_all(operation: Any, mode: Any, headers: dict[str, str], calls: dict[str, int], broken: list[str]) -> None:
    from hypothesis import given
    from hypothesis.errors import Unsatisfiable

    @modest
    @given(case=operation.as_strategy(generation_mode=mode))
    def call(case: Any) -> None:
        make_meaningful(case)
        response = case.call(headers=headers)
        calls[operation.label] = calls.get(operation.label, 0) + 1
        problem = response.headers.get("content-type", [""])[0].startswith("application/problem+json")
        if response.status_code >= 500 or (response.status_code >= 400 and not problem):
            broken.append(f"{case.method} {case.path} -> {response.status_code} {case.body!r:.200} {case.query!r:.200}")

    try:
        call()
    except Unsatisfiable:
        # An operation without parameters has no wrong ones.
        calls.setdefault(operation.label, 0)


def make_meaningful(case: Any) -> None:
    """Name the workflow and the job that are there, so that calls get past the doors."""
    if "job_id" in (case.path_parameters or {}) and isinstance(case.path_parameters["job_id"], str):
        case.path_parameters["job_id"] = str(Job.objects.earliest("pk").pk)
    if isinstance(case.body, dict) and isinstance(case.body.get("workflow"), str):
        case.body["workflow"] = "claim"
        case.body.pop("version", None)
        case.body.pop("documents", None)


def test_the_scopes_are_explained() -> None:
    assert set(SCOPES) == {"read", "submit", "respond", "work", "operate", "configure"}
    assert all(SCOPES.values())
