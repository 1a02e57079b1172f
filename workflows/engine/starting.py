"""How each type of task starts: what needs no worker is done, or parked, on the spot.

A new type of task is one function here and one line in `STARTERS`. Every one of them may raise ExpressionError; that
fails the attempt, as any other error would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from .contract import Json
from .definition import Task
from .durations import format_timestamp, parse_duration, parse_timestamp
from .events import OpenWork, Publish, Unset
from .exceptions import ExpressionError, InvalidDuration, InvalidTimestamp
from .state import WAITING
from .templates import Template, as_text

if TYPE_CHECKING:
    from .progress import Progress


def start(progress: Progress, name: str) -> None:
    """Start a task that is ready and needs no worker."""
    task = progress.definition.tasks[name]
    STARTERS[task.type](progress, task)


def evaluated_input(task: Task, override: Json | Unset, names: Mapping[str, Any], *templates: Template | None) -> Json:
    """What the task works on: what a person put there, its first template that is given, or the input of the job."""
    if not isinstance(override, Unset):
        return override
    for template in (*templates, task.input):
        if template is not None:
            return template.evaluate(names)
    return names["input"]


def _input(progress: Progress, task: Task, *templates: Template | None) -> Json:
    return evaluated_input(task, progress.tasks[task.name].input, progress.names(), *templates)


def _start_pass(progress: Progress, task: Task) -> None:
    progress.complete(task.name, _input(progress, task))


def _start_emit(progress: Progress, task: Task) -> None:
    standing = progress.tasks[task.name]
    given = task.data or task.input or not isinstance(standing.input, Unset)
    data = _input(progress, task, task.data) if given else None
    progress.commands.append(Publish(task.name, standing.iteration, str(task.event), data))
    progress.complete(task.name, data)


def _start_fail(progress: Progress, task: Task) -> None:
    error = task.error or "Failed"
    cause = "" if task.cause is None else as_text(task.cause.evaluate(progress.names()))
    progress.bury(task.name, error, cause)
    progress.failure = {"name": error, "cause": cause, "task": task.name}
    progress.phase = "failed"


def _start_wait(progress: Progress, task: Task) -> None:
    until = _end_of_wait(task, progress.names(), progress.now)
    if until <= progress.now:
        progress.complete(task.name, None)
        return
    park(progress, task.name, "wait", until=until, timeout=task.timeout)


def _end_of_wait(task: Task, names: Mapping[str, Any], now: datetime) -> datetime:
    template = task.wait_until or task.wait_for
    value = None if template is None else template.evaluate(names)
    if not isinstance(value, str):
        raise ExpressionError(f"The time to wait for is a text, not {str(value)[:80]!r}.")
    try:
        return parse_timestamp(value) if task.wait_until is not None else now + parse_duration(value)
    except (InvalidDuration, InvalidTimestamp, OverflowError) as error:
        raise ExpressionError(str(error)) from None


def _start_human(progress: Progress, task: Task) -> None:
    _open_work(progress, task, _input(progress, task), department=task.department)


def _start_external(progress: Progress, task: Task) -> None:
    message = _input(progress, task, task.message)
    place = {"department": task.department, "queue": task.queue}
    iteration = progress.tasks[task.name].iteration
    opened = _open_work(progress, task, message, **place)
    progress.commands.insert(opened, Publish(task.name, iteration, "task.requested", message, **place))


def _open_work(progress: Progress, task: Task, data: Json, **place: str | None) -> int:
    """Ask for the answer and park; returns the place of the request among the commands."""
    names = progress.names()
    title = task.name if task.title_template is None else as_text(task.title_template.evaluate(names))
    assignee = None if task.assignee is None else as_text(task.assignee.evaluate(names)) or None
    position = len(progress.commands)
    progress.commands.append(
        OpenWork(
            task=task.name,
            iteration=progress.tasks[task.name].iteration,
            kind=task.type,
            title=title,
            data=data,
            outcomes=task.outcomes,
            form=task.form,
            due_at=None if task.due is None else progress.now + task.due,
            assignee=assignee,
            priority=progress.state.priority if task.priority is None else task.priority,
            **place,
        )
    )
    park(progress, task.name, task.type, timeout=task.timeout, department=task.department, queue=task.queue)
    return position


def park(
    progress: Progress,
    name: str,
    kind: str,
    *,
    until: datetime | None = None,
    timeout: timedelta | None = None,
    department: str | None = None,
    queue: str | None = None,
    reason: str = "",
) -> None:
    """The task waits. For a `wait` reaching `until` is its end; for everything else it is the error `Timeout`."""
    limits = [] if timeout is None else [progress.now + timeout]
    if until is not None and kind != "wait":
        limits.append(until)
    waiting = replace(
        progress.tasks[name],
        status=WAITING,
        kind=kind,
        since=progress.now,
        wake_at=until if kind == "wait" else None,
        timeout_at=min(limits, default=None),
        department=department,
        queue=queue,
        reason=reason,
    )
    progress.put(name, waiting)
    data: dict[str, Json] = {"kind": kind, "department": department, "queue": queue, "reason": reason}
    if waiting.timer is not None:
        data["until"] = format_timestamp(waiting.timer)
    progress.record("task.parked", name, data={key: value for key, value in data.items() if value})


STARTERS: Mapping[str, Callable[[Progress, Task], None]] = {
    "pass": _start_pass,
    "emit": _start_emit,
    "fail": _start_fail,
    "wait": _start_wait,
    "human": _start_human,
    "external": _start_external,
}
