"""One transaction for one step: result, new state, history, messages, requests to departments, the next wake-up."""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from workflows.engine.contract import Json, NewDocument
from workflows.engine.definition import Definition
from workflows.engine.events import Command, OpenWork, Publish, Record, WithdrawWork
from workflows.engine.state import JobState
from workflows.models import Document, Job, JobStatus, TaskRunStatus, uuid7
from workflows.models.statements import Checkpoint, ClaimedJob, HistoryRow, MessageRow, RunRow, checkpoint
from workflows.models.statements.portable import checkpoint as checkpoint_under_lock

from .attachments import discard, stored
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

    @property
    def needs_transaction(self) -> bool:
        """True where more must be written with it than one statement writes: requests, or documents."""
        return bool(self.facts.documents) or any(isinstance(c, OpenWork | WithdrawWork) for c in self.commands)

    def open_requests(self, refused: Collection[tuple[str, int]]) -> list[OpenWork]:
        return [c for c in self.commands if isinstance(c, OpenWork) and (c.task, c.iteration) not in refused]

    def withdrawals(self, refused: Collection[tuple[str, int]]) -> list[WithdrawWork]:
        return [c for c in self.commands if isinstance(c, WithdrawWork) and (c.task, c.iteration) not in refused]


def commit(
    owner: str | None, step: Step, *, release: bool, refused: Collection[tuple[str, int]] = frozenset()
) -> Outcome:
    """Write one step, whole or not at all.

    `owner` is the worker that holds the lease; without one the caller holds the row's lock. `refused` are requests
    that were tried before and could not be opened. On REFUSED, `step.refusals` says why.
    """
    opens, withdrawals = step.open_requests(refused), step.withdrawals(refused)
    planned = plan(step, release=release)
    if not (opens or withdrawals or step.facts.documents) and owner is not None:
        # The common case is one statement, which is a transaction of its own.
        return Outcome.WRITTEN if checkpoint(owner, [planned]) else Outcome.GUARDED
    documents = stored(step.job.id, step.facts.documents)
    try:
        with transaction.atomic():
            written = checkpoint_under_lock(None, [planned]) if owner is None else checkpoint(owner, [planned])
            if not written:
                discard(documents)
                return Outcome.GUARDED
            withdraw_work([(step.job.id, command) for command in withdrawals])
            parked = ParkedJob(step.job.id, step.job.workflow, step.job.correlation_id)
            step.refusals = open_work([(parked, command) for command in opens])
            if step.refusals:
                raise _Undo
            Document.objects.bulk_create(documents)
    except _Undo:
        discard(documents)
        return Outcome.REFUSED
    except BaseException:
        discard(documents)
        raise
    return Outcome.WRITTEN


def plan(step: Step, *, release: bool) -> Checkpoint:
    """The rows that a step changes. The status moves by its FSM edge here; the guard makes the move stick or not."""
    job, state = step.job, step.state
    status = step.target or state.status
    if status != job.status:  # most steps do not move the job, and a model instance is dear
        Job(id=job.id, status=job.status).move_to(status)
    history = [_history_row(record, step) for record in step.records]
    if status != job.status:
        if not history:
            history.append(HistoryRow(at=step.now, event=f"job.{status.lower()}", actor=step.actor))
        history[-1].from_status, history[-1].to_status = job.status, status
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
        history=history,
        runs=_run_rows(step),
        messages=_message_rows(step),
    )


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
        department = step.definition.tasks[record.task].department
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


def _message_rows(step: Step) -> list[MessageRow]:
    return [
        MessageRow(
            id=uuid7(),
            place=place,
            type=command.event,
            created_at=step.now,
            task=command.task,
            iteration=command.iteration,
            destination=command.department or command.queue or "",
            data=command.data,
        )
        for place, command in enumerate((c for c in step.commands if isinstance(c, Publish)), start=1)
    ]
