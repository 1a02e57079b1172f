"""Events that came in, from outside or from a job: each is kept once, and handled after the commit that kept it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from workflows.engine.contract import Json
from workflows.models import Event
from workflows.models.failpoints import failpoint

HANDLE_AT_ONCE = 20
"""So many events of one transaction are handled right after it; the rest are for the service, within seconds."""
_LOOKED_UP_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Arrival:
    """One event as it came in. `source` and `event_id` together say which; no `time_to_live` is the setting's.

    `received_by` is the user who sent it, or None.
    """

    source: str
    event_id: str
    type: str
    key: str = ""
    subject: str = ""
    time: datetime | None = None
    data: Json = None
    time_to_live: timedelta | None = None
    received_by: Any = None


@dataclass(frozen=True, slots=True)
class Kept:
    """An event that is kept; `created` is False where the same one had come before, and nothing was changed."""

    event: Event
    created: bool


def own_key(job_id: uuid.UUID, correlation_id: str) -> str:
    """The key of the events that a job sends, and waits for where its task names none: the job's reference.

    A job without a reference is known by its id, so that jobs that have nothing to do with each other never meet.
    """
    return correlation_id or str(job_id)


_handlers: list[Callable[[uuid.UUID], object]] = []


def register_handler(handler: Callable[[uuid.UUID], object]) -> None:
    """Let `handler(id)` be called for every new event, after the commit that kept it. Called when the application
    starts. A call may be lost: the handler has a service of its own that finds what was left."""
    if handler not in _handlers:
        _handlers.append(handler)


def keep(arrivals: Sequence[Arrival]) -> list[Kept]:
    """Keep events, inside the caller's transaction, each once for its source and id; answers them in their order.

    The number of statements does not grow with the number of events, apart from the portions they are written in.
    """
    standard = timedelta(seconds=settings.WORKFLOW_EVENT_TTL_SECONDS)
    rows = [
        Event(
            source=arrival.source,
            event_id=arrival.event_id,
            type=arrival.type,
            key=arrival.key,
            subject=arrival.subject,
            time=arrival.time,
            data=arrival.data,
            received_at=Now(),
            received_by=arrival.received_by,
            expires_at=Now() + (standard if arrival.time_to_live is None else arrival.time_to_live),
        )
        for arrival in arrivals
    ]
    # Another transaction that keeps the same event at this moment is waited for; what it wrote is read below.
    Event.objects.bulk_create(rows, ignore_conflicts=True)
    new = {event.pk: event for event in Event.objects.filter(pk__in=[row.pk for row in rows])}
    known = _known(row for row in rows if row.pk not in new)
    if new:
        first = sorted(new)[:HANDLE_AT_ONCE]
        # Robust: the events are kept whatever becomes of handling them, and the service handles them again. No partial:
        # Django asks for the name of what failed.
        transaction.on_commit(lambda: _handle(first), robust=True)
    failpoint("inbox.recorded")
    return [Kept(new[row.pk], True) if row.pk in new else Kept(known[row.source, row.event_id], False) for row in rows]


def _known(repeated: Iterable[Event]) -> dict[tuple[str, str], Event]:
    """The events that were there already, by source and id."""
    names = list(dict.fromkeys((row.source, row.event_id) for row in repeated))
    found: dict[tuple[str, str], Event] = {}
    for start in range(0, len(names), _LOOKED_UP_AT_ONCE):
        condition = Q()
        for source, event_id in names[start : start + _LOOKED_UP_AT_ONCE]:
            condition |= Q(source=source, event_id=event_id)
        found.update({(event.source, event.event_id): event for event in Event.objects.filter(condition)})
    return found


def _handle(events: Sequence[Any]) -> None:
    for handler in _handlers:
        for event in events:
            handler(event)
