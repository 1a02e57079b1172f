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
