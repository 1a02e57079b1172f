"""Bodies of requests: one JSON Schema is what is checked and what the OpenAPI document shows."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request

from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import SchemaValidator

from .problems import invalid

_CODES = {"additionalProperties": "unknown_field"}


class Body:
    """The shape of a JSON body. A field that it does not name is refused, and a wrong type never converted."""

    def __init__(self, properties: dict[str, Any], required: tuple[str, ...] = ()) -> None:
        self.schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        if required:
            self.schema["required"] = list(required)
        self._validator = SchemaValidator(self.schema)

    def read(self, request: Request) -> dict[str, Any]:
        """The body of a request. Problem (422) with every fault."""
        return self.check(request.data)

    def check(self, value: Any) -> dict[str, Any]:
        """The value, where it has this shape. Problem (422) with every fault otherwise."""
        faults = self._validator.faults(value)
        if faults:
            raise invalid(Fault(fault.pointer, _CODES.get(fault.code, fault.code), fault.detail) for fault in faults)
        return value  # type: ignore[no-any-return]

    @property
    def openapi(self) -> dict[str, Any]:
        """For `extend_schema(request=…)`."""
        return {"application/json": self.schema}


ANY_JSON: dict[str, Any] = {}
NAME = {"type": "string", "minLength": 1, "maxLength": 100}
SUBMISSION: dict[str, Any] = {
    "workflow": {**NAME, "description": "Name of a published definition, or a plugin's job type."},
    "version": {
        "type": "integer",
        "minimum": 0,
        "maximum": 2**31 - 1,
        "description": "The newest where it is missing.",
    },
    "input": {"description": "Any JSON that the definition's input_schema allows."},
    "priority": {"type": "integer", "minimum": 0, "maximum": 100},
    "run_at": {"type": "string", "format": "date-time", "description": "Not before this time."},
    "correlation_id": {"type": "string", "maxLength": 200},
    "documents": {
        "type": "array",
        "items": {"type": "string", "format": "uuid"},
        "maxItems": 50,
        "description": "Ids of documents that you uploaded before.",
    },
}
