"""The plugin that shapes data by configuration."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.transform.fields import MissingField, TransformFields
from tests.plugins.support import step

INPUT = {"customer": {"name": "A"}, "lines": [{"sku": "L1"}], "a/b": {"~": 1}, "": 7}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/customer/name", "A"),
        ("/lines/0/sku", "L1"),
        ("/a~1b/~0", 1),
        ("", INPUT),
        ("/", 7),
    ],
)
def test_a_field_is_what_its_pointer_leads_to(pointer: str, value: Any) -> None:
    assert TransformFields({"fields": {"x": pointer}}).run(step(INPUT)).output == {"x": value}


@pytest.mark.parametrize("pointer", ["/nobody", "/lines/1", "/lines/-1", "/lines/x", "/customer/name/first"])
def test_a_pointer_that_leads_nowhere_fails_by_name(pointer: str) -> None:
    with pytest.raises(MissingField, match="'x'"):
        TransformFields({"fields": {"x": pointer}}).run(step(INPUT))


def test_a_default_stands_in_for_what_is_absent() -> None:
    plugin = TransformFields({"fields": {"x": "/nobody"}, "defaults": {"x": None}})
    assert plugin.run(step(INPUT)).output == {"x": None}


def test_a_default_for_no_field_is_a_fault_of_the_configuration() -> None:
    assert TransformFields({"fields": {"x": ""}, "defaults": {"y": 1}}).check() == [
        "defaults has 'y', which is not one of the fields."
    ]
