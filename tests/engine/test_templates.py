"""Mappings: types are kept, texts are filled in, and a literal `${` can be written."""

from __future__ import annotations

from typing import Any

import pytest

from workflows.engine.exceptions import ExpressionSyntaxError, MissingName
from workflows.engine.templates import Template

NAMES: dict[str, Any] = {"input": {"n": 3, "f": 3.0, "t": "x", "b": True, "none": None, "o": {"k": [1, "ä"]}}}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("${input.n}", 3),
        ("${input.f}", 3.0),
        ("${ input.o }", {"k": [1, "ä"]}),
        ("${input.none}", None),
        ("n=${input.n}", "n=3"),
        ("${input.n}${input.n}", "33"),
        ("${input.t}, ${input.f}, ${input.b}, [${input.none}]", "x, 3.0, true, []"),
        ("o: ${input.o}", 'o: {"k": [1, "ä"]}'),
        (" ${input.n}", " 3"),
        ("$${input.n}", "${input.n}"),
        ("cost: $5", "cost: $5"),
        ("${'}'}", "}"),
        ("${{'a': {'b': 1}}}", {"a": {"b": 1}}),
        ("${'\\'}'}", "'}"),
        ({"a": ["${input.n}", {"b": "${input.t}!"}], "c": 5, "${x}": 1}, {"a": [3, {"b": "x!"}], "c": 5, "${x}": 1}),
        (5, 5),
        (None, None),
        ("", ""),
    ],
)
def test_a_mapping_is_filled_in(source: object, value: object) -> None:
    found = Template(source).evaluate(NAMES)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("source", ["${", "${input.n", "a ${'}", "${}", "${1 +}", {"a": ["${ ("]}])
def test_an_expression_without_an_end_or_a_meaning_is_refused(source: object) -> None:
    with pytest.raises(ExpressionSyntaxError):
        Template(source)


def test_every_expression_is_known_with_its_pointer() -> None:
    template = Template({"a/b": ["x", "${input.n} and ${input.t}"], "c~d": "${input.b}"})
    assert [(pointer, expression.text) for pointer, expression in template.expressions] == [
        ("/a~1b/1", "input.n"),
        ("/a~1b/1", "input.t"),
        ("/c~0d", "input.b"),
    ]


def test_a_missing_name_is_an_error_unless_null_is_asked_for() -> None:
    template = Template({"a": "${input.missing}", "b": "x${input.missing}y", "c": "${input.n}"})
    with pytest.raises(MissingName):
        template.evaluate(NAMES)
    assert template.evaluate(NAMES, missing_as_null=True) == {"a": None, "b": "xy", "c": 3}
