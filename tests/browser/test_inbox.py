"""The inbox as a person uses it: with the mouse, with the keys alone, on a phone, without JavaScript."""

from __future__ import annotations

import re
from typing import Any

import pytest

from departments import actions
from departments.models import WorkItem

pytestmark = pytest.mark.browser


def open_row(page: Any, title: str) -> None:
    """Click a row and wait for its item."""
    page.get_by_role("link", name=title, exact=True).click()
    page.wait_for_selector(f"#item-title:has-text('{title}')")


def focused(page: Any) -> str:
    """The text, or the id, of what has the focus."""
    return str(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))


def titles(page: Any) -> list[str]:
    return [each.strip() for each in page.locator("tr.row a.open").all_text_contents()]


def test_a_claim_is_decided_with_the_mouse_and_the_next_one_is_open(office: Any, enter: Any) -> None:
    page = enter(office.member)
    open_row(page, "Verify claim CLM-1")
    page.fill("[name='field/payable']", "900.50")
    page.select_option("[name='field/cause']", label="Fire")
    page.get_by_role("button", name="Approve").click()
    page.wait_for_selector("#item-title:has-text('Verify claim CLM-2')")
    assert page.locator("#toasts").inner_text() == "Approved CLM-1."
    assert titles(page) == ["Verify claim CLM-2", "Verify claim CLM-3"]
    assert focused(page) == "item-title"
    assert f"item={office.items[1].pk}" in page.url
    assert page.locator("tr.row.current a.open").inner_text() == "Verify claim CLM-2"
    decided = office.now(0)
    assert (decided.outcome, decided.answer, decided.decided_by) == (
        "approve",
        {"payable": 900.5, "cause": "fire"},
        office.member,
    )


def test_a_band_counts_what_is_left_after_a_decision(office: Any, enter: Any) -> None:
    WorkItem.objects.filter(pk__in=[item.pk for item in office.items]).update(due_at=None)
    page = enter(office.member)
    count = page.locator(".band-head b")
    assert count.all_inner_texts() == ["3"]
    open_row(page, "Verify claim CLM-1")
    page.fill("[name='field/payable']", "900.50")
    page.select_option("[name='field/cause']", label="Fire")
    page.get_by_role("button", name="Approve").click()
    page.wait_for_selector("#item-title:has-text('Verify claim CLM-2')")
    assert count.all_inner_texts() == ["2"]


def test_a_claim_is_claimed_and_decided_with_the_keys_alone(office: Any, enter: Any) -> None:
    page = enter(office.member)
    press = page.keyboard.press
    press("j")
    assert focused(page) == "Verify claim CLM-1"
    press("j")
    press("k")
    press("Enter")
    page.wait_for_selector("#item-title:has-text('CLM-1')")
    press("c")
    page.wait_for_selector("#hold:has-text('Release')")
    assert office.now(0).assignee == office.member
    press("Shift+C")
    page.wait_for_selector("#hold:has-text('Claim')")
    assert office.now(0).assignee is None
    page.focus("[name='field/payable']")
    page.keyboard.type("12")
    press("Escape")
    press("m")
    assert focused(page) == "comment"
    page.keyboard.type("1 2 n c ? are letters here")
    press("Escape")
    press("2")
    assert "Reject is chosen" in page.locator("#chosen").inner_text()
    assert office.now(0).status == "open"
    press("Control+Enter")
    page.wait_for_selector("#item-title:has-text('CLM-2')")
    decided = office.now(0)
    assert (decided.outcome, decided.comment) == ("reject", "1 2 n c ? are letters here")
    press("Escape")
    page.wait_for_selector("text=No item is open")
    assert focused(page) == "Verify claim CLM-2"


def test_the_keys_help_themselves_search_and_find_the_next_one(office: Any, enter: Any) -> None:
    page = enter(office.member)
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("n")
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    assert office.now(0).assignee is None
    page.keyboard.press("n")
    page.wait_for_selector("#item-title:has-text('CLM-1')")
    assert office.now(0).assignee == office.member
    page.keyboard.press("t")
    assert focused(page) == "timeline"
    page.keyboard.press("/")
    assert focused(page) == "search"
    page.keyboard.type("CLM-3")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=CLM-3**")
    assert titles(page) == ["Verify claim CLM-3"]


