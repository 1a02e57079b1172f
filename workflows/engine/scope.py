"""The names that expressions see: views of a job, made without copying or converting any of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .contract import Json
from .definition import Definition
from .state import JobState, TaskState


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
    """The roots an expression may name: `input`, `tasks` and `job`, and in a `when` those in `extra`."""
    job = {"id": state.job_id, "created_at": state.created_at, "priority": state.priority}
    return {"input": state.input, "tasks": TasksView(definition, tasks), "job": job, **(extra or {})}
