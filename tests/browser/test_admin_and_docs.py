"""The admin and the API's page in a real browser, under the policy that every page has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.factories import UserFactory
from tests.intake.makers import document_of, make_definition, make_registration
from workflows.intake.submit import Submission, submit_job
from workflows.models import Definition, PluginRegistration

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def boss_page(chromium: Any, live_server: Any, transactional_db: None) -> Iterator[Any]:
    """The admin, entered by a superuser. What the browser refuses or a script throws fails the test at its end."""
    UserFactory(username="boss", is_staff=True, is_superuser=True)
    context = chromium.new_context(base_url=live_server.url, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(15_000)
    faults: list[str] = []

    def note(message: Any) -> None:
        # The browser asks for an icon by itself, and the admin's sign-in has none.
        if message.type == "error" and "favicon" not in message.location.get("url", ""):
            faults.append(f"{page.url} {message.text}")

    page.on("console", note)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto("/admin/login/")
    page.fill("#id_username", "boss")
    page.fill("#id_password", "correct horse")
    page.click("[type=submit]")
    page.wait_for_selector("#user-tools")
    yield page
    context.close()
    assert not faults, "\n".join(faults)


def test_every_list_and_form_of_the_admin_works_under_the_policy(boss_page: Any) -> None:
    make_definition("claim")
    registration = make_registration("shape.it")
    job = submit_job(Submission("claim", {"a": 1}), submitted_by=None).job
    for path in (
        *("/admin/", "/admin/workflows/job/", f"/admin/workflows/job/{job.pk}/change/"),
        *("/admin/workflows/definition/", "/admin/workflows/definition/add/"),
        *("/admin/workflows/pluginregistration/", f"/admin/workflows/pluginregistration/{registration.pk}/change/"),
        *("/admin/workflows/pluginregistration/import/", "/admin/workflows/pluginregistration/export/"),
        *("/admin/departments/department/export/", "/admin/departments/membership/import/"),
        *("/admin/departments/department/", "/admin/departments/department/add/", "/admin/auth/user/add/"),
    ):
        assert boss_page.goto(path).status == 200, path
        boss_page.wait_for_load_state("networkidle")


def test_a_definition_is_published_and_a_plugin_checked_by_hand(boss_page: Any) -> None:
    boss_page.goto("/admin/workflows/definition/add/")
    boss_page.fill("#id_text", json.dumps(document_of("claim")))
    boss_page.click("[name=_publish]")
    boss_page.wait_for_selector(".messagelist .success")
    assert Definition.objects.get().name == "claim"
    registration = make_registration("shape.it")
    boss_page.goto(f"/admin/workflows/pluginregistration/{registration.pk}/change/")
    boss_page.click(".object-tools button")
    assert "loads" in boss_page.inner_text(".messagelist .success")
    assert PluginRegistration.objects.get() == registration


def test_the_page_of_the_api_shows_its_operations(boss_page: Any) -> None:
    boss_page.goto("/api/docs/")
    boss_page.wait_for_selector("#operations-jobs-jobs_submit")
    boss_page.click("#operations-jobs-jobs_submit button.opblock-summary-control")
    boss_page.wait_for_selector("#operations-jobs-jobs_submit .opblock-body")
    assert "Idempotency-Key" in boss_page.inner_text("#operations-jobs-jobs_submit .opblock-body")
