"""The form from a JSON Schema, and the answer back."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import QueryDict
from django.template.loader import render_to_string

from departments.web.fields import fields_of, flat, read, show_faults
from workflows.engine.jsonvalue import SchemaValidator


def form(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def answer(schema: Any, query: str) -> Any:
    """What a posted form answers; `query` leaves out the prefix of the names."""
    posted = QueryDict("&".join(f"field/{pair}" for pair in query.split("&") if pair))
    return read(fields_of(schema), posted)


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"type": "string"}, "text"),
        ({"type": "string", "format": "textarea"}, "textarea"),
        ({"type": "string", "maxLength": 2000}, "textarea"),
        ({"type": "string", "maxLength": 20}, "text"),
        ({"type": "string", "format": "date"}, "date"),
        ({"type": "string", "format": "date-time"}, "datetime"),
        ({"type": "number"}, "number"),
        ({"type": ["integer", "null"]}, "integer"),
        ({"type": "boolean"}, "yesno"),
        ({"enum": ["a", 1, None]}, "select"),
        ({"type": "array", "items": {"type": "string"}}, "lines"),
        ({"type": "array", "items": {"type": "string", "enum": ["a"]}}, "checks"),
        ({"type": "array", "items": {"type": "object"}}, "json"),
        ({"type": "object", "properties": {"a": {}}}, "group"),
        ({"oneOf": [{"type": "string"}]}, "json"),
        ({"type": ["string", "number"]}, "json"),
        ({"$ref": "#/$defs/x"}, "json"),
        (True, "json"),
    ],
)
def test_each_shape_has_its_field(part: Any, kind: str) -> None:
    assert [field.kind for field in fields_of(form(it=part))] == [kind]


@pytest.mark.parametrize("schema", [None, True, [], {}, {"properties": []}, {"type": "object"}, "x"])
def test_a_schema_without_properties_has_no_fields(schema: Any) -> None:
    assert fields_of(schema) == []


@pytest.mark.parametrize(
    ("part", "typed", "value"),
    [
        ({"type": "string"}, "+two+words+", "two words"),
        ({"type": "string", "format": "textarea"}, "a%0D%0A+b", "a\n b"),
        ({"type": "number"}, "12", 12),
        ({"type": "number"}, "-12.50", -12.5),
        ({"type": "number"}, ".5", 0.5),
        ({"type": "integer"}, "007", 7),
        ({"type": "string", "format": "date"}, "2026-11-21", "2026-11-21"),
        ({"type": "string", "format": "date-time"}, "2026-11-21T10:30", "2026-11-21T10:30:00+00:00"),
        ({"type": "boolean"}, "false", False),
        ({"enum": ["a", 1, None]}, "1", 1),
        ({"type": "array", "items": {"type": "string"}}, "+a+%0D%0A%0D%0Ab", ["a", "b"]),
        ({"oneOf": []}, '{"a": [1]}', {"a": [1]}),
    ],
)
def test_what_is_typed_becomes_json_of_its_type(part: Any, typed: str, value: Any) -> None:
    found = answer(form(it=part), f"it={typed}")
    assert (found.data, found.faults) == ({"it": value}, [])
    assert type(found.data["it"]) is type(value)


@pytest.mark.parametrize(
    ("part", "typed"),
    [
        ({"type": "number"}, "1,250"),
        ({"type": "number"}, "nan"),
        ({"type": "number"}, "inf"),
        ({"type": "number"}, "1e999"),
        ({"type": "number"}, "٣"),
        ({"type": "integer"}, "1.5"),
        ({"type": "integer"}, "1_000"),
        ({"type": "integer"}, "9" * 5000),
        ({"type": "string", "format": "date"}, "2026-02-30"),
        ({"type": "string", "format": "date-time"}, "tomorrow"),
        ({"oneOf": []}, "{"),
        ({"oneOf": []}, "NaN"),
        ({"oneOf": []}, "[" * 3000),
    ],
)
def test_what_cannot_be_read_is_a_fault_and_stays_as_typed(part: Any, typed: str) -> None:
    schema = form(it=part)
    fields = fields_of(schema)
    found = read(fields, QueryDict(f"field/it={typed}"))
    assert [(fault.pointer, fault.code) for fault in found.faults] == [("/data/it", "unreadable")]
    assert fields[0].value == typed


def test_what_is_left_empty_is_left_out_so_that_the_schema_says_what_is_required() -> None:
    schema = form(
        text={"type": "string"},
        number={"type": "number"},
        yes={"type": "boolean"},
        one={"enum": ["a"]},
        lines={"type": "array", "items": {"type": "string"}},
        group={"type": "object", "properties": {"inner": {"type": "string"}}},
    ) | {"required": ["text", "number"]}
    found = answer(schema, "text=&number=+&lines=%0A&group/inner=")
    assert found.data == {}
    assert [fault.pointer for fault in SchemaValidator(schema).faults(found.data)] == ["/text", "/number"]


def test_groups_nest_and_their_faults_find_their_fields() -> None:
    schema = form(
        address={"type": "object", "required": ["city"], "properties": {"city": {"type": "string", "minLength": 3}}}
    )
    fields = fields_of(schema)
    found = read(fields, QueryDict("field/address/city=ab"))
    assert found.data == {"address": {"city": "ab"}}
    summary = show_faults(fields, SchemaValidator(schema).faults(found.data, at="/data"))
    assert summary == [("field-2f-address-2f-city", "City: must be at least 3 characters.")]
    assert [field.errors for field in flat(fields) if field.key == "city"] == [["Must be at least 3 characters."]]


def test_names_with_slashes_and_tildes_keep_apart() -> None:
    schema = form(
        **{
            "a/b": {"type": "string"},
            "a~1b": {"type": "string"},
            "a": {"type": "object", "properties": {"b": {"type": "string"}}},
        }
    )
    names = [field.name for field in flat(fields_of(schema)) if field.kind == "text"]
    ids = {field.id for field in flat(fields_of(schema))}
    assert len(set(names)) == 3
    assert len(ids) == 4
    found = read(fields_of(schema), QueryDict(f"{names[0]}=1&{names[1]}=2&{names[2]}=3"))
    assert found.data == {"a/b": "1", "a~1b": "2", "a": {"b": "3"}}


def test_a_default_is_shown_and_what_was_typed_replaces_it() -> None:
    schema = form(
        number={"type": "number", "default": 12.5},
        one={"enum": ["a", "b"], "default": "b"},
        yes={"type": "boolean", "default": False},
        lines={"type": "array", "items": {"type": "string"}, "default": ["x", "y"]},
    )
    number, one, yes, lines = fields_of(schema)
    assert (number.value, lines.value) == ("12.5", "x\ny")
    assert [option.chosen for option in one.options] == [False, True]
    assert [option.chosen for option in yes.options] == [False, True]
    read([number], QueryDict("field/number="))
    assert number.value == ""


def test_the_choice_that_was_made_stays_made() -> None:
    schema = form(one={"enum": ["a", "b"]}, many={"type": "array", "items": {"type": "string", "enum": ["x", "y"]}})
    fields = fields_of(schema)
    assert read(fields, QueryDict("field/one=1&field/many=0&field/many=1")).data == {"one": "b", "many": ["x", "y"]}
    assert [option.chosen for field in fields for option in field.options] == [False, True, True, True]


@pytest.mark.parametrize("choice", ["5", "-1", "x", ""])
def test_a_choice_that_was_not_offered_is_no_choice(choice: str) -> None:
    assert answer(form(one={"enum": ["a", "b"]}), f"one={choice}").data == {}


def test_a_fault_of_no_field_is_told_at_the_top() -> None:
    fields = fields_of(form(a={"type": "string"}))
    schema = {"type": "object", "minProperties": 2}
    summary = show_faults(fields, SchemaValidator(schema).faults({}, at="/data"))
    assert [anchor for anchor, _ in summary] == ["decision"]


def test_every_field_has_a_label_and_its_help_and_error_are_tied_to_it() -> None:
    schema = form(amount={"type": "number", "title": "Amount", "description": "In euros.", "minimum": 1}) | {
        "required": ["amount"]
    }
    fields = fields_of(schema)
    show_faults(fields, SchemaValidator(schema).faults({"amount": 0}, at="/data"))
    page = render_to_string("inbox/_field.html", {"field": fields[0]})
    assert '<label for="field-2f-amount">Amount' in page
    assert 'aria-describedby="field-2f-amount-help field-2f-amount-error"' in page
    assert 'id="field-2f-amount-help">In euros. At least 1.</p>' in page
    assert "Must be at least 1." in page
