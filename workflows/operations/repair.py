"""The repairs: retry, skip, cancel. Each takes the job from whoever holds it, decides, and commits, under its lock.

A repair raises the fence, so a worker that was at a step of the job can write no more: cancelling wins or loses
against it, never both.
"""

from __future__ import annotations

import uuid
from functools import partial

from django.db import transaction
from django.utils import timezone

from workflows.engine.codec import event_from_json
from workflows.engine.contract import Json
from workflows.engine.decide import decide
from workflows.engine.events import (
    UNSET,
    CancelRequested,
    Command,
    Event,
    JobStarted,
    Record,
    RetryRequested,
    SkipRequested,
    Unset,
)
from workflows.engine.state import JobState
from workflows.execution.children import full_input
from workflows.execution.commit import Decided, Outcome, Step, StepFacts, commit
from workflows.execution.definitions import get_definition
from workflows.execution.doorbell import ring
from workflows.execution.ranks import rank_at
from workflows.execution.respond import lock_job
from workflows.models import FINISHED, Job, JobStatus, Signal
from workflows.models.statements import ClaimedJob

from .exceptions import NotSupported, WrongState


def cancel_job(job_id: uuid.UUID, *, actor: str, reason: str = "", compensate: bool = False) -> Job:
    """End a job that has not ended: open requests are withdrawn, a worker in the middle of a step writes no more.

    WrongState where it has ended; NotSupported with `compensate`, which this server cannot do yet.
    """
    if compensate:
        raise NotSupported("Cancelling with compensation comes with a later release. Cancel without it.")
    with transaction.atomic():
        job = lock_job(job_id)
        if job.status in FINISHED:
            raise WrongState(job, f"The job is {job.status} already, since {job.finished_at:%Y-%m-%d %H:%M:%S %Z}.")
        return _apply(job, CancelRequested(actor=actor, reason=reason), actor)


def retry_job(job_id: uuid.UUID, *, actor: str, task: str | None = None, input: Json | Unset = UNSET) -> Job:
    """Start the failed tasks of a job again: the named one, or all; `input` replaces the named task's input.

    WrongState where the job is no dead letter, or that task has not failed.
    """
    with transaction.atomic():
        job = lock_job(job_id)
        if job.status != JobStatus.FAIL:
            raise WrongState(job, f"Only a failed job can be retried; this one is {job.status}.")
        if task is not None:
            _require(job, task, {"failed"}, "be retried")
        elif not isinstance(input, Unset):
            raise WrongState(job, "Name the task whose input is to be replaced.")
        return _apply(job, RetryRequested(task=task, input=input, actor=actor), actor)


def skip_task(job_id: uuid.UUID, task: str, *, actor: str, output: Json = None) -> Job:
    """Finish a failed or waiting task by hand, with an output; the job goes on behind it.

    WrongState where the task neither failed nor waits, or a worker is at the job at this moment.
    """
    with transaction.atomic():
        job = lock_job(job_id)
        if job.claimed_by is not None:
            raise WrongState(job, "A worker is at this job. Try again in a moment.")
        _require(job, task, {"failed", "waiting", "retrying"}, "be skipped")
        return _apply(job, SkipRequested(task=task, output=output, actor=actor), actor)


def _require(job: Job, task: str, statuses: set[str], verb: str) -> None:
    state = (job.data.state or {}).get("tasks", {})
    found = state.get(task, {}).get("status")
    if found not in statuses:
        detail = f"The task {task!r} is {found}" if found else f"The job has not reached a task {task!r}"
        raise WrongState(job, f"{detail}; only one that is {' or '.join(sorted(statuses))} can {verb}.")


def _apply(job: Job, event: Event, actor: str) -> Job:
    """Decide on the event, after the facts that came in before it, and write what follows. The caller has the lock."""
    now = timezone.now()
    definition = get_definition(job.workflow, job.version, job.fragment)
    given = full_input(job.data.input, job.group_id, job.fragment)
    state = JobState.new(given) if job.data.state is None else JobState.from_json(job.data.state, given)
    decided: list[Decided] = []
    records: list[Record] = []
    commands: list[Command] = []
    events: list[Event] = []
    if not state.started and not isinstance(event, CancelRequested):
        events.append(JobStarted(str(job.pk), job.created_at, job.priority))
    if job.signals:
        rows = Signal.objects.filter(job_id=job.pk).order_by("sequence")
        events += [event_from_json(row.event) for row in rows]
    for fact in (*events, event):
        decision = decide(definition, state, fact, now)
        if decision.state is not state:
            decided.append((len(records), now, fact))
        state = decision.state
        records += decision.records
        commands += decision.commands
    # A cancelled job has ended. Any other repair leaves a ready job: the worker that claims it parks or finishes it.
    target = JobStatus.CANC if state.status == JobStatus.CANC else JobStatus.READY
    claimed = _as_claimed(job, now)
    step = Step(
        claimed, definition, state, records, commands, StepFacts(), now, actor=actor, target=target, decided=decided
    )
    outcome = commit(None, step, release=True)
    if outcome is not Outcome.WRITTEN:
        causes = "; ".join(refusal.cause for refusal in step.refusals)
        raise WrongState(job, f"The repair could not be written: {causes or outcome.value}.")
    if target == JobStatus.READY:
        Job.objects.filter(pk=job.pk).update(rank=rank_at(now, job.priority))
        transaction.on_commit(partial(ring, job.queue))
    job.refresh_from_db()
    return job


def _as_claimed(job: Job, now: object) -> ClaimedJob:
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
        now=now,  # type: ignore[arg-type]
        queue=job.queue,
        parent_id=job.parent_id,
        group_id=job.group_id,
        fragment=job.fragment,
        item_index=job.item_index,
        due_at=job.due_at,
        due_paused_at=job.due_paused_at,
    )
