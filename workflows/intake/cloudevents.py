"""CloudEvents 1.0: from an envelope to an event that can be kept, or to every reason why it cannot."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote_to_bytes

from django.conf import settings

from workflows.engine.durations import parse_duration, parse_timestamp
from workflows.engine.exceptions import InvalidDuration, InvalidTimestamp
from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import SchemaValidator, check_json
from workflows.execution.events import MAX_KEY
from workflows.messaging.inbox import Arrival
from workflows.messaging.relay import SOURCE

from .exceptions import InvalidSubmission

JSON_TYPE = "application/cloudevents+json"
BATCH_TYPE = "application/cloudevents-batch+json"
HEADER = "ce-"
MAX_ENVELOPE_BYTES = 2**16
"""What the attributes of one event may come to: each of those that are kept has a bound of its own."""

_TEXT = {"type": "string", "minLength": 1, "maxLength": 300}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {**_TEXT, "description": "Unique for its source: a repeated one changes nothing."},
        "source": {**_TEXT, "format": "uri-reference"},
        "type": {"type": "string", "minLength": 1, "maxLength": 200},
        "subject": _TEXT,
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": _TEXT,
        "dataschema": {**_TEXT, "format": "uri-reference"},
        "correlationkey": {
            "type": ["string", "integer"],
            "minLength": 1,
            "maxLength": MAX_KEY,
            "description": "Whom it concerns; the subject where it is missing.",
        },
        "timetolive": {
            "type": "string",
            "description": "ISO 8601 duration: how long it counts for those who begin to wait after it came.",
        },
        "data": {"description": "Any JSON that the schema of its type allows."},
        "data_base64": {"type": "string", "description": "Refused: only JSON is kept."},
    },
    # Extensions that are not known here are taken, and not kept.
    "additionalProperties": {"type": ["string", "integer", "boolean"]},
    "propertyNames": {"pattern": "^([a-z0-9]+|data_base64)$"},
}
_VALIDATOR = SchemaValidator(SCHEMA)
_CODES = {"const": "unsupported_version", "pattern": "invalid_name"}
_FRACTION = re.compile(r"(\.\d{6})\d+")


def read(document: Any, *, at: str = "") -> Arrival:
    """The event of a CloudEvents document as JSON has it. Raises InvalidSubmission with every fault; `at` is the
    pointer of the document in what was received."""
    faults: list[Fault] = []
    if isinstance(document, dict):
        # In the JSON format null says that an attribute is not set; only data may be null itself.
        envelope = {name: value for name, value in document.items() if value is not None and name != "data"}
        faults += check_json(envelope, MAX_ENVELOPE_BYTES, at=at)
        faults += check_json(document.get("data"), settings.WORKFLOW_VALUE_MAX_BYTES, at=f"{at}/data")
    else:
        envelope = document
    if not faults:
        faults += [
            Fault(fault.pointer, _CODES.get(fault.code, fault.code), fault.detail)
            for fault in _VALIDATOR.faults(envelope, at=at)
        ]
    if faults:
        raise InvalidSubmission(faults)
    if "data_base64" in envelope:
        faults.append(Fault(f"{at}/data_base64", "binary_data", "Only JSON is kept: send it as data."))
    if envelope["source"].startswith(SOURCE):
        detail = f"Sources below {SOURCE} are those of this server's own jobs: use one of your own."
        faults.append(Fault(f"{at}/source", "reserved_source", detail))
    key = str(envelope.get("correlationkey", envelope.get("subject", "")))
    if len(key) > MAX_KEY:
        detail = f"is longer than {MAX_KEY} characters, so it cannot be the key: give a correlationkey"
        faults.append(Fault(f"{at}/subject", "too_long", detail))
    time = _time(envelope, at, faults)
    time_to_live = _time_to_live(envelope, at, faults)
    if faults:
        raise InvalidSubmission(faults)
    return Arrival(
        source=envelope["source"],
        event_id=envelope["id"],
        type=envelope["type"],
        key=key,
        subject=envelope.get("subject", ""),
        time=time,
        data=document.get("data"),
        time_to_live=time_to_live,
    )


def _time(envelope: Mapping[str, Any], at: str, faults: list[Fault]) -> datetime | None:
    if "time" not in envelope:
        return None
    try:
        # Senders that count nanoseconds write nine digits, which no database here keeps.
        return parse_timestamp(_FRACTION.sub(r"\1", envelope["time"]))
    except InvalidTimestamp as error:
        faults.append(Fault(f"{at}/time", "format", str(error)))
        return None


def _time_to_live(envelope: Mapping[str, Any], at: str, faults: list[Fault]) -> timedelta | None:
    if "timetolive" not in envelope:
        return None
    longest = timedelta(seconds=settings.WORKFLOW_EVENT_TTL_MAX_SECONDS)
    try:
        found = parse_duration(envelope["timetolive"])
    except InvalidDuration as error:
        faults.append(Fault(f"{at}/timetolive", "format", str(error)))
        return None
    if found > longest:
        faults.append(Fault(f"{at}/timetolive", "out_of_range", f"is longer than {longest.total_seconds():.0f} s"))
        return None
    return found


def from_headers(headers: Mapping[str, str], data: Any) -> dict[str, Any]:
    """The document of an event in the binary mode: each attribute is a header `ce-<name>`, the body is its data.

    Raises InvalidSubmission where the value of a header is no percent-encoded UTF-8.
    """
    document: dict[str, Any] = {"data": data}
    faults = []
    for header, value in headers.items():
        name = header.lower()
        if not name.startswith(HEADER) or name == f"{HEADER}data":
            continue
        attribute = name.removeprefix(HEADER)
        try:
            document[attribute] = _decoded(value)
        except UnicodeError:
            detail = f"The header {name[:60]} is no percent-encoded UTF-8."
            faults.append(Fault(f"/{attribute}", "invalid_header", detail))
    if faults:
        raise InvalidSubmission(faults)
    return document


def _decoded(value: str) -> str:
    """The text of a header. One in quotes, as older senders write it, is taken out of them first."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    return unquote_to_bytes(value.encode("latin-1")).decode("utf-8")
