"""What can go wrong in the engine. Every message is a sentence for the person who wrote the definition."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .faults import Fault


class EngineError(Exception):
    """Base of everything the engine raises on purpose."""


class UnreadableDocument(EngineError):
    """The text is no JSON or YAML document that a definition may be written in."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class InvalidDefinition(EngineError):
    """The document breaks the contract; `faults` holds every fault found, never only the first."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.pointer or '/'}: {fault.detail}" for fault in self.faults))


class InvalidDuration(EngineError, ValueError):
    """The text is no ISO 8601 duration of a fixed length."""


class InvalidTimestamp(EngineError, ValueError):
    """The text is no RFC 3339 timestamp with an offset."""


class InvalidState(EngineError):
    """The stored job state was written by something else, or by a newer release."""


class ExpressionError(EngineError):
    """An expression could not be evaluated; this is also the name of the error that fails the task."""


class MissingName(ExpressionError):
    """An expression names something that is not there; the name is in the message."""


class ExpressionSyntaxError(ExpressionError):
    """The expression does not parse, or is larger than what can be bounded."""


class InvalidEvent(EngineError):
    """The stored event was written by something else, or by a newer release."""


class InvalidCalendar(EngineError, ValueError):
    """The hours, holidays or time zone of a calendar cannot be used; `faults` holds every fault found."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(" ".join(fault.detail for fault in self.faults))


class NoWorkingTime(EngineError, ValueError):
    """The calendar has no working time, or none within reach; this is also the name of the error at use."""
