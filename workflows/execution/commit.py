"""One transaction for one step: result, new state, history, messages, requests to departments, the next wake-up."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from django.db import transaction

from workflows.engine.codec import event_to_json
from workflows.engine.contract import Json, NewDocument
from workflows.engine.definition import Definition
from workflows.engine.durations import format_timestamp
from workflows.engine.events import (
    TASK_REQUESTED,
    AwaitEvent,
    CancelRequested,
    CloseChildren,
    Command,
    Event,
    EventReceived,
    Migrated,
    OpenWork,
    Publish,
    Record,
    StartChildren,
    StopAwaiting,
    WithdrawWork,
)
from workflows.engine.state import JobState
from workflows.models import FINISHED, Document, Job, JobStatus, TaskRunStatus, uuid7
from workflows.models.failpoints import failpoint
from workflows.models.statements import Checkpoint, ClaimedJob, HistoryRow, MessageRow, RunRow, checkpoint
from workflows.models.statements.portable import checkpoint as checkpoint_under_lock

from .attachments import discard, stored
from .children import case_of, close_children, start_children
from .events import await_events, stop_awaiting
from .gates import leave_job, leave_steps
from .lateness import due_after, rows_of
from .letters import bury, resolve_by
from .parking import ParkedJob, Refusal, open_work, withdraw_work

RUN_STATUS = {
    "task.completed": TaskRunStatus.DONE,
    "task.failed": TaskRunStatus.FAILED,
    "task.caught": TaskRunStatus.FAILED,
    "task.retrying": TaskRunStatus.RETRYING,
    "task.parked": TaskRunStatus.WAITING,
    "task.skipped": TaskRunStatus.SKIPPED,
    "task.withdrawn": TaskRunStatus.WITHDRAWN,
}
"""Which records are task runs, and what becomes of the run."""


C = TypeVar("C", bound=Command)
Decided = tuple[int, datetime, Event | Migrated]


MOVES = {
    JobStatus.READY: "job.ready",
    JobStatus.PEND: "job.parked",
    JobStatus.DONE: "job.done",
    JobStatus.FAIL: "job.failed",
    JobStatus.CANC: "job.cancelled",
}
"""The history's event of a move that no record of the engine tells of."""


class Outcome(enum.Enum):
    """What became of a commit."""

    WRITTEN = "written"
    GUARDED = "the guard found another fence, or a signal that was not seen"
    REFUSED = "a request could not be opened"


class _Undo(Exception):
    """Rolls the transaction back."""


@dataclass(slots=True)
class StepFacts:
    """What a commit must know of runs besides what the engine records, by task and attempt."""

    started_at: dict[tuple[str, int], datetime] = field(default_factory=dict)
    inputs: dict[tuple[str, int], Json] = field(default_factory=dict)
    documents: list[tuple[str, NewDocument]] = field(default_factory=list)


@dataclass(slots=True)
class Step:
    """Everything since the last commit of one job, ready to be written."""

    job: ClaimedJob
    definition: Definition
    state: JobState
    records: list[Record]
    commands: list[Command]
    facts: StepFacts
    now: datetime
    actor: str = ""
    target: str = ""
    """The status to move to, where it is not what the state says: a repair makes ready, a worker settles the rest."""
    refusals: list[Refusal] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)
    """The events that changed the state, each with the number of records before it: for the history."""
    told_at: datetime | None = None
    """When the first of the facts came that doors wrote since the last commit; None where there were none."""
    left: frozenset[str] = frozenset()
    """The tasks whose slots of a resource are given back with this commit."""

    @property
    def status(self) -> str:
        """The status of the job once this is written."""
        return self.target or self.state.status

    @property
    def fails(self) -> bool:
        """True where this makes a dead letter of the job."""
        return self.status == JobStatus.FAIL != self.job.status

    @property
    def mends(self) -> bool:
        """True where this takes the job out of the dead letters."""
        return self.status != JobStatus.FAIL == self.job.status

    @property
    def ends_place(self) -> bool:
        """True where the job gives up its place among those of its workflow that may run at once."""
        limited = self.definition.max_concurrency is not None
        return limited and not self.job.fragment and self.status in (*FINISHED, JobStatus.FAIL)

    @property
    def compensates(self) -> bool:
        """True where what the job has done is being undone."""
        asked = (event for _, _, event in self.decided if isinstance(event, CancelRequested))
        return self.state.phase == "compensating" or any(event.compensate for event in asked)

    @property
    def needs_transaction(self) -> bool:
        """True where more must be written with it than one statement writes."""
        more = self.facts.documents or self.left or self.fails or self.ends_place
        return bool(more) or any(not isinstance(command, Publish) for command in self.commands)

    def asked(self, kind: type[C], refused: Collection[tuple[str, int]]) -> list[C]:
        """The commands of one kind, without those that were refused: as many of a task as `refused` names it, for a
        further attempt of it asks once more."""
        left = Counter(refused)
        found: list[C] = []
        for command in self.commands:
            run = (command.task, command.iteration)
            if isinstance(command, OpenWork | AwaitEvent | StartChildren) and left[run]:
                left[run] -= 1
            elif isinstance(command, kind):
                found.append(command)
        return found


