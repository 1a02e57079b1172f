"""Simulation: what a job would do, decided by the engine that runs jobs, without doing any of it.

Plugins are asked by `simulate`, never by `run`; nothing is written and nothing is sent. Where a decision is needed that
the request does not give, the first outcome is taken, and that is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import timezone

from workflows.engine.contract import Answer, Completed, Failed, Json, Parked, StepContext, StepError
from workflows.engine.decide import step_input, undoing
from workflows.engine.definition import Definition
from workflows.engine.durations import parse_duration
from workflows.engine.events import Event, OpenWork, TaskCompleted, TaskFailed, TaskParked
from workflows.engine.exceptions import EngineError, ExpressionError, InvalidDefinition, InvalidDuration
from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import SchemaValidator, check_json, pointer_to
from workflows.engine.parsing import parse
from workflows.engine.state import JobState, Waiting
from workflows.engine.walk import Budget, Given, PathStep, Walk, walk
from workflows.execution.calendars import moved
from workflows.execution.definitions import get_definition, version_to_start
from workflows.execution.exceptions import DefinitionNotFound
from workflows.execution.limits import StepTimeout, time_limit
from workflows.intake import drafts, publishing
from workflows.intake.exceptions import NoSuchVersion
from workflows.registry import PluginNotFound, get_plugin

from .exceptions import InvalidRequest

MAX_STEPS = 1_000
MAX_OUTPUT_BYTES = 2**20
STEP_SECONDS = 5.0
_ITEM = re.compile(r"(.*)\[(\d+)\]")

ANSWER: dict[str, Any] = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {
                "outcome": {"type": ["string", "null"]},
                "output": {},
                "error": {"type": "string", "minLength": 1, "maxLength": 200},
                "cause": {"type": "string", "maxLength": 2000},
                "after": {"type": "string", "description": "How long it takes, such as P2D."},
            },
            "additionalProperties": False,
        },
    ]
}
"""The shape of an answer that is given, as JSON Schema."""
_answer_shape = SchemaValidator(ANSWER)

_calendar_of: list[Callable[[str], str | None]] = []


def register_department_calendar(calendar_of: Callable[[str], str | None]) -> None:
    """Let `calendar_of(code)` say on which calendar a department works; None for around the clock."""
    _calendar_of[:] = [calendar_of]


@dataclass(frozen=True, slots=True)
class Asked:
    """Who would be asked to decide, and until when."""

    department: str | None
    queue: str | None
    assignee: str | None
    title: str
    outcomes: tuple[str, ...]
    quorum: Json
    constraints: Json
    due_at: datetime | None
    calendar: str | None


@dataclass(frozen=True, slots=True)
class SimulatedStep:
    """One run of one task on the path. `task` is `ship/pack` in a child workflow, `m[3]` for an item of a map."""

    task: str
    type: str
    iteration: int
    at: datetime
    result: str
    outcome: str | None
    output: Json
    error: str | None
    cause: str | None
    assumed: str
    asked: Asked | None


@dataclass(slots=True)
class Simulation:
    """What a job would do. `stopped` says why the walk went no further though the job had not ended."""

    workflow: str
    version: int | None
    status: str
    started_at: datetime
    ended_at: datetime
    path: list[SimulatedStep] = field(default_factory=list)
    output: Json = None
    error: Json = None
    waiting_for: list[Waiting] = field(default_factory=list)
    published: list[dict[str, Json]] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)
    stopped: str = ""


def definition_to_try(
    name: str, *, version: int | str | None = None, document: Any = None
) -> tuple[Definition, int | None]:
    """The definition that is tried, and its number: a version, the `draft`, a document, or without them the newest.

    NoSuchVersion where there is none; InvalidDefinition with every fault of a document that could not be published.
    """
    if document is None and version == "draft":
        document = drafts.document_of(name, "draft")
    if document is not None:
        found = publishing.faults(document)
        if found:
            raise InvalidDefinition(found)
        return parse(document), None
    try:
        number = version_to_start(name) if version is None else int(version)
        return get_definition(name, number), number
    except DefinitionNotFound as error:
        raise NoSuchVersion(str(error)) from None


def simulate(
    name: str,
    input: Json,
    *,
    version: int | str | None = None,
    document: Any = None,
    outcomes: Mapping[str, Sequence[Any]] | None = None,
    now: datetime | None = None,
) -> Simulation:
    """Walk one input through a version of a workflow, the draft, or a document that is nowhere kept.

    `outcomes` gives answers by task, one for each iteration (for a map, for each item): an outcome, or
    `{"outcome"?, "output"?, "error"?, "cause"?, "after"?}`, where `after` is how long it takes. Raises as
    `definition_to_try`; InvalidRequest where the input breaks the schema, or an answer is for a task or an outcome that
    is not there.
    """
    definition, number = definition_to_try(name, version=version, document=document)
    faults = check_json(input, MAX_OUTPUT_BYTES, at="/input") or definition.input_validator.faults(input, at="/input")
    answers = _SimulatedAnswers(definition, outcomes or {}, name, number)
    faults = [*faults, *answers.faults]
    if faults:
        raise InvalidRequest(faults)
    began = now or timezone.now()
    done = walk(definition, input, answers, now=began, budget=Budget(MAX_STEPS))
    return _told(done, name, number, began)


def _told(done: Walk, name: str, number: int | None, began: datetime) -> Simulation:
    state = done.state
    published = [
        {
            "at": at,
            "task": place,
            "type": message.event,
            "data": message.data,
            "destination": message.department or message.queue,
        }
        for at, place, message in done.published
    ]
    return Simulation(
        workflow=name,
        version=number,
        status=state.status,
        started_at=began,
        ended_at=done.now,
        path=[_step(step) for step in done.path],
        output=state.output if state.status == "DONE" else None,
        error=state.error,
        waiting_for=list(state.waiting),
        published=published,
        assumptions=list(dict.fromkeys(done.notes)),
        stopped=done.stopped,
    )


def _step(step: PathStep) -> SimulatedStep:
    asked = None
    if step.request is not None:
        asked = asked_of(step.request, step.asked_at or step.at)
    facts = (step.task, step.type, step.iteration, step.at, step.result)
    return SimulatedStep(*facts, step.outcome, step.output, step.error, step.cause, step.assumed, asked)


def asked_of(request: OpenWork, at: datetime) -> Asked:
    """Who a request is for, with its due time on the calendar of the department."""
    calendar = None
    if request.department is not None and _calendar_of:
        calendar = _calendar_of[0](request.department)
    due_at = request.due_at
    if request.due is not None and calendar is not None:
        due_at = moved(at, request.due, calendar)
    place = (request.department, request.queue, request.assignee)
    return Asked(*place, request.title, request.outcomes, request.quorum, request.constraints, due_at, calendar)


class _SimulatedAnswers:
    """What the request says, what plugins would answer, and the first outcome for everything else."""

    def __init__(
        self, definition: Definition, outcomes: Mapping[str, Sequence[Any]], workflow: str, version: int | None
    ) -> None:
        self.workflow = workflow
        self.version = version or 0
        self.faults: list[Fault] = []
        self._maps = frozenset(name for name, task in definition.tasks.items() if task.type == "map")
        self._given: dict[str, list[Given]] = {}
        for place, entries in outcomes.items():
            first = re.split(r"[\[/]", place, maxsplit=1)[0].removeprefix("undo:")
            if first not in definition.tasks:
                detail = f"The workflow has no task {first!r}."
                self.faults.append(Fault(pointer_to(["outcomes", place]), "unknown_task", detail))
                continue
            task = definition.tasks.get(place)
            allowed = task.outcomes if task is not None else ()
            self._given[place] = [
                self._read(["outcomes", place, index], entry, allowed) for index, entry in enumerate(entries)
            ]

    def _read(self, path: Sequence[str | int], entry: Any, allowed: Sequence[str]) -> Given:
        found = _answer_shape.faults(entry, at=pointer_to(path))
        if found:
            self.faults += found
            return Given()
        values = {"outcome": entry} if isinstance(entry, str) else dict(entry)
        if "after" in values:
            try:
                values["after"] = parse_duration(values["after"])
            except InvalidDuration as error:
                self.faults.append(Fault(pointer_to([*path, "after"]), "bad_duration", str(error)))
                del values["after"]
        outcome = values.get("outcome")
        if allowed and "error" not in values:
            values.setdefault("outcome", allowed[0])
            if outcome is not None and outcome not in allowed:
                detail = f"The outcome is one of {', '.join(allowed)}, not {outcome!r}."
                self.faults.append(Fault(pointer_to([*path, "outcome"]), "unknown_outcome", detail))
        self.faults += check_json(values.get("output"), MAX_OUTPUT_BYTES, at=pointer_to([*path, "output"]))
        return Given(**values)

    def given(self, place: str, iteration: int) -> Given | None:
        entries, index = self._given.get(place), iteration - 1
        item = _ITEM.fullmatch(place)
        if place in self._maps:
            entries = None  # the answers for a map are those of its items, in their order
        elif entries is None and item is not None:
            entries, index = self._given.get(item[1]), int(item[2])
        return entries[index] if entries is not None and index < len(entries) else None

    def step(self, definition: Definition, state: JobState, task: str, now: datetime) -> Event | Given | None:
        spec, standing = definition.task(task), state.tasks[task]
        run = (task, standing.iteration)
        if spec.type == "http":
            try:
                step_input(definition, state, task)
            except ExpressionError as error:
                return TaskFailed(*run, "ExpressionError", str(error))
            assumed = f"{task}: the service was not called; an empty reply was taken."
            return Given(output={"status": (spec.expect or (200,))[0], "headers": {}, "body": None}, assumed=assumed)
        try:
            undone = undoing(state, task)
            undoes = None
            if undone is None:
                value = step_input(definition, state, task)
            else:
                ended = state.tasks[undone[0]]
                value = ended.output
                undoes = {"input": None, "output": ended.output, "outcome": ended.outcome}
            plugin = get_plugin(spec.plugin or "")
        except (ExpressionError, PluginNotFound) as error:
            kind = "ExpressionError" if isinstance(error, ExpressionError) else "PluginNotFound"
            return TaskFailed(*run, kind, str(error))
        context = StepContext(
            job_id=state.job_id,
            workflow=self.workflow,
            version=self.version,
            task=task,
            iteration=standing.iteration,
            attempt=standing.attempt,
            input=value,
            now=now,
            idempotency_key=f"{state.job_id}:{task}:{standing.iteration}",
            undoes=undoes,
        )
        try:
            with time_limit(STEP_SECONDS):
                answer = plugin.simulate(context)
        except StepTimeout:
            return TaskFailed(*run, "Timeout", f"Its simulation took longer than {STEP_SECONDS:g} seconds.")
        except StepError as error:
            return TaskFailed(*run, error.name, str(error))
        except (Exception, SystemExit) as error:
            return TaskFailed(*run, "Unexpected", f"{type(error).__name__}: {error}")
        return _event_of(answer, *run)

    def assumed(self, place: str, waiting: Waiting, request: OpenWork | None) -> Given | None:
        if request is not None and request.kind == "human":
            outcome = request.outcomes[0] if request.outcomes else None
            output = example_of(request.form)
            filled = " and the form filled in with examples" if output else ""
            return Given(outcome, output, assumed=f"{place}: the outcome `{outcome}` was taken{filled}.")
        if waiting.kind == "event":
            return Given(output={}, assumed=f"{place}: an event without data was taken to come.")
        return Given(output={}, assumed=f"{place}: an empty answer was taken to come.")

    def child(self, workflow: str, version: int | None) -> Definition | None:
        try:
            return get_definition(workflow, version_to_start(workflow, version))
        except (DefinitionNotFound, EngineError):
            return None


def _event_of(answer: Answer | Mapping[str, Json] | None, task: str, iteration: int) -> Event:
    if answer is None or isinstance(answer, Mapping):
        answer = Completed(dict(answer) if answer is not None else None)
    if isinstance(answer, Failed):
        return TaskFailed(task, iteration, str(answer.error), str(answer.cause)[:2000])
    if isinstance(answer, Parked):
        return TaskParked(task, iteration, answer.reason, answer.until)
    if not isinstance(answer, Completed) or check_json(answer.output, MAX_OUTPUT_BYTES):
        return TaskFailed(task, iteration, "Unexpected", "Its simulation returned what no step may return.")
    return TaskCompleted(task, iteration, answer.output, answer.outcome)


def example_of(schema: Json, depth: int = 0) -> Json:
    """A value that a form might be filled in with: defaults, first choices, zeros; of objects the required fields and
    those with a default."""
    if not isinstance(schema, dict) or depth > 10:
        return {} if depth == 0 else None
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("enum", "examples"):
        if isinstance(schema.get(key), list) and schema[key]:
            return schema[key][0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    properties = schema.get("properties")
    if kind == "object" or isinstance(properties, dict):
        fields = properties if isinstance(properties, dict) else {}
        needed = {name for name in schema.get("required", ()) if isinstance(name, str)}
        wanted = [
            name for name, inner in fields.items() if name in needed or (isinstance(inner, dict) and "default" in inner)
        ]
        return {name: example_of(fields[name], depth + 1) for name in wanted}
    examples: dict[Any, Json] = {"array": [], "boolean": False, "string": "", "null": None}
    if kind in ("number", "integer"):
        return schema.get("minimum", 0)
    return examples.get(kind, {} if depth == 0 else None)
