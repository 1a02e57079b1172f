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
from .definition import RUN_BY_WORKER, Task
from .durations import format_timestamp, parse_duration, parse_timestamp
from .events import TASK_REQUESTED, AwaitEvent, OpenWork, Publish, StartChildren, Unset
from .exceptions import ExpressionError, InvalidDuration, InvalidTimestamp
from .scope import captured
from .state import WAITING
from .templates import Template, as_text

if TYPE_CHECKING:
    from .progress import Progress

MAX_ITEMS = 1_000_000
INVALID = "ValidationError"
GIVEN = "given"
"""The name under which a fragment is given an input that was evaluated by its parent."""


def start(progress: Progress, name: str) -> None:
    """Start a task that is ready and needs no worker."""
    task = progress.definition.task(name)
    starter = _start_elsewhere if task.runs_elsewhere else STARTERS[task.type]
    starter(progress, task)


def evaluated_input(task: Task, override: Json | Unset, names: Mapping[str, Any], *templates: Template | None) -> Json:
    """What the task works on: what a person put there, its first template that is given, or the input of the job."""
    if not isinstance(override, Unset):
        return override
    if GIVEN in names:
        return names[GIVEN]
    for template in (*templates, task.input):
        if template is not None:
            return template.evaluate(names)
    return names["item"] if "item" in names else names.get("input")


def http_request(task: Task, override: Json | Unset, names: Mapping[str, Any]) -> Json:
    """The request of an `http` task: `{"method", "url", "headers", "body"}`, the body only where it has one. A person
    who edits the input edits this."""
    if not isinstance(override, Unset):
        return override
    if GIVEN in names:
        return names[GIVEN]
    request: dict[str, Json] = {
        "method": task.method,
        "url": "" if task.url is None else as_text(task.url.evaluate(names)),
        "headers": {} if task.headers is None else _texts(task.headers.evaluate(names)),
    }
    body = task.body or task.input
    if body is not None:
        request["body"] = body.evaluate(names)
    return request


def _texts(values: Mapping[str, Json]) -> dict[str, Json]:
    return {key: as_text(value) for key, value in values.items()}


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
    progress.stop(task.name, error, cause)


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
    progress.commands.insert(opened, Publish(task.name, iteration, TASK_REQUESTED, message, **place))


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
            due=task.spec.get("due"),
            follow_up=task.spec.get("follow_up"),
            assignee=assignee,
            quorum=task.quorum,
            constraints=task.constraints,
            escalate=task.escalate,
            priority=progress.state.priority if task.priority is None else task.priority,
            **place,
        )
    )
    park(progress, task.name, task.type, timeout=task.timeout, department=task.department, queue=task.queue)
    return position


def _start_event(progress: Progress, task: Task) -> None:
    standing = progress.tasks[task.name]
    key = None
    if task.correlation_key is not None:
        key = as_text(task.correlation_key.evaluate(progress.names()))
    progress.commands.append(AwaitEvent(task.name, standing.iteration, standing.attempt, str(task.event), key))
    reason = str(task.event) if key is None else f"{task.event} {key}"
    park(progress, task.name, "event", timeout=task.timeout, reason=reason)


def _start_workflow(progress: Progress, task: Task) -> None:
    given = _input(progress, task)
    _start_children(progress, task, "workflow", (given,), workflow=task.workflow, version=task.version)


def _start_map(progress: Progress, task: Task) -> None:
    override = progress.tasks[task.name].input
    names = progress.names()
    items = override
    if isinstance(override, Unset):
        items = None if task.items is None else task.items.evaluate(names)
    if not isinstance(items, list):
        progress.fail_attempt(task.name, INVALID, f"The items of a map are a list, not {_kind(items)}.")
    elif len(items) > MAX_ITEMS:
        progress.fail_attempt(task.name, INVALID, f"A map runs over {MAX_ITEMS} items at most, not {len(items)}.")
    elif not items:
        progress.complete(task.name, [])
    else:
        _start_children(
            progress,
            task,
            "map",
            tuple(items),
            names=captured(names, task.inner_paths),
            queue=(task.inner or {}).get("queue") if (task.inner or {}).get("type") in RUN_BY_WORKER else None,
            max_concurrency=task.max_concurrency,
            tolerated_failures=task.tolerated_failures,
        )


def _start_elsewhere(progress: Progress, task: Task) -> None:
    """A step with a queue of its own: evaluated here, run by the clusters of that queue as a child job."""
    override = progress.tasks[task.name].input
    evaluate = http_request if task.type == "http" else evaluated_input
    given = evaluate(task, override, progress.names())
    _start_children(progress, task, "queue", (given,), queue=task.queue)


def _start_children(
    progress: Progress,
    task: Task,
    kind: str,
    items: tuple[Json, ...],
    *,
    names: Mapping[str, Json] | None = None,
    workflow: str | None = None,
    version: int | None = None,
    queue: str | None = None,
    max_concurrency: int | None = None,
    tolerated_failures: int = 0,
) -> None:
    standing = progress.tasks[task.name]
    progress.commands.append(
        StartChildren(
            task.name,
            standing.iteration,
            standing.attempt,
            kind,
            items,
            names=names or {},
            workflow=workflow,
            version=version,
            queue=queue,
            priority=progress.state.priority if task.priority is None else task.priority,
            max_concurrency=max_concurrency,
            tolerated_failures=tolerated_failures,
        )
    )
    what = {"map": f"{len(items)} items", "workflow": f"the workflow {workflow}"}.get(kind, f"the queue {queue}")
    park(progress, task.name, "children", timeout=task.timeout, queue=queue, reason=what)


def _kind(value: Json) -> str:
    return {dict: "an object", str: "a text", bool: "true or false", type(None): "null"}.get(type(value), "a number")


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
    "event": _start_event,
    "workflow": _start_workflow,
    "map": _start_map,
}
