"""The stored state of each job against everything else that is stored of it.

The state is JSON that only the engine reads, so this is no SQL: jobs are read a portion at a time, and what hangs on
them by one more statement for each table. Whoever commits in between changes the job's history: such a job is looked at
again by itself, and is told of only where nothing has happened while it was read.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from workflows.engine.exceptions import InvalidState
from workflows.engine.state import DONE, FAILED, RETRYING, SKIPPED, WAITING, JobState, TaskState
from workflows.execution.definitions import get_definition
from workflows.models import ChildGroup, EventWaiter, History, Job, JobStatus, Message, TaskRun, TaskRunStatus
from workflows.operations.findings import Check, Found, Window, portions

PORTION = 200
LOOKS = 5
"""So often is a job looked at that changes while it is read; then it is left for the next time."""
LOOP_LIMIT = "LoopLimitExceeded"

Place = tuple[uuid.UUID, str, int]
"""(job id, task, iteration)."""
_requests: dict[str, Callable[[Collection[uuid.UUID]], Iterable[Place]]] = {}

_COLUMNS = (
    "pk",
    "workflow",
    "version",
    "fragment",
    "status",
    "wake_at",
    "history_count",
    "data__state",
    "data__error",
)


def register_requests(kinds: Iterable[str], open_requests: Callable[[Collection[uuid.UUID]], Iterable[Place]]) -> None:
    """Let a higher floor say which open requests jobs have, by (job id, task, iteration), for the kinds of waiting that
    it serves: `human`, `external`."""
    for kind in kinds:
        _requests[kind] = open_requests


@dataclass
class _Rows:
    """What hangs on a portion of jobs."""

    runs: dict[uuid.UUID, dict[tuple[str, int, int], tuple[str, str | None]]] = field(default_factory=dict)
    """By job and (task, iteration, attempt): the status and the error."""
    waiters: set[tuple[uuid.UUID, str, int, int]] = field(default_factory=set)
    groups: set[tuple[uuid.UUID, str, int, int]] = field(default_factory=set)
    requests: dict[str, set[Place]] = field(default_factory=dict)


def look(window: Window) -> Iterator[Found]:
    """Every check of this module, in one pass over the states."""
    for portion in portions(window, Job.objects.values(*_COLUMNS), PORTION):
        found = list(_judge(portion))
        suspects = {row.key for row in found}
        if suspects:
            yield from _sure(portion, found, suspects)


def _sure(portion: Sequence[dict[str, Any]], found: list[Found], suspects: set[str]) -> Iterator[Found]:
    """Of what was found, that of jobs to which nothing happened meanwhile; the others are looked at again."""
    for _ in range(LOOKS):
        jobs = Job.objects.filter(pk__in=list(suspects))
        now = {str(pk): (count, status) for pk, count, status in jobs.values_list("pk", "history_count", "status")}
        read = {str(job["pk"]): (job["history_count"], job["status"]) for job in portion}
        calm = {key for key in suspects if now.get(key) == read[key]}
        yield from (row for row in found if row.key in calm)
        suspects &= now.keys() - calm
        if not suspects:
            return
        portion = list(Job.objects.filter(pk__in=list(suspects)).order_by("pk").values(*_COLUMNS))
        found = list(_judge(portion))
        suspects = {row.key for row in found}


def _judge(portion: Sequence[dict[str, Any]]) -> Iterator[Found]:
    ids = [job["pk"] for job in portion]
    rows = _read(ids, {job["pk"] for job in portion if job["status"] == JobStatus.PEND})
    for job in portion:
        try:
            # No input: only what expressions read of it would be missed.
            state = JobState.from_json(job["data__state"], None) if job["data__state"] is not None else None
        except InvalidState as error:
            yield _found("unreadable_state", job, str(error)[:200])
            continue
        for check, words in _disagreements(job, state, rows):
            yield _found(check, job, words)
    yield from _unsent(portion, rows)


def _read(ids: list[uuid.UUID], parked: set[uuid.UUID]) -> _Rows:
    rows = _Rows()
    runs = TaskRun.objects.filter(job__in=ids).order_by()
    for job_id, task, iteration, attempt, status, error in runs.values_list(
        "job_id", "task", "iteration", "attempt", "status", "error"
    ):
        rows.runs.setdefault(job_id, {})[task, iteration, attempt] = (status, error)
    if parked:
        run = ("job_id", "task", "iteration", "attempt")
        waiters = EventWaiter.objects.filter(job__in=parked, closed_at__isnull=True)
        rows.waiters = set(waiters.values_list(*run))
        rows.groups = set(ChildGroup.objects.filter(job__in=parked, closed_at__isnull=True).values_list(*run))
        rows.requests = {kind: set(open_requests(parked)) for kind, open_requests in _requests.items()}
    return rows


def _found(check: str, job: dict[str, Any], words: str) -> Found:
    return Found(str(job["pk"]), f"{job['workflow']} {job['pk']}: {words}", check)


# ---- what must agree ------------------------------------------------------------------------------------------------


def _disagreements(job: dict[str, Any], state: JobState | None, rows: _Rows) -> Iterator[tuple[str, str]]:
    if not _stands(job, state):
        says = "nothing" if state is None else state.status
        yield "state_and_status", f"{job['status']}, and its state says {says}"
    tasks = {} if state is None else state.tasks
    for name, words in _tasks_without_run(tasks, rows.runs.get(job["pk"], {})):
        yield "state_and_runs", f"{name} {words}"
    if state is None or job["status"] != JobStatus.PEND:
        return
    if job["wake_at"] != state.wake_at:
        yield "state_and_timer", f"wakes at {job['wake_at']}, and its state says {state.wake_at}"
    for waiting in state.waiting:
        if not _is_asked(job["pk"], waiting.kind, waiting.task, state.tasks[waiting.task], rows):
            yield "wait_without_request", f"{waiting.task}#{waiting.iteration} waits ({waiting.kind})"


def _stands(job: dict[str, Any], state: JobState | None) -> bool:
    """Whether the job's status can be that of its state. One that was just told something, or mended, is READY
    whatever its state was; one that could not even be decided on is FAIL, with an error that says so."""
    status = job["status"]
    if state is None or not state.started:
        # Cancelled before it has begun, or failed because it could not begin.
        return status in (JobStatus.NEW, JobStatus.READY, JobStatus.FAIL) or (
            state is not None and status == state.status
        )
    if status == JobStatus.NEW:
        return False
    if status == JobStatus.READY:
        return state.status != JobStatus.CANC
    if status == JobStatus.FAIL:
        return state.status == JobStatus.FAIL or job["data__error"] is not None
    return bool(status == state.status)


def _tasks_without_run(
    tasks: Any, runs: dict[tuple[str, int, int], tuple[str, str | None]]
) -> Iterator[tuple[str, str]]:
    """The tasks that stand otherwise than their runs, and the waiting runs of tasks that do not wait."""
    for name, task in tasks.items():
        expected = _EXPECTED.get(task.status)
        if expected is None:
            continue
        if task.status == DONE:
            stand = [run for (of, iteration, _), run in runs.items() if (of, iteration) == (name, task.iteration)]
            # One whose loop was used up has failed after it was done, and a retry leaves that run as it was.
            fits = any(status in expected or error == LOOP_LIMIT for status, error in stand)
        else:
            stand = [run for run in [runs.get((name, task.iteration, max(task.attempt, 1)))] if run is not None]
            fits = any(status in expected for status, _ in stand)
        if not fits:
            there = ", ".join(sorted(status for status, _ in stand)) or "there is none"
            yield f"{name}#{task.iteration}", f"is {task.status}, of its runs {there}"
    for (name, iteration, attempt), (status, _) in runs.items():
        if status == TaskRunStatus.WAITING:
            task = tasks.get(name)
            if task is None or (task.status, task.iteration, max(task.attempt, 1)) != (WAITING, iteration, attempt):
                yield f"{name}#{iteration}", "has a run that waits, and does not wait"


_EXPECTED = {
    DONE: {TaskRunStatus.DONE, TaskRunStatus.SKIPPED},
    WAITING: {TaskRunStatus.WAITING},
    RETRYING: {TaskRunStatus.RETRYING},
    FAILED: {TaskRunStatus.FAILED},
    SKIPPED: {TaskRunStatus.SKIPPED},
}


def _is_asked(job_id: uuid.UUID, kind: str, name: str, task: TaskState, rows: _Rows) -> bool:
    """Whether what a task waits for is there: the row that whoever answers it looks at."""
    run = (job_id, name, task.iteration, max(task.attempt, 1))
    if kind == "event":
        return run in rows.waiters
    if kind == "children":
        return run in rows.groups
    if kind in ("wait", "retry"):
        return task.timer is not None
    return kind not in rows.requests or run[:3] in rows.requests[kind]


def _unsent(portion: Sequence[dict[str, Any]], rows: _Rows) -> Iterator[Found]:
    """The jobs with an `emit` that was done and left no message."""
    emitted = {job["pk"]: (job, places) for job in portion if (places := _emitted(job, rows))}
    if not emitted:
        return
    messages = Message.objects.filter(job__in=list(emitted)).order_by()
    there = set(messages.values_list("job_id", "task", "iteration"))
    lost = {job_id: places for job_id, (_, places) in emitted.items() if not places <= there}
    if not lost:
        return
    # Of a job that has moved to another version it cannot be said what its tasks were when they ran.
    moved = History.objects.filter(job__in=list(lost), event="job.migrated").values_list("job_id", flat=True)
    for job_id in lost.keys() - set(moved):
        names = ", ".join(f"{task}#{iteration}" for _, task, iteration in sorted(lost[job_id] - there))
        yield _found("missing_message", emitted[job_id][0], names)


def _emitted(job: dict[str, Any], rows: _Rows) -> set[Place]:
    """The places of a job at which an `emit` was done."""
    runs = rows.runs.get(job["pk"], {})
    try:
        definition = get_definition(job["workflow"], job["version"], job["fragment"])
    except Exception:  # whatever is wrong with it, another check says so
        return set()
    emits = {name for name, task in definition.tasks.items() if task.type == "emit"}
    done = (run for run, (status, _) in runs.items() if run[0] in emits and status == TaskRunStatus.DONE)
    return {(job["pk"], task, iteration) for task, iteration, _ in done}


CHECKS = (
    Check("unreadable_state", "Jobs whose stored state cannot be read.", look, True),
    Check("state_and_status", "Jobs whose status is not that of their state.", look, True),
    Check("state_and_timer", "Parked jobs with another timer than their state.", look, True),
    Check("state_and_runs", "Jobs whose tasks stand otherwise than their task runs.", look, True),
    Check("wait_without_request", "Parked jobs with a task that waits for what nobody was asked.", look, True),
    Check("missing_message", "Tasks that sent something, and there is no message.", look, True),
)
