"""How facts, times and outcomes are said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from departments.web.bands import Calendar, due_chip, shortly
from departments.web.facts import facts_of, number
from departments.web.presentation import capped, past, tone_of, words

SATURDAY = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (None, "none", "—"),
        ("", "none", "—"),
        (True, "text", "Yes"),
        (0, "number", "0"),
        (2014, "number", "2014"),
        (1250000, "number", "1,250,000"),
        (1250.5, "number", "1,250.50"),
        (-0.125, "number", "-0.125"),
        (1e300, "number", "1e+300"),
        ("text", "text", "text"),
        (["a", 1, None], "text", "a, 1, —"),
        ("x" * 281, "long", "x" * 281),
    ],
)
def test_a_fact_is_said_as_people_read_it(value: Any, kind: str, said: str) -> None:
    (fact,) = facts_of({"a_fact": value})
    assert (fact.label, fact.kind, fact.value) == ("A fact", kind, said)


def test_like_objects_are_a_table_and_missing_cells_are_dashes() -> None:
    (fact,) = facts_of({"lines": [{"item": "Floor", "price": 12.5}, {"item": "Door"}]})
    assert (fact.kind, fact.columns) == ("table", ["Item", "Price"])
    assert [[cell.value for cell in row] for row in fact.rows] == [["Floor", "12.50"], ["Door", "—"]]


def test_deep_data_is_folded_and_wide_data_is_cut() -> None:
    deep: Any = "end"
    for _ in range(60):
        deep = {"in": deep}
    fact = facts_of(deep)[0]
    depth = 1
    while fact.kind == "group":
        fact, depth = fact.facts[0], depth + 1
    assert (fact.kind, depth) == ("json", 4)
    assert facts_of({f"k{n}": n for n in range(500)})[-1].value == "300 more"


@pytest.mark.parametrize("data", ["text", 5, [1, 2], [[1], {"a": 2}], False])
def test_facts_need_not_be_an_object(data: Any) -> None:
    assert [fact.label for fact in facts_of(data)] == ["Value"]


def test_short_facts_stand_before_long_ones() -> None:
    assert [fact.label for fact in facts_of({"group": {"a": 1}, "long": "x" * 300, "short": 1})] == [
        "Short",
        "Group",
        "Long",
    ]


@pytest.mark.parametrize(
    ("due", "band"),
    [
        (timedelta(seconds=-1), "late"),
        (timedelta(hours=13, minutes=59), "today"),
        (timedelta(hours=14), "week"),
        (timedelta(hours=37, minutes=59), "week"),
        (timedelta(hours=38), "later"),
        (None, "none"),
    ],
)
def test_the_bands_end_at_midnight_and_on_sunday_night(due: timedelta | None, band: str) -> None:
    assert Calendar.at(SATURDAY).band(SATURDAY + due if due is not None else None).name == band


def test_on_a_sunday_nothing_is_left_of_this_week() -> None:
    sunday = Calendar.at(SATURDAY + timedelta(days=1))
    assert sunday.band(SATURDAY + timedelta(days=2)).name == "later"


def test_the_bands_are_those_of_the_office_s_time_zone() -> None:
    with timezone.override("Asia/Tokyo"):
        assert Calendar.at(SATURDAY).band(SATURDAY + timedelta(hours=6)).name == "week"


@pytest.mark.parametrize(
    ("left", "tone", "text"),
    [
        (timedelta(days=9), "plain", "in 9 days"),
        (timedelta(hours=47), "soon", "in 47 h"),
        (timedelta(minutes=59), "soon", "in 59 min"),
        (timedelta(minutes=-1), "late", "1 min late"),
        (timedelta(seconds=-1), "late", "1 min late"),
        (timedelta(days=-3, hours=-1), "late", "3 days late"),
    ],
)
def test_the_due_chip_turns_when_a_fifth_of_the_time_is_left(left: timedelta, tone: str, text: str) -> None:
    chip = due_chip(SATURDAY + left, SATURDAY + left - timedelta(days=10), SATURDAY)
    assert chip
    assert (chip.tone, chip.text) == (tone, text)


def test_times_of_today_need_no_date() -> None:
    assert shortly(SATURDAY, SATURDAY) == "10:00"
    assert shortly(SATURDAY - timedelta(days=1), SATURDAY) == "20 Nov 10:00"
    assert shortly(SATURDAY - timedelta(days=400), SATURDAY) == "17 Oct 2025 10:00"


def test_outcomes_have_a_tone_and_a_past() -> None:
    assert [tone_of(word) for word in ("approve", "Reject", "return", "ship", None)] == [
        "approve",
        "reject",
        "return",
        "plain",
        "plain",
    ]
    assert [past(word) for word in ("approve", "ship")] == ["Approved", "Answered “Ship” for"]


def test_counts_are_capped_and_never_wrong() -> None:
    assert [capped(n) for n in (0, 999, 1000, 1001)] == ["0", "999", "1,000", "1,000+"]


def test_names_become_words() -> None:
    assert [words(name) for name in ("budget_owner", "claims.pay", "")] == ["Budget owner", "Claims pay", ""]


def test_no_number_is_too_odd_to_be_shown() -> None:
    assert [number(value) for value in (10**30, -12345, 0.1, 5e-324)] == [f"{10**30:,}", "-12,345", "0.10", "5e-324"]
