"""Expressions of a definition: CEL, compiled once, bounded in time and size, and fed only what they name.

`Expression` is the only door to the library behind it. What an expression reads is known from its tree, so evaluating
`input.amount` costs the same however large the rest of the job's data is.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from . import arithmetic, syntax
from .arithmetic import MAX_LIST, MAX_STRING
from .bounds import MAX_WEIGHT, CostBound
from .contract import Json
from .durations import format_duration, format_timestamp
from .exceptions import ExpressionError, ExpressionSyntaxError, MissingName
from .library import cel
from .syntax import Path

# The library logs every error that one of our own functions raises, and then raises it as well.
logging.getLogger("cel").addHandler(logging.NullHandler())
logging.getLogger("cel").propagate = False

_LIBRARY_ERRORS = (ValueError, TypeError, KeyError, IndexError, RuntimeError, ArithmeticError, AttributeError)
_MAX_DEPTH = 100


class Expression:
    """One compiled expression.

    `paths` are the chains of names it reads, such as ("tasks", "verify", "output", "payable").
    Raises ExpressionSyntaxError when the text does not parse or is too large to be bounded.
    """

    __slots__ = ("_direct", "_has_macro", "_is_costly", "_program", "_tree", "_wanted", "paths", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._tree = syntax.read(text)
        self.paths: tuple[Path, ...] = tuple(dict.fromkeys(syntax.paths(self._tree)))
        self._direct = syntax.path_of(self._tree)
        self._has_macro = syntax.contains(self._tree, "macro")
        self._is_costly = self._has_macro or syntax.contains(self._tree, "call", "matches")
        self._wanted = as_tree(self.paths)
        try:
            self._program = cel.compile(syntax.write(self._tree))
        except _LIBRARY_ERRORS as error:
            raise ExpressionSyntaxError(f"The expression does not parse: {_first_line(error)}") from None

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    @property
    def comparisons(self) -> tuple[tuple[Path, str], ...]:
        """Every name that is compared with a text, and the text: `outcome == "approve"`."""
        return tuple(syntax.comparisons(self._tree))

    def evaluate(self, names: Mapping[str, Any]) -> Json:
        """The value as JSON. Raises ExpressionError, MissingName where a name in it is not there."""
        if self._direct is not None:
            return _as_json(_follow(self._direct, names))
        data = {root: _prune(wanted, names[root], (root,)) for root, wanted in self._wanted.items() if root in names}
        if self._is_costly:
            CostBound(data).check(self._tree)
        context = cel.Context(functions=self._functions())
        for root, value in data.items():
            context.add_variable(root, value)
        try:
            result = self._program.execute(context)
        except _LIBRARY_ERRORS as error:
            raise self._explain(error, data) from None
        return _checked_result(result)

    def holds(self, names: Mapping[str, Any]) -> bool:
        """The value as a condition. Raises ExpressionError where it is anything but true or false."""
        result = self.evaluate(names)
        if not isinstance(result, bool):
            raise ExpressionError(f"A condition is true or false, but `{self.text[:200]}` is {str(result)[:80]!r}.")
        return result

    def _functions(self) -> dict[str, Callable[..., Any]]:
        if not self._has_macro:
            return arithmetic.FUNCTIONS
        kept: list[Any] = []

        def keep(item: Any) -> int:
            kept.append(item)
            return len(kept) - 1

        def take(places: list[int]) -> list[Any]:
            return [kept[place] for place in places]

        return {**arithmetic.FUNCTIONS, syntax.KEEP: keep, syntax.TAKE: take}

    def _explain(self, error: Exception, data: Mapping[str, Any]) -> ExpressionError:
        """The library names only the key that is missing; the author wrote, and is told, the whole path."""
        if isinstance(error, KeyError | IndexError) or "Undefined variable" in str(error):
            for path in self.paths:
                try:
                    _follow(path, data)
                except MissingName as missing:
                    return missing
                except ExpressionError:
                    continue
            return MissingName(f"{_first_line(error)} is not there, in `{self.text[:200]}`.")
        return ExpressionError(f"{_first_line(error)} In `{self.text[:200]}`.")


def _first_line(error: Exception) -> str:
    """What the library says, without its advice, which speaks of things our expressions do not have."""
    text = str(error.args[0]) if error.args else type(error).__name__
    if "ExpressionError: " in text:
        return text.split("ExpressionError: ", 1)[1].split(" Check function arguments", 1)[0].rstrip(".") + "."
    return text.split("\n", 1)[0].split(". ", 1)[0][:300] + "."


Wanted = dict[Any, Any]
"""A tree of the keys to hand over; an empty one stands for the whole value."""


def as_tree(paths: tuple[Path, ...]) -> Wanted:
    """The paths as one tree of keys, for whoever hands over what they read and nothing else."""
    tree: Wanted = {}
    whole: set[Path] = set(paths)
    for path in paths:
        level = tree
        for depth, key in enumerate(path, start=1):
            level = level.setdefault(key, {})
            if path[:depth] in whole:
                level.clear()
                break
    return tree


def _prune(wanted: Wanted, value: Any, path: Path) -> Any:
    """Only the wanted members of nested mappings; what is missing stays missing, for the expression to stumble on."""
    if not wanted or not isinstance(value, Mapping):
        _check_plain(value, path)
        return value
    return {key: _prune(inner, value[key], (*path, key)) for key, inner in wanted.items() if key in value}


def _check_plain(value: Any, path: Path, depth: int = 0) -> None:
    """Only JSON and timestamps go in, within bounds, so that the evaluator never sees what it would round or run."""
    if value is None or isinstance(value, bool | datetime):
        return
    if isinstance(value, str):
        if len(value) > MAX_STRING:
            raise ExpressionError(f"`{spell(path)}` holds more than {MAX_STRING} characters in one text.")
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ExpressionError(f"`{spell(path)}` holds a number of more than 64 bits.")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ExpressionError(f"`{spell(path)}` holds a number that is not finite.")
    elif isinstance(value, list | dict):
        if len(value) > MAX_LIST or depth > _MAX_DEPTH:
            raise ExpressionError(f"`{spell(path)}` holds more than {MAX_LIST} items, or is nested too deep.")
        for member in value.values() if isinstance(value, dict) else value:
            _check_plain(member, path, depth + 1)
    else:
        raise ExpressionError(f"`{spell(path)}` holds a {type(value).__name__}, which is no JSON.")


def _follow(path: Path, names: Mapping[str, Any]) -> Any:
    value: Any = names
    for depth, key in enumerate(path, start=1):
        if isinstance(value, Mapping) and isinstance(key, str):
            if key not in value:
                raise MissingName(f"`{spell(path[:depth])}` does not exist.")
        elif isinstance(value, list) and isinstance(key, int):
            if key >= len(value):
                raise MissingName(f"`{spell(path[:depth])}` does not exist: the list has {len(value)} items.")
        else:
            raise ExpressionError(f"`{spell(path[: depth - 1])}` is no object, so it has no {key!r}.")
        value = value[key]
    return value


def spell(path: Path) -> str:
    """A path as its author would write it."""
    text = ""
    for key in path:
        if isinstance(key, str) and key.isidentifier():
            text += f".{key}" if text else key
        else:
            text += f"[{key!r}]"
    return text


def _as_json(value: Any) -> Json:
    return format_timestamp(value) if isinstance(value, datetime) else value


def _checked_result(value: Any) -> Json:
    """The result as JSON; raises ExpressionError where it is none, or too large to be carried on."""
    budget = MAX_WEIGHT

    def convert(item: Any) -> Json:
        nonlocal budget
        budget -= 1
        if budget < 0:
            raise ExpressionError("The result is too large.")
        if item is None or isinstance(item, bool | int):
            return item
        if isinstance(item, str):
            if len(item) > MAX_STRING:
                raise ExpressionError(f"The result is longer than {MAX_STRING} characters.")
            return item
        if isinstance(item, float):
            if not math.isfinite(item):
                raise ExpressionError("The result is not a finite number.")
            return item
        if isinstance(item, list | dict) and len(item) > MAX_LIST:
            raise ExpressionError(f"The result has more than {MAX_LIST} items.")
        if isinstance(item, list):
            return [convert(member) for member in item]
        if isinstance(item, dict):
            return {_key(key): convert(member) for key, member in item.items()}
        if isinstance(item, datetime):
            return format_timestamp(item if item.tzinfo else item.replace(tzinfo=UTC))
        if isinstance(item, timedelta):
            return format_duration(item)
        raise ExpressionError(f"The result is a {type(item).__name__}, which is no JSON.")

    return convert(value)


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise ExpressionError(f"The key {key!r} of the result is no text.")
    return key


@lru_cache(maxsize=4096)
def compiled(text: str) -> Expression:
    """The expression of a text, shared by everyone who asks for the same one. Raises ExpressionSyntaxError."""
    return Expression(text)
