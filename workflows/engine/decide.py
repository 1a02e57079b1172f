"""What comes next: `decide` turns what happened into a new state, commands and records, and does nothing else.

The same function runs the job, simulates a definition and replays a history, so it reads no clock, no database and no
chance: everything it depends on is in its arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from . import compensation, events
from .contract import Json
from .definition import Definition, compensated_task
from .durations import format_timestamp
from .events import Command, Event, Record, Unset
from .exceptions import ExpressionError
from .progress import Progress
from .scope import names_of
from .starting import evaluated_input, http_request, park
from .state import DONE, MOVING, PENDING, READY, RETRYING, WAITING, WITHDRAWN, JobState, TaskState

TIMEOUT = "Timeout"
NOTHING_DUE = "Nothing is due."
_ANSWERABLE = frozenset({"human", "external", "plugin"})
_REFUSABLE = frozenset({"human", "external", "children", "event"})


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from an event: the state to keep, what others have to do now, and what to write down."""

    state: JobState
    commands: tuple[Command, ...] = ()
    records: tuple[Record, ...] = ()


def decide(definition: Definition, state: JobState, event: Event, now: datetime) -> Decision:
    """The one rule of the engine. Never changes `state`.

    An event that no longer fits (a late answer, an earlier iteration, a finished job) is no error: the state stays the
    very same, and a `response.ignored` record says why.
    """
    progress = Progress(definition, state, now)
    ignored = HANDLERS[type(event)](progress, event)
    if ignored == NOTHING_DUE:
        return Decision(state)
    if ignored is not None:
        return Decision(state, (), (_ignored(state, event, ignored),))
    return concluded(progress, state)


def concluded(progress: Progress, state: JobState) -> Decision:
    """What follows from a change that was made to `state`: what runs by itself runs, and a job that is over ends."""
    progress.run()
    _end(progress)
    result = progress.freeze()
    if result.status == "FAIL" and state.status != "FAIL":
        error = result.error or {}
        progress.records.append(
            Record("job.failed", error=error.get("name"), cause=error.get("cause"), data=dict(error))
        )
    return Decision(result, tuple(progress.commands), tuple(progress.records))


def step_input(definition: Definition, state: JobState, task: str) -> Json:
    """What a runnable task works on: what a person put there, its `input` mapping, or else the input of the job; for an
    `http` task the request. What a compensation works on is not in the state: see `undoing`.

    Raises ExpressionError, which the executor turns into a failed attempt of that name.
    """
    names = names_of(definition, state, state.tasks)
    spec = definition.task(task)
    evaluate = http_request if spec.type == "http" else evaluated_input
    return evaluate(spec, state.tasks[task].input, names)


def undoing(state: JobState, task: str) -> tuple[str, int] | None:
    """The run, as (task, iteration), that a runnable compensation undoes; None for an ordinary task."""
    undone = compensated_task(task)
    return None if undone is None else (undone, state.tasks[task].iteration)


def expected(definition: Definition, state: JobState, task: str) -> tuple[int, tuple[str, ...]] | None:
    """The iteration that waits for an answer and the outcomes it may have (none listed: any); None where none does."""
    standing = state.tasks.get(task)
    if standing is None or state.phase not in (*MOVING, "failed"):
        return None
    if standing.status != WAITING or standing.kind not in _ANSWERABLE:
        return None
    return standing.iteration, definition.task(task).outcomes


def _ignored(state: JobState, event: Event, reason: str) -> Record:
    name = getattr(event, "task", None)
    standing = state.tasks.get(name) if name else None
    return Record(
        "response.ignored",
        name,
        getattr(event, "iteration", standing.iteration if standing else 1),
        standing.attempt if standing else 0,
        outcome=getattr(event, "outcome", None),
        actor=getattr(event, "actor", ""),
        data={"reason": reason, "event": type(event).__name__},
    )


def _end(progress: Progress) -> None:
    """A job that has nothing active any more is done, and its output is worked out."""
    if progress.phase != "active" or progress.active or not progress.state.started:
        return
    output: Json = None
    if progress.definition.output is not None:
        try:
            output = progress.definition.output.evaluate(progress.names(), missing_as_null=True)
        except ExpressionError as error:
            progress.phase = "failed"
            progress.failure = {"name": "ExpressionError", "cause": f"The output of the job: {error}", "task": None}
            _compensate_on_failure(progress)
            return
    elif progress.last is not None:
        output = progress.tasks[progress.last].output
    progress.phase = "done"
    progress.state = replace(progress.state, output=output)
    progress.records.append(Record("job.done", output=output))


# ---- one function for each event: it returns why the event does not fit, or None ------------------------------------


