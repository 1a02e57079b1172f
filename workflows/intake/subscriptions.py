"""Subscriptions: workflows that events start, and their configuration by script."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, InterfaceError, OperationalError, models, transaction

from workflows.engine.durations import format_timestamp
from workflows.engine.exceptions import EngineError
from workflows.engine.expressions import compiled
from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import check_json
from workflows.engine.templates import Template, as_text
from workflows.execution.events import use
from workflows.execution.respond import add_history
from workflows.models import Event, EventSchema, Subscription, SubscriptionRun

from .exceptions import IntakeError, InvalidSubmission
from .submit import Submission, submit_job

logger = logging.getLogger(__name__)

MAX_CONFIGURATION_BYTES = 2**16


def start_subscribed(event: Event) -> list[str]:
    """Start every enabled subscription of the event's type that it has not started yet, each by itself.

    Answers why those that could not be started were not, as `name: reason`; one of them stops no other.
    """
    subscriptions = list(Subscription.objects.filter(type=event.type, enabled=True).order_by("name"))
    if not subscriptions:
        return []
    started = set(SubscriptionRun.objects.filter(event=event).values_list("subscription", flat=True))
    errors = []
    for subscription in subscriptions:
        if subscription.name in started:
            continue
        try:
            _start(subscription, event)
        except (EngineError, IntakeError) as error:
            errors.append(f"{subscription.name}: {error}")
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            logger.exception("The subscription %s failed on event %s", subscription, event.pk)
            errors.append(f"{subscription.name}: {type(error).__name__}: {error}")
    return errors


def names_of(event: Event) -> dict[str, Any]:
    """What a subscription's condition and mappings read: `event`, with its time as text."""
    return {
        "event": {
            "id": event.event_id,
            "source": event.source,
            "type": event.type,
            "subject": event.subject,
            "key": event.key,
            "time": None if event.time is None else format_timestamp(event.time),
            "data": event.data,
        }
    }


def _start(subscription: Subscription, event: Event) -> None:
    """Submit the job for whoever sent the event, and remember that, in one transaction."""
    names = names_of(event)
    if subscription.when and not compiled(subscription.when).holds(names):
        return
    given = event.data if subscription.input is None else Template(subscription.input).evaluate(names)
    reference = event.key
    if subscription.correlation_id:
        reference = as_text(Template(subscription.correlation_id).evaluate(names))
    submission = Submission(
        workflow=subscription.workflow, input=given, version=subscription.version, correlation_id=reference
    )
    try:
        with transaction.atomic():
            job = submit_job(submission, submitted_by=event.received_by).job
            SubscriptionRun.objects.create(event=event, subscription=subscription.name, job=job)
            use(event)
            told = {"subscription": subscription.name, "event": str(event.pk), "type": event.type}
            add_history(job.pk, "subscription.started", actor="", data=told)
    except IntegrityError:
        # Another process handles the event at this moment and was first. Its job stands, this one was never there.
        if not SubscriptionRun.objects.filter(event=event, subscription=subscription.name).exists():
            raise


# ---- configuration --------------------------------------------------------------------------------------------------


class AlreadyThere(InvalidSubmission):
    """There is one of that name already; change that one."""


@dataclass(frozen=True, slots=True)
class Configured:
    """One row after it was configured; `change` is `created`, `replaced`, or `kept` where there was one before."""

    row: models.Model
    change: str


def subscribe(rows: Sequence[Mapping[str, Any]], *, replace: bool = False) -> list[Configured]:
    """Make every subscription, or none. A name that has a row keeps it as it is, unless `replace`.

    Raises InvalidSubmission with the faults of the first that could never start a job, below its index.
    """
    return _configure(Subscription, "name", rows, replace)


def describe(rows: Sequence[Mapping[str, Any]], *, replace: bool = False) -> list[Configured]:
    """The same for the schemas of events, each known by its type."""
    return _configure(EventSchema, "type", rows, replace)


def _configure(
    model: type[models.Model], key: str, rows: Sequence[Mapping[str, Any]], replace: bool
) -> list[Configured]:
    with transaction.atomic():
        return [_configured(model, key, row, f"/{index}", replace) for index, row in enumerate(rows)]


def _configured(model: type[models.Model], key: str, row: Mapping[str, Any], at: str, replace: bool) -> Configured:
    if not isinstance(row, Mapping) or not isinstance(row.get(key), str):
        raise InvalidSubmission([Fault(f"{at}/{key}", "required", "is required")])
    known = {field.name for field in model._meta.concrete_fields if not field.primary_key}
    unknown = [Fault(f"{at}/{name}", "unknown_field", "is not expected") for name in row if name not in known]
    if unknown:
        raise InvalidSubmission(unknown)
    present = model._default_manager.filter(**{key: row[key]}).first()
    if present is not None and not replace:
        return Configured(present, "kept")
    try:
        if present is None:
            return Configured(create(model(), row), "created")
        change(present, row)
    except InvalidSubmission as error:
        raise InvalidSubmission(Fault(at + fault.pointer, fault.code, fault.detail) for fault in error.faults) from None
    return Configured(present, "replaced")


def create(row: models.Model, values: Mapping[str, Any]) -> models.Model:
    """Save a new row of configuration. Raises AlreadyThere, and InvalidSubmission with every fault."""
    try:
        with transaction.atomic():
            change(row, values)
    except IntegrityError:
        # Somebody made one of that name since it was checked.
        raise AlreadyThere([_taken(row)]) from None
    except InvalidSubmission as error:
        if any(fault.code == "unique" for fault in error.faults):
            raise AlreadyThere([_taken(row)]) from None
        raise
    return row


def change(row: models.Model, values: Mapping[str, Any]) -> None:
    """Give a row of configuration these values and save it. Raises InvalidSubmission with every fault."""
    faults: list[Fault] = []
    for name, value in values.items():
        faults += check_json(value, MAX_CONFIGURATION_BYTES, at=f"/{name}")
        setattr(row, name, value)
    if faults:
        raise InvalidSubmission(faults)
    try:
        row.full_clean()
    except ValidationError as error:
        raise InvalidSubmission(
            Fault("" if name == "__all__" else f"/{name}", detail.code or "invalid", " ".join(detail.messages))
            for name, details in error.error_dict.items()
            for detail in details
        ) from None
    row.save()


def _taken(row: models.Model) -> Fault:
    return Fault("", "unique", f"There is a {row._meta.verbose_name} {row} already; change that one.")
