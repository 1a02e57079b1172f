"""One item: what it shows, to whom, and that hostile text stays text."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from django.utils import timezone

from departments import actions
from tests.departments.makers import external_item, open_item, parked_job
from workflows.execution.respond import add_history
from workflows.intake.documents import store_document

pytestmark = pytest.mark.django_db

HOSTILE = "</textarea></script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}{% load x %}"


def shown(answer: Any) -> str:
    """The words of a page, without its tags."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", answer.content.decode())))


def elements(page: str) -> set[str]:
    """The names of all elements and attributes of a page, as a browser reads it."""
    found: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.update([tag, *(name for name, _ in attrs)])

    Reader().feed(page)
    return found


def test_an_item_opens_beside_the_list_and_as_a_part_of_it(people: Any, browser_of: Any) -> None:
    item = open_item(people.department)
    browser = browser_of(people.member)
    whole, part = browser.get(f"/inbox/?item={item.pk}"), browser.pane(f"/inbox/?item={item.pk}")
    assert "<!doctype html>" in whole.content.decode()
    assert "<!doctype html>" not in part.content.decode()
    for answer in (whole, part):
        assert "Verify claim CLM-1" in shown(answer)
        assert f'data-url="/inbox/?item={item.pk}"' in answer.content.decode()


def test_the_short_address_of_an_item_leads_to_it(people: Any, browser_of: Any) -> None:
    item = open_item(people.department)
    answer = browser_of(people.member).get(f"/inbox/items/{item.pk}/")
    assert answer["Location"] == f"/inbox/?item={item.pk}"


@pytest.mark.parametrize("who", ["outsider", "stranger", "system"])
def test_another_department_s_item_looks_like_none(people: Any, browser_of: Any, who: str) -> None:
    item = open_item(people.department, title="A secret title")
    browser = browser_of(people.named(who))
    refused = browser.get(f"/inbox/?item={item.pk}")
    absent = browser.get("/inbox/?item=01a1fbf4-e440-77c6-9898-5717cf100b7f")
    assert refused.status_code == absent.status_code == 404
    assert "A secret title" not in refused.content.decode()
    assert shown(refused) == shown(absent)


@pytest.mark.parametrize("key", ["x", "1", "../..", "01a1fbf4"])
def test_an_item_id_that_is_none_is_not_found(people: Any, browser_of: Any, key: str) -> None:
    assert browser_of(people.member).get("/inbox/", {"item": key}).status_code == 404


def test_it_says_why_it_is_with_this_department(people: Any, browser_of: Any) -> None:
    people.department.description = "Verification checks claims before anything is paid."
    people.department.save()
    item = open_item(people.department, iteration=2)
    text = shown(browser_of(people.member).pane(f"/inbox/?item={item.pk}"))
    assert "Why this is with Verification: Insurance claim (version 1) has reached the step Verify." in text
    assert "For the 2nd time." in text
    assert "Verification checks claims before anything is paid." in text


def test_a_colleague_s_item_says_who_holds_it_and_what_one_can_do(people: Any, browser_of: Any) -> None:
    item = open_item(people.department)
    actions.claim(item.pk, people.colleague)
    answer = browser_of(people.member).pane(f"/inbox/?item={item.pk}")
    assert "colleague holds it since" in shown(answer)
    buttons = re.findall(r'<button[^>]*name="outcome"[^>]*>', answer.content.decode())
    assert len(buttons) == 3
    assert all('disabled aria-describedby="decide-why"' in button for button in buttons)


def test_an_operator_may_look_and_is_told_why_no_more(people: Any, browser_of: Any) -> None:
    item = open_item(people.department)
    text = shown(browser_of(people.operator).pane(f"/inbox/?item={item.pk}"))
    assert "Only members of Verification can do this." in text


def test_a_system_s_request_is_shown_and_not_decided_here(people: Any, browser_of: Any) -> None:
    item = external_item(people.department)
    assert "A system answers this request" in shown(browser_of(people.member).pane(f"/inbox/?item={item.pk}"))


def test_a_decided_item_says_who_when_and_what(people: Any, browser_of: Any) -> None:
    item = open_item(people.department)
    actions.complete(item.pk, people.colleague, "approve", data={"payable": 12}, comment="All fits.")
    text = shown(browser_of(people.member).pane(f"/inbox/?item={item.pk}"))
    assert re.search(r"colleague approved this at \d\d:\d\d\. All fits\.", text)
    assert "Payable 12" in text


