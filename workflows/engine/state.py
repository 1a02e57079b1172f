"""Where every task of one job stands: the serialized workflow object.

Values only. Nothing here is changed in place: `decide` makes a new state out of an old one, sharing what is equal.
The input of the job is not part of the JSON form, because it is stored once, with the job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from .contract import Json
from .durations import format_timestamp, parse_timestamp
from .events import UNSET, Unset
from .exceptions import InvalidState

SCHEMA_VERSION: Final = 1

READY, WAITING, RETRYING, DONE = "ready", "waiting", "retrying", "done"
FAILED, SKIPPED, WITHDRAWN, PENDING = "failed", "skipped", "withdrawn", "pending"
ACTIVE: Final = frozenset({READY, WAITING, RETRYING})
_STATUSES: Final = ACTIVE | {DONE, FAILED, SKIPPED, WITHDRAWN, PENDING}

TAKEN, DEAD, SPENT = "taken", "dead", "spent"
PHASES: Final = frozenset({"active", "compensating", "done", "failed", "cancelled"})
MOVING: Final = frozenset({"active", "compensating"})
"""The phases in which tasks run and timers count."""
_TIMES: Final = frozenset({"wake_at", "timeout_at", "since"})


@dataclass(frozen=True, slots=True)
class TaskState:
    """The newest run of one task.

    `pending` is a task that a loop has reset: what it returned before stays readable until it runs again. `ran` says
    that `output` and `outcome` are those of a finished run. A `failed` task that is `caught` went on by `on_error`;
    one that is not is a dead letter. `loop` is the back edge whose limit failed the task, `started_by` the transition
    that started a `join: any` task, `retries` what each retrier has granted, by its place in the document. A `done`
    task that is `by_hand` was skipped by a person: nothing was done that could be undone.
    """

    status: str
    iteration: int = 1
    attempt: int = 1
    ran: bool = False
    outcome: str | None = None
    output: Json = None
    error: Mapping[str, str] | None = None
    caught: bool = False
    by_hand: bool = False
    retries: Mapping[str, int] = field(default_factory=dict)
    started_by: int | None = None
    loop: int | None = None
    kind: str = ""
    since: datetime | None = None
    wake_at: datetime | None = None
    timeout_at: datetime | None = None
    department: str | None = None
    queue: str | None = None
    reason: str = ""
    input: Json | Unset = UNSET
    _json: dict[str, Json] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def dead_letter(self) -> bool:
        return self.status == FAILED and not self.caught

    @property
    def active(self) -> bool:
        """Whether the job is not over while this task stands like this."""
        return self.status in ACTIVE or self.dead_letter

    @property
    def timer(self) -> datetime | None:
        """The next moment at which time alone moves this task."""
        moments = [moment for moment in (self.wake_at, self.timeout_at) if moment is not None]
        return min(moments, default=None)

    def to_json(self) -> dict[str, Json]:
        """Only what differs from the defaults, so that a long job stays small. Made once: most tasks stand still."""
        if self._json is None:
            object.__setattr__(self, "_json", self._as_json())
        return self._json or {}

    def _as_json(self) -> dict[str, Json]:
        data: dict[str, Json] = {}
        for name, default in _TASK_DEFAULTS.items():
            value = getattr(self, name)
            if value is not default and (name == "input" or value != default):  # an input may be null
                data[name] = format_timestamp(value) if name in _TIMES else value
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> TaskState:
        """Read what `to_json` wrote. Raises InvalidState for anything else."""
        unknown = set(data) - set(_TASK_DEFAULTS)
        if unknown or data.get("status") not in _STATUSES:
            raise InvalidState(f"A task state holds {sorted(unknown)!r} and the status {data.get('status')!r}.")
        values: dict[str, Any] = dict(data)
        for name in _TIMES & values.keys():
            values[name] = parse_timestamp(values[name])
        task = cls(**values)
        object.__setattr__(task, "_json", data)
        return task


_TASK_DEFAULTS: Final[Mapping[str, Any]] = {
    item.name: None if item.name == "status" else ({} if item.name == "retries" else item.default)
    for item in fields(TaskState)
    if item.init
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thing that a job waits for: `kind` is human, external, wait, event, children, retry, or plugin (a
    parked step)."""

    task: str
    iteration: int
    kind: str
    since: datetime | None
    until: datetime | None
    department: str | None = None
    queue: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class JobState:
    """The whole of one job.

    `active` names the tasks that keep the job from its end, in the order they became active; everything asked for on
    every step is answered from it, so that the cost of a step does not grow with the size of the definition. `last` is
    the task that finished last. `undo` has the finished runs that can be undone, in the order they finished; while the
    job is compensated the last of them is the one at work. `ending` says who cancelled the job, and why, for when that
    is over.
    """

    input: Json
    job_id: str = ""
    created_at: datetime | None = None
    priority: int = 50
    deadline: datetime | None = None
    phase: str = "active"
    tasks: Mapping[str, TaskState] = field(default_factory=dict)
    transitions: Mapping[int, str] = field(default_factory=dict)
    loops: Mapping[int, int] = field(default_factory=dict)
    active: tuple[str, ...] = ()
    last: str | None = None
    failure: Mapping[str, str | None] | None = None
    output: Json = None
    undo: tuple[tuple[str, int], ...] = ()
    ending: Mapping[str, str] | None = None

    @classmethod
    def new(cls, input: Json) -> JobState:
        """The state of a job that nothing has happened to yet."""
        return cls(input=input)

    # ---- what the executor asks ----

    @property
    def started(self) -> bool:
        return self.created_at is not None

    @cached_property
    def runnable(self) -> tuple[str, ...]:
        """The tasks that a worker has to run now, in the order they became ready."""
        if self.phase not in MOVING:
            return ()
        return tuple(name for name in self.active if self.tasks[name].status == READY)

    @cached_property
    def status(self) -> str:
        """READY, PEND, DONE, FAIL or CANC, in the words of the job table."""
        settled = {"done": "DONE", "failed": "FAIL", "cancelled": "CANC"}.get(self.phase)
        if settled is not None:
            return settled
        if self.runnable or not self.started:
            return "READY"
        return "FAIL" if any(self.tasks[name].dead_letter for name in self.active) else "PEND"

    @property
    def wake_at(self) -> datetime | None:
        """The earliest timer: the end of a wait, a retry that is due, the time-out of a task or of the job."""
        if self.phase not in MOVING:
            return None
        moments = [self.tasks[name].timer for name in self.active]
        return min((moment for moment in (*moments, self.deadline) if moment is not None), default=None)

    @property
    def waiting(self) -> tuple[Waiting, ...]:
        """Everything the job waits for, in the order it began to wait."""
        if self.phase not in (*MOVING, "failed"):
            return ()
        found = []
        for name in self.active:
            task = self.tasks[name]
            if task.status in (WAITING, RETRYING):
                kind = "retry" if task.status == RETRYING else task.kind
                place = (task.department, task.queue, task.reason)
                found.append(Waiting(name, task.iteration, kind, task.since, task.timer, *place))
        return tuple(found)

    @property
    def outcome(self) -> str | None:
        """The outcome of the task that finished last."""
        return None if self.last is None else self.tasks[self.last].outcome

    @property
    def error(self) -> dict[str, str | None] | None:
        """What a person has to look at: name, cause and task of the first failure that nobody handled."""
        if self.failure is not None and not self.active:
            return dict(self.failure)
        for name in self.active:
            task = self.tasks[name]
            if task.dead_letter and task.error is not None:
                return {"name": task.error["name"], "cause": task.error["cause"], "task": name}
        return None if self.failure is None else dict(self.failure)

    # ---- the JSON form ----

    def to_json(self) -> dict[str, Json]:
        """The state as JSON, without the input and without what has its default: it is written at every step. Equal
        states give equal JSON."""
        data: dict[str, Json] = {"schema_version": SCHEMA_VERSION, "phase": self.phase, "priority": self.priority}
        if self.job_id:
            data["job_id"] = self.job_id
        if self.created_at is not None:
            data["created_at"] = format_timestamp(self.created_at)
        if self.deadline is not None:
            data["deadline"] = format_timestamp(self.deadline)
        if self.tasks:
            data["tasks"] = {name: task.to_json() for name, task in self.tasks.items()}
        if self.transitions:
            data["transitions"] = {str(index): word for index, word in self.transitions.items()}
        if self.loops:
            data["loops"] = {str(index): count for index, count in self.loops.items()}
        if self.active:
            data["active"] = list(self.active)
        if self.last is not None:
            data["last"] = self.last
        if self.failure is not None:
            data["failure"] = dict(self.failure)
        if self.output is not None:
            data["output"] = self.output
        if self.undo:
            data["undo"] = [list(run) for run in self.undo]
        if self.ending is not None:
            data["ending"] = dict(self.ending)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Json], input: Json) -> JobState:
        """The state that `to_json` described, together with the input. Raises InvalidState for anything else."""
        if not isinstance(data, Mapping) or data.get("schema_version") != SCHEMA_VERSION:
            raise InvalidState("The state is not of schema version 1.")
        try:
            return cls(
                input=input,
                job_id=data.get("job_id", ""),
                created_at=_moment(data.get("created_at")),
                priority=data["priority"],
                deadline=_moment(data.get("deadline")),
                phase=_phase(data["phase"]),
                tasks={name: TaskState.from_json(task) for name, task in data.get("tasks", {}).items()},
                transitions={int(index): word for index, word in data.get("transitions", {}).items()},
                loops={int(index): count for index, count in data.get("loops", {}).items()},
                active=tuple(data.get("active", ())),
                last=_last(data),
                failure=data.get("failure"),
                output=data.get("output"),
                undo=tuple((name, iteration) for name, iteration in data.get("undo", ())),
                ending=data.get("ending"),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidState(f"The state cannot be read: {type(error).__name__}: {error}.") from None


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_timestamp(text)


def _last(data: Mapping[str, Json]) -> str | None:
    """The first releases kept every finished run, in order, and not the last one alone."""
    name: str | None = data["last"] if "last" in data else (data.get("finished") or [[None]])[-1][0]
    return name


def _phase(word: str) -> str:
    if word not in PHASES:
        raise InvalidState(f"There is no phase {word!r}.")
    return word
