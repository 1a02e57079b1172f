"""What changed from one version to the next, in the words of whoever has to decide about it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.driver import document, edge, human, plugin
from workflows.engine.difference import differences, duration_in_words
from workflows.engine.parsing import parse

CLAIM = {
    "name": "claim",
    "title": "Claim",
    "input_schema": {"type": "object", "required": ["no"], "properties": {"no": {"type": "string"}, "old": {}}},
    "tasks": {
        "check": plugin(input={"claim": "${input}", "depth": 1}, retry=[{"errors": ["Away"], "max_attempts": 5}]),
        "verify": human(
            title="Verification",
            due="P3D",
            outcomes=["approve", "reject"],
            form={"type": "object", "properties": {"payable": {"type": "number"}, "why": {"type": "string"}}},
        ),
        "pay": plugin(),
    },
    "transitions": [
        edge("check", "verify", "output.valid"),
        edge("verify", "pay", "outcome == 'approve'"),
        edge("check", "pay", on_error=["Away"]),
    ],
}


def changed(change: Any) -> list[str]:
    new = copy.deepcopy(CLAIM)
    change(new)
    return [found.sentence for found in differences(CLAIM, new)]


def test_the_sentence_of_the_issue_is_said() -> None:
    def change(new: Any) -> None:
        new["tasks"]["verify"] |= {"due": "P5D", "outcomes": ["reject", "return", "approve"]}

    assert changed(change) == ["Verification: due 3 days → 5 days; outcome `return` added."]


def test_equal_documents_have_no_difference_whatever_the_order_and_the_defaults() -> None:
    def change(new: Any) -> None:
        new["tasks"] = dict(reversed(new["tasks"].items()))
        new["transitions"].reverse()
        new["tasks"]["verify"]["outcomes"].reverse()
        new["tasks"]["verify"] |= {"join": "all", "split": "all"}
        new["tasks"]["check"]["retry"][0] |= {"interval": "PT1S", "jitter": "none"}
        new["priority"] = 50

    assert changed(change) == []
    assert differences(CLAIM, CLAIM) == []


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (["title"], "Claims", "Title `Claim` → `Claims`."),
        (["timeout"], "PT36H", "Timeout 1 day 12 hours added."),
        (["priority"], 70, "Priority 50 → 70."),
        (["max_concurrency"], 3, "Jobs at once 3 added."),
        (["rate_limit"], {"limit": 5, "per": "PT1M"}, "Rate limit 5 per 1 minute added."),
        (["sla"], {"due": "P2W"}, "To be done within 2 weeks added."),
        (["output"], {"paid": 1}, 'Output `{"paid":1}` added.'),
        (["input_schema", "properties", "amount"], {"type": "number"}, "Input field `amount` added (number)."),
        (["input_schema", "required"], ["no", "old"], "Input field `old` is now required."),
        (["input_schema", "properties", "no", "type"], "integer", "Input field `no` type `string` → `integer`."),
        (["tasks", "check", "plugin"], "other.step", "check: plugin `test.step` → `other.step`."),
        (["tasks", "check", "type"], "http", "check: type `plugin` → `http`; method `GET` added."),
        (["tasks", "check", "timeout"], "PT90S", "check: timeout 1 minute 30 seconds added."),
        (["tasks", "check", "input", "claim"], "${input.no}", "check: input `claim` `${input}` → `${input.no}`."),
        (["tasks", "check", "input", "more"], True, "check: input `more` yes added."),
        (["tasks", "check", "retry", 0, "max_attempts"], 3, "check: retry of Away: attempts 5 → 3."),
        (["tasks", "check", "retry", 0, "interval"], "PT5S", "check: retry of Away: first after 1 second → 5 seconds."),
        (["tasks", "check", "retry"], [], "check: retry of Away removed."),
        (["tasks", "verify", "quorum"], {"need": 2, "of": 3, "veto": True},
         "Verification: quorum 2 of 3 with a veto added."),
        (["tasks", "verify", "constraints"], {"not_initiator": True},
         "Verification: who submitted it may no longer decide it."),
        (["tasks", "verify", "form", "properties", "payable", "minimum"], 0,
         "Verification: form field `payable` minimum 0 added."),
        (["tasks", "verify", "form", "required"], ["why"], "Verification: form field `why` is now required."),
        (["tasks", "more"], human(), "more: task added (human `claims`)."),
        (["transitions", 0, "when"], "true", "check → Verification: condition `output.valid` → `true`."),
        (["transitions", 2, "on_error"], ["Away", "Late"], "check → pay, on error: error `Late` added."),
        (["transitions", 1, "default"], True, "Verification → pay: is now the default."),
    ],
)  # fmt: skip
def test_every_kind_of_change_has_its_words(path: list[Any], value: Any, sentence: str) -> None:
    def change(new: Any) -> None:
        for key in path[:-1]:
            new = new[key]
        new[path[-1]] = value

    assert changed(change) == [sentence]


def test_what_is_taken_away_is_said() -> None:
    def change(new: Any) -> None:
        del new["input_schema"]["properties"]["old"]
        del new["tasks"]["verify"]["form"]["properties"]["why"]
        del new["tasks"]["pay"]
        new["transitions"] = [new["transitions"][0]]

    assert changed(change) == [
        "Input field `old` removed.",
        "pay: task removed.",
        "Verification: form field `why` removed.",
        "Verification → pay: transition removed (when `outcome == 'approve'`).",
        "check → pay, on error: transition removed (for `Away`).",
    ]


def test_a_task_that_looks_renamed_is_one_change_and_its_transitions_are_none() -> None:
    new = copy.deepcopy(CLAIM)
    new["tasks"]["look"] = {**new["tasks"].pop("verify"), "due": "P4D"}
    for transition in new["transitions"]:
        transition |= {end: "look" for end in ("from", "to") if transition[end] == "verify"}
    (change,) = differences(CLAIM, new)
    assert (change.kind, change.task, change.was) == ("task.renamed", "look", "verify")
    assert change.sentence == "Verification: looks like `verify` renamed to `look`; due 3 days → 4 days."


def test_order_counts_where_the_first_that_holds_is_taken() -> None:
    edges = [edge("a", "b", "output > 1"), edge("a", "c", "output > 0")]
    for split, sentences in (
        ("all", []),
        ("first", ["a: order in which its conditions are tried changed: `b`, `c` → `c`, `b`."]),
    ):
        tasks = {"a": plugin(split=split), "b": plugin(), "c": plugin()}
        found = differences(document(tasks, *edges), document(tasks, *reversed(edges)))
        assert [change.sentence for change in found] == sentences


def test_the_order_of_retriers_counts_for_the_first_that_matches_wins() -> None:
    policies = [{"errors": ["Away"], "max_attempts": 9}, {"errors": ["*"]}]
    found = differences(document({"a": plugin(retry=policies)}), document({"a": plugin(retry=policies[::-1])}))
    assert [change.sentence for change in found] == ["a: order of the retriers changed."]


def test_a_change_points_at_its_places() -> None:
    new = copy.deepcopy(CLAIM)
    new["tasks"]["verify"] |= {"due": "P5D", "department": "other"}
    (change,) = differences(CLAIM, new)
    assert set(change.pointers) == {"/tasks/verify/due", "/tasks/verify/department"}


def test_the_inner_task_of_a_map_is_looked_into() -> None:
    def mapped(**fields: Any) -> dict[str, Any]:
        return document({"m": {"type": "map", "items": "${input}", "task": human(**fields)}})

    (change,) = differences(mapped(due="P1D"), mapped(due="P2D"))
    assert change.sentence == "m: each item: due 1 day → 2 days."
    assert change.pointers == ("/tasks/m/task/due",)


@pytest.mark.parametrize(
    ("text", "words"),
    [("P1D", "1 day"), ("P14D", "2 weeks"), ("PT0S", "0 seconds"), ("PT1H30M", "1 hour 30 minutes"),
     ("PT0.5S", "0.5 seconds"), ("${input.wait}", "`${input.wait}`"), (7, "`7`")],
)  # fmt: skip
def test_durations_are_said_in_words(text: Any, words: str) -> None:
    assert duration_in_words(text) == words


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["tasks", "transitions", "type", "form", "properties", "required", "retry", "errors", "from", "to", "when",
         "loop", "sla", "due", "outcomes", "constraints", "quorum", "labels", "input_schema", "task", "x"]
    ), inner, max_size=4),
    max_leaves=25,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(max_size=3) | st.sampled_from(["tasks", "transitions", "sla"]), JSON, max_size=4), JSON)
def test_drafts_of_any_shape_are_compared_without_an_error(one: Any, other: Any) -> None:
    other = other if isinstance(other, dict) else {"tasks": other, "transitions": other}
    assert differences(one, one) == []
    found = differences(one, other)
    assert all(change.sentence.endswith(".") and change.kind for change in found)


def test_the_base_of_these_tests_could_be_published() -> None:
    assert parse(CLAIM).tasks