def test_the_timeline_tells_the_job_s_history_newest_last(people: Any, browser_of: Any) -> None:
    item = open_item(people.department)
    add_history(item.job_id, "job.submitted", actor="payer")
    actions.claim(item.pk, people.member)
    actions.comment(item.pk, people.member, "Looks odd.")
    actions.release(item.pk, people.member)
    add_history(item.job_id, "something.new", actor="")
    page = browser_of(people.member).pane(f"/inbox/?item={item.pk}").content.decode().split('id="timeline"')[1]
    lines = [unescape(line) for line in re.findall(r'<span class="said">([^<]*)', page)]
    assert lines == [
        "payer submitted the request.",
        "member claimed Verify.",
        "member commented on Verify.",
        "member released Verify.",
        "Something new, by The system.",
    ]
    assert "<q>Looks odd.</q>" in page


def test_a_document_is_listed_and_downloaded_as_an_attachment(people: Any, browser_of: Any) -> None:
    job = parked_job()
    document = store_document("report.csv", b"a,b\n1,2\n", uploaded_by=people.member, job=job)
    item = open_item(people.department, job=job)
    browser = browser_of(people.member)
    assert f"SHA-256 {document.sha256[:8]}" in shown(browser.pane(f"/inbox/?item={item.pk}"))
    answer = browser.get(f"/inbox/items/{item.pk}/documents/{document.pk}/")
    assert b"".join(answer.streaming_content) == b"a,b\n1,2\n"
    assert answer["Content-Disposition"] == 'attachment; filename="report.csv"'
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_a_document_is_had_only_through_an_item_of_its_own_job(people: Any, browser_of: Any) -> None:
    job, other = parked_job(), parked_job()
    document = store_document("report.csv", b"a,b\n", uploaded_by=people.member, job=job)
    item, wrong = open_item(people.department, job=job), open_item(people.department, job=other)
    path = f"/inbox/items/{item.pk}/documents/{document.pk}/"
    assert browser_of(people.member).get(path).status_code == 200
    assert browser_of(people.outsider).get(path).status_code == 404
    assert browser_of(people.member).get(f"/inbox/items/{wrong.pk}/documents/{document.pk}/").status_code == 404


def test_hostile_text_stays_text_in_every_place(people: Any, browser_of: Any) -> None:
    people.department.name = people.department.description = HOSTILE
    people.department.save()
    people.colleague.username = HOSTILE[:150]
    people.colleague.save()
    job = parked_job(workflow=HOSTILE[:100], correlation_id=HOSTILE)
    document = store_document("a.csv", b"a,b\n", uploaded_by=people.member, job=job)
    type(document).objects.filter(pk=document.pk).update(name=HOSTILE, media_type=HOSTILE, task=HOSTILE[:100])
    form = {
        "type": "object",
        "required": [HOSTILE],
        "properties": {
            HOSTILE: {"type": "string", "title": HOSTILE, "description": HOSTILE, "default": HOSTILE},
            "choice": {"enum": [HOSTILE, {"a": HOSTILE}], "title": HOSTILE},
            "many": {"type": "array", "items": {"type": "string", "enum": [HOSTILE]}},
            "group": {"type": "object", "properties": {HOSTILE: {"type": "string", "format": "textarea"}}},
        },
    }
    data = {
        HOSTILE: HOSTILE,
        "long": HOSTILE * 9,
        "rows": [{HOSTILE: HOSTILE}],
        "deep": {"a": {"b": {"c": {"d": HOSTILE}}}},
    }
    item = open_item(
        people.department,
        job=job,
        title=HOSTILE,
        task=HOSTILE[:100],
        outcomes=[HOSTILE, "reject"],
        form=form,
        data=data,
        due_at=timezone.now() - timedelta(days=1),
    )
    add_history(
        job.pk, HOSTILE[:40], actor=HOSTILE[:150], task=HOSTILE[:100], data={"comment": HOSTILE, "outcome": HOSTILE}
    )
    actions.claim(item.pk, people.colleague)
    browser = browser_of(people.colleague)
    item.refresh_from_db()
    refused = browser.act(item, "complete", outcome=HOSTILE, comment=HOSTILE, **{"field/choice": HOSTILE})
    answers = [
        browser.get("/inbox/", {"q": HOSTILE, "item": item.pk}),
        browser.get("/inbox/", {"department": HOSTILE, "q": HOSTILE}),
        browser.get("/inbox/", {"mine": "1", "item": item.pk}),
        browser.pane(f"/inbox/?item={item.pk}"),
        refused,
    ]
    for answer in answers:
        page = answer.content.decode()
        assert "<script>" not in page
        assert "<img" not in page
        assert "{{7*7}}" in page or "%7B%7B7" in page
        assert elements(page).isdisjoint({"img", "onerror"})
