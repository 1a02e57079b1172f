"""The repairs of one job: retry, skip, restart, cancel. Each decides and commits under the job's lock.

Cancelling and restarting stop what runs: they raise the fence, so a worker that was at a step of the job can write no
more. Retrying and skipping concern a task at which nobody works: where a worker is at another one they are written as
a signal, which it cannot commit over, so no step is run twice for them.
"""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import transaction

from workflows.engine.contract import Json
from workflows.engine.events import (
    UNSET,
    CancelRequested,
    Event,
    RestartRequested,
    RetryRequested,
    SkipRequested,
    Unset,
)
from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import check_json
from workflows.execution.definitions import get_definition
from workflows.execution.exceptions import DefinitionNotFound, NotDecided
from workflows.execution.intervene import intervene
from workflows.execution.respond import lock_job, signal_job
from workflows.models import FINISHED, History, Job, JobStatus

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
    if outcome is None:
        return
    try:
        listed = get_definition(job.workflow, job.version, job.fragment).task(task).outcomes
    except DefinitionNotFound as error:
        raise WrongState(job, str(error)) from None
    if listed and outcome not in listed:
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


def _apply(job: Job, event: Event, actor: str) -> Job:
    """Decide on the event and write what follows. The caller has the lock."""
    try:
        intervene(job, event, actor=actor)
    except NotDecided as error:
        raise _refusal(job, str(error)) from None
    job.refresh_from_db()
    return job
