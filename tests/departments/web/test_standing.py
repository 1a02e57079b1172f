"""Where a case stands, on the page of its items."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from departments.models import WorkItem
from departments.web.standing import duration
from tests.execution.jobs import publish, submit
from tests.factories import UserFactory
from workflows.execution.worker import drain
from workflows.models import WaitStatistic
from workflows.operations.suspend import suspend

pytestmark = pytest.mark.django_db


@pytest.fixture
def item(people: Any) -> WorkItem:
    """An item of a job that really waits for it."""
    task = {"type": "human", "department": people.department.code}
    submit(publish({"name": "case", "tasks": {"verify": task}, "transitions": []}))
    drain()
    return WorkItem.objects.get()


@pytest.fixture
def browser(people: Any, browser_of: Any) -> Any:
    """A member's browser."""
    return browser_of(people.member)


def test_the_item_asks_for_where_its_case_stands(browser: Any, item: WorkItem) -> None:
    assert f'hx-get="/inbox/items/{item.pk}/why/"' in browser.pane(f"/inbox/?item={item.pk}").content.decode()


def test_a_part_for_the_page_and_a_page_without_scripts(browser: Any, item: WorkItem) -> None:
    suspend("*", actor="olga", reason="<b>stocktaking</b>")
    url = f"/inbox/items/{item.pk}/why/"
    part = browser.get(url, HTTP_HX_REQUEST="true", HTTP_HX_TARGET="job-why").content.decode()
    assert part.startswith('<div class="why" id="job-why">')
    assert "Everything is suspended by olga: &lt;b&gt;stocktaking&lt;/b&gt;" in part
    assert "Back to the item" in browser.get(url).content.decode()


def test_who_may_not_see_the_item_is_not_told(item: WorkItem, browser_of: Any) -> None:
    stranger = browser_of(UserFactory())
    for each in (item.pk, uuid.uuid4()):
        assert stranger.get(f"/inbox/items/{each}/why/").status_code == 404


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "less than a second"), (1, "1 second"), (90, "2 minutes"), (3600, "1 hour"), (260_000, "3 days")],
)
def test_durations_are_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_how_long_it_took_before_is_told(browser: Any, item: WorkItem) -> None:
    WaitStatistic.objects.create(workflow=item.workflow, task=item.task, kind="human", count=9, p50=7200, p90=86400)
    told = browser.get(f"/inbox/items/{item.pk}/why/").content.decode()
    assert "Half of such waits took 2 hours, nine of ten 1 day." in told
