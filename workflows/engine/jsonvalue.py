"""What a JSON value from outside must be before anyone keeps it, and how it is held against a JSON Schema.

A submission, the output of a step and the answer of a department go through the same two gates: `check_json` refuses
what the databases cannot keep, `SchemaValidator` what the author of the workflow does not want.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import jsonschema_rs
import orjson

from .faults import Fault

MAX_NESTING = 64
MAX_FAULTS = 100
MAX_INTEGER_BITS = 1024
"""A larger integer does not even fit the range of a double, and no other JSON reader would give it back."""


class InvalidSchema(ValueError):
    """The schema cannot be used."""


def pointer_to(parts: Iterable[str | int]) -> str:
    """The JSON Pointer (RFC 6901) of a path; the empty string is the whole document."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def canonical(value: Any) -> str:
    """The JSON text that equal values share: sorted keys, no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def check_json(value: Any, max_bytes: int, *, at: str = "", max_nesting: int = MAX_NESTING) -> list[Fault]:
    """Every reason why the value cannot be kept; an empty list where it can.

    Refused are NaN and infinities, NUL characters and lone surrogates (PostgreSQL keeps neither), integers of more
    than 1024 bits, nesting deeper than `max_nesting`, anything that is not JSON, and more than `max_bytes` of JSON
    text. `at` is the pointer of the value itself. At most 100 faults are listed.
    """
    if _is_plain(value, max_bytes, max_nesting):
        return []
    faults: list[Fault] = []
    # Every element costs a byte of text at least: the count bounds the walk, also for a value that contains itself.
    seen = 0
    stack: list[tuple[Any, str, int]] = [(value, at, 1)]
    while stack and len(faults) < MAX_FAULTS:
        item, where, depth = stack.pop()
        seen += 1
        if seen > max_bytes:
            return [_too_large(at, max_bytes)]
        if isinstance(item, dict | list):
            if depth > max_nesting:
                faults.append(Fault(where, "too_deep", f"is nested deeper than {max_nesting} levels"))
                continue
            _push_children(item, where, depth + 1, stack, faults)
        else:
            fault = _scalar_fault(item, where)
            if fault:
                faults.append(fault)
    if not faults and _size(value) > max_bytes:
        faults.append(_too_large(at, max_bytes))
    return faults


def _size(value: Any) -> int:
    """How many bytes the value is as JSON text."""
    try:
        return len(orjson.dumps(value))
    except TypeError:  # an integer of more than 64 bits
        return len(canonical(value).encode())


def _is_plain(value: Any, max_bytes: int, max_nesting: int) -> bool:
    """True only where nothing can be wrong: what most values are, told without looking at each part of them."""
    try:
        text = orjson.dumps(value)
        # NaN, tuples and the like are written as JSON all the same: they do not come back as they were.
        if len(text) > max_bytes or orjson.loads(text) != value:
            return False
    except (TypeError, ValueError):
        return False
    # Many brackets may be too deep; a NUL is written as an escape.
    return text.count(b"[") + text.count(b"{") <= max_nesting and b"\\u0000" not in text


def _push_children(item: Any, where: str, depth: int, stack: list[tuple[Any, str, int]], faults: list[Fault]) -> None:
    if isinstance(item, list):
        stack.extend((child, f"{where}/{index}", depth) for index, child in reversed(list(enumerate(item))))
        return
    for key, child in reversed(item.items()):
        if not isinstance(key, str):
            faults.append(Fault(where, "not_json", f"has the key {key!r:.60}, which is no string"))
            continue
        fault = _text_fault(key, where, "has a key with")
        if fault:
            faults.append(fault)
        else:
            stack.append((child, where + pointer_to([key]), depth))


def _scalar_fault(item: Any, where: str) -> Fault | None:
    if item is None or isinstance(item, bool):
        return None
    if isinstance(item, str):
        return _text_fault(item, where, "holds")
    if isinstance(item, int):
        if item.bit_length() > MAX_INTEGER_BITS:
            return Fault(where, "number_too_large", f"is an integer of more than {MAX_INTEGER_BITS} bits")
        return None
    if isinstance(item, float):
        if math.isfinite(item):
            return None
        return Fault(where, "not_finite", f"is {item}, which JSON does not have")
    return Fault(where, "not_json", f"is of type {type(item).__name__}, which is not JSON")


def _text_fault(text: str, where: str, verb: str) -> Fault | None:
    if "\0" in text:
        return Fault(where, "nul_character", f"{verb} a NUL character, which the database cannot keep")
    try:
        text.encode()
    except UnicodeEncodeError:
        return Fault(where, "lone_surrogate", f"{verb} half of a surrogate pair, which is no character")
    return None


def _too_large(at: str, max_bytes: int) -> Fault:
    return Fault(at, "too_large", f"is more than {max_bytes} bytes of JSON")


class SchemaValidator:
    """A JSON Schema (2020-12), compiled once and used for many values.

    Formats are checked. References to other documents are never fetched. Raises InvalidSchema where the schema
    itself is broken.
    """

    def __init__(self, schema: Any) -> None:
        try:
            self._validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True, offline=True)
        except (ValueError, TypeError, jsonschema_rs.ReferencingError) as error:
            raise InvalidSchema(str(error).split("\n", 1)[0][:300]) from None

    def faults(self, value: Any, *, at: str = "") -> list[Fault]:
        """Every violation, at most 100 of them. The code is the keyword of the schema that is broken."""
        found: list[Fault] = []
        for error in self._validator.iter_errors(value):
            found.extend(_violations(error, at))
            if len(found) >= MAX_FAULTS:
                break
        return found[:MAX_FAULTS]


def _violations(error: Any, at: str) -> list[Fault]:
    """One violation as faults: a missing or unexpected property is named by a pointer of its own."""
    where = at + pointer_to(error.instance_path)
    kind = error.kind
    if kind.name == "required":
        return [Fault(where + pointer_to([kind.property]), "required", "is required")]
    if kind.name in ("additionalProperties", "unevaluatedProperties"):
        return [Fault(where + pointer_to([name]), kind.name, "is not expected") for name in kind.unexpected]
    if kind.name == "falseSchema":
        return [Fault(where, "not_allowed", "is not allowed here")]
    return [Fault(where, str(error.schema_path[-1]), error.message[:300])]
