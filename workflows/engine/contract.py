"""What a plugin is: the one module of the product that a plugin sees.

A plugin is a class that turns the input of a step into one of three answers: `Completed`, `Parked` or `Failed`.
It never touches the database, the job or the other steps; everything it may know is in its `StepContext`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

Json = Any
"""Anything `json.dumps` writes without help: None, bool, int, finite float, str, list, dict with str keys."""


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document that a step hands back, to be attached to the job: a letter, a receipt, a label.

    `content` is the whole document in bytes, at most `WORKFLOW_DOCUMENT_MAX_BYTES` of them.
    """

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class DocumentRef:
    """A document attached to the job, without its content. `size` is in bytes, `sha256` in hexadecimal."""

    id: str
    name: str
    media_type: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Completed:
    """The step is done. `output` is JSON; `outcome` is a word that transitions may ask for."""

    output: Json = None
    outcome: str | None = None
    documents: Sequence[NewDocument] = ()


@dataclass(frozen=True, slots=True)
class Parked:
    """The step waits for an answer from outside, given through `/jobs/{id}/tasks/{task}/response/`.

    `until` ends the wait with the error `Timeout` when no answer came. No thread is held meanwhile.
    """

    reason: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed. `error` is the name that `retry` and `on_error` match; `cause` is for people."""

    error: str
    cause: str = ""


Answer = Completed | Parked | Failed


class StepError(Exception):
    """Raise a subclass to fail a step by name: the name of the class is the error that `retry` matches.

    >>> class ServiceUnavailable(StepError): ...
    """

    @property
    def name(self) -> str:
        return type(self).__name__


@dataclass(frozen=True, slots=True)
class StepContext:
    """Everything a step may know about the job it is part of.

    `idempotency_key` is the same for every attempt of this run of the task: send it along with every effect outside,
    so that a repeated attempt is recognised there. `fence` rises with every claim of the job: a receiver that keeps
    the highest one can refuse a worker that has lost its lease.
    """

    job_id: str
    workflow: str
    version: int
    task: str
    iteration: int
    attempt: int
    input: Json
    now: datetime
    idempotency_key: str = ""
    fence: int = 0
    correlation_id: str = ""
    undoes: Mapping[str, Json] | None = None
    """In a compensation: the run that is undone, as `{"input", "output", "outcome"}`; `input` here is its output."""
    documents: Sequence[DocumentRef] = ()
    read_document: Callable[[str], bytes] = field(default=lambda document_id: b"", repr=False)


class Plugin(ABC):
    """Base class of every step implementation.

    A subclass says in `configuration_schema` (JSON Schema) what its row in the configuration table may hold. One
    instance serves many steps, so it keeps nothing between them.
    """

    configuration_schema: ClassVar[Mapping[str, Json]] = {"type": "object"}
    version: ClassVar[str] = "1"
    idempotent: ClassVar[bool] = False
    """True where running the step again with the same idempotency key has no second effect outside."""
    concurrent: ClassVar[bool] = False
    """True where the step mostly waits for the network: a worker then runs many of them at the same time, each in a
    thread. The instance is shared by the threads, the database should be left alone, and the step must keep its own
    time: a thread cannot be interrupted, so a step that is late fails with `Timeout` while its thread goes on."""

    def __init__(self, configuration: Mapping[str, Json] | None = None) -> None:
        self.configuration: Mapping[str, Json] = dict(configuration or {})

    @abstractmethod
    def run(self, context: StepContext) -> Answer | Mapping[str, Json] | None:
        """Do the step. A mapping, or None, is short for `Completed` with that output.

        Raise a `StepError` subclass to fail by name; any other exception fails the step as `Unexpected`.
        """

    def simulate(self, context: StepContext) -> Answer | Mapping[str, Json] | None:
        """What `run` would answer, without any effect outside. The default completes with no output."""
        return Completed()

    def check(self) -> Sequence[str]:
        """Faults of this configuration that only the plugin can see, as sentences; empty when there are none."""
        return ()


PLUGIN_NAME = re.compile(r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$")
"""A job type: lower-case words joined by dots, such as `claims.validate`."""
