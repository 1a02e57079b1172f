"""A form from a JSON Schema, and the answer back from the form. It works without JavaScript.

Known shapes become fields of their own; any other part of a schema becomes a field that takes JSON. What was typed is
kept as typed, so that a refused form shows it again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.http import QueryDict
from django.utils import timezone

from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import pointer_to

from .facts import number
from .presentation import words

PREFIX = "field"
DEPTH_MAX = 3
LONG_TEXT = 200
INTEGER = re.compile(r"[+-]?\d{1,300}", re.ASCII)
NUMBER = re.compile(r"[+-]?(\d{1,300}(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)

SENTENCES = {
    "integer": "Enter a whole number.",
    "number": "Enter a number, such as 1250.50.",
    "datetime": "Enter a date and a time.",
    "date": "Enter a date.",
    "json": 'This is not JSON. Text needs quotes, for example "text".',
    "yesno": "Choose yes or no.",
    "select": "Choose one of the options.",
}


@dataclass(slots=True)
class Option:
    """One choice of a field. `value` is its place in the enum, so that a choice may be any JSON."""

    value: str
    label: str
    chosen: bool = False


@dataclass(slots=True)
class Field:
    """One field, or a group of them. `pointer` is where its answer goes, and where faults name it."""

    pointer: str
    kind: str
    label: str
    help: str = ""
    required: bool = False
    value: str = ""
    options: list[Option] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    least: str = ""
    most: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict, repr=False)
    key: str = ""

    @property
    def name(self) -> str:
        """The name in the posted form."""
        return PREFIX + self.pointer

    @property
    def id(self) -> str:
        """The id in the page: letters, digits and dashes, whatever the property is called."""
        return PREFIX + "".join(c if c.isascii() and c.isalnum() else f"-{ord(c):x}-" for c in self.pointer)

    @property
    def described_by(self) -> str:
        """The ids of what explains it, for aria-describedby."""
        parts = [f"{self.id}-help"] if self.help or self.hint else []
        return " ".join([*parts, f"{self.id}-error"] if self.errors else parts)

    @property
    def hint(self) -> str:
        """The bounds in words."""
        if self.kind == "lines":
            return "One on each line."
        if self.kind in ("number", "integer"):
            if self.least and self.most:
                return f"From {self.least} to {self.most}."
            return f"At least {self.least}." if self.least else f"At most {self.most}." if self.most else ""
        return ""


@dataclass(slots=True)
class Answer:
    """A posted form, read: the data for the schema, and what could not be read at all."""

    data: dict[str, Any]
    faults: list[Fault]


def fields_of(schema: Any) -> list[Field]:
    """The fields of an item's form; none where it has no form."""
    if not isinstance(schema, Mapping):
        return []
    return _of_properties(schema, (), 1)


def read(fields: Iterable[Field], posted: QueryDict) -> Answer:
    """Read a posted form into `fields` (which keep what was typed) and into data.

    What was left empty is left out, so that the schema says what is required. What cannot be read as its type stays
    as text, with a fault in plain words in place of the schema's.
    """
    answer = Answer({}, [])
    _read_into(fields, posted, answer.data, answer.faults)
    return answer


def show_faults(fields: Iterable[Field], faults: Iterable[Fault]) -> list[tuple[str, str]]:
    """Put each fault beside its field, once; answer (anchor, sentence) of all of them for the summary at the top."""
    known = {each.pointer: each for each in flat(fields)}
    summary = []
    for fault in faults:
        where = fault.pointer.removeprefix("/data") if fault.pointer.startswith("/data") else fault.pointer
        found = known.get(where) or known.get(where.rsplit("/", 1)[0])
        text = sentence(fault, found)
        if found is None:
            anchor = {"/comment": "comment", "/text": "comment", "/outcome": "decision"}.get(fault.pointer, "decision")
            summary.append((anchor, text))
        elif not found.errors:
            found.errors.append(text)
            summary.append((found.id, f"{found.label}: {text[:1].lower()}{text[1:]}"))
    return summary


