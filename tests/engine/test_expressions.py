"""Expressions: what they give, what they refuse, and that nothing they are fed makes them run away."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.engine.exceptions import EngineError, ExpressionError, ExpressionSyntaxError, MissingName
from workflows.engine.expressions import Expression

NAMES: dict[str, Any] = {
    "input": {
        "three": 3,
        "half": 2.5,
        "whole": 3.0,
        "text": "abc",
        "null": None,
        "yes": True,
        "items": [{"qty": 2, "price": 1.5}, {"qty": 1, "price": 2}],
        "big": 2**70,
        "most": 2**53 + 1,
        "package": {"import": 1},
    },
    "tasks": {"a-b": {"output": {"x": 1}}, "pay": {"output": {"amount": 3}}},
    "output": {"payable": 1200},
    "outcome": "approve",
    "at": datetime(2030, 1, 1, tzinfo=UTC),
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 < 1.5", True),
        ("input.three < 3.5", True),
        ("input.whole == input.three", True),
        ("3 in [3.0]", True),
        ("output.payable > 1000", True),
        ("output.payable > 1000.5 && outcome == 'approve'", True),
        ("input.three * 1.5", 4.5),
        ("input.three + input.half", 5.5),
        ("input.three - input.half * 2", -2.0),
        ("10 / 3", 3),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("7 / 2.0", 3.5),
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 3 - 2", 5),
        ("'a' + \"b\"", "ab"),
        ("[1] + [2]", [1, 2]),
        ("input.three", 3),
        ("input.whole", 3.0),
        ("input.most", 2**53 + 1),
        ("input.most + 0", 2**53 + 1),
        ("input.big", 2**70),
        ("input.null == null", True),
        ("input['text']", "abc"),
        ("tasks['a-b'].output.x + 1", 2),
        ('tasks["a-b"].output.x', 1),
        ("tasks.pay.output.amount == 3", True),
        ("has(input.missing)", False),
        ("input.package.import + 1", 2),
        ("has(input.three) && !has(input.three2)", True),
        ("has(input.missing) ? input.missing : 'none'", "none"),
        ("input.items[1].price", 2),
        ("size(input.items)", 2),
        ("input.text.size()", 3),
        ("input.text.startsWith('ab') && input.text.contains('c') && input.text.matches('^a.c$')", True),
        ("input.items.map(i, i.qty * i.price)", [3.0, 2]),
        ("input.items.filter(i, i.qty > 1)", [{"qty": 2, "price": 1.5}]),
        ("input.items.filter(i, i.qty > 0).map(i, i.qty > 1, i.price)", [1.5]),
        ("input.items.exists(i, i.qty == 2) && !input.items.all(i, i.qty == 2)", True),
        ("input.items.exists_one(i, i.qty == 2)", True),
        ("[[1, 2], [3]].map(x, x.map(y, y + 1))", [[2, 3], [4]]),
        ("{'a': 1, 'b': [true, null]}", {"a": 1, "b": [True, None]}),
        ("'x' in tasks['a-b'].output", True),
        ("string(input.three) + '!'", "3!"),
        ("int('3') + 1", 4),
        ("at + duration('1h') > at", True),
        ("timestamp('2030-01-01T00:00:00Z') == at", True),
        ("at", "2030-01-01T00:00:00Z"),
        ("at.getFullYear()", 2030),
        ("duration('90m')", "PT5400S"),
        ("input.yes ? 1 : 2", 1),
        ("r'a\\b'", "a\\b"),
        ("true || input.missing == 1", True),
    ],
)
def test_an_expression_gives_its_value_with_its_type(text: str, value: object) -> None:
    found = Expression(text).evaluate(NAMES)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("input.missing", "input.missing"),
        ("input.missing == 1", "input.missing"),
        ("input.missing.deeper > 1", "input.missing"),
        ("nothing == 1", "nothing"),
        ("tasks.other.output == 1", "tasks.other"),
        ("tasks['no-such'].output", "tasks['no-such']"),
        ("input.items[7].qty == 1", "input.items[7]"),
        ("input.items.exists(i, i.missing == 1)", "missing"),
        ("input.items.map(i, i.qty + output.missing)", "output.missing"),
    ],
)
def test_a_missing_name_is_an_error_with_the_name_in_it(text: str, named: str) -> None:
    with pytest.raises(MissingName) as caught:
        Expression(text).evaluate(NAMES)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "1 / 0",
        "1.0 / 0.0",
        "5 % 0",
        "'a' + 1",
        "'a' * 3",
        "true + 1",
        "null + 1",
        "input.three > 'x'",
        "input.text.missing",
        "input.three.missing == 1",
        "input.null.missing == 1",
        "input.big > 1",
        "9223372036854775807 + 1",
        "9223372036854775807 * 9223372036854775807",
        "1e308 * 10.0",
        "1 ? 2 : 3",
        "1 && true",
        "int('x')",
        "timestamp('x')",
        "{1: 2}",
        "input.text.matches('(')",
        "at + at",
        "[1][5]",
        "-input.text",
        "duration('1h') * 2",
    ],
)
def test_what_has_no_value_is_an_expression_error(text: str) -> None:
    with pytest.raises(ExpressionError):
        Expression(text).evaluate(NAMES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1 +",
        "a b",
        "((1)",
        "a.",
        "a[1",
        "return 1",
        "import os",
        "input.for(x, 1)",
        "__import__('os')",
        "eval('1')",
        "input.__class__()",
        "'%s'.format([1])",
        "open('/etc/passwd')",
        "lambda: 1",
        "x = 1",
        "a; b",
        "`ls`",
        "2 ** 9",
        "a -> b",
        "input.map(1, 2)",
        "input.map(x)",
        "has(input)",
        "has(input.a, input.b)",
        "'unclosed",
        "'''text'''",
        "b'bytes'",
        "input.?x",
        "optional.of(1)",
        "cel.bind(x, 1, x)",
        "msg{a: 1}",
        "\uff11 + 1",
        "\u0456nput.x",
        "1.2.3",
        "99999999999999999999",
        "a ? b",
        "in",
    ],
)
def test_what_does_not_parse_is_refused_before_it_runs(text: str) -> None:
    with pytest.raises(ExpressionSyntaxError):
        Expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "1 + " * 500 + "1",
        "(" * 25 + "1" + ")" * 25,
        "[" * 25 + "1" + "]" * 25,
        "!" * 25 + "true",
        "-" * 25 + "1",
        "true ? " * 25 + "1" + " : 2" * 25,
        "size(" * 25 + "'a'" + ")" * 25,
        "1" + " + 1" * 300,
        "[1].map(a, [1].map(b, [1].map(c, 1)))",
        "[1]" + ".map(x, x)" * 7,
    ],
)
def test_what_is_too_large_to_be_bounded_is_refused(text: str) -> None:
    with pytest.raises(ExpressionSyntaxError):
        Expression(text)


HOSTILE = [
    "input.l.map(a, input.l.map(b, [input.l, input.l]))",
    "input.l.map(a, input.l.map(b, a + b))",
    "input.l.exists(a, input.l.exists(b, a + b < 0))",
    "input.l.all(a, input.l.all(b, size(input.l) > 0))",
    "input.l.map(a, input.l).map(b, input.l).size() > 0",
    "input.l.map(a, input.l) == input.l.map(a, input.l)",
    "input.l.map(a, input.s).map(b, b)",
    "input.l.map(a, input.s + 'x')",
    "input.l.map(a, string(a) + string(a))",
    "[input.s].map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a)",
    "[input.l].map(a, [a, a, a, a, a, a, a, a]).map(a, [a, a, a, a, a, a, a, a]).map(a, [a, a, a, a, a, a, a])",
    "[input.l].map(a, {'a': a, 'b': a, 'c': a}).map(a, {'a': a, 'b': a, 'c': a}).map(a, [a, a, a]) == []",
    "input.l + input.l + input.l",
    "input.s + input.s",
    "input.l.exists(a, 'aaaa'.matches('((a{90}){90}){9}'))",
    "input.l.exists(a, input.s.matches('(x+x+)+y'))",
    "input.l.exists(a, input.s.matches(input.s))",
    "input.s.matches('(x+x+)+y')",
    " || ".join(["'a'.matches('((a{90}){90}){9}')"] * 20),
    "input.l.filter(a, input.l.filter(b, b == a).size() > 0)",
    "input.o.filter(a, a.k1 > 0).filter(a, a.k2 > 0).filter(a, a.k3 > 0).map(a, a).map(a, [a]).map(a, [a])",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_expression_ends_soon_with_a_bounded_result_or_an_error(text: str) -> None:
    rows = [{f"k{column}": column for column in range(20)} for _ in range(1000)]
    names = {"input": {"l": list(range(1000)), "s": "x" * 60_000, "o": rows}}
    began = time.process_time()
    try:
        result = Expression(text).evaluate(names)
    except ExpressionError:
        result = None
    assert time.process_time() - began < 5
    assert len(repr(result)) < 20_000_000


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"bytes", {1, 2}, "x" * 70_000, [0] * 1001])
def test_only_plain_data_within_bounds_goes_in(value: object) -> None:
    with pytest.raises(ExpressionError):
        Expression("[input.x] == []").evaluate({"input": {"x": value}})


def test_a_plain_path_hands_over_whatever_it_finds_however_large() -> None:
    rows = list(range(5000))
    assert Expression("input.rows").evaluate({"input": {"rows": rows}}) is rows


def test_only_the_names_an_expression_reads_are_looked_at() -> None:
    names = {"input": {"x": 1, "other": float("nan")}, "tasks": {"a": {"output": 1}, "b": object()}}
    assert Expression("input.x + tasks.a.output").evaluate(names) == 2


def test_the_paths_of_an_expression_are_known_without_running_it() -> None:
    text = "tasks.a.output.x > input['y z'] && tasks['b-c'].outcome == 'z' && input.l.exists(i, i.x == output[0].y)"
    assert Expression(text).paths == (
        ("tasks", "a", "output", "x"),
        ("input", "y z"),
        ("tasks", "b-c", "outcome"),
        ("input", "l"),
        ("output", 0, "y"),
    )


def test_a_condition_has_to_be_true_or_false() -> None:
    assert Expression("input.three == 3").holds(NAMES) is True
    for text in ("input.three", "input.null", "'true'", "1"):
        with pytest.raises(ExpressionError):
            Expression(text).holds(NAMES)


words = st.sampled_from(
    [
        "input",
        ".",
        "three",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "'a'",
        "1",
        "2.5",
        "+",
        "-",
        "*",
        "/",
        "%",
        "==",
        "<",
        "&&",
        "||",
        "!",
        "?",
        ":",
        ",",
        "in",
        "has",
        "size",
        "map",
        "filter",
        "x",
        "null",
        "true",
        "${",
        "\\",
        '"',
    ]
)


@given(st.lists(words, max_size=20).map(" ".join) | st.text(max_size=60))
def test_random_text_never_raises_anything_else(text: str) -> None:
    with contextlib.suppress(EngineError):
        Expression(text).evaluate(NAMES)
