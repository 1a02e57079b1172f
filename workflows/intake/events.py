"""Events at the door, and what becomes of them: waiting tasks go on, subscribed workflows start."""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import InterfaceError, OperationalError, transaction
from django.db.models.functions import Now

from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import SchemaValidator
from workflows.execution.events import LEFT_AFTER, WAKE_AT_ONCE, wake_waiters
from workflows.execution.services import hurry
from workflows.messaging.inbox import Kept, keep
from workflows.models import Event, EventSchema

from .cloudevents import read
from .exceptions import EventNotFound, InvalidSubmission
from .subscriptions import start_subscribed

logger = logging.getLogger(__name__)

MAX_BATCH = 1_000
BATCH = 100
WAKE_IN_A_TURN = 500
"""How many waiters of one event the service wakes before it lets the worker look for jobs again."""


def receive_event(document: Any, *, received_by: AbstractBaseUser | None) -> Kept:
    """Keep one CloudEvent, and handle it after the commit. A repeated (source, id) changes nothing.

    Raises InvalidSubmission with every fault, those of its data by the schema of its type among them.
    """
    return _receive([document], [""], received_by)[0]


def receive_events(documents: Sequence[Any], *, received_by: AbstractBaseUser | None) -> list[Kept]:
    """Keep up to 1,000 CloudEvents: all of them or, where one is invalid, none. Faults are told by index."""
    if len(documents) > MAX_BATCH:
        raise InvalidSubmission([Fault("", "too_many", f"holds more than {MAX_BATCH} events")])
    return _receive(documents, [f"/{index}" for index in range(len(documents))], received_by)


def _receive(documents: Sequence[Any], pointers: Sequence[str], received_by: AbstractBaseUser | None) -> list[Kept]:
    arrivals, faults = [], []
    for document, pointer in zip(documents, pointers, strict=True):
        try:
            arrivals.append((replace(read(document, at=pointer), received_by=received_by), pointer))
        except InvalidSubmission as error:
            faults += error.faults
    schemas = _schemas({arrival.type for arrival, _ in arrivals})
    for arrival, pointer in arrivals:
        if arrival.type in schemas:
            faults += schemas[arrival.type].faults(arrival.data, at=f"{pointer}/data")
    if faults:
        raise InvalidSubmission(faults)
    with transaction.atomic():
        return keep([arrival for arrival, _ in arrivals])


# ---- handling -------------------------------------------------------------------------------------------------------


def handle_event(event_id: uuid.UUID, *, most: int = WAKE_AT_ONCE) -> bool:
    """Serve everyone whom an event concerns: called right after its commit, and again for what that left. False where
    more than `most` wait for it, so that it must be called again.

    Harmless at any time: nobody is told twice, and no subscription starts twice. What went wrong is kept with the
    event for a person to see.
    """
    event = Event.objects.select_related("received_by").filter(pk=event_id, handled_at__isnull=True).first()
    if event is None:
        return True
    try:
        faults = _faults(event)
        if faults:
            error = "Its data breaks the schema of its type: " + "; ".join(
                f"{fault.pointer or '/'} {fault.detail}" for fault in faults[:10]
            )
        elif wake_waiters(event, most=most):
            error = "\n".join(start_subscribed(event))
        else:
            return False
    except (OperationalError, InterfaceError):
        raise  # the database is gone: the event is handled when it is back
    except Exception as failure:
        logger.exception("The event %s cannot be handled", event.pk)
        faults, error = [], f"{type(failure).__name__}: {failure}"
    Event.objects.filter(pk=event.pk).update(handled_at=Now(), refused=bool(faults), error=error)
    return True


def retry_event(event_id: uuid.UUID) -> Event:
    """Handle an event once more: subscriptions that it has not started yet are tried again. EventNotFound."""
    if not Event.objects.filter(pk=event_id).update(handled_at=None, refused=False, error=""):
        raise EventNotFound(f"There is no event {event_id}.")
    handle_event(event_id)
    return Event.objects.get(pk=event_id)


class EventHandler:
    """Handles events that a crash, or their number, has left unhandled."""

    name = "events"
    every_seconds = 1.0

    def run_once(self) -> dict[str, int]:
        """Handle up to a batch of events; answer how many were looked at."""
        left = Event.objects.filter(handled_at__isnull=True, received_at__lt=Now() - LEFT_AFTER).order_by("id")
        events = list(left.values_list("pk", flat=True)[:BATCH])
        # Several workers look at the same events: each begins with another one, and passes by what is handled then.
        random.shuffle(events)
        done = [handle_event(event, most=WAKE_IN_A_TURN) for event in events]
        if not all(done):
            hurry(self.name)
        return {"handled": len(events)}


# ---- schemas --------------------------------------------------------------------------------------------------------


_compiled: dict[str, tuple[datetime, SchemaValidator]] = {}


def _schemas(types: Collection[str]) -> dict[str, SchemaValidator]:
    """The schemas of those of the types that have one, in one query; each compiled once for each of its changes."""
    found = {}
    for row in EventSchema.objects.filter(type__in=types):
        kept = _compiled.get(row.type)
        if kept is None or kept[0] != row.updated_at:
            kept = _compiled[row.type] = (row.updated_at, SchemaValidator(row.schema))
        found[row.type] = kept[1]
    return found


def _faults(event: Event) -> list[Fault]:
    """What of an event's data breaks the schema of its type: nobody has checked what a job has emitted."""
    schemas = _schemas([event.type])
    return schemas[event.type].faults(event.data, at="/data") if event.type in schemas else []