def sentence(fault: Fault, found: Field | None) -> str:
    """A fault in words for whoever fills in the form."""
    if fault.code == "unreadable" and found is not None:
        return SENTENCES.get(found.kind, "This cannot be read.")
    if fault.code == "required":
        return "This is required." if found is None or found.kind not in SENTENCES else SENTENCES[found.kind]
    if found is not None:
        bounds = {
            "minimum": f"Must be at least {found.least}.",
            "maximum": f"Must be at most {found.most}.",
            "exclusiveMinimum": f"Must be more than {found.schema.get('exclusiveMinimum')}.",
            "exclusiveMaximum": f"Must be less than {found.schema.get('exclusiveMaximum')}.",
            "minLength": f"Must be at least {found.schema.get('minLength')} characters.",
            "maxLength": f"Must be at most {found.schema.get('maxLength')} characters.",
            "pattern": "Does not have the expected form.",
            "enum": "Choose one of the options.",
            "minItems": f"Give at least {found.schema.get('minItems')}.",
            "maxItems": f"Give at most {found.schema.get('maxItems')}.",
        }
        if fault.code in bounds:
            return bounds[fault.code]
    text = fault.detail.rstrip(".")
    return text[:1].upper() + text[1:] + "."


def flat(fields: Iterable[Field]) -> Iterable[Field]:
    """All fields, those in groups too."""
    for each in fields:
        yield each
        yield from flat(each.fields)


# ---- from the schema ------------------------------------------------------------------------------------------------


def _of_properties(schema: Mapping[str, Any], path: tuple[str, ...], depth: int) -> list[Field]:
    properties = schema.get("properties")
    required = schema.get("required")
    if not isinstance(properties, Mapping):
        return []
    names = required if isinstance(required, list) else []
    return [_of_property(name, part, (*path, name), name in names, depth) for name, part in properties.items()]


def _of_property(name: str, part: Any, path: tuple[str, ...], required: bool, depth: int) -> Field:
    schema: Mapping[str, Any] = part if isinstance(part, Mapping) else {}
    title = schema.get("title")
    made = Field(
        pointer=pointer_to(path),
        kind=_kind(schema, depth),
        label=title if isinstance(title, str) and title else words(name),
        help=str(schema.get("description") or ""),
        required=required,
        least=_limit(schema.get("minimum")),
        most=_limit(schema.get("maximum")),
        schema=schema,
        key=name,
    )
    if made.kind == "group":
        made.fields = _of_properties(schema, path, depth + 1)
    elif made.kind in ("select", "checks"):
        choices = schema["enum"] if made.kind == "select" else schema["items"]["enum"]
        made.options = [Option(str(place), _label(choice)) for place, choice in enumerate(choices)]
    elif made.kind == "yesno":
        made.options = [Option("true", "Yes"), Option("false", "No")]
    if "default" in schema:
        _fill(made, schema["default"])
    return made


def _kind(schema: Mapping[str, Any], depth: int) -> str:
    if isinstance(schema.get("enum"), list):
        return "select"
    types = schema.get("type")
    kinds = [kind for kind in types if kind != "null"] if isinstance(types, list) else [types]
    kind = kinds[0] if len(kinds) == 1 else None
    if kind == "string":
        return _text_kind(schema)
    if kind in ("number", "integer"):
        return str(kind)
    if kind == "boolean":
        return "yesno"
    items = schema.get("items")
    if kind == "array" and isinstance(items, Mapping) and items.get("type") == "string":
        return "checks" if isinstance(items.get("enum"), list) else "lines"
    if kind == "object" and isinstance(schema.get("properties"), Mapping) and depth < DEPTH_MAX:
        return "group"
    return "json"


def _text_kind(schema: Mapping[str, Any]) -> str:
    form = schema.get("format")
    if form in ("date", "date-time"):
        return "date" if form == "date" else "datetime"
    most = schema.get("maxLength")
    long = form in ("textarea", "multiline") or (isinstance(most, int) and most > LONG_TEXT)
    return "textarea" if long else "text"


