"""A simulation goes the way the job would go, and leaves nothing behind."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from departments.models import WorkItem
from tests.execution.jobs import publish, register
from tests.factories import DepartmentFactory
from workflows.engine.exceptions import InvalidDefinition
from workflows.intake import drafts
from workflows.intake.exceptions import NoSuchVersion
from workflows.models import Calendar, Definition, History, Job, Message
from workflows.operations.exceptions import InvalidRequest
from workflows.operations.simulate import example_of, simulate

pytestmark = pytest.mark.django_db
FRIDAY = datetime(2030, 1, 4, 12, 0, tzinfo=UTC)
CLAIM: dict[str, Any] = {
    "name": "claim",
    "input_schema": {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "number"}}},
    "tasks": {
        "check": {"type": "plugin", "plugin": "simulated", "input": {"amount": "${input.amount}"}},
        "rest": {"type": "wait", "for": "P2D"},
        "verify": {
            "type": "human",
            "department": "claims",
            "due": "P3D",
            "assignee": "${'ann'}",
            "quorum": {"need": 2, "of": 3},
            "form": {"type": "object", "required": ["payable"], "properties": {"payable": {"type": "number"}}},
        },
        "pay": {"type": "emit", "event": "claim.paid", "data": {"amount": "${tasks.verify.output.payable}"}},
        "decline": {"type": "fail", "error": "Declined", "cause": "no"},
    },
    "transitions": [
        {"from": "check", "to": "rest"},
        {"from": "rest", "to": "verify"},
        {"from": "verify", "to": "pay", "when": "outcome == 'approve'"},
        {"from": "verify", "to": "decline", "when": "outcome == 'reject'"},
    ],
    "output": {"paid": "${tasks.pay.output.amount}"},
}


@pytest.fixture(autouse=True)
def _claims(settings: Any) -> None:
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution", "tests.operations"]
    register("simulated", "Simulated")
    register("parks", "Parks")
    register("raises", "Raises")
    DepartmentFactory(code="claims")


def path_of(done: Any) -> list[tuple[str, int, str, str | None]]:
    return [(step.task, step.iteration, step.result, step.outcome) for step in done.path]


def test_a_simulation_tells_the_path_who_decides_until_when_and_what_comes_of_it() -> None:
    publish(CLAIM)
    done = simulate("claim", {"amount": 7}, now=FRIDAY)
    assert path_of(done) == [
        ("check", 1, "completed", "simulated"),
        ("rest", 1, "completed", None),
        ("verify", 1, "completed", "approve"),
        ("pay", 1, "completed", None),
    ]
    assert (done.status, done.output, done.version) == ("DONE", {"paid": 0}, 1)
    assert (done.ended_at - done.started_at).days == 2
    verify = done.path[2]
    assert verify.asked is not None
    assert (verify.asked.department, verify.asked.assignee, verify.asked.quorum) == (
        "claims",
        "ann",
        {"need": 2, "of": 3},
    )
    assert verify.asked.due_at == datetime(2030, 1, 9, 12, 0, tzinfo=UTC)
    assert done.assumptions == ["verify: the outcome `approve` was taken and the form filled in with examples."]
    assert [(message["task"], message["type"], message["data"]) for message in done.published] == [
        ("pay", "claim.paid", {"amount": 0})
    ]


def test_due_times_are_counted_on_the_calendar_of_the_department() -> None:
    week = {day: [["09:00", "17:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}
    calendar = Calendar.objects.create(code="office", name="Office", time_zone="UTC", hours=week)
    DepartmentFactory(code="office", calendar=calendar)
    document = {"name": "d", "tasks": {"ask": {"type": "human", "department": "office", "due": "P1D"}}}
    (step,) = simulate("d", {}, document=document, now=FRIDAY).path
    assert step.asked is not None
    assert (step.asked.calendar, step.asked.due_at) == ("office", datetime(2030, 1, 7, 12, 0, tzinfo=UTC))


def test_given_outcomes_lead_the_way_and_nothing_is_assumed() -> None:
    publish(CLAIM)
    paid = simulate("claim", {"amount": 7}, outcomes={"verify": [{"output": {"payable": 5}, "after": "P1D"}]})
    assert (paid.output, paid.assumptions) == ({"paid": 5}, [])
    assert (paid.ended_at - paid.started_at).days == 3
    declined = simulate("claim", {"amount": 7}, outcomes={"verify": ["reject"]})
    assert (declined.status, declined.error["name"]) == ("FAIL", "Declined")
    broken = simulate("claim", {"amount": 7}, outcomes={"check": [{"error": "Away", "cause": "gone"}]})
    assert (broken.status, path_of(broken)) == ("FAIL", [("check", 1, "failed", None)])


def test_nothing_is_written_or_sent_and_no_plugin_is_run() -> None:
    publish(CLAIM)
    before = {model: model.objects.count() for model in (Job, History, Message, WorkItem, Definition)}
    with CaptureQueriesContext(
        connection,
    ) as queries:
        simulate("claim", {"amount": 7})
    assert all(query["sql"].lstrip().upper().startswith("SELECT") for query in queries)
    assert before == {model: model.objects.count() for model in before}


def test_loops_take_one_answer_for_each_iteration() -> None:
    loop = {"from": "verify", "to": "check", "when": "outcome == 'return'", "loop": {"max_iterations": 2}}
    document = {**CLAIM, "transitions": [*CLAIM["transitions"], loop]}
    document["tasks"] = {
        **CLAIM["tasks"],
        "verify": {**CLAIM["tasks"]["verify"], "outcomes": ["approve", "reject", "return"]},
    }
    done = simulate("claim", {"amount": 1}, document=document, outcomes={"verify": ["return", "approve"]})
    assert [run for run in path_of(done) if run[0] == "verify"] == [
        ("verify", 1, "completed", "return"),
        ("verify", 2, "completed", "approve"),
    ]
    endless = simulate("claim", {"amount": 1}, document=document, outcomes={"verify": ["return"] * 5})
    assert (endless.status, endless.error["name"]) == ("FAIL", "LoopLimitExceeded")


def test_children_are_walked_too() -> None:
    publish(CLAIM)
    document = {
        "name": "many",
        "tasks": {
            "all": {"type": "map", "items": "${input}", "task": {"type": "human", "department": "claims"}},
            "one": {"type": "workflow", "workflow": "claim", "input": {"amount": 3}},
            "far": {"type": "plugin", "plugin": "simulated", "queue": "far", "input": "x"},
        },
        "output": {"all": "${tasks.all.output}", "one": "${tasks.one.output}", "far": "${tasks.far.output}"},
    }
    answers = {"all": ["reject", {"output": {"n": 2}}], "one/verify": [{"output": {"payable": 9}}]}
    done = simulate("many", [1, 2], document=document, outcomes=answers)
    assert (done.status, done.stopped) == ("DONE", "")
    assert done.output == {"all": [None, {"n": 2}], "one": {"paid": 9}, "far": {"seen": "x"}}
    assert [run for run in path_of(done) if run[0].startswith("all")] == [
        ("all[0]", 1, "completed", "reject"),
        ("all[1]", 1, "completed", "approve"),
        ("all", 1, "completed", None),
    ]
    gone = {"name": "x", "tasks": {"one": {"type": "workflow", "workflow": "nothing"}}}
    from workflows.engine.parsing import parse

    assert parse(gone)
    publish(gone)
    assert simulate("x", {}).error["name"] == "DefinitionNotFound"


def test_a_workflow_inside_itself_and_a_very_long_walk_are_stopped_and_say_so() -> None:
    publish({"name": "self", "tasks": {"again": {"type": "workflow", "workflow": "self"}}})
    assert "nested deeper" in simulate("self", {}).stopped
    wide = {"name": "wide", "tasks": {"m": {"type": "map", "items": "${input}", "task": {"type": "pass"}}}}
    assert "too many steps" in simulate("wide", list(range(2000)), document=wide).stopped


def test_whatever_a_plugin_does_in_its_simulation_fails_only_its_step() -> None:
    for class_name in ("SimulationRaises", "SimulationAnswersNonsense"):
        register(class_name.lower(), class_name)
        document = {"name": "d", "tasks": {"a": {"type": "plugin", "plugin": class_name.lower()}}}
        done = simulate("d", {}, document=document)
        assert (done.status, done.error["name"]) == ("FAIL", "Unexpected")


def test_a_draft_and_a_document_can_be_tried_and_a_wrong_one_is_refused() -> None:
    drafts.save_draft("claim", CLAIM, revision=0, by="ann")
    assert simulate("claim", {"amount": 1}, version="draft").status == "DONE"
    for arguments, error in (
        ({"version": 1}, NoSuchVersion),
        ({"document": {"name": "claim"}}, InvalidDefinition),
        ({"version": "draft", "outcomes": {"nowhere": ["x"]}}, InvalidRequest),
        ({"version": "draft", "outcomes": {"verify": ["maybe"]}}, InvalidRequest),
        ({"version": "draft", "outcomes": {"verify": [{"after": "soon"}]}}, InvalidRequest),
        ({"version": "draft", "outcomes": {"verify": [{"colour": 1}]}}, InvalidRequest),
        ({"version": "draft", "outcomes": {"verify": [7]}}, InvalidRequest),
    ):
        with pytest.raises(error):
            simulate("claim", {"amount": 1}, **arguments)
    with pytest.raises(InvalidRequest, match="required"):
        simulate("claim", {}, version="draft")


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        (None, {}),
        (True, {}),
        ({"type": "object"}, {}),
        ({"type": "string"}, ""),
        ({"enum": ["b", "a"]}, "b"),
        ({"type": ["integer", "null"], "minimum": 3}, 3),
        ({"type": "object", "required": ["a"], "properties": {"a": {"type": "array"}, "b": {}, "c": {"default": 1}}},
         {"a": [], "c": 1}),
    ],
)  # fmt: skip
def test_forms_are_filled_in_with_the_simplest_that_fits(schema: Any, example: Any) -> None:
    assert example_of(schema) == example