def commit(owner: str | None, step: Step, *, release: bool, refused: Collection[tuple[str, int]] = ()) -> Outcome:
    """Write one step, whole or not at all.

    `owner` is the worker that holds the lease; without one the caller holds the row's lock. `refused` are requests
    that were tried before and could not be opened. On REFUSED, `step.refusals` says why.
    """
    planned = plan(step, release=release, refused=refused)
    if not step.needs_transaction and owner is not None:
        # The common case is one statement, which is a transaction of its own.
        return Outcome.WRITTEN if checkpoint(owner, [planned]) else Outcome.GUARDED
    documents = stored(case_of(step.job), step.facts.documents) if step.facts.documents else []
    asked = False
    try:
        with transaction.atomic():
            written = checkpoint_under_lock(None, [planned]) if owner is None else checkpoint(owner, [planned])
            if not written:
                discard(documents)
                return Outcome.GUARDED
            step.refusals = _carry_out(step, refused)
            if step.refusals:
                raise _Undo
            Document.objects.bulk_create(documents)
            failpoint("ckpt.before_commit")
            asked = True
    except _Undo:
        discard(documents)
        return Outcome.REFUSED
    except BaseException:
        if not asked:  # later the commit may stand, though nobody told us so: its rows must not lose their files
            discard(documents)
        raise
    return Outcome.WRITTEN


def _carry_out(step: Step, refused: Collection[tuple[str, int]]) -> list[Refusal]:
    """Everything that goes with the step besides its own rows; answers the requests that could not be opened."""
    job = step.job
    withdraw_work([(job.id, command) for command in step.asked(WithdrawWork, refused)])
    stop_awaiting(job.id, step.asked(StopAwaiting, refused))
    close_children(job.id, step.asked(CloseChildren, refused), compensate=step.compensates)
    parked = ParkedJob(job.id, job.workflow, job.correlation_id, job.version, job.fragment, job.queue, job.parent_id)
    refusals = open_work([(parked, command) for command in step.asked(OpenWork, refused)])
    refusals += await_events(parked, step.asked(AwaitEvent, refused))
    refusals += start_children(parked, step.asked(StartChildren, refused))
    if refusals:
        return refusals
    if step.left:
        leave_steps(job.id, step.left)
    if step.ends_place:
        leave_job(job)
    if step.fails:
        bury(step)
    if step.mends:
        resolve_by(step)
    return []


def plan(step: Step, *, release: bool, refused: Collection[tuple[str, int]] = ()) -> Checkpoint:
    """The rows that a step changes. The status moves by its FSM edge here; the guard makes the move stick or not."""
    job, state, status = step.job, step.state, step.status
    if status != job.status:
        Job.moved(job.status, status)
    history = [_history_row(record, step) for record in step.records]
    if status != job.status:
        if not history:
            history.append(HistoryRow(at=step.now, event=MOVES[JobStatus(status)], actor=step.actor))
        history[-1].from_status, history[-1].to_status = job.status, status
    runs = _run_rows(step)
    _add_decided(step, history, runs)
    due_at, due_paused_at = due_after(step)
    history += rows_of(step, due_at, due_paused_at)
    return Checkpoint(
        job_id=job.id,
        fence=job.fence,
        signals=job.signals,
        from_status=job.status,
        to_status=status,
        release=release,
        at=step.now,
        state=state.to_json(),
        outcome=state.outcome,
        wake_at=state.wake_at if status == JobStatus.PEND else None,
        output=state.output if status == JobStatus.DONE else None,
        error=state.error,
        due_at=due_at,
        due_paused_at=due_paused_at,
        history=history,
        runs=runs,
        messages=_message_rows(step, refused),
    )


