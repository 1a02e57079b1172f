"""Take named values out of the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workflows.engine.contract import Completed, Json, Plugin, StepContext, StepError


class MissingField(StepError):
    """A field of the configuration points at nothing in the input, and has no default."""


class TransformFields(Plugin):
    """Answers an object with one value for each of the configuration's `fields`."""

    configuration_schema = {
        "type": "object",
        "required": ["fields"],
        "additionalProperties": False,
        "properties": {
            "fields": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {"type": "string", "pattern": "^(/.*)?$"},
            },
            "defaults": {"type": "object"},
        },
    }
    idempotent = True

    def run(self, context: StepContext) -> Completed:
        """The chosen values as output; raises MissingField where one is absent and has no default."""
        defaults: Mapping[str, Json] = self.configuration.get("defaults", {})
        output = {}
        for name, pointer in self.configuration["fields"].items():
            try:
                output[name] = value_at(context.input, pointer)
            except LookupError:
                if name not in defaults:
                    raise MissingField(f"The input has nothing at {pointer!r}, which {name!r} is taken from.") from None
                output[name] = defaults[name]
        return Completed(output)

    def simulate(self, context: StepContext) -> Completed:
        """The same: there is no effect outside."""
        return self.run(context)

    def check(self) -> Sequence[str]:
        """A default for a field that is not taken is a slip of the pen."""
        unknown = sorted(set(self.configuration.get("defaults", {})) - set(self.configuration.get("fields", {})))
        return [f"defaults has {name!r}, which is not one of the fields." for name in unknown]


def value_at(document: Json, pointer: str) -> Json:
    """What a JSON Pointer (RFC 6901) leads to; LookupError where it leads nowhere."""
    value: Any = document
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list) and key.isascii() and key.isdigit():
            value = value[int(key)]
        elif isinstance(value, dict):
            value = value[key]
        else:
            raise LookupError(pointer)
    return value
