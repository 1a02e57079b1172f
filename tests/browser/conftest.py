"""A real Chromium before a real server, with a small office behind it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from departments.models import Department, WorkItem
from tests.departments.makers import member, open_item, parked_job
from tests.factories import DepartmentFactory
from workflows.execution.respond import add_history

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
FORM = {
    "type": "object",
    "required": ["payable"],
    "properties": {
        "payable": {"type": "number", "title": "Payable amount", "minimum": 0},
        "cause": {"type": "string", "title": "Cause", "enum": ["water", "fire"]},
        "note": {"type": "string", "title": "Note", "format": "textarea"},
    },
}


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One Chromium for all tests. CHROMIUM names it where it is not on the path."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(
            "NO CHROMIUM FOUND: the inbox was not tried in a browser. Install one, or set CHROMIUM to its path."
        )
    from playwright.sync_api import sync_playwright

    # Playwright's own loop runs in this thread, and Django would take every query of the test for one made within it.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


class Office:
    """Verification, with a member and a lead, and three claims that wait for it."""

    def __init__(self) -> None:
        self.department: Department = DepartmentFactory(code="verification", name="Verification")
        self.member = member(self.department, "member")
        self.lead = member(self.department, "lead", lead=True)
        now = timezone.now()
        self.items = [
            self.claim("CLM-1", due_at=now - timedelta(hours=2)),
            self.claim("CLM-2", due_at=now + timedelta(days=3)),
            self.claim("CLM-3", due_at=None),
        ]

    def claim(self, reference: str, **values: Any) -> WorkItem:
        """One more claim that waits."""
        job = parked_job(correlation_id=reference)
        with transaction.atomic():
            add_history(job.pk, "job.submitted", actor="payer")
        return open_item(
            self.department,
            **{
                "job": job,
                "reference": reference,
                "title": f"Verify claim {reference}",
                "form": FORM,
                "data": {"claim_no": reference, "amount": 1250.5, "story": "It rained. " * 60},
            }
            | values,
        )

    def now(self, number: int) -> WorkItem:
        """The item as it is in the database."""
        return WorkItem.objects.select_related("assignee", "decided_by").get(pk=self.items[number].pk)


@pytest.fixture
def office(transactional_db: None) -> Office:
    return Office()


@pytest.fixture
def enter(chromium: Any, live_server: Any) -> Iterator[Callable[..., Any]]:
    """Sign somebody in and open their inbox. What the page logs as an error, or throws, fails the test at its end."""
    contexts, faults = [], []

    def note(message: Any) -> None:
        # A refusal has a status of its own, which the browser reports as a failed resource; htmx names a 401 as well.
        if message.type == "error" and not re.search("Failed to load resource|Error Code 401", message.text):
            faults.append(message.text)

    def make(user: Any, width: int = 1280, height: int = 800, **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", note)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{live_server.url}/login/")
        page.fill("#username", user.username)
        page.fill("#password", "correct horse")
        page.click("button[type=submit]")
        page.wait_for_url("**/inbox/**")
        return page

    yield make
    for context in contexts:
        context.close()
    assert faults == []
