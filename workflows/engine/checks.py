"""The fields a document may have, and what each may hold: the shape of a definition as a set of tables.

A new field is one line in the table of its owner.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import jsonschema_rs

from .contract import PLUGIN_NAME, Json
from .durations import parse_duration, parse_timestamp
from .exceptions import InvalidDuration, InvalidTimestamp
from .faults import Report, at

MAX_PATH = 200
"""Characters of the path of a task inside maps, `m/m`, that the job of an item is known by."""
_SCHEMES = ("https://", "http://")
_HTTP = re.compile(r"https?://[^/?#]", re.IGNORECASE)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", re.ASCII)
SLUG = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}", re.ASCII)
Check = Callable[[Report, str, Any, "str | None"], None]
"""A check of one value: the report, the pointer, the value, and the name of the task it belongs to."""

_KINDS = {str: "a text", bool: "true or false", int: "a whole number", list: "a list", dict: "an object"}


def is_a(report: Report, pointer: str, value: Any, kind: type) -> bool:
    """Whether the value is of the kind, true and false not counting as numbers; if not, that is a fault."""
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return True
    report.add(pointer, "wrong_type", f"This has to be {_KINDS[kind]}.")
    return False


def any_text(report: Report, pointer: str, value: Any, task: str | None) -> None:
    is_a(report, pointer, value, str)


def word(report: Report, pointer: str, value: Any, task: str | None) -> None:
    """A name that others match: not empty, no expression in it."""
    if not is_a(report, pointer, value, str):
        return
    if not value.strip():
        report.add(pointer, "empty", "This must not be empty.")
    elif len(value) > 200:
        report.add(pointer, "too_long", "This is longer than 200 characters.")
    elif "${" in value:
        report.add(pointer, "not_an_expression", "This is a fixed name; no expression is read here.")


def slug(report: Report, pointer: str, value: Any, task: str | None) -> None:
    if is_a(report, pointer, value, str) and SLUG.fullmatch(value) is None:
        detail = "A name starts with a letter and has up to 100 letters, digits, - and _ (no spaces, no dots)."
        report.add(pointer, "bad_name", detail)


def text_template(report: Report, pointer: str, value: Any, task: str | None) -> None:
    if is_a(report, pointer, value, str):
        report.template(pointer, value, task)


def mapping(report: Report, pointer: str, value: Any, task: str | None) -> None:
    """A mapping may be any JSON; its texts may hold expressions."""
    report.template(pointer, value, task)


def labels(report: Report, pointer: str, value: Any, task: str | None) -> None:
    if isinstance(value, list):
        for index, label in enumerate(value):
            any_text(report, at(pointer, index), label, task)
    elif is_a(report, pointer, value, dict):
        for key, label in value.items():
            any_text(report, at(pointer, key), label, task)


def duration(report: Report, pointer: str, value: Any, task: str | None) -> None:
    if not is_a(report, pointer, value, str):
        return
    try:
        parse_duration(value)
    except InvalidDuration as error:
        report.add(pointer, "bad_duration", str(error))


def positive_duration(report: Report, pointer: str, value: Any, task: str | None) -> None:
    before = len(report.faults)
    duration(report, pointer, value, task)
    if len(report.faults) == before and not parse_duration(value):
        report.add(pointer, "bad_duration", "This has to be longer than nothing.")


def duration_or_expression(report: Report, pointer: str, value: Any, task: str | None) -> None:
    if isinstance(value, str) and "${" in value:
        report.template(pointer, value, task)
    else:
        duration(report, pointer, value, task)


def timestamp_or_expression(report: Report, pointer: str, value: Any, task: str | None) -> None:
    if isinstance(value, str) and "${" in value:
        report.template(pointer, value, task)
    elif is_a(report, pointer, value, str):
        try:
            parse_timestamp(value)
        except InvalidTimestamp as error:
            report.add(pointer, "bad_timestamp", str(error))


@cache
def _is_schema() -> jsonschema_rs.Draft202012Validator:
    """What says quickly whether something is a schema. The library it comes from is loaded by those who publish alone:
    it takes a worker, or a command, as long to start as everything else of the engine."""
    from jsonschema import Draft202012Validator

    return jsonschema_rs.Draft202012Validator(Draft202012Validator.META_SCHEMA, validate_formats=True, offline=True)


def schema(report: Report, pointer: str, value: Any, task: str | None) -> None:
    if not isinstance(value, bool | dict):
        report.add(pointer, "wrong_type", "A schema has to be an object, or true or false.")
        return
    if _is_schema().is_valid(value):
        return
    # Slower by far, and asked only where there is a fault to be named.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(value)
    except SchemaError as error:
        detail = f"This is no JSON Schema 2020-12: {error.message[:300]}."
        report.add(at(pointer, *error.absolute_path), "bad_schema", detail)
    except (RecursionError, re.error, ValueError) as error:
        report.add(pointer, "bad_schema", f"This is no JSON Schema 2020-12: {type(error).__name__}.")


def one_of(*words: str) -> Check:
    def check(report: Report, pointer: str, value: Any, task: str | None) -> None:
        if value not in words or not isinstance(value, str):
            report.add(pointer, "bad_value", f"This is one of {', '.join(words)}.")

    return check


def whole(lowest: int, highest: int) -> Check:
    def check(report: Report, pointer: str, value: Any, task: str | None) -> None:
        if is_a(report, pointer, value, int) and not lowest <= value <= highest:
            report.add(pointer, "bad_value", f"This has to be between {lowest} and {highest}.")

    return check


def boolean(report: Report, pointer: str, value: Any, task: str | None) -> None:
    is_a(report, pointer, value, bool)


def rate(report: Report, pointer: str, value: Any, task: str | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        report.add(pointer, "wrong_type", "This has to be a number.")
    elif not (math.isfinite(value) and 1 <= value <= 1000):
        report.add(pointer, "bad_value", "This has to be between 1 and 1000.")


def words(report: Report, pointer: str, value: Any, task: str | None) -> None:
    """A list of names, at least one, none twice."""
    if not is_a(report, pointer, value, list):
        return
    if not value:
        report.add(pointer, "empty", "This needs at least one entry.")
    for index, item in enumerate(value):
        word(report, at(pointer, index), item, task)
        if item in value[:index]:
            report.add(at(pointer, index), "duplicate", f"{item!r} is listed twice; leave one out.")


def plugin(report: Report, pointer: str, value: Any, task: str | None) -> None:
    if not is_a(report, pointer, value, str):
        return
    if PLUGIN_NAME.match(value) is None:
        report.add(pointer, "bad_name", "A plugin is named by lower-case words joined by dots, as in claims.validate.")
    elif report.known_plugins is not None and value not in report.known_plugins:
        report.add(pointer, "unknown_plugin", f"No plugin is registered as {value!r}; register it, or name another.")


def department(report: Report, pointer: str, value: Any, task: str | None) -> None:
    before = len(report.faults)
    word(report, pointer, value, task)
    known = report.known_departments
    if len(report.faults) == before and known is not None and value not in known:
        report.add(pointer, "unknown_department", f"There is no department {value!r}; create it, or name another.")


def calendar(report: Report, pointer: str, value: Any, task: str | None) -> None:
    before = len(report.faults)
    word(report, pointer, value, task)
    known = report.known_calendars
    if len(report.faults) == before and known is not None and value not in known:
        report.add(pointer, "unknown_calendar", f"There is no calendar {value!r}; create it, or name another.")


def fields(
    table: Mapping[str, Check], required: tuple[str, ...] = ()
) -> Callable[[Report, str, Mapping[str, Json], str | None], None]:
    """A check of an object: its known fields by the table, its unknown and missing ones as faults."""

    def check(report: Report, pointer: str, value: Mapping[str, Json], task: str | None) -> None:
        for key in required:
            if key not in value:
                report.add(at(pointer, key), "missing_field", f"{key!r} is required here.")
        for key, member in value.items():
            if key in table:
                table[key](report, at(pointer, key), member, task)
            else:
                known = ", ".join(sorted(table))
                report.add(at(pointer, key), "unknown_field", f"There is no field {key!r} here; known are {known}.")

    return check


def object_of(table: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    inner = fields(table, required)

    def check(report: Report, pointer: str, value: Any, task: str | None) -> None:
        if is_a(report, pointer, value, dict):
            inner(report, pointer, value, task)

    return check


_RETRIER = object_of(
    {
        "errors": words,
        "interval": duration,
        "backoff_rate": rate,
        "max_attempts": whole(1, 1000),
        "max_delay": duration,
        "jitter": one_of("none", "full"),
    }
)


def retriers(report: Report, pointer: str, value: Any, task: str | None) -> None:
    if is_a(report, pointer, value, list):
        for index, policy in enumerate(value):
            _RETRIER(report, at(pointer, index), policy, task)


def child_workflow(report: Report, pointer: str, value: Any, task: str | None) -> None:
    before = len(report.faults)
    word(report, pointer, value, task)
    if len(report.faults) == before and value == report.workflow:
        detail = f"{value!r} would run inside itself without end; name another workflow, or write it with loop."
        report.add(pointer, "recursive_workflow", detail)


def url(report: Report, pointer: str, value: Any, task: str | None) -> None:
    """An address whose beginning is known has to be one of the web."""
    text_template(report, pointer, value, task)
    if not isinstance(value, str):
        return
    fixed = value.split("${", 1)[0]
    if not value.strip():
        report.add(pointer, "empty", "This must not be empty.")
    elif any(sign <= " " or sign == "\x7f" for sign in fixed):
        report.add(pointer, "bad_url", "An address has no blanks in it; write %20.")
    elif fixed and _HTTP.match(fixed) is None and not (fixed != value and fixed.lower() in _SCHEMES):
        report.add(pointer, "bad_url", "This has to begin with https:// or http:// and a host, or with an expression.")


def headers(report: Report, pointer: str, value: Any, task: str | None) -> None:
    """An object of header names to texts, which may hold expressions."""
    if not is_a(report, pointer, value, dict):
        return
    for key, member in value.items():
        if _HEADER.fullmatch(key) is None:
            report.add(at(pointer, key), "bad_name", "The name of a header has letters, digits and -, and no blanks.")
        text_template(report, at(pointer, key), member, task)
        if isinstance(member, str) and any(sign in member for sign in "\r\n"):
            report.add(at(pointer, key), "bad_value", "A header is one line; take the line breaks out.")


def items(report: Report, pointer: str, value: Any, task: str | None) -> None:
    """A list, or one expression that gives a list."""
    if not (isinstance(value, list) or (isinstance(value, str) and "${" in value)):
        report.add(pointer, "wrong_type", "This has to be a list, or an expression that gives one.")
    else:
        report.template(pointer, value, task)


def status_codes(report: Report, pointer: str, value: Any, task: str | None) -> None:
    if not is_a(report, pointer, value, list):
        return
    if not value:
        report.add(pointer, "empty", "This needs at least one status code; without it, every 2xx is well.")
    for index, code in enumerate(value):
        whole(100, 599)(report, at(pointer, index), code, task)
        if code in value[:index]:
            report.add(at(pointer, index), "duplicate", f"{code!r} is listed twice; leave one out.")


_QUORUM = object_of({"need": whole(1, 100), "of": whole(1, 100), "veto": boolean}, ("need", "of"))


def quorum(report: Report, pointer: str, value: Any, task: str | None) -> None:
    before = len(report.faults)
    _QUORUM(report, pointer, value, task)
    if len(report.faults) == before and value["need"] > value["of"]:
        report.add(at(pointer, "need"), "bad_value", "More votes are needed than there are; raise 'of', or lower this.")


_ESCALATION = object_of({"after": positive_duration, "to": department, "priority": whole(0, 100)})


def escalations(report: Report, pointer: str, value: Any, task: str | None) -> None:
    """One escalation, or a list of them."""
    if isinstance(value, list):
        if not value:
            report.add(pointer, "empty", "This needs at least one step; leave it out where nothing is to happen.")
        for index, step in enumerate(value):
            _ESCALATION(report, at(pointer, index), step, task)
    else:
        _ESCALATION(report, pointer, value, task)


def inner_task(report: Report, pointer: str, value: Any, task: str | None) -> None:
    """The task that a map runs for each item: any task, but it has no neighbours."""
    if not is_a(report, pointer, value, dict):
        return
    for key in ("join", "split", "compensate"):
        if key in value:
            detail = f"The inner task of a map stands alone, so it has no {key!r}; put it on the map."
            report.add(at(pointer, key), "conflict", detail)
    report.maps += 1
    if (len(task or "") + 1) * report.maps - 1 > MAX_PATH:
        detail = f"Maps are in one another {report.maps} deep; put the inner ones into a workflow of their own."
        report.add(pointer, "too_deep", detail)
    alone = {key: member for key, member in value.items() if key not in ("join", "split", "compensate")}
    check_task(report, pointer, alone, task)
    report.maps -= 1


def passed_over(report: Report, pointer: str, value: Any, task: str | None) -> None:
    """A field that `validation` looks at with more knowledge than a table has."""


# ---- the tables -----------------------------------------------------------------------------------------------------

DOCUMENT: Mapping[str, Check] = {
    "name": slug,
    "title": any_text,
    "description": any_text,
    "labels": labels,
    "input_schema": schema,
    "tasks": passed_over,
    "transitions": passed_over,
    "output": mapping,
    "timeout": positive_duration,
    "sla": object_of({"due": positive_duration, "calendar": calendar}, ("due",)),
    "priority": whole(0, 100),
    "rate_limit": object_of({"limit": whole(1, 1_000_000), "per": positive_duration}, ("limit", "per")),
    "max_concurrency": whole(1, 1_000_000),
    "on_failure": one_of("compensate"),
}

TASK: Mapping[str, Check] = {
    "type": passed_over,
    "title": text_template,
    "input": mapping,
    "retry": retriers,
    "timeout": positive_duration,
    "join": one_of("all", "any"),
    "split": one_of("all", "first"),
    "compensate": plugin,
    "priority": whole(0, 100),
    "resource": word,
}

TYPES: Mapping[str, tuple[Mapping[str, Check], tuple[str, ...]]] = {
    "plugin": ({"plugin": plugin, "queue": slug}, ("plugin",)),
    "http": (
        {
            "method": one_of("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
            "url": url,
            "headers": headers,
            "body": mapping,
            "expect": status_codes,
            "queue": slug,
        },
        ("url",),
    ),
    "human": (
        {
            "department": department,
            "outcomes": words,
            "form": schema,
            "due": positive_duration,
            "follow_up": positive_duration,
            "assignee": text_template,
            "quorum": quorum,
            "constraints": object_of({"not_completed_by": words, "not_initiator": boolean}),
            "escalate": escalations,
        },
        ("department",),
    ),
    "external": ({"department": department, "queue": word, "message": mapping, "due": positive_duration}, ()),
    "wait": ({"for": duration_or_expression, "until": timestamp_or_expression}, ()),
    "event": ({"event": word, "correlation_key": text_template}, ("event",)),
    "emit": ({"event": word, "data": mapping}, ("event",)),
    "workflow": ({"workflow": child_workflow, "version": whole(1, 1_000_000)}, ("workflow",)),
    "map": (
        {
            "items": items,
            "task": inner_task,
            "max_concurrency": whole(1, 100_000),
            "tolerated_failures": whole(0, 1_000_000),
        },
        ("items", "task"),
    ),
    "pass": ({}, ()),
    "fail": ({"error": word, "cause": text_template}, ()),
}
ONE_OF_TWO: Mapping[str, tuple[str, str]] = {"external": ("department", "queue"), "wait": ("for", "until")}

TRANSITION: Mapping[str, Check] = {
    "from": any_text,
    "to": any_text,
    "when": passed_over,
    "default": boolean,
    "on_error": words,
    "loop": object_of({"max_iterations": whole(1, 1_000_000)}),
}

check_document = fields(DOCUMENT, ("name", "tasks"))
check_transition = fields(TRANSITION, required=("from", "to"))
_CHECK_TASK: Mapping[str, Callable[[Report, str, Mapping[str, Json], str | None], None]] = {
    kind: fields({**TASK, **own}, ("type", *required)) for kind, (own, required) in TYPES.items()
}


def check_task(report: Report, pointer: str, task: Mapping[str, Json], name: str | None) -> None:
    """One task, by the table of its type."""
    kind = task.get("type")
    if "type" not in task:
        report.add(at(pointer, "type"), "missing_field", f"'type' is required: one of {', '.join(TYPES)}.")
        return
    if not isinstance(kind, str) or kind not in TYPES:
        detail = f"There is no type {kind!r}. Known are {', '.join(TYPES)}."
        report.add(at(pointer, "type"), "unknown_type", detail)
        return
    _CHECK_TASK[kind](report, pointer, task, name)
    if kind in ONE_OF_TWO:
        first, second = ONE_OF_TWO[kind]
        if first not in task and second not in task:
            report.add(at(pointer, first), "missing_field", f"Either {first!r} or {second!r} is required here.")
        elif first in task and second in task:
            report.add(at(pointer, second), "conflict", f"Give either {first!r} or {second!r}, not both.")
    if kind == "http" and "body" in task and "input" in task:
        detail = "The body is what is sent, and the input would be passed over; leave one of them out."
        report.add(at(pointer, "input"), "conflict", detail)
    if kind == "human" and "due" not in task:
        _escalations_without_a_time(report, at(pointer, "escalate"), task.get("escalate"))


def _escalations_without_a_time(report: Report, pointer: str, value: Any) -> None:
    """Without `after` a step comes when the item is due, and this one never is."""
    for place, step in enumerate(value) if isinstance(value, list) else ((None, value),):
        if isinstance(step, dict) and "after" not in step:
            where = pointer if place is None else at(pointer, place)
            detail = "Say after how long, or give the task a 'due': without either, this step never comes."
            report.add(at(where, "after"), "missing_field", detail)
