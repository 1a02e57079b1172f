"""Events as JSON and back, so that a history can be kept, sent and replayed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from . import events
from .contract import Json
from .durations import format_timestamp, parse_timestamp
from .events import Event, Migrated
from .exceptions import InvalidEvent

_KINDS: Final[Mapping[str, type]] = {
    kind.__name__: kind
    for kind in (
        events.JobStarted,
        events.TaskCompleted,
        events.TaskParked,
        events.TaskFailed,
        events.Responded,
        events.EventReceived,
        events.ChildrenFinished,
        events.ChildrenFailed,
        events.TimePassed,
        events.CancelRequested,
        events.RetryRequested,
        events.SkipRequested,
        events.RestartRequested,
    )
}
_MOMENTS: Final = frozenset({"created_at", "until"})


_FIELDS: Final[Mapping[type, tuple[tuple[str, Any], ...]]] = {
    kind: tuple((item.name, item.default) for item in fields(kind)) for kind in (*_KINDS.values(), Migrated)
}
"""The fields of each kind of event with their defaults; MISSING where one has none."""


def event_to_json(event: Event | Migrated) -> dict[str, Json]:
    """The event as JSON; `event` in it is its type. What has its default is left out: a history keeps many events."""
    data: dict[str, Json] = {"event": type(event).__name__}
    for name, default in _FIELDS[type(event)]:
        value = getattr(event, name)
        if value is default or (value == default and type(value) is type(default)):
            continue
        data[name] = format_timestamp(value) if isinstance(value, datetime) else value
    return data


def event_from_json(data: Mapping[str, Json]) -> Event:
    """The event that `event_to_json` described. Raises InvalidEvent for anything else."""
    values: dict[str, Any] = dict(data)
    kind = _KINDS.get(values.pop("event", ""))
    if kind is None:
        raise InvalidEvent(f"There is no event {data.get('event')!r}.")
    try:
        moments = {key: parse_timestamp(values[key]) for key in _MOMENTS & values.keys() if values[key] is not None}
        event: Event = kind(**{**values, **moments})
    except (TypeError, ValueError) as error:
        raise InvalidEvent(f"The event cannot be read: {error}") from None
    return event


def about_run(data: Mapping[str, Json], task: str, iteration: int | None) -> dict[str, Json]:
    """The JSON of an event that is kept with what it is about: with that task and iteration, where it left them out."""
    kind = _KINDS.get(str(data.get("event")))
    if kind is None or "iteration" in data or all(name != "iteration" for name, _ in _FIELDS[kind]):
        return dict(data)
    return {"task": task, "iteration": iteration, **data}


def decided_from_json(data: Mapping[str, Json]) -> Event | Migrated:
    """What a history keeps: an event, or that the job was moved to another version. Raises InvalidEvent."""
    if data.get("event") != Migrated.__name__:
        return event_from_json(data)
    try:
        return Migrated(**{key: value for key, value in data.items() if key != "event"})
    except TypeError as error:
        raise InvalidEvent(f"The event cannot be read: {error}") from None
