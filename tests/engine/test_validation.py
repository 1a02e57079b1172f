"""What is refused at publish: each fault with its place and code, and all of them at once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.driver import define, document, edge, human, plugin
from workflows.engine.exceptions import InvalidDefinition
from workflows.engine.parsing import parse
from workflows.engine.validation import validate

CLAIM: dict[str, Any] = {
    "name": "insurance_claim",
    "title": "Insurance claim",
    "input_schema": {
        "type": "object",
        "required": ["claim_no", "amount"],
        "properties": {"amount": {"type": "number"}},
    },
    "tasks": {
        "validate": {"type": "plugin", "plugin": "claims.validate", "input": {"claim": "${input}"}},
        "verify": {
            "type": "human",
            "department": "verification",
            "title": "Verify claim ${input.claim_no}",
            "outcomes": ["approve", "reject", "return"],
            "due": "P3D",
            "form": {"type": "object", "properties": {"payable": {"type": "number"}}},
        },
        "pay": {
            "type": "plugin",
            "plugin": "claims.pay",
            "input": {"amount": "${tasks.verify.output.payable}"},
            "retry": [{"errors": ["ServiceUnavailable"], "max_attempts": 5}],
            "compensate": "claims.refund",
        },
        "decline": {"type": "emit", "event": "claim.declined", "data": {"claim_no": "${input.claim_no}"}},
    },
    "transitions": [
        {"from": "validate", "to": "verify", "when": "output.valid"},
        {"from": "validate", "to": "decline", "when": "!output.valid"},
        {"from": "verify", "to": "pay", "when": "outcome == 'approve'"},
        {"from": "verify", "to": "decline", "when": "outcome == 'reject'"},
        {"from": "verify", "to": "validate", "when": "outcome == 'return'", "loop": {"max_iterations": 5}},
        {"from": "pay", "to": "decline", "on_error": ["PaymentRefused"]},
    ],
    "output": {"paid": "${tasks.pay.output.amount}"},
}
PLUGINS = {"claims.validate", "claims.pay", "claims.refund", "test.step"}
AB = {"a": plugin(), "b": plugin()}


def found(faulty: Any, **known: Any) -> set[tuple[str, str]]:
    faults = validate(faulty, **known)
    assert all(fault.detail.endswith(".") for fault in faults), [fault.detail for fault in faults]
    return {(fault.pointer, fault.code) for fault in faults}


def test_the_example_of_the_contract_is_accepted() -> None:
    assert validate(CLAIM, known_plugins=PLUGINS, known_departments={"verification"}) == []
    definition = parse(CLAIM)
    assert definition.tasks["verify"].outcomes == ("approve", "reject", "return")
    assert definition.start_tasks == ("validate",)


def http(**fields: Any) -> dict[str, Any]:
    return {"type": "http", "url": "https://example.org/x", **fields}


def mapped(inner: Any, **fields: Any) -> dict[str, Any]:
    return task(**{"type": "map", "items": "${input.items}", "task": inner, **fields})


def task(**fields: Any) -> dict[str, Any]:
    return document({"a": fields})


@pytest.mark.parametrize(
    ("faulty", "pointer", "code"),
    [
        ([], "", "wrong_type"),
        ("x", "", "wrong_type"),
        ({1: 2}, "", "wrong_type"),
        ({"tasks": {"a": plugin()}}, "/name", "missing_field"),
        ({"name": "x"}, "/tasks", "missing_field"),
        ({"name": "x", "tasks": {}}, "/tasks", "empty"),
        ({"name": "x", "tasks": []}, "/tasks", "wrong_type"),
        ({"name": "x", "tasks": {"a": 1}}, "/tasks/a", "wrong_type"),
        ({"name": "x", "tasks": {"a b": plugin()}}, "/tasks/a b", "bad_name"),
        ({"name": "x", "tasks": {"a/b": plugin()}}, "/tasks/a~1b", "bad_name"),
        (document(AB, edge("a", "b")) | {"name": "a.b"}, "/name", "bad_name"),
        (document(AB, edge("a", "b")) | {"name": "1a"}, "/name", "bad_name"),
        (document(AB, edge("a", "b")) | {"name": 5}, "/name", "wrong_type"),
        (document(AB, edge("a", "b"), colour=1), "/colour", "unknown_field"),
        (document(AB, edge("a", "b"), title=1), "/title", "wrong_type"),
        (document(AB, edge("a", "b"), labels={"a": 1}), "/labels/a", "wrong_type"),
        (document(AB, edge("a", "b"), timeout="1 day"), "/timeout", "bad_duration"),
        (document(AB, edge("a", "b"), timeout="PT0S"), "/timeout", "bad_duration"),
        (document(AB, edge("a", "b"), timeout="P1M"), "/timeout", "bad_duration"),
        (document(AB, edge("a", "b"), timeout=5), "/timeout", "wrong_type"),
        (document(AB, edge("a", "b"), priority=101), "/priority", "bad_value"),
        (document(AB, edge("a", "b"), priority=True), "/priority", "wrong_type"),
        (document(AB, edge("a", "b"), sla={}), "/sla/due", "missing_field"),
        (document(AB, edge("a", "b"), input_schema={"type": "objekt"}), "/input_schema/type", "bad_schema"),
        (document(AB, edge("a", "b"), input_schema=[]), "/input_schema", "wrong_type"),
        (document(AB, edge("a", "b"), output="${input}"), "/output", "wrong_type"),
        (document(AB, edge("a", "b"), output={"x": "${nothing}"}), "/output/x", "expression_name"),
        (document(AB, edge("a", "b"), output={"x": "${tasks.zz.output}"}), "/output/x", "expression_name"),
        (task(), "/tasks/a/type", "missing_field"),
        (task(type="magic"), "/tasks/a/type", "unknown_type"),
        (task(type=["plugin"]), "/tasks/a/type", "unknown_type"),
        (task(type="plugin"), "/tasks/a/plugin", "missing_field"),
        (task(**plugin(plugin="Bad Name")), "/tasks/a/plugin", "bad_name"),
        (task(**plugin(colour=1)), "/tasks/a/colour", "unknown_field"),
        (task(**plugin(department="x")), "/tasks/a/department", "unknown_field"),
        (task(**plugin(join="some")), "/tasks/a/join", "bad_value"),
        (task(**plugin(split=["all"])), "/tasks/a/split", "bad_value"),
        (task(**plugin(timeout="soon")), "/tasks/a/timeout", "bad_duration"),
        (task(**plugin(compensate="No")), "/tasks/a/compensate", "bad_name"),
        (task(**plugin(retry={})), "/tasks/a/retry", "wrong_type"),
        (task(**plugin(retry=[{"errors": []}])), "/tasks/a/retry/0/errors", "empty"),
        (task(**plugin(retry=[{"errors": [1]}])), "/tasks/a/retry/0/errors/0", "wrong_type"),
        (task(**plugin(retry=[{"max_attempts": 0}])), "/tasks/a/retry/0/max_attempts", "bad_value"),
        (task(**plugin(retry=[{"backoff_rate": 0.5}])), "/tasks/a/retry/0/backoff_rate", "bad_value"),
        (task(**plugin(retry=[{"interval": "x"}])), "/tasks/a/retry/0/interval", "bad_duration"),
        (task(**plugin(retry=[{"jitter": "some"}])), "/tasks/a/retry/0/jitter", "bad_value"),
        (task(**plugin(retry=[{"times": 3}])), "/tasks/a/retry/0/times", "unknown_field"),
        (task(**plugin(input={"x": ["${1 +}"]})), "/tasks/a/input/x/0", "expression_syntax"),
        (task(**plugin(input={"x": "${nothing}"})), "/tasks/a/input/x", "expression_name"),
        (task(**plugin(input={"x": "${output.x}"})), "/tasks/a/input/x", "expression_name"),
        (task(**plugin(input={"x": "${item}"})), "/tasks/a/input/x", "expression_name"),
        (task(**plugin(input={"x": "${job.secret}"})), "/tasks/a/input/x", "expression_name"),
        (task(**plugin(input={"x": "${tasks}"})), "/tasks/a/input/x", "expression_name"),
        (task(**plugin(input={"x": "${tasks[input.n].output}"})), "/tasks/a/input/x", "expression_name"),
        (task(**plugin(input={"x": "${tasks.a.output}"})), "/tasks/a/input/x", "expression_name"),
        (task(**plugin(input={"x": "${tasks.zz.output}"})), "/tasks/a/input/x", "expression_name"),
        (task(type="human"), "/tasks/a/department", "missing_field"),
        (task(**human(outcomes=[])), "/tasks/a/outcomes", "empty"),
        (task(**human(outcomes=["x", "x"])), "/tasks/a/outcomes/1", "duplicate"),
        (task(**human(form={"type": 1})), "/tasks/a/form/type", "bad_schema"),
        (task(**human(due="x")), "/tasks/a/due", "bad_duration"),
        (task(**human(title="${")), "/tasks/a/title", "expression_syntax"),
        (task(**human(department="")), "/tasks/a/department", "empty"),
        (task(type="external"), "/tasks/a/department", "missing_field"),
        (task(type="external", department="x", queue="y"), "/tasks/a/queue", "conflict"),
        (task(type="wait"), "/tasks/a/for", "missing_field"),
        (task(type="wait", **{"for": "PT1S", "until": "2030-01-01T00:00:00Z"}), "/tasks/a/until", "conflict"),
        (task(type="wait", **{"for": "x"}), "/tasks/a/for", "bad_duration"),
        (task(type="wait", until="2030-01-01"), "/tasks/a/until", "bad_timestamp"),
        (task(type="emit"), "/tasks/a/event", "missing_field"),
        (task(type="emit", event="${input.x}"), "/tasks/a/event", "not_an_expression"),
        (task(type="fail", error=5), "/tasks/a/error", "wrong_type"),
        (task(**plugin(queue="no blanks")), "/tasks/a/queue", "bad_name"),
        (task(**human(quorum={})), "/tasks/a/quorum/need", "missing_field"),
        (task(**human(quorum={"need": 3, "of": 2})), "/tasks/a/quorum/need", "bad_value"),
        (task(**human(quorum={"need": 0, "of": 2})), "/tasks/a/quorum/need", "bad_value"),
        (task(**human(quorum={"need": 1, "of": 2, "veto": 1})), "/tasks/a/quorum/veto", "wrong_type"),
        (task(**human(quorum=2)), "/tasks/a/quorum", "wrong_type"),
        (task(**human(constraints={"not_completed_by": []})), "/tasks/a/constraints/not_completed_by", "empty"),
        (
            task(**human(constraints={"not_completed_by": ["zz"]})),
            "/tasks/a/constraints/not_completed_by/0",
            "unknown_task",
        ),
        (
            document({"a": human(constraints={"not_completed_by": ["b"]}), "b": plugin()}),
            "/tasks/a/constraints/not_completed_by/0",
            "unknown_task",
        ),
        (task(**human(constraints={"not_initiator": "yes"})), "/tasks/a/constraints/not_initiator", "wrong_type"),
        (task(**human(constraints={"somebody": 1})), "/tasks/a/constraints/somebody", "unknown_field"),
        (task(**human(follow_up="soon")), "/tasks/a/follow_up", "bad_duration"),
        (task(**human(escalate={"to": "x"})), "/tasks/a/escalate/after", "missing_field"),
        (task(**human(escalate=[{"after": "P1D"}, {"to": "x"}])), "/tasks/a/escalate/1/after", "missing_field"),
        (task(**human(escalate=[])), "/tasks/a/escalate", "empty"),
        (task(**human(escalate={"after": "P1M"})), "/tasks/a/escalate/after", "bad_duration"),
        (task(**human(escalate={"after": "P1D", "priority": 101})), "/tasks/a/escalate/priority", "bad_value"),
        (task(**human(escalate={"after": "P1D", "whom": "x"})), "/tasks/a/escalate/whom", "unknown_field"),
        (document(AB, rate_limit={"limit": 5}), "/rate_limit/per", "missing_field"),
        (document(AB, rate_limit={"limit": 0, "per": "PT1M"}), "/rate_limit/limit", "bad_value"),
        (document(AB, rate_limit={"limit": 1, "per": "PT0S"}), "/rate_limit/per", "bad_duration"),
        (document(AB, max_concurrency=0), "/max_concurrency", "bad_value"),
        (document(AB, on_failure="ignore"), "/on_failure", "bad_value"),
        (document(AB, sla={"due": "P1D", "calendar": ""}), "/sla/calendar", "empty"),
        (task(type="http"), "/tasks/a/url", "missing_field"),
        (task(type="http", url=""), "/tasks/a/url", "empty"),
        (task(type="http", url="ftp://example.org"), "/tasks/a/url", "bad_url"),
        (task(type="http", url="/relative"), "/tasks/a/url", "bad_url"),
        (task(type="http", url="https://"), "/tasks/a/url", "bad_url"),
        (task(type="http", url="https://exam ple.org"), "/tasks/a/url", "bad_url"),
        (task(type="http", url="https://example.org/\r\nHost: x"), "/tasks/a/url", "bad_url"),
        (task(type="http", url="javascript:${input.x}"), "/tasks/a/url", "bad_url"),
        (task(type="http", url="${nothing}"), "/tasks/a/url", "expression_name"),
        (task(**http(method="get")), "/tasks/a/method", "bad_value"),
        (task(**http(headers={"X Y": "1"})), "/tasks/a/headers/X Y", "bad_name"),
        (task(**http(headers={"X": "1\r\nY: 2"})), "/tasks/a/headers/X", "bad_value"),
        (task(**http(headers={"X": 1})), "/tasks/a/headers/X", "wrong_type"),
        (task(**http(headers=[])), "/tasks/a/headers", "wrong_type"),
        (task(**http(expect=[])), "/tasks/a/expect", "empty"),
        (task(**http(expect=[99])), "/tasks/a/expect/0", "bad_value"),
        (task(**http(expect=[200, 200])), "/tasks/a/expect/1", "duplicate"),
        (task(**http(expect=200)), "/tasks/a/expect", "wrong_type"),
        (task(**http(body={}, input={})), "/tasks/a/input", "conflict"),
        (task(type="event"), "/tasks/a/event", "missing_field"),
        (task(type="event", event="x", correlation_key=5), "/tasks/a/correlation_key", "wrong_type"),
        (task(type="event", event="x", correlation_key="${item}"), "/tasks/a/correlation_key", "expression_name"),
        (task(type="workflow"), "/tasks/a/workflow", "missing_field"),
        (task(type="workflow", workflow="other", version=0), "/tasks/a/version", "bad_value"),
        (task(type="workflow", workflow="test"), "/tasks/a/workflow", "recursive_workflow"),
        (mapped({"type": "workflow", "workflow": "test"}), "/tasks/a/task/workflow", "recursive_workflow"),
        (task(type="map"), "/tasks/a/items", "missing_field"),
        (task(type="map"), "/tasks/a/task", "missing_field"),
        (mapped(plugin(), items="five"), "/tasks/a/items", "wrong_type"),
        (mapped(plugin(), items={"a": 1}), "/tasks/a/items", "wrong_type"),
        (mapped(plugin(), items="${item}"), "/tasks/a/items", "expression_name"),
        (mapped(plugin(), max_concurrency=0), "/tasks/a/max_concurrency", "bad_value"),
        (mapped(plugin(), tolerated_failures=-1), "/tasks/a/tolerated_failures", "bad_value"),
        (mapped([]), "/tasks/a/task", "wrong_type"),
        (mapped({}), "/tasks/a/task/type", "missing_field"),
        (mapped({"type": "magic"}), "/tasks/a/task/type", "unknown_type"),
        (mapped(plugin(join="any")), "/tasks/a/task/join", "conflict"),
        (mapped(plugin(split="first")), "/tasks/a/task/split", "conflict"),
        (mapped(plugin(compensate="test.undo")), "/tasks/a/task/compensate", "conflict"),
        (mapped(plugin(colour=1)), "/tasks/a/task/colour", "unknown_field"),
        (mapped(plugin(input="${items}")), "/tasks/a/task/input", "expression_name"),
        (mapped(plugin(input="${1 +}")), "/tasks/a/task/input", "expression_syntax"),
        (mapped(plugin(input="${tasks.b.output}")), "/tasks/a/task/input", "expression_name"),
        (mapped(human(form={"type": 1})), "/tasks/a/task/form/type", "bad_schema"),
        (
            mapped(human(constraints={"not_completed_by": ["zz"]})),
            "/tasks/a/task/constraints/not_completed_by/0",
            "unknown_task",
        ),
        (mapped({"type": "map", "items": [1], "task": {"type": "magic"}}), "/tasks/a/task/task/type", "unknown_type"),
        (mapped({"type": "map", "items": "${input.x}"}), "/tasks/a/task/task", "missing_field"),
        (task(**plugin(input="${'x' + " + "(" * 30 + "1" + ")" * 30 + "}")), "/tasks/a/input", "expression_syntax"),
        (task(**plugin(input="${" + " + ".join(["1"] * 600) + "}")), "/tasks/a/input", "expression_syntax"),
        (document(AB, {"to": "b"}), "/transitions/0/from", "missing_field"),
        (document(AB, {"from": "a"}), "/transitions/0/to", "missing_field"),
        (document(AB, edge("a", "zz")), "/transitions/0/to", "unknown_task"),
        (document(AB, edge("zz", "a")), "/transitions/0/from", "unknown_task"),
        (document(AB, "a -> b"), "/transitions/0", "wrong_type"),  # type: ignore[arg-type]
        (document(AB) | {"transitions": {}}, "/transitions", "wrong_type"),
        (document(AB, edge("a", "b", weight=1)), "/transitions/0/weight", "unknown_field"),
        (document(AB, edge("a", "b", "1 +")), "/transitions/0/when", "expression_syntax"),
        (document(AB, edge("a", "b", "amount > 1")), "/transitions/0/when", "expression_name"),
        (document(AB, edge("a", "b", "tasks.b.output")), "/transitions/0/when", "expression_name"),
        (document(AB, {"from": "a", "to": "b", "when": True}), "/transitions/0/when", "wrong_type"),
        (document(AB, edge("a", "b", "true", default=True)), "/transitions/0/when", "conflict"),
        (document(AB, edge("a", "b", default=True, on_error=["*"])), "/transitions/0/on_error", "conflict"),
        (document(AB, edge("a", "b", default="yes")), "/transitions/0/default", "wrong_type"),
        (document(AB, edge("a", "b", on_error="*")), "/transitions/0/on_error", "wrong_type"),
        (document(AB, edge("a", "b", loop={})), "/transitions/0/loop", "loop_not_back"),
        (document(AB, edge("a", "a", loop={"max_iterations": 0})), "/transitions/0/loop/max_iterations", "bad_value"),
        (document(AB, edge("a", "a", loop=True)), "/transitions/0/loop", "wrong_type"),
        (document(AB, edge("a", "a")), "/transitions/0", "cycle_without_loop"),
        (document(AB, edge("a", "b"), edge("b", "a")), "/transitions/1", "cycle_without_loop"),
        (document({**AB, "c": plugin()}, edge("b", "c"), edge("c", "b")), "/transitions/1", "cycle_without_loop"),
        (document({**AB, "c": plugin()}, edge("b", "c"), edge("c", "b")), "/tasks/b", "unreachable_task"),
        (document({"a": {"type": "fail"}, "b": plugin()}, edge("a", "b")), "/tasks/b", "unreachable_task"),
        (document(AB, edge("a", "b", "false")), "/tasks/b", "unreachable_task"),
    ],
)
def test_a_fault_is_told_with_its_place_and_code(faulty: Any, pointer: str, code: str) -> None:
    assert (pointer, code) in found(faulty)


def test_a_task_behind_one_that_is_always_taken_first_is_unreachable() -> None:
    tasks = {"a": plugin(split="first"), "b": plugin(), "c": plugin()}
    faulty = document(tasks, edge("a", "b"), edge("a", "c", "output == 1"))
    assert found(faulty) == {("/tasks/c", "unreachable_task")}


def test_a_join_none_of_whose_transitions_can_be_taken_never_runs() -> None:
    tasks = {"a": {"type": "fail"}, "b": {"type": "fail"}, "j": plugin()}
    assert found(document(tasks, edge("a", "j"), edge("b", "j"))) == {("/tasks/j", "join_never_runs")}


def test_only_what_is_known_is_accepted_where_the_caller_says_what_that_is() -> None:
    tasks = {"a": plugin(compensate="test.undo"), "b": human(), "c": {"type": "external", "department": "bank"}}
    faults = found(document(tasks), known_plugins={"other"}, known_departments={"other"})
    assert faults == {
        ("/tasks/a/plugin", "unknown_plugin"),
        ("/tasks/a/compensate", "unknown_plugin"),
        ("/tasks/b/department", "unknown_department"),
        ("/tasks/c/department", "unknown_department"),
    }
    assert found(document(tasks)) == set()


@pytest.mark.parametrize(
    "fields",
    [
        http(url="${input.address}"),
        http(url="https://${input.host}/x"),
        http(url="HTTPS://example.org"),
        http(method="POST", body={"x": "${input.x}"}, headers={"X-Y": "${input.x}"}, expect=[200, 404], queue="far"),
        {"type": "event", "event": "order.paid", "correlation_key": "${input.x}"},
        {"type": "workflow", "workflow": "other", "version": 3},
        human(escalate={"to": "x"}, due="P1D"),
        human(escalate=[{"after": "P1D", "priority": 90}], quorum={"need": 2, "of": 3, "veto": True}),
        human(follow_up="P1D", constraints={"not_initiator": True, "not_completed_by": ["a"]}),
    ],
)
def test_every_field_of_the_contract_is_accepted_on_a_task_and_inside_a_map(fields: dict[str, Any]) -> None:
    assert found(task(**fields)) == set()
    inner = {key: value for key, value in fields.items() if key != "constraints"}
    assert found(mapped(inner)) == set()


def test_item_and_index_are_known_inside_a_map_at_any_depth_and_nowhere_else() -> None:
    inner = {"type": "map", "items": "${item.rows}", "task": plugin(input={"row": "${item}", "n": "${index}"})}
    assert found(mapped(inner)) == set()
    tasks = {"a": mapped(inner)["tasks"]["a"], "b": plugin(input={"x": "${index}"})}
    assert found(document(tasks, edge("a", "b", "item == 1"))) == {
        ("/tasks/b/input/x", "expression_name"),
        ("/transitions/0/when", "expression_name"),
    }


def test_maps_nest_as_deep_as_the_path_of_their_tasks_can_be_kept() -> None:
    inner: dict[str, Any] = plugin()
    for _ in range(3):
        inner = {"type": "map", "items": [1], "task": inner}
    assert found(document({"a": inner})) == set()
    assert ("too_deep" in {code for _, code in found(document({"a" * 70: inner}))}) is True
    assert found(document({"a" * 60: inner})) == set()


def test_a_calendar_has_to_be_known_where_the_caller_says_which_there_are() -> None:
    late = document(AB, edge("a", "b"), sla={"due": "P1D", "calendar": "office"})
    assert found(late) == found(late, known_calendars={"office"}) == set()
    assert found(late, known_calendars={"other"}) == {("/sla/calendar", "unknown_calendar")}


def test_departments_and_plugins_inside_a_map_and_in_an_escalation_have_to_be_known_too() -> None:
    tasks = {
        "a": mapped(plugin())["tasks"]["a"],
        "b": human(escalate={"after": "P1D", "to": "elsewhere"}),
        "c": mapped(human())["tasks"]["a"],
    }
    assert found(document(tasks), known_plugins={"other"}, known_departments={"other"}) == {
        ("/tasks/a/task/plugin", "unknown_plugin"),
        ("/tasks/b/department", "unknown_department"),
        ("/tasks/b/escalate/to", "unknown_department"),
        ("/tasks/c/task/department", "unknown_department"),
    }


def test_an_expression_may_name_what_a_loop_brings_back() -> None:
    tasks = {"a": plugin(input="${tasks.b.output}"), "b": plugin(input="${tasks.a.output}")}
    assert found(document(tasks, edge("a", "b"), edge("b", "a", "output == 1", loop={}))) == set()


def test_an_expression_may_not_name_a_parallel_branch() -> None:
    tasks = {"a": plugin(), "b": plugin(), "c": plugin(input={"x": "${tasks.b.output}"})}
    faults = validate(document(tasks, edge("a", "b"), edge("a", "c")))
    assert [(fault.pointer, fault.code) for fault in faults] == [("/tasks/c/input/x", "expression_name")]
    assert "'b'" in faults[0].detail


def test_a_condition_may_name_its_own_task_and_those_before_it() -> None:
    when = "output == 1 && outcome == 'x' && tasks.a.output == 1 && tasks.b.output == 2 && input.x == job.priority"
    tasks = {**AB, "c": plugin()}
    assert found(document(tasks, edge("a", "b"), edge("b", "c", when))) == set()


@pytest.mark.parametrize("when", ["outcome == 'aprove'", "'aprove' == outcome", "tasks.a.outcome != 'aprove'"])
def test_an_outcome_that_a_human_task_never_gives_is_told(when: str) -> None:
    faulty = document({"a": human(), "b": plugin()}, edge("a", "b", when))
    assert found(faulty) == {("/transitions/0/when", "unknown_outcome")}


def test_every_fault_is_told_at_once() -> None:
    faulty = {
        "colour": 1,
        "tasks": {
            "a": {"type": "plugin", "input": {"x": "${1 +}", "y": "${nothing}"}, "timeout": "x"},
            "b": {"type": "magic"},
        },
        "transitions": [edge("a", "zz"), edge("b", "a", "1 +"), edge("a", "b")],
    }
    assert found(faulty) == {
        ("/name", "missing_field"),
        ("/colour", "unknown_field"),
        ("/tasks/a/plugin", "missing_field"),
        ("/tasks/a/input/x", "expression_syntax"),
        ("/tasks/a/input/y", "expression_name"),
        ("/tasks/a/timeout", "bad_duration"),
        ("/tasks/b/type", "unknown_type"),
        ("/transitions/0/to", "unknown_task"),
        ("/transitions/1/when", "expression_syntax"),
        ("/transitions/1", "cycle_without_loop"),
        ("/tasks/a", "unreachable_task"),
        ("/tasks/b", "unreachable_task"),
    }


def test_a_faulty_document_gives_no_definition() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse({"name": "x", "tasks": {"a": {"type": "magic"}}})
    assert [fault.code for fault in caught.value.faults] == ["unknown_type"]
    assert "/tasks/a/type" in str(caught.value)


def test_a_thousand_tasks_are_accepted_and_one_more_is_not() -> None:
    assert found(document({f"t{index}": plugin() for index in range(1000)})) == set()
    too_many = document({f"t{index}": plugin() for index in range(1001)})
    assert found(too_many) == {("/tasks", "too_many_tasks")}


def test_a_document_over_a_mebibyte_is_refused() -> None:
    faulty = document({"a": plugin()}, description="x" * 1_048_576)
    assert found(faulty) == {("", "too_large")}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, "\ud800"])
def test_what_json_cannot_write_is_refused(value: object) -> None:
    assert found(document({"a": plugin(input={"x": value})})) == {("", "bad_json")}


def test_a_document_nested_without_end_is_refused() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    assert found(document({"a": plugin(input=deep)})) == {("", "too_deep")}


def test_the_defaults_of_the_contract_are_filled_in() -> None:
    definition = define({"a": human(retry=[{}]), "b": plugin()}, edge("a", "b"), edge("b", "a", loop={}))
    (policy,) = definition.tasks["a"].retry
    assert (policy.errors, policy.backoff_rate, policy.max_attempts, policy.jitter) == (("*",), 2.0, 5, "none")
    assert (policy.interval.total_seconds(), policy.max_delay.total_seconds()) == (1, 16)
    assert definition.tasks["a"].outcomes == ("approve", "reject")
    assert (definition.transitions[1].max_iterations, definition.priority) == (100, 50)
    assert (definition.tasks["a"].join, definition.tasks["a"].split) == ("all", "all")
