"""The repairs of one job: retry, skip, restart, cancel. Each decides and commits under the job's lock.

Cancelling and restarting stop what runs: they raise the fence, so a worker that was at a step of the job can write no
more. Retrying and skipping concern a task at which nobody works: where a worker is at another one they are written as
a signal, which it cannot commit over, so no step is run twice for them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from workflows.engine.codec import event_from_json
from workflows.engine.contract import Json
from workflows.engine.decide import decide
from workflows.engine.definition import Definition
from workflows.engine.events import (
    UNSET,
    CancelRequested,
    Command,
    Event,
    JobStarted,
    Record,
    RestartRequested,
    RetryRequested,
    SkipRequested,
    TaskFailed,
    Unset,
)
from workflows.engine.exceptions import InvalidState
from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import check_json
from workflows.engine.state import READY, JobState
from workflows.execution.children import full_input, settle
from workflows.execution.commit import Decided, Outcome, Step, StepFacts, commit
from workflows.execution.definitions import ONE_TASK, get_definition
from workflows.execution.doorbell import ring
from workflows.execution.exceptions import DefinitionNotFound
from workflows.execution.ranks import rank_at
from workflows.execution.respond import lock_job, signal_job
from workflows.models import FINISHED, History, Job, JobStatus, Signal
from workflows.models.statements import ClaimedJob

from .exceptions import InvalidRequest, WrongState


def cancel_job(job_id: uuid.UUID, *, actor: str, reason: str = "", compensate: bool = False) -> Job:
    """End a job that has not ended: open requests are withdrawn, a worker in the middle of a step writes no more.

    With `compensate` the job first undoes what it has done, from the last to the first, and is CANC after that; where
    there is nothing to undo, at once. WrongState where it has ended, or is being compensated already.
    """
    with transaction.atomic():
        job = lock_job(job_id)
        if job.status in FINISHED:
            raise _refusal(job, "A job that has ended cannot be cancelled.")
        return _apply(job, CancelRequested(actor=actor, reason=reason, compensate=compensate), actor)


def retry_job(
    job_id: uuid.UUID, *, actor: str, task: str | None = None, input: Json | Unset = UNSET, reason: str = ""
) -> Job:
    """Start the failed tasks of a job again: the named one, or all; `input` replaces the named task's input.

    WrongState where the job is no dead letter, or that task has not failed; InvalidRequest where the input is no JSON
    that can be kept.
    """
    if not isinstance(input, Unset):
        _keepable(input, "/input")
    with transaction.atomic():
        job = lock_job(job_id)
        if job.status in FINISHED or not (job.status == JobStatus.FAIL or _standing(job, {"failed"})):
            raise _refusal(job, "Only a failed job can be retried.")
        if task is not None:
            _require(job, task, {"failed"}, "be retried")
        elif not isinstance(input, Unset):
            raise WrongState(job, "Name the task whose input is to be replaced.")
        return _tell(job, RetryRequested(task=task, input=input, actor=actor, reason=reason), "retry", actor, task)


def skip_task(
    job_id: uuid.UUID, task: str, *, actor: str, output: Json = None, outcome: str | None = None, reason: str = ""
) -> Job:
    """Finish a failed or waiting task by hand, with an output, and an `outcome` where its transitions ask for one; the
    job goes on behind it. WrongState where the task neither failed nor waits; InvalidRequest where the output is no
    JSON that can be kept, or the task has other outcomes."""
    _keepable(output, "/output")
    with transaction.atomic():
        job = lock_job(job_id)
        if job.status in FINISHED:
            raise _refusal(job, "No task of a job that has ended can be skipped.")
        _require(job, task, {"failed", "waiting", "retrying"}, "be skipped")
        _known_outcome(job, task, outcome)
        event = SkipRequested(task=task, output=output, actor=actor, outcome=outcome, reason=reason)
        return _tell(job, event, "skip", actor, task)


def restart_job(job_id: uuid.UUID, task: str, *, actor: str, reason: str = "") -> Job:
    """Start a task that the job has reached again, as a new iteration, and with it everything downstream of it. What
    is waited for there is withdrawn; a worker in the middle of a step writes no more.

    WrongState where the job has ended or is being compensated, or has not reached the task.
    """
    with transaction.atomic():
        job = lock_job(job_id)
        if job.status in FINISHED:
            raise _refusal(job, "A job that has ended cannot be restarted; submit it again.")
        return _apply(job, RestartRequested(task=task, actor=actor, reason=reason), actor)


# ---- checking -------------------------------------------------------------------------------------------------------


def _refusal(job: Job, sentence: str) -> WrongState:
    """The refusal, with who brought the job to where it is, and when."""
    rows = History.objects.filter(job_id=job.pk).exclude(to_status="").order_by("-sequence")
    move = rows.values("actor", "at", "event").first()
    if move is None:
        return WrongState(job, f"{sentence} This one is {job.status}.")
    by = f" by {move['actor']}" if move["actor"] else ""
    detail = f"{sentence} This one is {job.status} since {move['at']:%Y-%m-%d %H:%M:%S %Z} ({move['event']}{by})."
    return WrongState(job, detail, by=move["actor"], at=move["at"])


def _keepable(value: Json, pointer: str) -> None:
    faults = check_json(value, settings.WORKFLOW_VALUE_MAX_BYTES, at=pointer)
    if faults:
        raise InvalidRequest(faults)


def _known_outcome(job: Job, task: str, outcome: str | None) -> None:
    """Where the task lists its outcomes, one that it does not list would only kill every branch behind it."""
    listed = _definition(job).task(task).outcomes
    if outcome is not None and listed and outcome not in listed:
        detail = f"The task {task} has no outcome {outcome!r}; it has {', '.join(listed)}."
        raise InvalidRequest([Fault("/outcome", "unknown_outcome", detail)])


def _standing(job: Job, statuses: set[str]) -> list[str]:
    """The active tasks that stand so, as of the last commit."""
    state = job.data.state or {}
    tasks = state.get("tasks", {})
    return [name for name in state.get("active", ()) if tasks[name]["status"] in statuses]


def _require(job: Job, task: str, statuses: set[str], verb: str) -> None:
    if task not in _standing(job, statuses):
        found = (job.data.state or {}).get("tasks", {}).get(task, {}).get("status")
        detail = f"The task {task!r} is {found}" if found else f"The job has not reached a task {task!r}"
        raise WrongState(job, f"{detail}; only an active one that is {' or '.join(sorted(statuses))} can {verb}.")


# ---- deciding and writing -------------------------------------------------------------------------------------------


def _tell(job: Job, event: Event, verb: str, actor: str, task: str | None) -> Job:
    """Decide on the event, or let the worker that is at the job at this moment do so with its next commit."""
    if job.claimed_by is None:
        return _apply(job, event, actor)
    reason = getattr(event, "reason", "")
    data = {"reason": reason} if reason else {}
    return signal_job(job.pk, event, history_event=f"task.{verb}_asked", actor=actor, task=task or "", data=data)


@dataclass
class _Decided:
    """What follows from the events of a repair, one after the other."""

    definition: Definition
    state: JobState
    now: datetime
    records: list[Record] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)

    def take(self, event: Event) -> bool:
        """Decide on one event; False where it does not fit, and nothing but a record of that came of it."""
        decision = decide(self.definition, self.state, event, self.now)
        fits = decision.state is not self.state
        if fits:
            self.decided.append((len(self.records), self.now, event))
        self.state = decision.state
        self.records += decision.records
        self.commands += decision.commands
        return fits


def _apply(job: Job, event: Event, actor: str) -> Job:
    """Decide on the event, after the facts that came in before it, and write what follows. The caller has the lock."""
    now = timezone.now()
    progress = _read(job, event, now)
    before = progress.state
    if not before.started and not isinstance(event, CancelRequested):
        progress.take(JobStarted(str(job.pk), job.created_at, job.priority))
    if job.signals:
        for row in Signal.objects.filter(job_id=job.pk).order_by("sequence"):
            progress.take(event_from_json(row.event))
    if not progress.take(event):
        raise _refusal(job, str(progress.records[-1].data.get("reason", "The job is not in a state for this.")))
    refused: set[tuple[str, int]] = set()
    while True:
        step = _step(job, progress, actor)
        if job.claimed_by is not None:
            # The steps that were being worked on are over, and with them their places.
            step.left = frozenset(_with_resource(progress.definition, before))
        outcome = commit(None, step, release=True, refused=refused)
        if outcome is not Outcome.REFUSED:
            break
        # What comes next cannot be opened. That task fails, as it would in a worker's hands.
        for refusal in step.refusals:
            refused.add((refusal.task, refusal.iteration))
            progress.take(TaskFailed(refusal.task, refusal.iteration, refusal.error, refusal.cause))
    if outcome is not Outcome.WRITTEN:
        raise WrongState(job, f"The repair could not be written: {outcome.value}.")
    if step.status == JobStatus.READY:
        Job.objects.filter(pk=job.pk).update(rank=rank_at(now, job.priority))
        transaction.on_commit(partial(ring, job.queue))
    if job.group_id is not None:
        # Another job waits for this one: it is told where this was the last it waited for.
        transaction.on_commit(partial(settle, [job.group_id]))
    job.refresh_from_db()
    return job


def _definition(job: Job) -> Definition:
    return get_definition(job.workflow, job.version, job.fragment)


def _read(job: Job, event: Event, now: datetime) -> _Decided:
    """The job's definition and state. WrongState where one of them cannot be had; a job of which neither can be had is
    still cancelled, so that nobody has to look at it for ever."""
    given = full_input(job.data.input, job.group_id, job.fragment)
    try:
        definition = _definition(job)
        state = JobState.new(given) if job.data.state is None else JobState.from_json(job.data.state, given)
    except (DefinitionNotFound, InvalidState) as error:
        if not isinstance(event, CancelRequested):
            raise WrongState(job, f"{error} Until that is mended the job can only be cancelled.") from None
        definition, state = get_definition(job.workflow, ONE_TASK), JobState.new(given)
    return _Decided(definition, state, now)


def _step(job: Job, progress: _Decided, actor: str) -> Step:
    """What is to be written. A job that is cancelled now has ended; any other is ready: the worker that claims it parks
    it, or finishes it."""
    return Step(
        _as_claimed(job, progress.now),
        progress.definition,
        progress.state,
        progress.records,
        progress.commands,
        StepFacts(),
        progress.now,
        actor=actor,
        target=JobStatus.CANC if progress.state.status == JobStatus.CANC else JobStatus.READY,
        decided=progress.decided,
    )


def _with_resource(definition: Definition, state: JobState) -> list[str]:
    ready = [name for name in state.active if state.tasks[name].status == READY]
    return [name for name in ready if definition.task(name).resource is not None]


def _as_claimed(job: Job, now: datetime) -> ClaimedJob:
    return ClaimedJob(
        id=job.pk,
        workflow=job.workflow,
        version=job.version,
        status=job.status,
        priority=job.priority,
        fence=job.fence,
        claims=job.claims,
        signals=job.signals,
        correlation_id=job.correlation_id,
        created_at=job.created_at,
        input=job.data.input,
        state=job.data.state,
        now=now,
        queue=job.queue,
        parent_id=job.parent_id,
        group_id=job.group_id,
        fragment=job.fragment,
        item_index=job.item_index,
        due_at=job.due_at,
        due_paused_at=job.due_paused_at,
    )
