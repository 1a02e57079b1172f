"""What a value must be before anyone keeps it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.engine.jsonvalue import InvalidSchema, SchemaValidator, canonical, check_json, pointer_to

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**1000), 2**1000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON)
def test_every_json_value_passes_and_comes_back_from_its_text(value: Any) -> None:
    assert check_json(value, 2**20) == []
    assert json.loads(canonical(value)) == value


@pytest.mark.parametrize("value", [(1,), {1}, b"x", object(), 1j, {1: 2}])
def test_what_is_not_json_is_refused(value: Any) -> None:
    assert [fault.code for fault in check_json([value], 1000)] == ["not_json"]


def test_every_fault_is_told_with_its_pointer() -> None:
    value = {"a": [1, float("inf")], "b/c": "x\0", "d": {"e~": "\udfff"}}
    found = [(fault.pointer, fault.code) for fault in check_json(value, 1000, at="/input")]
    assert found == [
        ("/input/a/1", "not_finite"),
        ("/input/b~1c", "nul_character"),
        ("/input/d/e~0", "lone_surrogate"),
    ]


def test_a_value_that_contains_itself_is_refused_in_time() -> None:
    value: list[Any] = []
    value += [value, value, value]
    assert {fault.code for fault in check_json(value, 10_000)} <= {"too_large", "too_deep"}
    assert check_json(value, 10_000)


def test_size_is_counted_in_bytes_of_text() -> None:
    assert check_json("é" * 10, 22) == []
    assert [fault.code for fault in check_json("é" * 10, 21)] == ["too_large"]


def test_sixty_four_levels_are_taken_and_no_more() -> None:
    def nested(levels: int) -> Any:
        value: Any = []
        for _ in range(levels - 1):
            value = [value]
        return value

    assert check_json(nested(64), 1000) == []
    assert [fault.code for fault in check_json(nested(65), 1000)] == ["too_deep"]


def test_no_more_than_a_hundred_faults_are_listed() -> None:
    assert len(check_json([float("nan")] * 1000, 100_000)) == 100
    assert len(SchemaValidator({"items": {"type": "string"}}).faults([1] * 1000)) == 100


def test_a_missing_and_an_unexpected_property_have_pointers_of_their_own() -> None:
    schema = {"required": ["a/b"], "properties": {"a/b": {}, "no": False}, "additionalProperties": False}
    found = {
        (fault.pointer, fault.code) for fault in SchemaValidator(schema).faults({"x": 1, "y": 2, "no": 1}, at="/input")
    }
    assert found == {
        ("/input/a~1b", "required"),
        ("/input/x", "additionalProperties"),
        ("/input/y", "additionalProperties"),
        ("/input/no", "not_allowed"),
    }


@pytest.mark.parametrize("schema", [5, None, {"type": "nothing"}, {"pattern": "("}, {"$ref": "http://localhost:1/x"}])
def test_a_broken_schema_and_one_that_lies_elsewhere_are_refused(schema: Any) -> None:
    with pytest.raises(InvalidSchema):
        SchemaValidator(schema)


def test_no_schema_is_ever_fetched() -> None:
    with pytest.raises(InvalidSchema, match="Retrieval is disabled"):
        SchemaValidator({"$ref": "http://localhost:1/x"})


def test_the_pointer_of_the_whole_is_empty() -> None:
    assert pointer_to([]) == ""
    assert pointer_to(["a", 0, "b/c~d"]) == "/a/0/b~1c~0d"