def _fill(made: Field, default: Any) -> None:
    """Show the schema's default as if it had been typed."""
    if made.kind in ("select", "checks"):
        choices = made.schema["enum"] if made.kind == "select" else made.schema["items"]["enum"]
        wanted = default if made.kind == "checks" and isinstance(default, list) else [default]
        for option, choice in zip(made.options, choices, strict=True):
            option.chosen = choice in wanted
    elif made.kind == "yesno":
        for option in made.options:
            option.chosen = option.value == json.dumps(default)
    elif made.kind == "lines" and isinstance(default, list):
        made.value = "\n".join(str(line) for line in default)
    elif made.kind == "json":
        made.value = json.dumps(default, ensure_ascii=False)
    elif made.kind != "group" and not isinstance(default, dict | list):
        made.value = _bound(default)


def _label(choice: Any) -> str:
    if isinstance(choice, str):
        text = choice.replace("_", " ")
        return text[:1].upper() + text[1:]
    if isinstance(choice, bool):
        return "Yes" if choice else "No"
    return "None" if choice is None else json.dumps(choice, ensure_ascii=False)


def _limit(value: Any) -> str:
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _bound(value: Any) -> str:
    if value is None or isinstance(value, dict | list):
        return ""
    return value if isinstance(value, str) else json.dumps(value)


# ---- from the browser -----------------------------------------------------------------------------------------------


def _read_into(fields: Iterable[Field], posted: QueryDict, data: dict[str, Any], faults: list[Fault]) -> None:
    for each in fields:
        if each.kind == "group":
            inner: dict[str, Any] = {}
            _read_into(each.fields, posted, inner, faults)
            if inner or each.required:
                data[each.key] = inner
            continue
        keep(each, posted)
        try:
            value = _value(each, posted)
        except ValueError:
            faults.append(Fault(f"/data{each.pointer}", "unreadable", "cannot be read"))
            value = each.value
        if value is not None:
            data[each.key] = value


def keep(each: Field, posted: QueryDict) -> None:
    """Let a field hold what was typed into it."""
    if each.options:
        chosen = set(posted.getlist(each.name))
        for option in each.options:
            option.chosen = option.value in chosen
    else:
        each.value = posted.get(each.name, "").replace("\r\n", "\n")


def keep_all(fields: Iterable[Field], posted: QueryDict) -> None:
    """Let every field hold what was typed into it, without judging it."""
    for each in flat(fields):
        if each.kind != "group":
            keep(each, posted)


def _value(each: Field, posted: QueryDict) -> Any:
    """The answer as JSON; None where it was left empty. ValueError where it cannot be read."""
    if each.kind == "checks":
        chosen = [option.chosen for option in each.options]
        picked = [choice for choice, on in zip(each.schema["items"]["enum"], chosen, strict=True) if on]
        return picked or None
    if each.kind == "select":
        return next((each.schema["enum"][int(option.value)] for option in each.options if option.chosen), None)
    if each.kind == "yesno":
        return next((option.value == "true" for option in each.options if option.chosen), None)
    if each.kind == "lines":
        return [line.strip() for line in each.value.splitlines() if line.strip()] or None
    text = each.value if each.kind == "textarea" else each.value.strip()
    return _scalar(each.kind, text) if text.strip() else None


def _scalar(kind: str, text: str) -> Any:
    if kind == "integer":
        if not INTEGER.fullmatch(text):
            raise ValueError(text)
        return int(text)
    if kind == "number":
        return _number(text)
    if kind == "date":
        return datetime.strptime(text, "%Y-%m-%d").date().isoformat()
    if kind == "datetime":
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=timezone.get_current_timezone())).isoformat()
    if kind == "json":
        try:
            return json.loads(text, parse_constant=_no_constant)
        except RecursionError:
            raise ValueError("nested too deeply") from None
    return text


def _number(text: str) -> float:
    """Whole where it was typed whole. A comma is refused, not guessed at: 1,250 is two numbers in two countries."""
    if INTEGER.fullmatch(text):
        return int(text)
    if not NUMBER.fullmatch(text):
        raise ValueError(text)
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(text)
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(name)
