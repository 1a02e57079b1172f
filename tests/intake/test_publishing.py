"""Publishing: versions, equal documents, faults, and many who publish at once."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connections

from tests.intake.makers import document_of, make_definition, make_registration
from workflows.engine.exceptions import InvalidDefinition
from workflows.intake import publishing
from workflows.intake.publishing import publish
from workflows.models import Definition

pytestmark = pytest.mark.django_db


def faults_of(document: Any) -> set[tuple[str, str]]:
    return {(fault.pointer, fault.code) for fault in publishing.faults(document)}


def test_versions_are_numbered_from_one_for_each_name() -> None:
    numbers = [publish(document_of("claim", title=str(n))).definition.version for n in range(3)]
    assert numbers == [1, 2, 3]
    assert publish(document_of("order")).definition.version == 1


def test_a_document_equal_to_the_newest_is_not_published_again_whatever_the_order_of_its_keys() -> None:
    first = publish(document_of("claim", title="A"))
    again = publish(dict(reversed(document_of("claim", title="A").items())))
    assert (first.created, again.created) == (True, False)
    assert again.definition == first.definition


def test_a_document_equal_to_an_older_version_is_published_again() -> None:
    publish(document_of("claim", title="A"))
    publish(document_of("claim", title="B"))
    assert publish(document_of("claim", title="A")).definition.version == 3


def test_who_published_it_and_why_is_kept() -> None:
    kept = publish(document_of("claim", title="Claim"), published_by="lead", note="first").definition
    assert (kept.published_by, kept.note, kept.title) == ("lead", "first", "Claim")


def test_only_enabled_plugins_and_registered_departments_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_department_codes", [])
    publishing.register_department_codes(lambda: {"verification"})
    make_registration("claims.validate")
    make_registration("claims.old", enabled=False)
    tasks = {
        "a": {"type": "plugin", "plugin": "claims.validate"},
        "b": {"type": "plugin", "plugin": "claims.old"},
        "c": {"type": "human", "department": "verification"},
        "d": {"type": "human", "department": "elsewhere"},
    }
    pointers = {pointer for pointer, _ in faults_of({"name": "claim", "tasks": tasks, "transitions": []})}
    assert pointers == {"/tasks/b/plugin", "/tasks/d/department"}


def test_an_invalid_document_is_not_published_and_its_faults_are_told() -> None:
    with pytest.raises(InvalidDefinition) as error:
        publish({"name": "claim", "tasks": {}, "transitions": []})
    assert error.value.faults
    assert not Definition.objects.exists()


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (document_of("claim", title="a\0b"), "nul_character"),
        (document_of("claim", description="x" * 1_100_000), "too_large"),
        (document_of("claim", labels={"x": float("nan")}), "not_finite"),
    ],
)
def test_a_document_that_cannot_be_kept_is_refused(document: Any, code: str) -> None:
    assert {found for _, found in faults_of(document)} == {code}


@pytest.mark.parametrize("schema", [{"$ref": "http://localhost:1/schema"}, {"type": "nonsense"}, 5])
def test_a_schema_that_no_input_could_be_held_against_is_refused(schema: Any) -> None:
    found = faults_of(document_of("claim", input_schema=schema))
    assert found
    assert all(pointer.startswith("/input_schema") for pointer, _ in found)


def test_the_form_of_a_task_inside_a_map_is_looked_at_too() -> None:
    inner = {"type": "human", "department": "x", "form": {"$ref": "http://localhost:1/schema"}}
    mapped = {"type": "map", "items": "${input.rows}", "task": {"type": "map", "items": "${item}", "task": inner}}
    assert ("/tasks/start/task/task/form", "invalid_schema") in faults_of(document_of("claim", tasks={"start": mapped}))


def test_only_calendars_that_exist_may_be_named() -> None:
    late = document_of("claim", sla={"due": "P1D", "calendar": "office"})
    assert faults_of(late) == {("/sla/calendar", "unknown_calendar")}


def child(workflow: str, **fields: Any) -> dict[str, Any]:
    return {"start": {"type": "workflow", "workflow": workflow, **fields}}


def test_a_workflow_that_would_run_inside_itself_through_others_is_refused_with_the_way_it_would() -> None:
    make_definition("b", tasks={"m": {"type": "map", "items": [1], "task": child("c")["start"]}})
    make_definition("c", tasks=child("a"))
    (fault,) = publishing.faults(document_of("a", tasks=child("b")))
    assert (fault.pointer, fault.code) == ("/tasks/start/workflow", "recursive_workflow")
    assert "a → b → c → a" in fault.detail


def test_only_the_version_that_would_run_counts() -> None:
    make_definition("b", tasks=child("a"))
    make_definition("b", version=2)
    assert not faults_of(document_of("a", tasks=child("b")))
    assert not faults_of(document_of("a", tasks=child("b", version=2)))
    assert faults_of(document_of("a", tasks=child("b", version=1))) == {("/tasks/start/workflow", "recursive_workflow")}


def test_workflows_that_run_inside_each_other_but_not_inside_this_one_are_no_fault_of_it() -> None:
    make_definition("b", tasks=child("c"))
    make_definition("c", tasks=child("b"))
    assert not faults_of(document_of("a", tasks={**child("b"), "other": {"type": "workflow", "workflow": "new"}}))


def test_the_statements_of_publishing_do_not_grow_with_the_number_of_child_workflows(
    django_assert_num_queries: Any,
) -> None:
    for number in range(30):
        make_definition(f"w{number}")
    tasks = {f"t{number}": {"type": "workflow", "workflow": f"w{number}"} for number in range(30)}
    with django_assert_num_queries(4):
        assert not publishing.faults(document_of("a", tasks=tasks))


@pytest.mark.parametrize("document", [None, [], "text", 5])
def test_what_is_no_object_is_refused(document: Any) -> None:
    assert faults_of(document)


@pytest.mark.django_db(transaction=True)
def test_many_who_publish_at_once_get_a_version_each_without_a_gap() -> None:
    make_definition("claim")
    start = threading.Barrier(6)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            start.wait(10)
            publish(document_of("claim", title=f"by {number}"))
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert sorted(Definition.objects.values_list("version", flat=True)) == [1, 2, 3, 4, 5, 6, 7]
