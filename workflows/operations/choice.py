"""Which jobs a repair of many is for: a filter, as every door takes it, and the jobs that it finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Q, QuerySet

from workflows.engine.durations import parse_timestamp
from workflows.engine.exceptions import InvalidTimestamp
from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import SchemaValidator, check_json
from workflows.models import DeadLetter, Job, JobStatus

from .exceptions import InvalidRequest
from .verbs import Verb

MAX_IDS = 10_000
_TEXT = {"type": "string", "minLength": 1, "maxLength": 200}
_MOMENT = {"type": "string", "format": "date-time"}
_STATUS = {"enum": list(JobStatus.values)}

FILTER: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "properties": {
        "ids": {"type": "array", "items": {"type": "string", "format": "uuid"}, "minItems": 1, "maxItems": MAX_IDS},
        "status": {"anyOf": [_STATUS, {"type": "array", "items": _STATUS, "minItems": 1}]},
        "workflow": _TEXT,
        "version": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
        "correlation_id": _TEXT,
        "priority": {"type": "integer", "minimum": 0, "maximum": 100},
        "created_after": _MOMENT,
        "created_before": _MOMENT,
        "fingerprint": {**_TEXT, "description": "Cause of an open dead letter."},
        "error": {**_TEXT, "description": "Error of an open dead letter."},
        "task": {**_TEXT, "description": "Task of an open dead letter."},
        "failed_after": _MOMENT,
        "failed_before": _MOMENT,
    },
}
"""The shape of a filter, as JSON Schema: every field narrows the choice, and one is needed at least."""

_OF_JOBS = {
    "workflow": "workflow",
    "version": "version",
    "correlation_id": "correlation_id",
    "priority": "priority",
    "created_after": "created_at__gte",
    "created_before": "created_at__lt",
}
_OF_LETTERS = {
    "fingerprint": "fingerprint",
    "error": "error",
    "task": "task",
    "failed_after": "failed_at__gte",
    "failed_before": "failed_at__lt",
}
_MOMENTS = ("created_after", "created_before", "failed_after", "failed_before")
_shape = SchemaValidator(FILTER)


def chosen(verb: Verb, filter: Mapping[str, Any]) -> QuerySet[Job]:
    """The jobs that a filter finds. InvalidRequest with every fault of it, below `/filter`.

    A filter that names neither ids nor a status finds those jobs alone whose state allows the verb. The parts that a
    job is run in are found by their ids or their dead letters: whoever wants to reach jobs means whole ones.
    """
    values = _read(filter)
    jobs = Job.objects.order_by()
    if "ids" in values:
        jobs = jobs.filter(pk__in=values["ids"])
    if "status" in values:
        found = values["status"]
        jobs = jobs.filter(status__in=[found] if isinstance(found, str) else found)
    elif "ids" not in values:
        jobs = jobs.filter(verb.takes)
    jobs = jobs.filter(_conditions(values, _OF_JOBS))
    if any(name in values for name in _OF_LETTERS):
        letters = DeadLetter.objects.filter(_conditions(values, _OF_LETTERS), resolved_at__isnull=True)
        return jobs.filter(pk__in=letters.order_by().values("job_id"))
    return jobs if "ids" in values else jobs.filter(fragment="")


def _read(filter: Mapping[str, Any]) -> dict[str, Any]:
    faults = check_json(filter, 2**20, at="/filter") or _shape.faults(filter, at="/filter")
    if not filter:
        faults = [Fault("/filter", "required", "A repair of many needs a filter: name a field to choose by.")]
    if faults:
        raise InvalidRequest(faults)
    values = dict(filter)
    for name in _MOMENTS:
        if name in values:
            try:
                values[name] = parse_timestamp(values[name])
            except InvalidTimestamp as error:
                raise InvalidRequest([Fault(f"/filter/{name}", "format", str(error))]) from None
    return values


def _conditions(values: Mapping[str, Any], columns: Mapping[str, str]) -> Q:
    return Q(**{column: values[name] for name, column in columns.items() if name in values})
