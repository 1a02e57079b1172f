"""The buttons: claim, release, comment, decide. With htmx and without JavaScript."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from departments import actions
from departments.models import Comment, WorkItem
from tests.departments.makers import open_item
from tests.departments.web.test_item_pane import shown

pytestmark = pytest.mark.django_db

FORM = {
    "type": "object",
    "required": ["payable"],
    "properties": {"payable": {"type": "number", "minimum": 0}, "note": {"type": "string", "maxLength": 5}},
}


def reload(item: WorkItem) -> WorkItem:
    return WorkItem.objects.select_related("assignee", "decided_by").get(pk=item.pk)


def test_claim_and_release_change_the_pane_and_its_row(people: Any, browser_of: Any) -> None:
    item, browser = open_item(people.department), browser_of(people.member)
    claimed = browser.act(item, "claim")
    assert reload(item).assignee == people.member
    assert "Claimed CLM-1." in shown(claimed)
    assert f'id="row-{item.pk}"' in claimed.content.decode()
    released = browser.act(reload(item), "release")
    assert reload(item).assignee is None
    assert "Released CLM-1." in shown(released)


def test_a_claim_keeps_what_was_typed(people: Any, browser_of: Any) -> None:
    item = open_item(people.department, form=FORM)
    page = (
        browser_of(people.member)
        .act(item, "claim", comment="half a thought", **{"field/payable": "12,"})
        .content.decode()
    )
    assert ">half a thought</textarea>" in page
    assert 'value="12,"' in page


def test_a_claimed_item_tells_the_second_who_has_it_and_since_when(people: Any, browser_of: Any) -> None:
    item = open_item(people.department)
    actions.claim(item.pk, people.colleague)
    answer = browser_of(people.member).act(item, "claim", comment="my words")
    assert answer.status_code == 409
    assert re.search(
        r"colleague claimed this at \d\d:\d\d\. They or a lead of Verification can release it\.", shown(answer)
    )
    assert "my words" in answer.content.decode()


def test_a_decision_is_made_and_the_next_item_is_open(people: Any, browser_of: Any) -> None:
    now = timezone.now()
    first = open_item(people.department, form=FORM, due_at=now + timedelta(days=1))
    held = open_item(
        people.department, title="held", due_at=now + timedelta(days=2), status="claimed", assignee=people.colleague
    )
    following = open_item(people.department, title="The next", due_at=now + timedelta(days=3))
    answer = browser_of(people.member).act(first, "complete", outcome="approve", **{"field/payable": "1250.50"})
    decided, page = reload(first), answer.content.decode()
    assert (decided.status, decided.outcome, decided.decided_by, decided.answer) == (
        "done",
        "approve",
        people.member,
        {"payable": 1250.5},
    )
    assert f'data-item="{following.pk}"' in page
    assert f'data-item="{held.pk}"' not in page
    assert f'id="row-{first.pk}" hx-swap-oob="delete"' in page
    assert '<p class="toast">Approved CLM-1.</p>' in page


def test_after_the_last_one_the_pane_says_so(people: Any, browser_of: Any) -> None:
    item = open_item(people.department, form=None)
    answer = browser_of(people.member).act(item, "complete", outcome="approve")
    assert "That was the last one" in shown(answer)


def test_the_next_item_is_of_the_list_that_was_looked_at(people: Any, browser_of: Any) -> None:
    mine = [
        open_item(people.department, form=None, status="claimed", assignee=people.member, title=t) for t in ("a", "b")
    ]
    open_item(people.department, title="free", due_at=timezone.now() - timedelta(days=1))
    page = browser_of(people.member).act(mine[0], "complete", outcome="approve", list="mine=1").content.decode()
    assert f'data-item="{mine[1].pk}"' in page
    assert f'data-url="/inbox/?mine=1&amp;item={mine[1].pk}"' in page


@pytest.mark.parametrize("outcome", ["reject", "return"])
def test_to_reject_or_return_one_says_why(people: Any, browser_of: Any, outcome: str) -> None:
    item, browser = open_item(people.department, form=None), browser_of(people.member)
    refused = browser.act(item, "complete", outcome=outcome, comment="  ")
    assert refused.status_code == 422
    assert f"Say why: a comment is required to {outcome}." in shown(refused)
    assert 'aria-describedby="comment-help comment-error" aria-invalid="true"' in refused.content.decode()
    assert browser.act(item, "complete", outcome=outcome, comment="The invoice is missing.").status_code == 200
    assert reload(item).comment == "The invoice is missing."


def test_a_refused_form_keeps_what_was_typed_and_names_every_fault_beside_its_field(
    people: Any, browser_of: Any
) -> None:
    item = open_item(people.department, form=FORM)
    answer = browser_of(people.member).act(
        item, "complete", outcome="reject", comment="", **{"field/payable": "a lot", "field/note": "much too long"}
    )
    page = answer.content.decode()
    assert answer.status_code == 422
    assert re.findall(r'<li><a href="#([^"]*)">([^<]*)</a>', page) == [
        ("field-2f-payable", "Payable: enter a number, such as 1250.50."),
        ("field-2f-note", "Note: must be at most 5 characters."),
        ("comment", "Say why: a comment is required to reject."),
    ]
    described = 'aria-describedby="field-2f-payable-help field-2f-payable-error"'
    assert f'value="a lot" aria-required="true" aria-invalid="true" {described}' in page
    assert 'value="much too long"' in page
    assert 'id="field-2f-payable-error"' in page
    assert reload(item).status == "open"


def test_a_missing_required_field_is_named(people: Any, browser_of: Any) -> None:
    item = open_item(people.department, form=FORM)
    answer = browser_of(people.member).act(item, "complete", outcome="approve")
    assert "Payable: enter a number, such as 1250.50." in shown(answer)


def test_an_outcome_that_the_definition_does_not_have_is_refused(people: Any, browser_of: Any) -> None:
    item = open_item(people.department, form=None)
    answer = browser_of(people.member).act(item, "complete", outcome="pay_twice")
    assert answer.status_code == 422
    assert "Must be one of: approve, reject, return." in shown(answer)
    assert reload(item).status == "open"


def test_whoever_decides_second_is_told_who_and_when_and_keeps_the_comment(people: Any, browser_of: Any) -> None:
    item = open_item(people.department, form=None)
    actions.complete(item.pk, people.colleague, "approve", data={})
    answer = browser_of(people.member).act(item, "complete", outcome="reject", comment="I disagree.")
    assert answer.status_code == 409
    assert re.search(r"colleague approved this at \d\d:\d\d\. Your comment is kept below\.", shown(answer))
    assert ">I disagree.</textarea>" in answer.content.decode()
    assert reload(item).decided_by == people.colleague


def test_a_decision_on_what_has_changed_meanwhile_is_not_made(people: Any, browser_of: Any) -> None:
    item = open_item(people.department, form=None)
    actions.claim(item.pk, people.member)
    answer = browser_of(people.member).act(item, "complete", outcome="approve", comment="kept")
    assert answer.status_code == 409
    assert "This changed since you opened it." in shown(answer)
    assert 'name="version" value="2"' in answer.content.decode()
    assert ">kept</textarea>" in answer.content.decode()
    assert reload(item).status == "claimed"


@pytest.mark.parametrize("verb", ["claim", "release", "comment", "complete"])
@pytest.mark.parametrize("who", ["outsider", "stranger"])
def test_another_department_s_item_cannot_be_acted_on_and_looks_like_none(
    people: Any, browser_of: Any, verb: str, who: str
) -> None:
    item = open_item(people.department, form=None, title="A secret title")
    answer = browser_of(people.named(who)).act(item, verb, outcome="approve", comment="x")
    assert answer.status_code == 404
    assert "A secret title" not in answer.content.decode()
    assert (reload(item).status, reload(item).version) == ("open", 1)


def test_whoever_may_see_and_not_decide_gets_403_with_the_reason(people: Any, browser_of: Any) -> None:
    item = open_item(people.department, form=None)
    answer = browser_of(people.operator).act(item, "complete", outcome="approve")
    assert answer.status_code == 403
    assert "Only members of Verification can do this." in shown(answer)


def test_a_comment_is_added_and_what_else_was_typed_stays(people: Any, browser_of: Any) -> None:
    item = open_item(people.department, form=FORM)
    page = browser_of(people.member).act(item, "comment", comment="Odd.", **{"field/payable": "7"}).content.decode()
    assert Comment.objects.get(item=item).text == "Odd."
    assert "<q>Odd.</q>" in page
    assert 'value="7"' in page
    assert 'comment-help"></textarea>' in page


def test_an_empty_comment_is_refused_beside_its_field(people: Any, browser_of: Any) -> None:
    item = open_item(people.department)
    answer = browser_of(people.member).act(item, "comment", comment="   ")
    assert answer.status_code == 422
    assert 'id="comment-error"' in answer.content.decode()


def test_the_next_best_item_is_late_then_urgent_then_due_then_old(people: Any, browser_of: Any) -> None:
    now = timezone.now()
    expected = [
        open_item(people.department, title="late, urgent", due_at=now - timedelta(hours=1), priority=80),
        open_item(people.department, title="late", due_at=now - timedelta(hours=9)),
        open_item(people.department, title="urgent", priority=80),
        open_item(people.department, title="due", due_at=now + timedelta(hours=2)),
        open_item(people.department, title="old"),
        open_item(people.department, title="new"),
    ]
    browser = browser_of(people.member)
    for item in expected:
        browser.post("/inbox/next/", {"list": ""}, HTTP_HX_REQUEST="true", HTTP_HX_TARGET="pane")
        assert reload(item).assignee == people.member, item.title


def test_two_people_who_ask_for_the_next_one_never_get_the_same(
    people: Any, browser_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = open_item(people.department), open_item(people.department)
    real = actions.claim

    def slow(item_id: Any, user: Any, **values: Any) -> Any:
        """The colleague is quicker, between the choice and the claim."""
        if user == people.member and item_id == first.pk:
            real(first.pk, people.colleague)
        return real(item_id, user, **values)

    monkeypatch.setattr(actions, "claim", slow)
    browser_of(people.member).post("/inbox/next/", {"list": ""}, HTTP_HX_REQUEST="true")
    assert reload(first).assignee == people.colleague
    assert reload(second).assignee == people.member


def test_with_nothing_unclaimed_the_next_one_is_none_and_the_open_item_stays(people: Any, browser_of: Any) -> None:
    answer = browser_of(people.member).post("/inbox/next/", {"list": ""}, HTTP_HX_REQUEST="true")
    assert answer["HX-Reswap"] == "none"
    assert "Nothing is unclaimed here." in shown(answer)


def test_without_javascript_a_decision_leads_to_the_next_item_and_says_what_happened(
    people: Any, browser_of: Any
) -> None:
    first, following = open_item(people.department, form=None), open_item(people.department, title="The next")
    browser = browser_of(people.member)
    answer = browser.act(first, "complete", htmx=False, outcome="approve", list="department=verification")
    assert answer["Location"] == f"/inbox/?department=verification&item={following.pk}"
    assert '<p class="toast">Approved CLM-1.</p>' in browser.get(answer["Location"]).content.decode()


def test_without_javascript_a_refusal_is_a_whole_page_with_what_was_typed(people: Any, browser_of: Any) -> None:
    item = open_item(people.department, form=FORM)
    answer = browser_of(people.member).act(item, "complete", htmx=False, outcome="approve", **{"field/payable": "x"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "<!doctype html>" in page
    assert 'value="x"' in page


def test_a_form_without_its_token_changes_nothing(people: Any) -> None:
    item = open_item(people.department, form=None)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(people.member)
    answer = browser.post(f"/inbox/items/{item.pk}/complete/", {"outcome": "approve", "version": 1})
    assert answer.status_code == 403
    assert "Please send that again" in answer.content.decode()
    assert reload(item).status == "open"


@pytest.mark.parametrize("verb", ["claim", "release", "comment", "complete"])
def test_looking_at_an_address_never_acts(people: Any, browser_of: Any, verb: str) -> None:
    item = open_item(people.department)
    assert browser_of(people.member).get(f"/inbox/items/{item.pk}/{verb}/").status_code == 405


@pytest.mark.parametrize("version", ["", "x", "-1", "9" * 50, "²"])
def test_a_version_that_is_none_is_as_if_not_given(people: Any, browser_of: Any, version: str) -> None:
    item = open_item(people.department, form=None)
    assert browser_of(people.member).act(item, "complete", outcome="approve", version=version).status_code == 200
