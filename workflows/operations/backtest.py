"""Back-testing: a new version over the inputs of past jobs and the answers that they got.

Both versions are walked with the same recorded answers, so whatever differs comes from the definitions. What a job was
never asked cannot be told: where the new version asks it, that job is counted apart.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from workflows.engine.contract import Json
from workflows.engine.definition import Definition
from workflows.engine.events import Event, OpenWork
from workflows.engine.jsonvalue import canonical
from workflows.engine.state import JobState, Waiting
from workflows.engine.walk import Budget, Given, Walk, deciders, walk
from workflows.execution.definitions import get_definition
from workflows.execution.exceptions import DefinitionNotFound
from workflows.intake.exceptions import NoSuchVersion
from workflows.models import Job, JobStatus, TaskRun, TaskRunStatus

from .simulate import definition_to_try

MAX_JOBS = 1_000
BATCH = 100
MAX_STEPS = 2_000


@dataclass(frozen=True, slots=True)
class ChangedJob:
    """A past job that would have gone another way. `verdict` is path, decider, outcome (of the job), or unknown."""

    job: uuid.UUID
    version: int
    correlation_id: str
    verdict: str
    detail: str
    task: str = ""
    before: Json = None
    after: Json = None


@dataclass(slots=True)
class Backtest:
    """The counts, and every job that is not unchanged. `against` is None where each job was held against its own."""

    workflow: str
    version: int | None
    against: int | None
    examined: int = 0
    unchanged: int = 0
    changed: int = 0
    unknown: int = 0
    jobs: list[ChangedJob] = field(default_factory=list)


def backtest(
    name: str,
    jobs: QuerySet[Job],
    *,
    version: int | str | None = None,
    document: Any = None,
    against: int | None = None,
    limit: int = 100,
) -> Backtest:
    """Walk the newest finished of `jobs`, at most `limit` (up to 1,000), through a version, the draft or a document.

    Raises as `definition_to_try`, and NoSuchVersion where `against` is not there. Two queries for every 100 jobs.
    """
    new, number = definition_to_try(name, version=version, document=document)
    if against is not None and _definition(name, against) is None:
        raise NoSuchVersion(f"{name} has no version {against}.")
    result = Backtest(name, number, against)
    for job, runs in _past(jobs.filter(workflow=name, status=JobStatus.DONE, fragment=""), min(limit, MAX_JOBS)):
        result.examined += 1
        found = _judge(job, runs, new, _definition(name, job.version if against is None else against))
        if found is None:
            result.unchanged += 1
            continue
        result.jobs.append(found)
        if found.verdict == "unknown":
            result.unknown += 1
        else:
            result.changed += 1
    return result


def _past(jobs: QuerySet[Job], limit: int) -> Iterator[tuple[Job, list[TaskRun]]]:
    last: uuid.UUID | None = None
    while limit > 0:
        rows = jobs.order_by("-id").select_related("data")
        portion = list((rows if last is None else rows.filter(pk__lt=last))[: min(BATCH, limit)])
        if not portion:
            return
        runs: dict[uuid.UUID, list[TaskRun]] = {}
        for run in TaskRun.objects.filter(job_id__in=[job.pk for job in portion]).order_by("job_id", "sequence"):
            runs.setdefault(run.job_id, []).append(run)
        for job in portion:
            yield job, runs.get(job.pk, [])
        last, limit = portion[-1].pk, limit - len(portion)


def _definition(name: str, version: int) -> Definition | None:
    try:
        return get_definition(name, version) if version < 2**31 else None
    except DefinitionNotFound:
        return None


class _RecordedAnswers:
    """What the runs of a past job came to. Nothing is assumed: what it was never asked cannot be told."""

    def __init__(self, runs: Sequence[TaskRun]) -> None:
        self._given: dict[tuple[str, int], Given] = {}
        for run in runs:
            if run.status in (TaskRunStatus.DONE, TaskRunStatus.FAILED) or (
                run.status == TaskRunStatus.SKIPPED and run.actor
            ):
                after = run.finished_at - run.started_at if run.finished_at is not None else None
                self._given[run.task, run.iteration] = Given(
                    run.outcome, run.output, run.error, run.cause or "", after=after
                )

    def given(self, place: str, iteration: int) -> Given | None:
        return self._given.get((place, iteration))

    def step(self, definition: Definition, state: JobState, task: str, now: datetime) -> Event | Given | None:
        return None

    def assumed(self, place: str, waiting: Waiting, request: OpenWork | None) -> Given | None:
        return None

    def child(self, workflow: str, version: int | None) -> Definition | None:
        return None


def _judge(job: Job, runs: Sequence[TaskRun], new: Definition, old: Definition | None) -> ChangedJob | None:
    """What would be different for one past job; None where nothing is."""
    facts = (job.pk, job.version, job.correlation_id)
    if old is None:
        return ChangedJob(*facts, "unknown", "The version to compare with is not there.")
    before, after = (_walked(definition, job, runs) for definition in (old, new))
    if before.stopped:
        return ChangedJob(*facts, "unknown", f"It cannot be walked as it was: {before.stopped}", _task(before))
    paths = [[(step.task, step.iteration, step.result, step.outcome) for step in done.path] for done in (before, after)]
    # Branches that run side by side may change places with a wait, and that is no other path.
    gone, new_runs = ([run for run in path if run not in other] for path, other in (paths, paths[::-1]))
    if after.missing is not None and not new_runs:
        task = after.missing[0]
        detail = f"It would go to {task}, which it was never asked: how it goes on cannot be told."
        return ChangedJob(*facts, "unknown", detail, task, _run(gone[0] if gone else None))
    if gone or new_runs:
        was, would = (found[0] if found else None for found in (gone, new_runs))
        detail = f"It went {_words(was)}, and would go {_words(would)}."
        return ChangedJob(*facts, "path", detail, (would or was or ("",))[0], _run(was), _run(would))
    if after.stopped:
        return ChangedJob(*facts, "unknown", after.stopped, _task(after))
    asked = [{(task, iteration): who for task, iteration, who in deciders(done.path)} for done in (before, after)]
    for run, was_asked in asked[0].items():
        would_ask = asked[1].get(run, was_asked)
        keys = [key for key in was_asked if canonical(was_asked[key]) != canonical(would_ask[key])]
        if keys:
            detail = f"{run[0]} would be decided by others: another {', '.join(keys)}."
            chosen = [{key: who[key] for key in keys} for who in (was_asked, would_ask)]
            return ChangedJob(*facts, "decider", detail, run[0], *chosen)
    ends = [{"status": done.state.status, "output": done.state.output} for done in (before, after)]
    if canonical(ends[0]) != canonical(ends[1]):
        return ChangedJob(*facts, "outcome", "It goes the same way and comes to another result.", "", *ends)
    return None


def _walked(definition: Definition, job: Job, runs: Sequence[TaskRun]) -> Walk:
    answers = _RecordedAnswers(runs)
    began = job.started_at or job.created_at
    return walk(
        definition,
        job.data.input,
        answers,
        now=began,
        budget=Budget(MAX_STEPS),
        job_id=str(job.pk),
        priority=job.priority,
        created_at=job.created_at,
    )


def _task(done: Walk) -> str:
    return done.missing[0] if done.missing is not None else ""


def _words(run: tuple[str, int, str, str | None] | None) -> str:
    if run is None:
        return "no further"
    task, iteration, result, outcome = run
    times = f" (iteration {iteration})" if iteration > 1 else ""
    ended = f"`{outcome}`" if outcome is not None and result == "completed" else result
    return f"through {task}{times}: {ended}"


def _run(run: tuple[str, int, str, str | None] | None) -> Json:
    return None if run is None else dict(zip(("task", "iteration", "result", "outcome"), run, strict=True))
