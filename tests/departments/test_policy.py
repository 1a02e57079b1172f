"""Who may do what to a work item: the whole table, role by verb by state."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from departments.models import WorkItem
from departments.policy import VERBS, verdict, visible_items
from tests.departments.conftest import People
from tests.departments.makers import external_item, open_item
from tests.factories import UserFactory

STATES = ("open", "mine", "others", "done", "withdrawn", "external")
"""`mine` is claimed by the user called member, `others` by their colleague."""

# One letter a state, in the order of STATES: y allowed, n not allowed (403), h hidden (404), c conflict (409).
MATRIX = {
    "member": {
        "view": "yyyyyy",
        "comment": "yyyyyy",
        "claim": "yycccc",
        "complete": "yycccc",
        "release": "cynccc",
        "assign": "nnnnnn",
        "forward": "nynccc",
        "respond": "cccccy",
    },
    "lead": {
        "view": "yyyyyy",
        "comment": "yyyyyy",
        "claim": "yccccc",
        "complete": "yccccc",
        "release": "cyyccc",
        "assign": "yyyccc",
        "forward": "yyyccc",
        "respond": "cccccy",
    },
    "superuser": {
        "view": "yyyyyy",
        "comment": "yyyyyy",
        "claim": "yccccc",
        "complete": "yccccc",
        "release": "cyyccc",
        "assign": "yyyccc",
        "forward": "yyyccc",
        "respond": "cccccy",
    },
    "operator": {
        "view": "yyyyyy",
        "comment": "yyyyyy",
        "claim": "nnnnnn",
        "complete": "nnnnnn",
        "release": "nnnnnn",
        "assign": "nnnnnn",
        "forward": "nnnnnn",
        "respond": "cccccy",
    },
    "system": dict.fromkeys(VERBS, "hhhhhh") | {"respond": "cccccy"},
    "outsider": dict.fromkeys(VERBS, "hhhhhh"),
    "stranger": dict.fromkeys(VERBS, "hhhhhh"),
}
CELLS = [
    (role, verb, state, expected)
    for role, verbs in MATRIX.items()
    for verb, row in verbs.items()
    for state, expected in zip(STATES, row, strict=True)
]


def item_in(state: str, people: People) -> WorkItem:
    """An item of the department in one of STATES."""
    if state == "external":
        return external_item(people.department)
    now = timezone.now()
    values: dict[str, Any] = {
        "open": {},
        "mine": {"status": "claimed", "assignee": people.member, "claimed_at": now},
        "others": {"status": "claimed", "assignee": people.colleague, "claimed_at": now},
        "done": {"status": "done", "decided_by": people.colleague, "decided_at": now, "outcome": "approve"},
        "withdrawn": {"status": "withdrawn", "withdrawn_at": now, "withdrawn_reason": "cancelled"},
    }[state]
    return open_item(people.department, **values)


def letter(allowed: bool, code: str) -> str:
    return "y" if allowed else {"not_visible": "h", "not_allowed": "n"}.get(code, "c")


def test_the_table_names_every_verb_for_every_role() -> None:
    assert all(set(verbs) == set(VERBS) for verbs in MATRIX.values())


def test_every_role_may_do_to_every_item_what_the_table_says_and_nothing_else(people: People) -> None:
    items = {state: item_in(state, people) for state in STATES}
    found = {}
    for role, verb, state, _ in CELLS:
        answer = verdict(people.named(role), items[state], verb)
        found[role, verb, state] = letter(answer.allowed, answer.code)
        assert answer.allowed or answer.reason, (role, verb, state)
    assert found == {(role, verb, state): expected for role, verb, state, expected in CELLS}


def test_a_refusal_says_who_can_do_it_instead(people: People) -> None:
    held = item_in("others", people)
    assert "colleague holds it since" in verdict(people.member, held, "claim").reason
    assert "a lead of Verification" in verdict(people.member, held, "release").reason
    assert "Only members of Verification" in verdict(people.operator, held, "claim").reason
    assert "colleague answered “approve” on" in verdict(people.member, item_in("done", people), "complete").reason
    assert "the job was cancelled" in verdict(people.member, item_in("withdrawn", people), "claim").reason


def test_only_the_items_of_ones_own_departments_are_in_a_list(people: People) -> None:
    own, other = open_item(people.department), open_item(people.elsewhere)
    assert set(visible_items(people.member)) == {own}
    assert set(visible_items(people.outsider)) == {other}
    assert set(visible_items(people.stranger)) == set()
    assert set(visible_items(people.system)) == set()
    assert set(visible_items(people.operator)) == {own, other}
    assert set(visible_items(people.superuser)) == {own, other}
    assert set(visible_items(AnonymousUser())) == set()


def test_somebody_who_was_switched_off_sees_nothing(people: People) -> None:
    item = open_item(people.department)
    people.member.is_active = False
    assert not visible_items(people.member).exists()
    assert verdict(people.member, item, "view").code == "not_visible"
    gone = UserFactory(is_superuser=True, is_active=False)
    assert not visible_items(gone).exists()


@pytest.mark.parametrize("rows", [1, 20])
def test_a_page_of_verdicts_costs_one_query_however_long_it_is(
    people: People, rows: int, django_assert_num_queries: Any
) -> None:
    for _ in range(rows):
        open_item(people.department)
    items = list(WorkItem.objects.select_related("department", "assignee", "decided_by"))
    with django_assert_num_queries(1):
        assert all(verdict(people.member, item, verb) for item in items for verb in ("view", "claim", "complete"))


def test_an_unknown_verb_is_a_mistake_of_the_caller(people: People) -> None:
    with pytest.raises(ValueError, match="burn"):
        verdict(people.member, open_item(people.department), "burn")
