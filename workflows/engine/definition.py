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
from .jsonvalue import SchemaValidator
from .syntax import Path
from .templates import Template

RUN_BY_WORKER = frozenset({"plugin", "http"})
"""The types whose work a worker does, between two commits; all others are started where they are decided."""

_UNDO = "undo:"


def compensation_of(task: str) -> str:
    """The name under which the undoing of a task has its state, its runs and its history. No task can have it."""
    return _UNDO + task


def compensated_task(name: str) -> str | None:
    """The task that a name of `compensation_of` undoes; None for any other name."""
    return name.removeprefix(_UNDO) if name.startswith(_UNDO) else None


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

    `timeout` bounds one attempt: the executor enforces it while a step runs, the engine while a task waits. `inner` is
    the document of the task that a `map` runs for each item, and `inner_paths` are the names its expressions read.
    `queue` of a `plugin` or `http` task sends it to the clusters of that name, as a child job.
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
    method: str | None = None
    url: Template | None = None
    headers: Template | None = None
    body: Template | None = None
    expect: tuple[int, ...] = ()
    correlation_key: Template | None = None
    workflow: str | None = None
    version: int | None = None
    items: Template | None = None
    inner: Mapping[str, Json] | None = None
    inner_paths: tuple[Path, ...] = ()
    max_concurrency: int | None = None
    tolerated_failures: int = 0
    follow_up: timedelta | None = None
    quorum: Json = None
    constraints: Json = None
    escalate: Json = None
    resource: str | None = None
    spec: Mapping[str, Json] = field(default_factory=dict)

    @property
    def runs_elsewhere(self) -> bool:
        """Whether it is work of a worker, but of those of another queue."""
        return self.queue is not None and self.type in RUN_BY_WORKER


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
    sla_calendar: str | None = None
    max_concurrency: int | None = None
    rate_limit: tuple[int, timedelta] | None = None
    on_failure: str | None = None
    fragment: str = ""
    """The path of the one task, in its parent's definition, that this was cut out of; empty for a whole definition."""

    def task(self, name: str) -> Task:
        """A task, or the compensation of one under the name that `compensation_of` gives it. KeyError for neither."""
        return self.tasks[name] if name in self.tasks else self._compensations[name]

    @cached_property
    def _compensations(self) -> Mapping[str, Task]:
        """For every task that can be undone the step that undoes it, retried and limited as the task itself."""
        return {
            compensation_of(task.name): Task(
                name=compensation_of(task.name),
                type="plugin",
                title=f"Undo {task.title}",
                retry=task.retry,
                timeout=task.timeout,
                plugin=task.compensate,
                resource=task.resource,
                spec={"type": "plugin", "plugin": task.compensate},
            )
            for task in self.tasks.values()
            if task.compensate is not None
        }

    @cached_property
    def input_validator(self) -> SchemaValidator:
        """What an input of the workflow is held against."""
        return SchemaValidator(self.input_schema)

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
