"""Who is asked when a task needs a department: the engine knows only that somebody registered for it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from workflows.engine.events import OpenWork, WithdrawWork


@dataclass(frozen=True, slots=True)
class ParkedJob:
    """What a parker may know of the job that asks."""

    id: uuid.UUID
    workflow: str
    correlation_id: str
    version: int = 0
    fragment: str = ""
    queue: str = "default"
    parent_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that could not be opened: its task fails with this error name and cause."""

    job_id: uuid.UUID
    task: str
    iteration: int
    error: str
    cause: str


RefusedRow = tuple[uuid.UUID, str, int, str, str]
"""A refusal as a parker answers it: job id, task, iteration, error name, cause."""


class Parker(Protocol):
    """Opens and withdraws requests, for a whole batch, inside the worker's commit."""

    def open(self, batch: Sequence[tuple[ParkedJob, OpenWork]]) -> Sequence[RefusedRow]:
        """Open every request; answer the refused ones as (job_id, task, iteration, error, cause)."""

    def withdraw(self, batch: Sequence[tuple[uuid.UUID, WithdrawWork]]) -> None:
        """Take back requests that nobody needs to answer any more."""


class _Nobody:
    """Stands where no parker is registered: every request is refused, so that no job waits for nobody."""

    def open(self, batch: Sequence[tuple[ParkedJob, OpenWork]]) -> Sequence[RefusedRow]:
        return [
            (job.id, work.task, work.iteration, "DepartmentNotFound", "This server has no departments.")
            for job, work in batch
        ]

    def withdraw(self, batch: Sequence[tuple[uuid.UUID, WithdrawWork]]) -> None:
        return None


_parker: Parker = _Nobody()


def register_parker(parker: Parker) -> None:
    """Make `parker` the one that is asked. Called once, when the application starts."""
    global _parker
    _parker = parker


def open_work(batch: Sequence[tuple[ParkedJob, OpenWork]]) -> list[Refusal]:
    """Ask the parker to open the requests; answer what it refused."""
    return [Refusal(*entry) for entry in _parker.open(batch)] if batch else []


def withdraw_work(batch: Sequence[tuple[uuid.UUID, WithdrawWork]]) -> None:
    """Ask the parker to take requests back."""
    if batch:
        _parker.withdraw(batch)
