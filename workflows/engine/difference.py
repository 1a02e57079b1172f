"""What is different between two documents, in words: "Verification: due 3 days → 5 days; outcome `return` added".

Works on documents as they are, also on drafts that could not be published. Order counts only where the engine reads it:
the transitions of `split: first` and of errors, and the retriers. A default that is written out is no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from .contract import Json
from .durations import parse_duration
from .exceptions import InvalidDuration
from .faults import at
from .jsonvalue import canonical

MAX_VALUE = 80
SIMILAR = 0.6
"""How much of two tasks has to be equal for one to look like the other renamed."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `pointers` lead to the places in the documents, `old:` and `new:` before them saying which.

    `kind` is document.changed, input.changed, task.added, task.removed, task.renamed, task.changed, transition.added,
    transition.removed, transition.changed or transition.order. `task` is its task by the new name where it has one;
    `was` the old name of one that looks renamed.
    """

    kind: str
    sentence: str
    pointers: tuple[str, ...] = ()
    task: str = ""
    was: str = ""


Part = tuple[str, str]
"""A pointer below the thing that changed, and a few words."""


def differences(old: Mapping[str, Json], new: Mapping[str, Json]) -> list[Change]:
    """Every difference from one document to another: the document, then tasks, then transitions, in document order."""
    before, after = _objects(old.get("tasks")), _objects(new.get("tasks"))
    renamed = _renamed(before, after)
    found = list(_of_document(old, new))
    found += _of_tasks(before, after, renamed)
    found += _of_transitions(old, new, renamed)
    return found


def duration_in_words(text: Json) -> str:
    """`P3D` as "3 days", `PT1H30M` as "1 hour 30 minutes"; what is no duration as it is written."""
    try:
        left = parse_duration(text) if isinstance(text, str) else None
    except InvalidDuration:
        left = None
    if left is None:
        return _value(text)
    return span_in_words(left)


def span_in_words(span: timedelta) -> str:
    """A length of time in weeks (where it is whole weeks), days, hours, minutes and seconds."""
    seconds = span.total_seconds()
    if seconds and seconds % 604_800 == 0:
        return _counted(int(seconds // 604_800), "week")
    words = []
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        count, seconds = divmod(seconds, size)
        if count:
            words.append(_counted(int(count), unit))
    if seconds or not words:
        words.append(_counted(int(seconds) if seconds == int(seconds) else seconds, "second"))
    return " ".join(words)


def _counted(count: float, unit: str) -> str:
    return f"{count:g} {unit}" if count == 1 else f"{count:g} {unit}s"


# ---- values in words ------------------------------------------------------------------------------------------------


def _value(value: Json) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "null"
    text = value if isinstance(value, str) else canonical(value)
    text = " ".join(text.split()) or '""'
    return f"`{text[: MAX_VALUE - 1]}…`" if len(text) > MAX_VALUE else f"`{text}`"


def _plain(value: Json) -> str:
    return canonical(value) if isinstance(value, int | float) and not isinstance(value, bool) else _value(value)


_MISSING: Final = object()
Words = Callable[[str, str, Any, Any], Iterator[Part]]
"""What is different between two values of one field: its pointer, its label, and both values (or `_MISSING`)."""


def _scalar(form: Callable[[Json], str] = _plain) -> Words:
    def words(pointer: str, label: str, old: Any, new: Any) -> Iterator[Part]:
        if old is _MISSING:
            yield pointer, f"{label} {form(new)} added"
        elif new is _MISSING:
            yield pointer, f"{label} {form(old)} removed"
        else:
            yield pointer, f"{label} {form(old)} → {form(new)}"

    return words


def _set_of(one: str) -> Words:
    """Lists whose order says nothing: what came, and what went."""

    def words(pointer: str, label: str, old: Any, new: Any) -> Iterator[Part]:
        before, after = ([] if v is _MISSING else v for v in (old, new))
        if not (isinstance(before, list) and isinstance(after, list)):
            yield from _scalar()(pointer, label, old, new)
            return
        known, kept = {canonical(v) for v in before}, {canonical(v) for v in after}
        for value in after:
            if canonical(value) not in known:
                yield pointer, f"{one} {_plain(value)} added"
        for value in before:
            if canonical(value) not in kept:
                yield pointer, f"{one} {_plain(value)} removed"

    return words


def _mapping(pointer: str, label: str, old: Any, new: Any) -> Iterator[Part]:
    """Any JSON: the innermost places that differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _field(_mapping, at(pointer, key), f"{label} `{key}`", old, new, key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            if canonical(one) != canonical(other):
                yield from _mapping(at(pointer, index), f"{label} entry {index + 1}", one, other)
    else:
        yield from _scalar()(pointer, label, old, new)


def _field(
    words: Words, pointer: str, label: str, old: Mapping[str, Json], new: Mapping[str, Json], key: str
) -> Iterator[Part]:
    before, after = old.get(key, _MISSING), new.get(key, _MISSING)
    if before is _MISSING and after is _MISSING:
        return
    if before is _MISSING or after is _MISSING or canonical(before) != canonical(after):
        yield from words(pointer, label, before, after)


def _schema(pointer: str, label: str, old: Any, new: Any) -> Iterator[Part]:
    """JSON Schemas, as people see forms: fields that came and went, their types, and whether they are required."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return (yield from _whole(label)(pointer, label, old, new))
    before, after = _objects(old.get("properties"), any_value=True), _objects(new.get("properties"), any_value=True)
    needed, needs = (_texts(schema.get("required")) for schema in (old, new))
    for name in dict.fromkeys([*before, *after]):
        where = at(pointer, "properties", name)
        if name not in before:
            kind = after[name].get("type") if isinstance(after[name], dict) else None
            extra = [str(kind)] if isinstance(kind, str) else []
            extra += ["required"] if name in needs else []
            yield where, f"{label} field `{name}` added" + (f" ({', '.join(extra)})" if extra else "")
        elif name not in after:
            yield where, f"{label} field `{name}` removed"
        elif canonical(before[name]) != canonical(after[name]):
            yield from _schema(where, f"{label} field `{name}`", before[name], after[name])
    for name in sorted(needs ^ needed):
        if (name in before and name in after) or name not in {*before, *after}:
            verb = "is now required" if name in needs else "is no longer required"
            yield at(pointer, "required"), f"{label} field `{name}` {verb}"
    for key in dict.fromkeys([*old, *new]):
        if key == "enum":
            yield from _field(_set_of(f"{label} choice"), at(pointer, key), label, old, new, key)
        elif key == "items":
            yield from _field(_schema, at(pointer, key), f"{label} entry", old, new, key)
        elif key not in ("properties", "required"):
            yield from _field(_mapping, at(pointer, key), f"{label} {key}", old, new, key)


def _whole(label: str) -> Words:
    """Something too large to be quoted that came or went."""

    def words(pointer: str, label: str, old: Any, new: Any) -> Iterator[Part]:
        verb = "added" if old is _MISSING else "removed" if new is _MISSING else "changed"
        yield pointer, f"{label} {verb}"

    return words


def _retry(pointer: str, label: str, old: Any, new: Any) -> Iterator[Part]:
    """Retriers, known by the errors that they are for."""
    before, after = (_retriers(value) for value in (old, new))
    for key in dict.fromkeys([*before, *after]):
        of = "every error" if key == ("*",) else ", ".join(key)
        if key not in before:
            yield at(pointer, after[key][0]), f"retry of {of} added ({after[key][1]['max_attempts']} attempts)"
        elif key not in after:
            yield at(pointer, before[key][0]), f"retry of {of} removed"
        else:
            place = at(pointer, after[key][0])
            for field, (text, words) in _RETRIER.items():
                label = f"retry of {of}: {text}"
                yield from _field(words, at(place, field), label, before[key][1], after[key][1], field)
    common = [key for key in before if key in after]
    if common != [key for key in after if key in before]:
        yield pointer, "order of the retriers changed"


_DEFAULT_RETRIER: Final[Mapping[str, Json]] = {
    "errors": ["*"],
    "interval": "PT1S",
    "backoff_rate": 2.0,
    "max_attempts": 5,
    "max_delay": "PT16S",
    "jitter": "none",
}


def _retriers(value: Any) -> dict[tuple[str, ...], tuple[int, dict[str, Json]]]:
    found: dict[tuple[str, ...], tuple[int, dict[str, Json]]] = {}
    for index, policy in enumerate(value if isinstance(value, list) else []):
        if isinstance(policy, dict):
            whole = {**_DEFAULT_RETRIER, **policy}
            found.setdefault(tuple(sorted(_texts(whole["errors"]))), (index, whole))
    return found


def _quorum(pointer: str, label: str, old: Any, new: Any) -> Iterator[Part]:
    def form(value: Json) -> str:
        if not isinstance(value, dict):
            return _value(value)
        return f"{value.get('need')} of {value.get('of')}" + (" with a veto" if value.get("veto") else "")

    yield from _scalar(form)(pointer, label, old, new)


def _constraints(pointer: str, label: str, old: Any, new: Any) -> Iterator[Part]:
    before, after = ({} if value is _MISSING else value for value in (old, new))
    if not (isinstance(before, dict) and isinstance(after, dict)):
        yield from _scalar()(pointer, label, old, new)
        return
    others = _set_of("may not be decided by who decided")
    yield from _field(others, at(pointer, "not_completed_by"), label, before, after, "not_completed_by")
    if bool(before.get("not_initiator")) != bool(after.get("not_initiator")):
        may = "may no longer" if after.get("not_initiator") else "may now"
        yield at(pointer, "not_initiator"), f"who submitted it {may} decide it"


def _limit(pointer: str, label: str, old: Any, new: Any) -> Iterator[Part]:
    def form(value: Json) -> str:
        known = isinstance(value, dict) and {"limit", "per"} <= set(value)
        return f"{value['limit']} per {duration_in_words(value['per'])}" if known else _value(value)

    yield from _scalar(form)(pointer, label, old, new)


def _sla(pointer: str, label: str, old: Any, new: Any) -> Iterator[Part]:
    before, after = ({} if value is _MISSING else value for value in (old, new))
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _field(_duration, at(pointer, "due"), "to be done within", before, after, "due")
        yield from _field(_scalar(), at(pointer, "calendar"), "calendar", before, after, "calendar")
    else:
        yield from _scalar()(pointer, label, old, new)


def _inner(pointer: str, label: str, old: Any, new: Any) -> Iterator[Part]:
    if isinstance(old, dict) and isinstance(new, dict):
        for where, words in _task_parts(old, new):
            yield pointer + where, f"each item: {words}"
    else:
        yield from _whole("task of each item")(pointer, "task of each item", old, new)


_duration = _scalar(duration_in_words)
_quoted = _scalar(_value)
_RETRIER: Final[Mapping[str, tuple[str, Words]]] = {
    "max_attempts": ("attempts", _scalar()),
    "interval": ("first after", _duration),
    "backoff_rate": ("backoff rate", _scalar()),
    "max_delay": ("longest delay", _duration),
    "jitter": ("jitter", _quoted),
}
_TASK: Final[Mapping[str, tuple[str, Words]]] = {
    "type": ("type", _quoted),
    "title": ("title", _quoted),
    "plugin": ("plugin", _quoted),
    "department": ("department", _quoted),
    "queue": ("queue", _quoted),
    "assignee": ("assignee", _quoted),
    "due": ("due", _duration),
    "follow_up": ("follow-up", _duration),
    "outcomes": ("outcomes", _set_of("outcome")),
    "form": ("form", _schema),
    "quorum": ("quorum", _quorum),
    "constraints": ("constraints", _constraints),
    "timeout": ("timeout", _duration),
    "retry": ("retry", _retry),
    "for": ("waits for", _duration),
    "until": ("waits until", _quoted),
    "expect": ("expected status", _set_of("expected status")),
    "task": ("task of each item", _inner),
    "compensate": ("compensation", _quoted),
    "join": ("join", _quoted),
    "split": ("split", _quoted),
}
"""The fields of a task that have words of their own; all others are compared as any JSON, under their own name."""
_DOCUMENT: Final[Mapping[str, tuple[str, Words]]] = {
    "title": ("title", _quoted),
    "description": ("description", _whole("description")),
    "labels": ("label", _mapping),
    "timeout": ("timeout", _duration),
    "sla": ("sla", _sla),
    "rate_limit": ("rate limit", _limit),
    "max_concurrency": ("jobs at once", _scalar()),
    "on_failure": ("on failure", _quoted),
    "output": ("output", _mapping),
}


# ---- documents, tasks, transitions ----------------------------------------------------------------------------------


def _of_document(old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[Change]:
    before, after = ({"priority": 50, **document} for document in (old, new))
    keys = [key for key in dict.fromkeys([*before, *after]) if key not in ("tasks", "transitions", "input_schema")]
    for key in keys:
        label, words = _DOCUMENT.get(key, (key, _mapping))
        if key == "labels" and isinstance(before.get(key), list) and isinstance(after.get(key), list):
            words = _set_of("label")
        for pointer, text in _field(words, at("", key), label, before, after, key):
            yield Change("document.changed", _sentence(text), (pointer,))
    for pointer, text in _field(_schema, "/input_schema", "input", old, new, "input_schema"):
        yield Change("input.changed", _sentence(text), (pointer,))


def _of_tasks(
    before: Mapping[str, Mapping[str, Json]], after: Mapping[str, Mapping[str, Json]], renamed: Mapping[str, str]
) -> Iterator[Change]:
    was = {new: old for old, new in renamed.items()}
    for name, task in before.items():
        if name not in after and name not in renamed:
            yield Change("task.removed", f"{_title(name, task)}: task removed.", (f"old:{at('/tasks', name)}",), name)
    for name, task in after.items():
        earlier = was.get(name, name)
        pointer = at("/tasks", name)
        if earlier not in before:
            yield Change("task.added", f"{_title(name, task)}: task added ({_kind(task)}).", (f"new:{pointer}",), name)
            continue
        parts = list(_task_parts(before[earlier], task))
        if name in was:
            sentence = f"{_title(name, task)}: looks like `{earlier}` renamed to `{name}`"
            sentence += "".join(f"; {text}" for _, text in parts)
            ends = (f"old:{at('/tasks', earlier)}", f"new:{pointer}")
            yield Change("task.renamed", f"{sentence}.", ends, name, earlier)
        elif parts:
            sentence = f"{_title(name, before[earlier])}: " + "; ".join(text for _, text in parts)
            places = tuple(dict.fromkeys(pointer + where for where, _ in parts))
            yield Change("task.changed", f"{sentence}.", places, name)


def _task_parts(old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[Part]:
    before, after = _with_defaults(old), _with_defaults(new)
    for key in dict.fromkeys([*_TASK, *before, *after]):
        label, words = _TASK.get(key, (key.replace("_", " "), _mapping))
        yield from _field(words, at("", key), label, before, after, key)


def _with_defaults(task: Mapping[str, Json]) -> dict[str, Json]:
    """The task with its defaults written out, so that writing them out is no difference."""
    defaults: dict[str, Json] = {"join": "all", "split": "all"}
    if task.get("type") == "human":
        defaults["outcomes"] = ["approve", "reject"]
    elif task.get("type") == "http":
        defaults["method"] = "GET"
    elif task.get("type") == "map":
        defaults["tolerated_failures"] = 0
    return {**defaults, **task}


def _renamed(before: Mapping[str, Mapping[str, Json]], after: Mapping[str, Mapping[str, Json]]) -> dict[str, str]:
    """Tasks that went, each with the one that came and looks like it: of one type, and mostly equal."""
    came = [name for name in after if name not in before]
    pairs = []
    for place, name in enumerate(name for name in before if name not in after):
        for other in came:
            alike = _likeness(before[name], after[other])
            if alike >= SIMILAR:
                pairs.append((-alike, place, name, other))
    found: dict[str, str] = {}
    for _, _, name, other in sorted(pairs):
        if name not in found and other not in found.values():
            found[name] = other
    return found


def _likeness(one: Mapping[str, Json], other: Mapping[str, Json]) -> float:
    if one.get("type") != other.get("type"):
        return 0.0
    one, other = _with_defaults(one), _with_defaults(other)
    # What every task of a type has says nothing about which of them it is.
    keys = {key for key in {*one, *other} if key not in ("type", "title", "join", "split")}
    if not keys:
        return 0.0
    same = sum(key in one and key in other and canonical(one[key]) == canonical(other[key]) for key in keys)
    # People know a task by its title, so an equal one weighs as much as two fields.
    titled = 2 if "title" in one and one["title"] == other.get("title") else 0
    return (same + titled) / (len(keys) + titled)


def _of_transitions(old: Mapping[str, Json], new: Mapping[str, Json], renamed: Mapping[str, str]) -> Iterator[Change]:
    before = _transitions(old, renamed)
    after = _transitions(new, {})
    tasks = {**_objects(old.get("tasks")), **_objects(new.get("tasks"))}
    for key, edges in after.items():
        for index, (place, edge) in enumerate(edges):
            pointer = at("/transitions", place)
            earlier = before.get(key, [])
            if index >= len(earlier):
                text = f"{_arrow(edge, tasks)}: transition added{_condition(edge)}."
                yield Change("transition.added", text, (f"new:{pointer}",), _text(edge.get("from")))
                continue
            parts = list(_edge_parts(earlier[index][1], edge))
            if parts:
                text = f"{_arrow(edge, tasks)}: " + "; ".join(words for _, words in parts)
                places = tuple(pointer + where for where, _ in parts)
                yield Change("transition.changed", f"{text}.", places, _text(edge.get("from")))
    for key, edges in before.items():
        for place, edge in edges[len(after.get(key, [])) :]:
            text = f"{_arrow(edge, tasks)}: transition removed{_condition(edge)}."
            where = (f"old:{at('/transitions', place)}",)
            yield Change("transition.removed", text, where, _text(edge.get("from")))
    yield from _orders(before, after, tasks)


def _transitions(
    document: Mapping[str, Json], names: Mapping[str, str]
) -> dict[tuple[str, str, str], list[tuple[int, dict[str, Json]]]]:
    """The transitions by (from, to, kind), each with its place in the document."""
    found: dict[tuple[str, str, str], list[tuple[int, dict[str, Json]]]] = {}
    listed = document.get("transitions")
    for place, edge in enumerate(listed if isinstance(listed, list) else []):
        if isinstance(edge, dict):
            ends = [_text(edge.get(end)) for end in ("from", "to")]
            source, target = (names.get(end, end) for end in ends)
            kind = "loop" if "loop" in edge else "error" if edge.get("on_error") else "normal"
            edge = {**edge, "from": source, "to": target}
            found.setdefault((source, target, kind), []).append((place, edge))
    return found


def _edge_parts(old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[Part]:
    yield from _field(_quoted, "/when", "condition", old, new, "when")
    yield from _field(_set_of("error"), "/on_error", "errors", old, new, "on_error")
    if bool(old.get("default")) != bool(new.get("default")):
        yield "/default", "is now the default" if new.get("default") else "is no longer the default"
    if "loop" in old and "loop" in new:
        before, after = ({"max_iterations": 100, **_object(edge["loop"])} for edge in (old, new))
        yield from _field(_scalar(), "/loop/max_iterations", "times at most", before, after, "max_iterations")
    known = {"from", "to", "when", "on_error", "default", "loop"}
    for key in dict.fromkeys([*old, *new]):
        if key not in known:
            yield from _field(_mapping, at("", key), key, old, new, key)


def _orders(before: Any, after: Any, tasks: Mapping[str, Mapping[str, Json]]) -> Iterator[Change]:
    """Where the first transition that holds is taken, their order is part of what they say."""
    for name, task in tasks.items():
        for kind, words in (("normal", "conditions"), ("error", "errors")):
            if kind == "normal" and task.get("split") != "first":
                continue
            orders = [_order(edges, name, kind) for edges in (before, after)]
            common = [[target for target in order if target in other] for order, other in (orders, orders[::-1])]
            if common[0] != common[1]:
                told = " → ".join(", ".join(f"`{target}`" for target in order) for order in common)
                text = f"{_title(name, task)}: order in which its {words} are tried changed: {told}."
                yield Change("transition.order", text, ("/transitions",), name)


def _order(edges: Mapping[tuple[str, str, str], list[tuple[int, Any]]], source: str, kind: str) -> list[str]:
    found = [
        (place, key[1]) for key, group in edges.items() if key[0] == source and key[2] == kind for place, _ in group
    ]
    return list(dict.fromkeys(target for _, target in sorted(found)))


def _arrow(edge: Mapping[str, Json], tasks: Mapping[str, Mapping[str, Json]]) -> str:
    ends = [_text(edge.get(end)) for end in ("from", "to")]
    source, target = (_title(end, tasks.get(end, {})) for end in ends)
    kind = ", back" if "loop" in edge else ", on error" if edge.get("on_error") else ""
    return f"{source} → {target}{kind}"


def _condition(edge: Mapping[str, Json]) -> str:
    words = []
    if "when" in edge:
        words.append(f"when {_value(edge['when'])}")
    if edge.get("on_error"):
        words.append(f"for {', '.join(_value(error) for error in _list(edge['on_error']))}")
    if edge.get("default"):
        words.append("as the default")
    return f" ({', '.join(words)})" if words else ""


def _title(name: str, task: Mapping[str, Json]) -> str:
    title = task.get("title")
    return title if isinstance(title, str) and title.strip() and "${" not in title else name


def _kind(task: Mapping[str, Json]) -> str:
    what = next((task[key] for key in ("plugin", "department", "queue", "event", "workflow", "url") if key in task), "")
    return f"{_text(task.get('type'))} {_value(what)}" if what else _text(task.get("type")) or "no type"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _objects(value: Json, any_value: bool = False) -> dict[str, Any]:
    """The members of an object that are objects; all of them with `any_value`. Nothing where it is none."""
    return {key: item for key, item in _object(value).items() if any_value or isinstance(item, dict)}


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _list(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list) else [value]


def _texts(values: Json) -> set[str]:
    found: Iterable[Json] = values if isinstance(values, list) else []
    return {value for value in found if isinstance(value, str)}


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