def test_the_list_is_one_stop_for_the_tab_key(office: Any, enter: Any) -> None:
    page = enter(office.member)
    stops = "Array.from(document.querySelectorAll('tr.row a.open')).filter(link => link.tabIndex === 0).length"
    assert page.evaluate(stops) == 1
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(stops) == 1
    assert page.evaluate("document.activeElement.tabIndex") == 0


def test_of_two_people_the_second_is_told_and_keeps_the_comment(office: Any, enter: Any) -> None:
    first, second = enter(office.member), enter(office.lead)
    for page in (first, second):
        open_row(page, "Verify claim CLM-1")
        page.fill("[name='field/payable']", "5")
    second.fill("#comment", "I would not pay this.")
    first.get_by_role("button", name="Approve").click()
    first.wait_for_selector("#item-title:has-text('CLM-2')")
    second.get_by_role("button", name="Reject").click()
    second.wait_for_selector("#notice")
    assert re.search(
        r"member approved this at \d\d:\d\d\. Your comment is kept below\.", second.locator("#notice").inner_text()
    )
    assert second.input_value("#comment") == "I would not pay this."
    assert focused(second) == "notice"
    second.get_by_role("link", name="Next item").click()
    second.wait_for_selector("#item-title:has-text('CLM-2')")
    assert titles(second) == ["Verify claim CLM-2", "Verify claim CLM-3"]
    assert (office.now(0).outcome, office.now(0).decided_by) == ("approve", office.member)


def test_a_refused_form_keeps_every_word_and_leads_to_its_faults(office: Any, enter: Any) -> None:
    page = enter(office.member)
    open_row(page, "Verify claim CLM-1")
    page.fill("[name='field/payable']", "a lot")
    page.select_option("[name='field/cause']", label="Water")
    page.fill("[name='field/note']", "<b>two</b>\nlines")
    page.get_by_role("button", name="Return").click()
    page.wait_for_selector("#errors")
    assert focused(page) == "errors"
    assert page.locator("#errors li").all_inner_texts() == [
        "Payable amount: enter a number, such as 1250.50.",
        "Say why: a comment is required to return.",
    ]
    assert page.input_value("[name='field/payable']") == "a lot"
    assert page.input_value("[name='field/cause']") == "0"
    assert page.input_value("[name='field/note']") == "<b>two</b>\nlines"
    page.get_by_role("link", name="Payable amount: enter a number").click()
    assert focused(page) == "field-2f-payable"
    page.keyboard.press("Enter")
    assert office.now(0).status == "open"
    assert office.now(0).assignee is None


def test_what_was_typed_outlives_a_look_at_another_item(office: Any, enter: Any) -> None:
    page = enter(office.member)
    open_row(page, "Verify claim CLM-1")
    page.fill("#comment", "half a thought")
    open_row(page, "Verify claim CLM-2")
    assert page.input_value("#comment") == ""
    page.go_back()
    page.wait_for_selector("#item-title:has-text('CLM-1')")
    assert page.input_value("#comment") == "half a thought"
    assert f"item={office.items[0].pk}" in page.url


def test_opening_an_item_moves_and_reloads_nothing_of_the_list(office: Any, enter: Any) -> None:
    for number in range(10, 50):
        office.claim(f"CLM-{number}")
    page = enter(office.member)
    row = page.locator("tr.row a.open").nth(20)
    row.scroll_into_view_if_needed()
    page.evaluate("document.querySelector('#list').dataset.mark = 'same'")
    before = page.evaluate("document.querySelector('#list').scrollTop")
    assert before > 0
    title = row.inner_text()
    row.click()
    page.wait_for_selector(f"#item-title:has-text('{title}')")
    assert page.evaluate("document.querySelector('#list').scrollTop") == before
    assert page.evaluate("document.querySelector('#list').dataset.mark") == "same"
    assert page.evaluate("document.scrollingElement.scrollTop") == 0


def test_more_rows_are_loaded_below_the_others(office: Any, enter: Any) -> None:
    for number in range(10, 70):
        office.claim(f"CLM-{number}")
    page = enter(office.member)
    assert page.locator("tr.row").count() == 50
    page.get_by_role("link", name="Load more").click()
    page.wait_for_selector("tr.row >> nth=62")
    assert len(set(titles(page))) == 63


