"""Text into documents: YAML that means the same as JSON, and JSON that means one thing only."""

from __future__ import annotations

import pytest

from workflows.engine.exceptions import UnreadableDocument
from workflows.engine.parsing import load_text

YAML = "application/yaml"


def test_yaml_words_that_look_like_something_else_stay_words() -> None:
    text = (
        "no: no\non: off\nYes: y\ntime: 12:30:00\nsix: 1:30\ndate: 2020-01-01\noct: 010\nhex: 0x1F\nold: 0o7\n"
        "under: 1_000\nplus: +1\ninf: .inf\nnan: .nan\nbig: True\nnil: Null\nmerge: {<<: 1}\neq: =\n"
    )
    assert load_text(text, YAML) == {
        "no": "no",
        "on": "off",
        "Yes": "y",
        "time": "12:30:00",
        "six": "1:30",
        "date": "2020-01-01",
        "oct": "010",
        "hex": "0x1F",
        "old": "0o7",
        "under": "1_000",
        "plus": "+1",
        "inf": ".inf",
        "nan": ".nan",
        "big": "True",
        "nil": "Null",
        "merge": {"<<": 1},
        "eq": "=",
    }


def test_yaml_values_that_json_knows_are_those_values() -> None:
    text = "a: [1, -2, 1.5, 1e3, true, false, null, ~, '1', \"x\"]\nb:\nc: |\n  line\n"
    assert load_text(text, "text/yaml") == {
        "a": [1, -2, 1.5, 1000.0, True, False, None, None, "1", "x"],
        "b": None,
        "c": "line\n",
    }


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: &x [1]\nb: *x", "yaml_alias"),
        ("a: &x 1", "yaml_alias"),
        ("a: 1\na: 2", "duplicate_key"),
        ("a: {b: 1, b: 1}", "duplicate_key"),
        ("a: !!python/object/apply:os.system [ls]", "yaml_tag"),
        ("a: !!timestamp 2020-01-01", "yaml_tag"),
        ("a: !!binary aGk=", "yaml_tag"),
        ("a: !own 1", "yaml_tag"),
        ("1: a", "wrong_type"),
        ("null: a", "wrong_type"),
        ("true: a", "wrong_type"),
        ("? [a]\n: 1", "wrong_type"),
        ("- a", "wrong_type"),
        ("", "wrong_type"),
        ("a: [", "bad_yaml"),
        ("a: 1\n---\nb: 2", "bad_yaml"),
        ("a: \x00", "bad_yaml"),
        ("a: 1e999", "bad_number"),
        ("a: " + "[" * 500 + "]" * 500, "too_deep"),
        ("a: " + "{b: " * 100_000, "too_deep"),
    ],
)
def test_yaml_that_means_more_than_json_is_refused(text: str, code: str) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        load_text(text, YAML)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"a": 1, "a": 1}', "duplicate_key"),
        ('{"a": {"b": 1, "b": 2}}', "duplicate_key"),
        ('{"a": NaN}', "bad_number"),
        ('{"a": -Infinity}', "bad_number"),
        ('{"a": 1e999}', "bad_number"),
        ("[1]", "wrong_type"),
        ("", "bad_json"),
        ('{"a": 1,}', "bad_json"),
        ("{'a': 1}", "bad_json"),
        ('{"a": ' + "1" * 5000 + "}", "bad_json"),
        ('{"a": ' + "[" * 200_000, "too_deep"),
        (b"\xff\xfe", "bad_encoding"),
        (" " * 1_048_577, "too_large"),
    ],
)
def test_json_that_means_two_things_or_nothing_is_refused(text: str | bytes, code: str) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        load_text(text)
    assert caught.value.code == code


def test_a_byte_order_mark_is_not_part_of_the_document() -> None:
    assert load_text(b'\xef\xbb\xbf{"a": 1}', "application/json; charset=utf-8") == {"a": 1}
