"""What the browser is told when others work on the same list."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from departments import actions
from tests.departments.makers import open_item

pytestmark = pytest.mark.django_db


def since_of(browser: Any, path: str = "/inbox/") -> str:
    """The cursor that the page gives."""
    found = re.search(r'data-since="([^"]*)"', browser.get(path).content.decode())
    assert found
    return found[1]


def test_where_nothing_changed_the_answer_is_empty(people: Any, browser_of: Any) -> None:
    open_item(people.department)
    browser = browser_of(people.member)
    first = browser.get("/inbox/changes", {"since": since_of(browser)})
    again = browser.get("/inbox/changes", {"since": first.json()["cursor"]})
    assert (again.status_code, again.content) == (204, b"")


def test_a_claim_of_a_colleague_is_told_with_who_and_when(people: Any, browser_of: Any) -> None:
    item = open_item(people.department)
    browser = browser_of(people.member)
    since = browser.get("/inbox/changes", {"since": since_of(browser)}).json()["cursor"]
    actions.claim(item.pk, people.colleague)
    (row,) = browser.get("/inbox/changes", {"since": since}).json()["rows"]
    assert (row["id"], row["version"], row["word"]) == (str(item.pk), 2, "Claimed")
    assert re.fullmatch(r"colleague \d\d:\d\d", row["holder"])


def test_new_items_are_told_also_below_what_is_shown(people: Any, browser_of: Any) -> None:
    shown = open_item(people.department, due_at=timezone.now())
    browser = browser_of(people.member)
    since = since_of(browser)
    new = open_item(people.department)
    until = f"d.{int(shown.due_at.timestamp() * 10**6)}.{shown.pk}"
    answer = browser.get("/inbox/changes", {"since": since, "until": until}).json()
    assert [row["id"] for row in answer["rows"]] == [str(shown.pk)]
    assert str(new.pk) in answer["new"]


def test_a_decided_item_is_missing_from_the_answer_that_knows_the_whole_list(people: Any, browser_of: Any) -> None:
    item, other = open_item(people.department), open_item(people.department)
    browser = browser_of(people.member)
    since = since_of(browser)
    actions.complete(item.pk, people.colleague, "approve")
    answer = browser.get("/inbox/changes", {"since": since}).json()
    assert answer["whole"] is True
    assert [row["id"] for row in answer["rows"]] == [str(other.pk)]


def test_another_department_s_changes_are_not_told(people: Any, browser_of: Any) -> None:
    browser = browser_of(people.member)
    since = since_of(browser)
    open_item(people.elsewhere)
    for query in ({}, {"department": "payments"}):
        answer = browser.get("/inbox/changes", {"since": since, **query}).json()
        assert (answer["rows"], answer["new"]) == ([], [])


def test_the_rows_up_to_the_last_one_shown_are_told_and_no_more(people: Any, browser_of: Any) -> None:
    items = [open_item(people.department, due_at=timezone.now() + timedelta(hours=n)) for n in range(1, 5)]
    browser = browser_of(people.member)
    until = f"d.{(items[1].due_at.timestamp() * 10**6):.0f}.{items[1].pk}"
    answer = browser.get("/inbox/changes", {"since": since_of(browser), "until": until}).json()
    assert [row["id"] for row in answer["rows"]] == [str(item.pk) for item in items[:2]]


@pytest.mark.parametrize("since", ["", "x", "1.2.3"])
def test_a_cursor_that_is_not_ours_is_refused(people: Any, browser_of: Any, since: str) -> None:
    assert browser_of(people.member).get("/inbox/changes", {"since": since}).status_code == 400
