"""Mappings of a definition: JSON in which texts may hold `${ … }` expressions.

A text that is nothing but one expression keeps the type of its value; otherwise values are filled into the text:
texts as they are, null as nothing, everything else as JSON. `$${` stands for a literal `${`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .arithmetic import MAX_STRING
from .contract import Json
from .exceptions import ExpressionError, ExpressionSyntaxError, MissingName
from .expressions import Expression, compiled

Piece = str | Expression


class Template:
    """A compiled mapping, list, text or constant.

    `expressions` lists every expression in it with its JSON Pointer below the template. Raises ExpressionSyntaxError
    for the first expression that does not parse; `validation` walks the document itself to report all of them.
    """

    __slots__ = ("_compiled", "expressions", "source")

    def __init__(self, source: Json) -> None:
        self.source = source
        found: list[tuple[str, Expression]] = []
        self._compiled = _compile(source, "", found)
        self.expressions: tuple[tuple[str, Expression], ...] = tuple(found)

    def __repr__(self) -> str:
        return f"Template({self.source!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and other.source == self.source

    def __hash__(self) -> int:
        return hash(json.dumps(self.source, sort_keys=True))

    def evaluate(self, names: Mapping[str, Any], *, missing_as_null: bool = False) -> Json:
        """The value with every expression replaced.

        `missing_as_null` is for the output of a job: what lies on a path not taken is null there. Otherwise a missing
        name raises MissingName, and everything else that goes wrong another ExpressionError.
        """
        if not self.expressions:
            return self._compiled
        return _fill(self._compiled, names, missing_as_null)


def _compile(source: Json, pointer: str, found: list[tuple[str, Expression]]) -> Any:
    """Constants as they are, filled-in texts as tuples of pieces, whole-text expressions as the Expression."""
    if isinstance(source, str):
        pieces = tuple(split(source))
        found.extend((pointer, piece) for piece in pieces if isinstance(piece, Expression))
        if all(isinstance(piece, str) for piece in pieces):
            return "".join(str(piece) for piece in pieces)
        return pieces[0] if len(pieces) == 1 else pieces
    if isinstance(source, Mapping):
        return {key: _compile(value, f"{pointer}/{escape(key)}", found) for key, value in source.items()}
    if isinstance(source, list | tuple):
        return [_compile(value, f"{pointer}/{index}", found) for index, value in enumerate(source)]
    return source


def _fill(compiled: Any, names: Mapping[str, Any], missing_as_null: bool) -> Json:
    if isinstance(compiled, Expression):
        return _value(compiled, names, missing_as_null)
    if isinstance(compiled, tuple):
        text = "".join(
            piece if isinstance(piece, str) else as_text(_value(piece, names, missing_as_null)) for piece in compiled
        )
        if len(text) > MAX_STRING:
            raise ExpressionError(f"The text is longer than {MAX_STRING} characters.")
        return text
    if isinstance(compiled, dict):
        return {key: _fill(value, names, missing_as_null) for key, value in compiled.items()}
    if isinstance(compiled, list):
        return [_fill(value, names, missing_as_null) for value in compiled]
    return compiled


def _value(expression: Expression, names: Mapping[str, Any], missing_as_null: bool) -> Json:
    try:
        return expression.evaluate(names)
    except MissingName:
        if missing_as_null:
            return None
        raise


def as_text(value: Json) -> str:
    """A value inside a text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def escape(key: str) -> str:
    """A key as a part of a JSON Pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def split(text: str) -> Iterator[Piece]:
    """The pieces of a text. Raises ExpressionSyntaxError where an expression has no end or does not parse."""
    plain = ""
    position = 0
    while position < len(text):
        start = text.find("${", position)
        if start < 0:
            plain += text[position:]
            break
        if start > position and text[start - 1] == "$":
            plain += text[position : start - 1] + "${"
            position = start + 2
            continue
        end = _end_of(text, start + 2)
        plain += text[position:start]
        if plain:
            yield plain
            plain = ""
        yield compiled(text[start + 2 : end].strip())
        position = end + 1
    if plain:
        yield plain


def _end_of(text: str, position: int) -> int:
    """Where the expression that starts at `position` closes: braces nest, and do not count inside quotes."""
    depth = 0
    quote = ""
    start = position
    while position < len(text):
        character = text[position]
        if quote:
            if character == "\\":
                position += 1
            elif character == quote:
                quote = ""
        elif character in "\"'":
            quote = character
        elif character == "{":
            depth += 1
        elif character == "}":
            if depth == 0:
                return position
            depth -= 1
        position += 1
    raise ExpressionSyntaxError(f"The expression that starts at position {start - 1} is never closed with a brace.")
