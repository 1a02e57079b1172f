"""Dead letters and repairs in a real browser: from the causes to the preview, and on a page that follows by itself."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.browser.test_admin_and_docs import boss_page  # noqa: F401  (a fixture)
from tests.execution.jobs import publish, register, submit
from tests.execution.test_compensation import order
from workflows.execution.worker import drain
from workflows.models import Job
from workflows.operations.bulk import BulkRepairs

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

CAUSES = {"AnswersFailed": 4, "Raises": 2, "FailsByName": 1}


def picture(page: Any, name: str) -> None:
    """A screenshot, where the environment says into which folder."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def test_a_cause_is_repaired_from_the_list_to_the_end(boss_page: Any, settings: Any) -> None:  # noqa: F811
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    for name, plugin in (("echo", "Echo"), ("release", "Echo"), ("refund", "Echo"), ("unpack", "Echo")):
        register(name, plugin)
    for plugin, count in CAUSES.items():
        register(plugin.lower(), plugin)
        definition = publish(order(plugin.lower(), name=f"order-{plugin.lower()}"))
        for number in range(count):
            submit(
                definition, {"order": number, "lines": [{"sku": "A-17", "count": 2}]}, correlation_id=f"ORD-{number}"
            )
    drain()
    assert Job.objects.filter(status="FAIL").count() == 7

    page = boss_page
    page.goto("/admin/workflows/deadletter/")
    picture(page, "causes")
    page.click("text=Refused")
    picture(page, "cause")
    job = page.get_attribute("td a:has-text('Repair')", "href")
    page.click("text=Skip all…")
    page.fill("[name=reason]", "done by phone")
    picture(page, "choice")
    page.click("button:has-text('Preview')")
    page.wait_for_selector("text=Nothing is repaired yet.")
    picture(page, "preview")

    page.goto(job)
    picture(page, "repair-one")
    page.go_back()
    page.click("button:has-text('Skip 4 jobs')")
    page.wait_for_selector("text=Running.")
    picture(page, "running")
    BulkRepairs().run_once()
    page.wait_for_selector("strong:has-text('Done')", timeout=20_000)  # it follows by itself
    picture(page, "done")

    drain()
    page.goto(job.replace("/repair/", "/change/"))
    picture(page, "job")
    assert "done by phone" in page.content()
