"""From text to document, and from document to `Definition`.

YAML is accepted at the door, but only the part of it that means the same as JSON: `no` is a text, `12:30` is a text,
a date is a text, and neither aliases nor duplicate keys are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any, NoReturn

import yaml

from .contract import Json
from .definition import RUN_BY_WORKER, Definition, RetryPolicy, Task, Transition
from .durations import parse_duration
from .exceptions import InvalidDefinition, UnreadableDocument
from .expressions import compiled
from .syntax import Path
from .templates import Template
from .validation import MAX_BYTES, MAX_DEPTH, validate

_OF_THE_PARENT = frozenset({"join", "split", "compensate"})
_PASSING_HTTP_ERRORS = ("429", "Network", "Timeout", *map(str, range(500, 600)))
_RETRIED_UNASKED = {"http": (RetryPolicy(errors=("Timeout", *(f"HttpError.{name}" for name in _PASSING_HTTP_ERRORS))),)}
"""What is tried again where a task has no `retry`; an empty one says that nothing is."""
DEFAULT_OUTCOMES = ("approve", "reject")
DEFAULT_ITERATIONS = 100
DEFAULT_PRIORITY = 50


def parse(document: Mapping[str, Json]) -> Definition:
    """The definition that a document describes. Raises InvalidDefinition with every fault where it has any."""
    faults = validate(document)
    if faults:
        raise InvalidDefinition(faults)
    return _build(document)


def published(document: Mapping[str, Json]) -> Definition:
    """The definition of a document that was found sound when it was published. It is not judged again: a rule that
    came later must not stop a job that is on its way."""
    return _build(document)


def fragment(definition: Definition, path: str) -> Definition:
    """The one task that child jobs run, as a definition of its own: `path` names a `map` task, whose inner task it is,
    or a task with a queue; names are joined by `/` where a map holds a map. Raises KeyError for any other path.
    """
    for name in path.split("/"):
        task = definition.tasks[name]
        if task.inner is not None:
            spec = dict(task.inner)
        elif task.runs_elsewhere:
            # Retried, joined and undone by its parent; here it is done once.
            spec = {key: value for key, value in task.spec.items() if key not in _OF_THE_PARENT} | {"retry": []}
        else:
            raise KeyError(path)
        if spec["type"] in RUN_BY_WORKER:
            spec.pop("queue", None)
        document = {"name": definition.name, "title": definition.title, "tasks": {name: spec}}
        definition = _build(document, fragment=path)
    return definition


def _build(document: Mapping[str, Json], fragment: str = "") -> Definition:
    rate = document.get("rate_limit")
    return Definition(
        name=document["name"],
        title=document.get("title", document["name"]),
        description=document.get("description", ""),
        labels=document.get("labels", {}),
        input_schema=document.get("input_schema", True),
        tasks={name: _task(name, spec) for name, spec in document["tasks"].items()},
        transitions=tuple(_transition(index, spec) for index, spec in enumerate(document.get("transitions", []))),
        output=_template(document, "output"),
        timeout=_duration(document, "timeout"),
        sla_due=_duration(document.get("sla", {}), "due"),
        priority=document.get("priority", DEFAULT_PRIORITY),
        document=document,
        sla_calendar=document.get("sla", {}).get("calendar"),
        max_concurrency=document.get("max_concurrency"),
        rate_limit=None if rate is None else (rate["limit"], parse_duration(rate["per"])),
        on_failure=document.get("on_failure"),
        fragment=fragment,
    )


def _duration(spec: Mapping[str, Json], key: str) -> timedelta | None:
    return parse_duration(spec[key]) if key in spec else None


def _template(spec: Mapping[str, Json], key: str) -> Template | None:
    return Template(spec[key]) if key in spec else None


def _task(name: str, spec: Mapping[str, Json]) -> Task:
    kind = spec["type"]
    return Task(
        name=name,
        type=kind,
        title=spec.get("title", name),
        input=_template(spec, "input"),
        retry=tuple(map(_retry, spec["retry"])) if "retry" in spec else _RETRIED_UNASKED.get(kind, ()),
        timeout=_duration(spec, "timeout"),
        join=spec.get("join", "all"),
        split=spec.get("split", "all"),
        compensate=spec.get("compensate"),
        priority=spec.get("priority"),
        plugin=spec.get("plugin"),
        department=spec.get("department"),
        queue=spec.get("queue"),
        outcomes=tuple(spec.get("outcomes", DEFAULT_OUTCOMES)) if kind == "human" else (),
        form=spec.get("form"),
        due=_duration(spec, "due"),
        assignee=_template(spec, "assignee"),
        title_template=_template(spec, "title"),
        message=_template(spec, "message"),
        event=spec.get("event"),
        data=_template(spec, "data"),
        wait_for=_template(spec, "for"),
        wait_until=_template(spec, "until"),
        error=spec.get("error"),
        cause=_template(spec, "cause"),
        method=spec.get("method", "GET") if kind == "http" else None,
        url=_template(spec, "url"),
        headers=_template(spec, "headers"),
        body=_template(spec, "body"),
        expect=tuple(spec.get("expect", ())),
        correlation_key=_template(spec, "correlation_key"),
        workflow=spec.get("workflow"),
        version=spec.get("version"),
        items=_template(spec, "items"),
        inner=spec.get("task"),
        inner_paths=_paths(_task(name, spec["task"])) if "task" in spec else (),
        max_concurrency=spec.get("max_concurrency"),
        tolerated_failures=spec.get("tolerated_failures", 0),
        follow_up=_duration(spec, "follow_up"),
        quorum=spec.get("quorum"),
        constraints=spec.get("constraints"),
        escalate=spec.get("escalate"),
        resource=spec.get("resource"),
        spec=spec,
    )


def _paths(task: Task) -> tuple[Path, ...]:
    """Every name that the expressions of a task read, those of the task inside it too."""
    values = (getattr(task, item.name) for item in fields(task))
    templates = [value for value in values if isinstance(value, Template)]
    read = (path for template in templates for _, expression in template.expressions for path in expression.paths)
    return tuple(dict.fromkeys((*read, *task.inner_paths)))


def _retry(spec: Mapping[str, Json]) -> RetryPolicy:
    given: dict[str, Any] = {key: spec[key] for key in ("backoff_rate", "max_attempts", "jitter") if key in spec}
    given |= {key: parse_duration(spec[key]) for key in ("interval", "max_delay") if key in spec}
    if "errors" in spec:
        given["errors"] = tuple(spec["errors"])
    return RetryPolicy(**given)


def _transition(index: int, spec: Mapping[str, Json]) -> Transition:
    loop = spec.get("loop")
    return Transition(
        index=index,
        source=spec["from"],
        target=spec["to"],
        when=compiled(spec["when"]) if "when" in spec else None,
        default=spec.get("default", False),
        on_error=tuple(spec.get("on_error", ())),
        max_iterations=None if loop is None else loop.get("max_iterations", DEFAULT_ITERATIONS),
    )


# ---- text -----------------------------------------------------------------------------------------------------------


def load_text(text: str | bytes, media_type: str = "application/json") -> dict[str, Json]:
    """The document in a text; YAML where the media type says so, JSON otherwise.

    Raises UnreadableDocument, with a code and a sentence, for what neither of them is, or is only by accident.
    """
    if len(text) > MAX_BYTES:
        raise UnreadableDocument("too_large", "The document is larger than 1 MiB.")
    try:
        plain = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    except UnicodeDecodeError:
        raise UnreadableDocument("bad_encoding", "The document is not UTF-8.") from None
    try:
        document = _load_yaml(plain) if "yaml" in media_type.lower() else _load_json(plain)
    except RecursionError:
        raise UnreadableDocument("too_deep", "The document is nested too deep.") from None
    if not isinstance(document, dict):
        raise UnreadableDocument("wrong_type", "The document has to be an object.")
    return document


def _load_json(text: str) -> Json:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise UnreadableDocument("bad_json", f"The document is no JSON: {error.msg} at {place}.") from None
    except UnreadableDocument:
        raise
    except ValueError as error:
        raise UnreadableDocument("bad_json", f"The document is no JSON: {error}.") from None


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in pairs:
        if key in found:
            raise UnreadableDocument("duplicate_key", f"The key {key!r} occurs twice in one object; keep one of them.")
        found[key] = value
    return found


def _no_constant(word: str) -> NoReturn:
    raise UnreadableDocument("bad_number", f"{word} is no JSON number.")


def _finite(word: str) -> float:
    number = float(word)
    if number in (float("inf"), float("-inf")):
        raise UnreadableDocument("bad_number", f"{word} is too large a number.")
    return number


def _load_yaml(text: str) -> Json:
    try:
        _refuse_cleverness(text)
        # The loader is a subclass of the safe loader: it makes plain values only.
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506
    except yaml.YAMLError as error:
        raise UnreadableDocument("bad_yaml", f"The document is no YAML that is read here: {_place(error)}") from None
    except UnreadableDocument:
        raise
    except ValueError as error:
        raise UnreadableDocument("bad_yaml", f"The document is no YAML that is read here: {error}.") from None


def _refuse_cleverness(text: str) -> None:
    """Anchors and aliases (small texts that unfold into huge values), tags, and nesting without end."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise UnreadableDocument("yaml_alias", "Anchors and aliases are not read; write the value out.")
        tag = getattr(event, "tag", None)
        if tag:
            raise UnreadableDocument("yaml_tag", f"The tag {tag} is not read; write the plain value.")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise UnreadableDocument("too_deep", f"The document is nested deeper than {MAX_DEPTH}.")


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it cannot be read"
    return f"{problem}." if mark is None else f"{problem} at line {mark.line + 1}, column {mark.column + 1}."


class _StrictLoader(yaml.CSafeLoader):
    """YAML 1.2 as JSON: true, false, null and numbers as JSON writes them; every other plain word is a text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        pairs = []
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise UnreadableDocument("wrong_type", f"The key {key!r} is no text; put it in quotes.")
            pairs.append((key, self.construct_object(value_node, deep=True)))
        return _unique(pairs)


_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:null|~|)$"), ["n", "~", ""])
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^-?(?:0|[1-9][0-9]*)$", re.ASCII), list("-0123456789")
)
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)$", re.ASCII),
    list("-0123456789"),
)


def _construct_map(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node)


def _construct_float(loader: _StrictLoader, node: yaml.ScalarNode) -> float:
    return _finite(str(loader.construct_scalar(node)))


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _construct_map)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _construct_float)
