"""A published definition, ready to be decided upon: frozen, checked, expressions compiled, graph worked out.

Build one with `parsing.parse`; the constructors here check nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

from .contract import Json
from .expressions import Expression
from .graph import Graph
from .templates import Template


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """One retrier of a task. `max_attempts` counts every attempt, the first one too."""

    errors: tuple[str, ...] = ("*",)
    interval: timedelta = timedelta(seconds=1)
    backoff_rate: float = 2.0
    max_attempts: int = 5
    max_delay: timedelta = timedelta(seconds=16)
    jitter: str = "none"

    def matches(self, error: str) -> bool:
        return error in self.errors or "*" in self.errors


@dataclass(frozen=True, slots=True)
class Task:
    """One node. `spec` is its document; the typed fields below are read from it, None or empty where it has none.

    `timeout` bounds one attempt: the executor enforces it while a plugin runs, the engine while a task waits.
    """

    name: str
    type: str
    title: str = ""
    input: Template | None = None
    retry: tuple[RetryPolicy, ...] = ()
    timeout: timedelta | None = None
    join: str = "all"
    split: str = "all"
    compensate: str | None = None
    priority: int | None = None
    plugin: str | None = None
    department: str | None = None
    queue: str | None = None
    outcomes: tuple[str, ...] = ()
    form: Json = None
    due: timedelta | None = None
    assignee: Template | None = None
    title_template: Template | None = None
    message: Template | None = None
    event: str | None = None
    data: Template | None = None
    wait_for: Template | None = None
    wait_until: Template | None = None
    error: str | None = None
    cause: Template | None = None
    spec: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transition:
    """One edge; `index` is its place in the document. `max_iterations` is set on back edges alone.

    `on_error` is empty on the transitions that are taken when the task ends well.
    """

    index: int
    source: str
    target: str
    when: Expression | None = None
    default: bool = False
    on_error: tuple[str, ...] = ()
    max_iterations: int | None = None

    @property
    def is_loop(self) -> bool:
        return self.max_iterations is not None

    def catches(self, error: str) -> bool:
        return error in self.on_error or "*" in self.on_error


@dataclass(frozen=True)
class Definition:
    """One version of a workflow. `document` is the JSON it was read from."""

    name: str
    title: str
    description: str
    labels: Json
    input_schema: Json
    tasks: Mapping[str, Task]
    transitions: tuple[Transition, ...]
    output: Template | None
    timeout: timedelta | None
    sla_due: timedelta | None
    priority: int
    document: Mapping[str, Json]

    @cached_property
    def graph(self) -> Graph:
        forward = [(edge.source, edge.target) for edge in self.transitions if not edge.is_loop]
        return Graph(tuple(self.tasks), tuple(forward))

    @cached_property
    def outgoing(self) -> Mapping[str, tuple[Transition, ...]]:
        """Every transition of each task, loops included, in document order."""
        found: dict[str, list[Transition]] = {name: [] for name in self.tasks}
        for transition in self.transitions:
            found[transition.source].append(transition)
        return {name: tuple(edges) for name, edges in found.items()}

    @cached_property
    def incoming(self) -> Mapping[str, tuple[Transition, ...]]:
        """The transitions a join waits for: loops are not among them."""
        found: dict[str, list[Transition]] = {name: [] for name in self.tasks}
        for transition in self.transitions:
            if not transition.is_loop:
                found[transition.target].append(transition)
        return {name: tuple(edges) for name, edges in found.items()}

    @cached_property
    def start_tasks(self) -> tuple[str, ...]:
        return tuple(name for name in self.tasks if not self.incoming[name])

    def reset_by(self, target: str) -> tuple[str, ...]:
        """What a loop back to `target` resets: the target and everything downstream of it, in document order."""
        return self.graph.downstream(target)
