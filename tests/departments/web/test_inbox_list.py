"""The list: whose items, in which order, under which headings, page by page."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from departments.models import WorkItemStatus
from tests.departments.makers import external_item, join, open_item
from tests.factories import DepartmentFactory, UserFactory

pytestmark = pytest.mark.django_db


def titles(answer: Any) -> list[str]:
    """The titles of the rows, from top to bottom."""
    return re.findall(r'<a class="open"[^>]*>([^<]*)</a>', answer.content.decode())


def headings(answer: Any) -> list[str]:
    return re.findall(r'scope="rowgroup"><span>(?:<svg.*?</svg>\s*)?([^<]*)</span>', answer.content.decode())


def test_whoever_is_not_signed_in_is_led_to_the_sign_in_and_back(client: Any) -> None:
    answer = client.get("/inbox/?mine=1")
    assert (answer.status_code, answer["Location"]) == (302, "/login/?next=%2Finbox%2F%3Fmine%3D1")


def test_a_part_of_a_page_answers_401_so_that_nothing_typed_is_replaced_by_a_sign_in(client: Any) -> None:
    assert client.get("/inbox/", HTTP_HX_REQUEST="true", HTTP_HX_TARGET="pane").status_code == 401
    assert client.get("/inbox/changes?since=x").status_code == 401


def test_the_root_leads_to_the_inbox(client: Any) -> None:
    assert client.get("/")["Location"] == "/inbox/"


def test_late_items_come_first_and_undated_last(people: Any, browser_of: Any) -> None:
    now = timezone.now()
    for title, due in (
        ("undated", None),
        ("much later", now + timedelta(days=40)),
        ("late", now - timedelta(hours=1)),
        ("very late", now - timedelta(days=3)),
    ):
        open_item(people.department, title=title, due_at=due)
    answer = browser_of(people.member).get("/inbox/")
    assert titles(answer) == ["very late", "late", "much later", "undated"]
    assert headings(answer) == ["Late", "Later", "No date"]


def test_the_list_holds_open_human_items_of_my_departments_only(people: Any, browser_of: Any) -> None:
    open_item(people.department, title="ours")
    open_item(people.elsewhere, title="theirs")
    external_item(people.department, title="a system's")
    open_item(people.department, title="decided", status=WorkItemStatus.DONE, decided_at=timezone.now())
    assert titles(browser_of(people.member).get("/inbox/")) == ["ours"]


def test_mine_is_what_i_hold_in_whichever_department(people: Any, browser_of: Any) -> None:
    join(people.member, people.elsewhere)
    for department in (people.department, people.elsewhere):
        open_item(department, title=f"held in {department.code}", status="claimed", assignee=people.member)
        open_item(department, title="free")
    browser = browser_of(people.member)
    assert sorted(titles(browser.get("/inbox/?mine=1"))) == ["held in payments", "held in verification"]
    assert titles(browser.get("/inbox/?mine=1&department=payments")) == ["held in payments"]


def test_done_today_is_what_i_decided_since_midnight(people: Any, browser_of: Any) -> None:
    now = timezone.now()
    values = {"status": "done", "outcome": "approve"}
    open_item(people.department, title="mine", decided_by=people.member, decided_at=now, **values)
    open_item(people.department, title="before", decided_by=people.member, decided_at=now - timedelta(days=2), **values)
    open_item(people.department, title="another's", decided_by=people.colleague, decided_at=now, **values)
    answer = browser_of(people.member).get("/inbox/?done=1")
    assert titles(answer) == ["mine"]
    assert "Approved" in answer.content.decode()


def test_another_department_s_list_is_empty_and_says_the_same_as_one_that_does_not_exist(
    people: Any, browser_of: Any
) -> None:
    open_item(people.elsewhere, title="theirs")
    browser = browser_of(people.member)
    theirs, none = browser.get("/inbox/?department=payments"), browser.get("/inbox/?department=nothing")
    for answer in (theirs, none):
        assert titles(answer) == []
        assert "No such department, or you are not a member of it" in answer.content.decode()


def test_whoever_belongs_to_no_department_is_told_who_can_change_that(people: Any, browser_of: Any) -> None:
    page = browser_of(people.stranger).get("/inbox/").content.decode()
    assert "You belong to no department yet" in page
    assert "An administrator can make you a member" in page


def test_an_empty_queue_says_that_all_is_done(people: Any, browser_of: Any) -> None:
    assert (
        "Verification has no open items"
        in browser_of(people.member).get("/inbox/?department=verification").content.decode()
    )


@pytest.mark.parametrize("query", ["", "department=verification", "q=item"])
def test_the_pages_of_a_list_hold_every_item_once_in_order(people: Any, browser_of: Any, query: str) -> None:
    join(people.member, people.elsewhere)
    same, late = timezone.now() + timedelta(days=1), timezone.now() - timedelta(days=1)
    for number in range(130):
        department = people.elsewhere if number % 3 == 0 and not query.startswith("dep") else people.department
        due = (same, None, late + timedelta(minutes=number))[number % 3 if number % 2 else 0]
        open_item(department, title=f"item {number:03}", due_at=due)
    browser, found, url, pages = browser_of(people.member), [], f"/inbox/?{query}", 0
    while url:
        answer = browser.get(url, HTTP_HX_REQUEST="true", HTTP_HX_TARGET="more") if pages else browser.get(url)
        found += titles(answer)
        more = re.search(r'class="more" href="([^"]*)"', answer.content.decode())
        url, pages = more[1].replace("&amp;", "&") if more else "", pages + 1
    assert pages == 3
    assert len(found) == len(set(found)) == 130
    assert found[: found.index("item 000")] == sorted(found[: found.index("item 000")])


def test_a_heading_that_goes_on_is_not_repeated_on_the_next_page(people: Any, browser_of: Any) -> None:
    for number in range(60):
        open_item(people.department, title=f"{number}")
    browser = browser_of(people.member)
    more = re.search(r'class="more" href="([^"]*)"', browser.get("/inbox/").content.decode())
    assert more
    assert headings(browser.get(more[1].replace("&amp;", "&"), HTTP_HX_REQUEST="true", HTTP_HX_TARGET="more")) == []


def test_a_cursor_that_is_not_ours_gives_the_first_page(people: Any, browser_of: Any) -> None:
    open_item(people.department, title="first")
    for cursor in (
        "nonsense",
        "d.9999999999999999999999.x",
        "d.99999999999999999999.01a1fbf4-e440-77c6-9898-5717cf100b7f",
    ):
        assert titles(browser_of(people.member).get("/inbox/", {"after": cursor})) == ["first"]


def test_a_search_finds_the_exact_reference_first_then_prefixes_and_titles(people: Any, browser_of: Any) -> None:
    now = timezone.now()
    open_item(people.department, title="prefix", reference="CLM-10", due_at=now - timedelta(days=9))
    open_item(people.department, title="mentions clm-1 inside", reference="X", due_at=now - timedelta(days=5))
    open_item(people.department, title="exact", reference="CLM-1", due_at=None)
    open_item(people.department, title="other", reference="ORD-1")
    answer = browser_of(people.member).get("/inbox/?q=clm-1")
    assert titles(answer) == ["exact", "prefix", "mentions clm-1 inside"]
    assert headings(answer) == ["Exact match", "Late"]


@pytest.mark.parametrize("text", ["%", "_", "\\", "'", '"', "\x00", "a" * 5000, "' OR 1=1 --", "🜚"])
def test_a_search_for_anything_is_a_search_for_text(people: Any, browser_of: Any, text: str) -> None:
    open_item(people.department, title="an item")
    answer = browser_of(people.member).get("/inbox/", {"q": text})
    assert answer.status_code == 200
    assert titles(answer) == (["an item"] if text == "\x00" else [])


def test_the_rail_counts_open_items_and_marks_the_late(people: Any, browser_of: Any) -> None:
    open_item(people.department, due_at=timezone.now() - timedelta(days=1))
    open_item(people.department)
    rail = browser_of(people.member).get("/inbox/").content.decode().split('id="rail"')[1].split("</nav>")[0]
    assert re.search(r"Verification</span><span class=\"late-dot\".*?<span class=\"count\">2</span>", rail)
    assert "Payments" not in rail


def test_counts_stop_at_the_cap_and_say_so(people: Any, browser_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("departments.web.listing.CAP", 3)
    monkeypatch.setattr("departments.web.presentation.CAP", 3)
    for _ in range(6):
        open_item(people.department)
    page = browser_of(people.member).get("/inbox/").content.decode()
    assert re.findall(r'<span class="count">(3\+)</span>', page) == ["3+"]
    assert "<b>3+</b>" in page


def test_a_superuser_sees_every_department(people: Any, browser_of: Any) -> None:
    open_item(people.department, title="one")
    open_item(people.elsewhere, title="two")
    assert sorted(titles(browser_of(people.superuser).get("/inbox/"))) == ["one", "two"]


def test_fifty_rows_weigh_less_than_sixty_kilobytes(people: Any, browser_of: Any) -> None:
    for number in range(60):
        open_item(
            people.department,
            title=f"Verify claim CLM-{number}: water damage on the ground floor",
            priority=90,
            due_at=timezone.now() + timedelta(hours=number),
        )
    assert len(browser_of(people.member).get("/inbox/").content) < 60 * 1024


def test_no_page_has_a_script_or_a_style_of_its_own(people: Any, browser_of: Any) -> None:
    item = open_item(people.department)
    answer = browser_of(people.member).get(f"/inbox/?item={item.pk}")
    page = answer.content.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", page)
    assert "script-src 'self'" in answer["Content-Security-Policy"]


def test_departments_of_two_people_do_not_mix(browser_of: Any) -> None:
    first, second = DepartmentFactory(), DepartmentFactory()
    one, other = UserFactory(), UserFactory()
    join(one, first)
    join(other, second)
    open_item(first, title="for one")
    open_item(second, title="for the other")
    assert titles(browser_of(one).get("/inbox/")) == ["for one"]
    assert titles(browser_of(other).get("/inbox/")) == ["for the other"]
