"""The names that expressions see: views of a job, made without copying or converting any of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from .contract import Json
from .definition import Definition
from .durations import format_timestamp, parse_timestamp
from .expressions import Wanted, as_tree
from .state import JobState, TaskState
from .syntax import Path


class TasksView(Mapping[str, Any]):
    """`tasks` in an expression: every task of the definition, with what its newest finished run left behind.

    A task that has not run yet has no `output`, so that `has(tasks.x.output)` is false and naming it is an error.
    """

    def __init__(self, definition: Definition, tasks: Mapping[str, TaskState]) -> None:
        self._definition = definition
        self._tasks = tasks

    def __getitem__(self, name: str) -> dict[str, Json]:
        if name not in self._definition.tasks:
            raise KeyError(name)
        task = self._tasks.get(name)
        if task is None:
            return {}
        facts: dict[str, Json] = {}
        if task.ran:
            facts = {"output": task.output, "outcome": task.outcome, "error": None}
        if task.error is not None:
            facts["error"] = dict(task.error)
        return facts

    def __iter__(self) -> Iterator[str]:
        return iter(self._definition.tasks)

    def __len__(self) -> int:
        return len(self._definition.tasks)


def names_of(
    definition: Definition, state: JobState, tasks: Mapping[str, TaskState], extra: Mapping[str, Json] | None = None
) -> dict[str, Any]:
    """The roots an expression may name: `input`, `tasks` and `job`, and in a `when` those in `extra`.

    A fragment was given the names its parent had, with `item` and `index` in a map, and knows no others.
    """
    if definition.fragment:
        return {**_with_times(state.input), **(extra or {})}
    job = {"id": state.job_id, "created_at": state.created_at, "priority": state.priority}
    return {"input": state.input, "tasks": TasksView(definition, tasks), "job": job, **(extra or {})}


def _with_times(names: Mapping[str, Json]) -> Mapping[str, Any]:
    """The names a fragment was given, with the time in them as a time again, to reckon with."""
    if "job" not in names:
        return names
    return {**names, "job": {**names["job"], "created_at": parse_timestamp(names["job"]["created_at"])}}


def captured(names: Mapping[str, Any], paths: tuple[Path, ...]) -> dict[str, Json]:
    """What of `names` the given paths read, as JSON: what a fragment is given on its way, and kept once for all items.

    What is missing stays missing, for the expression to stumble on.
    """
    found = {root: _read(names[root], wanted) for root, wanted in as_tree(paths).items() if root in names}
    if "job" in found:
        moment = names["job"]["created_at"]
        created_at = format_timestamp(moment) if isinstance(moment, datetime) else moment
        found["job"] = {**names["job"], "created_at": created_at}
    return found


def _read(value: Any, wanted: Wanted) -> Json:
    """The wanted members of nested objects; of a list that is read at some places, the whole list."""
    if not wanted or not isinstance(value, Mapping):
        return value
    return {key: _read(value[key], inner) for key, inner in wanted.items() if key in value}