def _add_decided(step: Step, history: list[HistoryRow], runs: Sequence[RunRow]) -> None:
    """Put the engine's events into the rows they led to, so that a replay finds them in their order.

    Nothing is written twice: not what the row says itself (its time, its task and iteration), and not an output that
    a run of the same commit holds, for which the event says that it is there.
    """
    outputs = {(run.task, run.iteration): run.output for run in runs if run.status == TaskRunStatus.DONE}
    if step.decided and not history:
        history.append(HistoryRow(at=step.now, event="job.advanced", actor=step.actor))
    for place, now, event in step.decided:
        data = event_to_json(event)
        name = "data" if isinstance(event, EventReceived) else "output"
        run = (data.get("task"), data.get("iteration"))
        if data.get(name) is not None and run in outputs and outputs[run] is data[name]:
            del data[name]
            data["in_run"] = name
        row = history[min(place, len(history) - 1)]
        if row.decided is None:
            row.at, row.decided = now, []  # it happened when it was decided
        if row.at != now:
            data["now"] = format_timestamp(now)
        if row.iteration is not None and run == (row.task, row.iteration):
            del data["task"], data["iteration"]
        row.decided.append(data)


def _history_row(record: Record, step: Step) -> HistoryRow:
    data: dict[str, Json] = dict(record.data)
    for name in ("outcome", "error", "cause"):
        value = getattr(record, name)
        if value is not None:
            data[name] = value
    if record.attempt > 1:
        data["attempt"] = record.attempt
    return HistoryRow(
        at=step.now,
        event=record.event,
        task=record.task or "",
        iteration=record.iteration if record.task else None,
        actor=record.actor or step.actor,
        data=data,
    )


def _run_rows(step: Step) -> list[RunRow]:
    """The task runs of the records. Several records of one run make one row, the last one's: a wait that begins and
    ends in the same commit."""
    requests = {(c.task, c.iteration): c for c in step.commands if isinstance(c, OpenWork)}
    rows: dict[tuple[str, int, int], RunRow] = {}
    for place, record in enumerate(step.records, start=1):
        status = RUN_STATUS.get(record.event)
        if status is None or record.task is None:
            continue
        attempt = max(record.attempt, 1)
        run = (record.task, attempt)
        request = requests.get((record.task, record.iteration))
        department = step.definition.task(record.task).department
        rows[(record.task, record.iteration, attempt)] = RunRow(
            task=record.task,
            iteration=record.iteration,
            attempt=attempt,
            status=status,
            place=place,
            started_at=step.facts.started_at.get(run, step.now),
            finished_at=None if status == TaskRunStatus.WAITING else step.now,
            outcome=record.outcome,
            input=step.facts.inputs.get(run, request.data if request else None),
            output=record.output,
            error=record.error,
            cause=record.cause,
            actor=record.actor,
            department=department or "",
        )
    return list(rows.values())


def _message_rows(step: Step, refused: Collection[tuple[str, int]]) -> list[MessageRow]:
    """What goes out. The command of a request that could not be opened does not: nobody waits for its answer."""
    left = Counter(refused)
    messages: list[Publish] = []
    for command in step.commands:
        run = (command.task, command.iteration)
        if not isinstance(command, Publish):
            continue
        if command.event == TASK_REQUESTED and left[run]:
            left[run] -= 1
        else:
            messages.append(command)
    return [
        MessageRow(
            id=uuid7(),
            place=place,
            type=message.event,
            created_at=step.now,
            task=message.task,
            iteration=message.iteration,
            destination=message.department or message.queue or "",
            data=message.data,
        )
        for place, message in enumerate(messages, start=1)
    ]