def test_a_colleague_s_claim_marks_the_row_and_a_new_item_waits_to_be_shown(office: Any, enter: Any) -> None:
    page = enter(office.member)
    order = titles(page)
    actions.claim(office.items[1].pk, office.lead)
    office.claim("CLM-9")
    page.wait_for_selector("tr.row.changed")
    assert "Claimed · lead" in page.locator("tr.row.changed").inner_text()
    page.wait_for_selector("#fresh:has-text('1 new')")
    assert titles(page) == order
    page.click("#fresh")
    page.wait_for_selector("text=Verify claim CLM-9")


def test_without_a_connection_one_is_told_and_nothing_is_lost(office: Any, enter: Any) -> None:
    page = enter(office.member)
    open_row(page, "Verify claim CLM-1")
    page.fill("#comment", "still here")
    page.context.set_offline(True)
    page.wait_for_selector("#connection:has-text('Not connected')")
    assert page.locator("#offline-why").is_visible()
    page.get_by_role("button", name="Approve").click()
    assert page.input_value("#comment") == "still here"
    page.context.set_offline(False)
    page.wait_for_selector("#connection", state="hidden")
    assert office.now(0).status == "open"


def test_on_a_phone_the_item_is_a_page_and_nothing_is_cut_off(office: Any, enter: Any) -> None:
    page = enter(office.member, 360, 740, has_touch=True)
    overflow = "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
    assert page.evaluate(overflow) == 0
    open_row(page, "Verify claim CLM-1")
    assert not page.locator("#list").is_visible()
    assert page.evaluate(overflow) == 0
    for button in page.locator("#decision button").all():
        assert button.bounding_box()["height"] >= 44
    page.get_by_role("link", name="Back to the list").click()
    page.wait_for_selector("tr.row >> nth=0")
    assert page.locator("#list").is_visible()


def test_everything_works_without_javascript(office: Any, enter: Any) -> None:
    page = enter(office.member, java_script_enabled=False)
    page.get_by_role("link", name="Verify claim CLM-1", exact=True).click()
    page.get_by_role("button", name="Claim").click()
    assert office.now(0).assignee == office.member
    page.get_by_role("button", name="Reject").click()
    assert "Say why: a comment is required to reject." in page.locator("#errors").inner_text()
    page.fill("#comment", "Not covered.")
    page.fill("[name='field/payable']", "0")
    page.get_by_role("button", name="Reject").click()
    assert page.locator("#item-title").inner_text() == "Verify claim CLM-2"
    assert page.locator(".toast").inner_text() == "Rejected CLM-1."
    assert office.now(0).comment == "Not covered."
    page.get_by_role("button", name="Sign out").click()
    assert page.url.endswith("/login/")


def test_a_sign_out_in_another_tab_loses_nothing(office: Any, enter: Any) -> None:
    page = enter(office.member)
    open_row(page, "Verify claim CLM-1")
    page.fill("[name='field/payable']", "5")
    page.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Approve").click()
    page.wait_for_selector("#connection:has-text('You are signed out')")
    assert page.input_value("[name='field/payable']") == "5"
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Sign in again in a new tab").click()
    other = opened.value
    other.fill("#username", "member")
    other.fill("#password", "correct horse")
    other.click("button[type=submit]")
    other.wait_for_url("**/inbox/**")
    page.get_by_role("button", name="Approve").click()
    page.wait_for_selector("#item-title:has-text('CLM-2')")
    assert office.now(0).answer == {"payable": 5}


def test_hostile_text_runs_nothing(office: Any, enter: Any) -> None:
    hostile = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"
    office.claim("CLM-8", title=hostile, data={hostile: hostile, "rows": [{hostile: hostile}]})
    page = enter(office.member)
    page.locator("tr.row a.open").filter(has_text="onerror").click()
    page.wait_for_selector("#item-title:has-text('onerror')")
    page.keyboard.press("c")
    page.wait_for_selector("#hold:has-text('Release')")
    assert "hacked" not in page.title().replace(hostile, "")
    assert page.locator("main img, main script").count() == 0
