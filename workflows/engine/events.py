"""What may happen to a job, and what `decide` answers: the two vocabularies of the engine, as plain values.

Events go in: each is one fact, written by a door or a worker. Out come a new state, records (what happened, for the
task runs and the history) and commands (what someone else has to do now, inside the same transaction).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from .contract import Json


class Unset:
    """The type of `UNSET`: told apart from None, which is a value."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset()


# ---- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JobStarted:
    """The job is claimed for the first time: every start task begins."""

    job_id: str
    created_at: datetime
    priority: int


@dataclass(frozen=True, slots=True)
class TaskCompleted:
    """A plugin step ended well."""

    task: str
    iteration: int
    output: Json = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class TaskParked:
    """A plugin step waits for an answer from outside, at most until `until`."""

    task: str
    iteration: int
    reason: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """One attempt of a task failed."""

    task: str
    iteration: int
    error: str
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Responded:
    """A waiting task was answered: a decision of a person, or a response of another system."""

    task: str
    iteration: int
    outcome: str | None = None
    output: Json = None
    actor: str = ""


@dataclass(frozen=True, slots=True)
class EventReceived:
    """An event came that an `event` task waits for; `data` becomes its output."""

    task: str
    iteration: int
    data: Json = None
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class ChildrenFinished:
    """Every child job of one attempt of a task has ended, and few enough failed. `output` is the task's output."""

    task: str
    iteration: int
    attempt: int
    output: Json = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class ChildrenFailed:
    """More child jobs of one attempt failed than the task tolerates: the error is the first one's."""

    task: str
    iteration: int
    attempt: int
    error: str
    cause: str = ""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The clock moved: whatever is due at `now` happens (waits end, retries start, timeouts strike)."""


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """An operator or an upstream system cancels the job; with `compensate`, what it has done is undone first."""

    actor: str = ""
    reason: str = ""
    compensate: bool = False


@dataclass(frozen=True, slots=True)
class RetryRequested:
    """An operator starts failed tasks again: the named one, or all. `input` replaces the task's input."""

    task: str | None = None
    input: Json | Unset = UNSET
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SkipRequested:
    """An operator finishes a failed or waiting task by hand, with an output, and an outcome for its transitions."""

    task: str
    output: Json = None
    actor: str = ""
    outcome: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RestartRequested:
    """An operator starts a task, and everything downstream of it, again as a new iteration."""

    task: str
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Migrated:
    """The job was moved to another version of its workflow; `mapping` says which task goes on as which.

    Not decided upon: `migration.migrate` does it, and a history keeps it in its place among the events.
    """

    from_version: int
    to_version: int
    mapping: Mapping[str, str] = field(default_factory=dict)
    actor: str = ""
    reason: str = ""


Event = (
    JobStarted
    | TaskCompleted
    | TaskParked
    | TaskFailed
    | Responded
    | EventReceived
    | ChildrenFinished
    | ChildrenFailed
    | TimePassed
    | CancelRequested
    | RetryRequested
    | SkipRequested
    | RestartRequested
)


# ---- commands -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenWork:
    """Ask a department, or another system, for an answer: `kind` is `human` or `external`.

    `data` is the task's evaluated input (human) or message (external). Exactly one of `department` and `queue` is set.
    """

    task: str
    iteration: int
    kind: str
    title: str
    department: str | None = None
    queue: str | None = None
    data: Json = None
    outcomes: tuple[str, ...] = ()
    form: Json = None
    due_at: datetime | None = None
    """When it is due around the clock; whoever opens it may know a working calendar, and counts `due` by that."""
    due: str | None = None
    """As the definition writes it: on a calendar P1D is a working day, and PT24H three of eight hours."""
    follow_up: str | None = None
    assignee: str | None = None
    priority: int = 50
    quorum: Json = None
    constraints: Json = None
    escalate: Json = None


@dataclass(frozen=True, slots=True)
class WithdrawWork:
    """An open request is no longer wanted: a loop went back over it, or the job was cancelled or skipped it."""

    task: str
    iteration: int
    reason: str


TASK_REQUESTED = "task.requested"
"""The type of the message that asks another system to do an `external` task."""


@dataclass(frozen=True, slots=True)
class Publish:
    """Send a message out: an `emit` task's event, or the command of an `external` task (type `task.requested`)."""

    task: str
    iteration: int
    event: str
    data: Json = None
    department: str | None = None
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class AwaitEvent:
    """Tell this task when an event of that type comes, or came and has not expired. No key: the job's own reference."""

    task: str
    iteration: int
    attempt: int
    event: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class StopAwaiting:
    """The event is no longer wanted."""

    task: str
    iteration: int
    attempt: int


@dataclass(frozen=True, slots=True)
class StartChildren:
    """Run child jobs and say when they have ended: `kind` is map, workflow or queue.

    `items` has one value for each child. For `workflow` it is the child's input, and `workflow` and `version` say what
    it runs (no version: the newest). For `map` and `queue` the children run the task itself as a fragment of this
    definition, and `names` are the roots its expressions read, as they are now.
    """

    task: str
    iteration: int
    attempt: int
    kind: str
    items: tuple[Json, ...]
    names: Mapping[str, Json] = field(default_factory=dict)
    workflow: str | None = None
    version: int | None = None
    queue: str | None = None
    priority: int = 50
    max_concurrency: int | None = None
    tolerated_failures: int = 0


@dataclass(frozen=True, slots=True)
class CloseChildren:
    """The children are no longer wanted: those that have not ended are cancelled."""

    task: str
    iteration: int
    attempt: int
    reason: str


Command = OpenWork | WithdrawWork | Publish | AwaitEvent | StopAwaiting | StartChildren | CloseChildren


# ---- records --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened, in the order it happened: a row of the history, and of the task runs.

    `event` is one of `task.completed`, `task.failed` (no retrier, no handler: a dead letter), `task.retrying`,
    `task.caught` (an `on_error` transition took it), `task.parked`, `task.skipped` (dead path, or by hand when `actor`
    is set), `task.withdrawn`, `task.retried` and `task.restarted` (by hand), `loop.taken`, `response.ignored`,
    `job.started`, `job.done`, `job.failed`, `job.compensating`, `job.cancelled`. The undoing of a task has records of
    its own, under the name that `definition.compensation_of` gives it.
    """

    event: str
    task: str | None = None
    iteration: int = 1
    attempt: int = 0
    outcome: str | None = None
    output: Json = None
    error: str | None = None
    cause: str | None = None
    actor: str = ""
    data: dict[str, Json] = field(default_factory=dict)