def _started(progress: Progress, event: events.JobStarted) -> str | None:
    if progress.state.started:
        return "The job has already started."
    deadline = None if progress.definition.timeout is None else progress.now + progress.definition.timeout
    progress.state = replace(
        progress.state,
        job_id=event.job_id,
        created_at=event.created_at,
        priority=event.priority,
        deadline=deadline,
    )
    progress.records.append(Record("job.started"))
    for name in progress.definition.start_tasks:
        progress.enter(name)
    return None


def _unfit(progress: Progress, name: str, iteration: int, status: str) -> str | None:
    task = progress.tasks.get(name)
    if progress.phase not in (*MOVING, "failed"):
        return f"The job is {progress.phase}."
    if task is None:
        return f"The task {name} has not started."
    if task.iteration != iteration:
        return f"The task is in iteration {task.iteration}."
    if task.status != status:
        return f"The task is {task.status}."
    return None


def _completed(progress: Progress, event: events.TaskCompleted) -> str | None:
    unfit = _unfit(progress, event.task, event.iteration, READY)
    if unfit is None:
        progress.complete(event.task, event.output, event.outcome)
    return unfit


def _parked(progress: Progress, event: events.TaskParked) -> str | None:
    unfit = _unfit(progress, event.task, event.iteration, READY)
    if unfit is None:
        timeout = progress.definition.task(event.task).timeout
        park(progress, event.task, "plugin", until=event.until, timeout=timeout, reason=event.reason)
    return unfit


def _failed(progress: Progress, event: events.TaskFailed) -> str | None:
    standing = progress.tasks.get(event.task)
    # A request that could not be opened fails its task, too: it waits for an answer that nobody was asked for.
    asked = standing is not None and standing.status == WAITING and standing.kind in _REFUSABLE
    unfit = _unfit(progress, event.task, event.iteration, WAITING if asked else READY)
    if unfit is None:
        progress.fail_attempt(event.task, event.error, event.cause)
    return unfit


def _responded(progress: Progress, event: events.Responded) -> str | None:
    unfit = _unfit(progress, event.task, event.iteration, WAITING)
    if unfit is not None:
        return unfit
    if progress.tasks[event.task].kind not in _ANSWERABLE:
        return "The task waits for a time, not for an answer."
    allowed = progress.definition.task(event.task).outcomes
    if allowed and event.outcome not in allowed:
        return f"The outcome is one of {', '.join(allowed)}."
    progress.complete(event.task, event.output, event.outcome, event.actor)
    return None


def _event_received(progress: Progress, event: events.EventReceived) -> str | None:
    unfit = _unfit(progress, event.task, event.iteration, WAITING)
    if unfit is None and progress.tasks[event.task].kind != "event":
        unfit = "The task waits for no event."
    if unfit is None:
        progress.complete(event.task, event.data)
    return unfit


def _children_finished(progress: Progress, event: events.ChildrenFinished) -> str | None:
    unfit = _no_children(progress, event)
    if unfit is None:
        progress.complete(event.task, event.output, event.outcome)
    return unfit


def _children_failed(progress: Progress, event: events.ChildrenFailed) -> str | None:
    unfit = _no_children(progress, event)
    if unfit is None:
        progress.close_work(event.task, "failed")
        progress.fail_attempt(event.task, event.error, event.cause)
    return unfit


def _no_children(progress: Progress, event: events.ChildrenFinished | events.ChildrenFailed) -> str | None:
    """Why the news is not for this attempt of the task, or None."""
    unfit = _unfit(progress, event.task, event.iteration, WAITING)
    if unfit is not None:
        return unfit
    task = progress.tasks[event.task]
    if task.kind != "children" or task.attempt != event.attempt:
        return "The task does not wait for these children."
    return None


def _time_passed(progress: Progress, event: events.TimePassed) -> str | None:
    """Whatever is due happens in the order it became due; what came of it earlier may have made it moot."""
    if progress.phase not in MOVING or not progress.state.started:
        return NOTHING_DUE
    timers = [(task.timer, name, task) for name in progress.active if (task := progress.tasks[name]).timer is not None]
    due = sorted(
        ((moment, order, name, task) for order, (moment, name, task) in enumerate(timers) if moment <= progress.now),
        key=lambda timer: timer[:2],
    )
    deadline = progress.state.deadline
    if not due and (deadline is None or deadline > progress.now):
        return NOTHING_DUE
    for moment, _, name, task in due:
        if deadline is not None and deadline < moment:
            break
        if progress.phase in MOVING and progress.tasks[name] is task:
            _ring(progress, name, task)
            progress.run()
    if deadline is not None and deadline <= progress.now and progress.phase == "active" and progress.active:
        limit = format_timestamp(deadline)
        progress.failure = {"name": TIMEOUT, "cause": f"The job was not done by {limit}.", "task": None}
        progress.phase = "failed"
        _compensate_on_failure(progress)
    return None


def _ring(progress: Progress, name: str, task: TaskState) -> None:
    if task.status == RETRYING:
        progress.try_again(name)
    elif task.wake_at is not None and task.wake_at == task.timer:
        progress.complete(name, None)
    else:
        progress.close_work(name, "timeout")
        limit = "" if task.timeout_at is None else format_timestamp(task.timeout_at)
        progress.fail_attempt(name, TIMEOUT, f"No answer came until {limit}.")


def _cancelled(progress: Progress, event: events.CancelRequested) -> str | None:
    if progress.phase in ("done", "cancelled"):
        return f"The job is {progress.phase}."
    if event.compensate and progress.phase == "compensating":
        return "The job is being compensated already."
    if event.compensate and progress.undo:
        compensation.begin(progress, actor=event.actor, reason=event.reason)
    else:
        progress.failure = None if progress.phase == "failed" else progress.failure
        compensation.end(progress, actor=event.actor, reason=event.reason)
    return None


def _compensate_on_failure(progress: Progress) -> None:
    """The job as a whole has failed. Where the document says so, what it has done is undone."""
    if progress.definition.on_failure == "compensate":
        failure = progress.failure or {}
        compensation.begin(progress, reason=f"{failure.get('name')}: {failure.get('cause')}", failure=failure)


def _retried(progress: Progress, event: events.RetryRequested) -> str | None:
    if progress.phase not in (*MOVING, "failed"):
        return f"The job is {progress.phase}."
    letters = [name for name in progress.active if progress.tasks[name].dead_letter]
    chosen = [name for name in letters if event.task in (None, name)]
    if not chosen and (event.task is not None or progress.phase != "failed"):
        return "No such task has failed."
    _resume(progress)
    for name in chosen:
        _again(progress, name, event)
    return None


def _again(progress: Progress, name: str, event: events.RetryRequested) -> None:
    task = progress.tasks[name]
    if task.loop is not None:
        # The task itself had ended well: only its loop was used up.
        for transition in progress.definition.outgoing[name]:
            if transition.is_loop:
                progress.loops.pop(transition.index, None)
        if task.ran:
            progress.put(name, replace(task, status=DONE, error=None, loop=None))
            progress.record("task.retried", name, actor=event.actor, data=_why(event))
            progress.leave(name)
            return
    given = task.input if isinstance(event.input, Unset) else event.input
    again = replace(task, status=READY, attempt=task.attempt + 1, retries={}, input=given, loop=None)
    progress.put(name, again)
    progress.record("task.retried", name, actor=event.actor, data=_why(event))
    progress.enqueue(name)


def _why(event: events.RetryRequested | events.SkipRequested | events.RestartRequested) -> dict[str, Json]:
    return {"reason": event.reason} if event.reason else {}


def _resume(progress: Progress) -> None:
    """A job that had ended in failure goes on; its own deadline, if that was it, is not set again."""
    if progress.phase != "failed":
        return
    if progress.failure is not None and progress.failure["task"] is None:
        progress.state = replace(progress.state, deadline=None)
    progress.phase = "active"
    progress.failure = None
    for name in progress.active:
        if progress.tasks[name].status == READY:
            progress.enqueue(name)


def _skipped(progress: Progress, event: events.SkipRequested) -> str | None:
    task = progress.tasks.get(event.task)
    if progress.phase not in (*MOVING, "failed"):
        return f"The job is {progress.phase}."
    # What had failed before a compensation began is not waited for any more.
    if task is None or task.status == READY or event.task not in progress.active:
        return "Only a failed or waiting task can be skipped."
    if progress.phase == "failed" and progress.failure is not None and progress.failure["task"] == event.task:
        _resume(progress)
    progress.close_work(event.task, "skipped")
    progress.finish(event.task, event.output, event.outcome, by_hand=True)
    details = {"output": event.output, "outcome": event.outcome, "actor": event.actor, "data": _why(event)}
    progress.record("task.skipped", event.task, **details)
    progress.go_on(event.task)
    return None


def _restarted(progress: Progress, event: events.RestartRequested) -> str | None:
    if progress.phase not in ("active", "failed"):
        return f"The job is {progress.phase}."
    task = progress.tasks.get(event.task)
    if task is None or task.status in (PENDING, WITHDRAWN) or event.task not in progress.definition.tasks:
        return f"The job has not reached the task {event.task}."
    _resume(progress)
    progress.restart(event.task)
    progress.record("task.restarted", event.task, actor=event.actor, data=_why(event))
    return None


HANDLERS: dict[type, Callable[[Progress, Any], str | None]] = {
    events.JobStarted: _started,
    events.TaskCompleted: _completed,
    events.TaskParked: _parked,
    events.TaskFailed: _failed,
    events.Responded: _responded,
    events.EventReceived: _event_received,
    events.ChildrenFinished: _children_finished,
    events.ChildrenFailed: _children_failed,
    events.TimePassed: _time_passed,
    events.CancelRequested: _cancelled,
    events.RetryRequested: _retried,
    events.SkipRequested: _skipped,
    events.RestartRequested: _restarted,
}
