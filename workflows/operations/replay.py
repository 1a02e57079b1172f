"""Replay: the events that a job's history kept, decided upon again, lead to the state the job has, byte for byte.

What a replay proves is that nothing but the history, the definitions and the input went into a job's state. A
difference means that a state was changed by other hands, or that the engine no longer decides as it did.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection

from workflows.engine.codec import about_run, decided_from_json
from workflows.engine.contract import Json
from workflows.engine.decide import decide
from workflows.engine.durations import parse_timestamp
from workflows.engine.events import Event, Migrated
from workflows.engine.exceptions import EngineError
from workflows.engine.jsonvalue import canonical, pointer_to
from workflows.engine.migration import migrate
from workflows.engine.state import JobState
from workflows.execution.children import full_input_of
from workflows.execution.definitions import get_definition
from workflows.execution.exceptions import DefinitionNotFound
from workflows.models import ArchivedJob, History, Job, TaskRun, TaskRunStatus, find_job

MAX_DIFFERENCES = 20
BATCH = 100


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where the states differ: `stored` is what the job has, `replayed` what its history leads to."""

    pointer: str
    stored: Json
    replayed: Json


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of replaying one job. `error` says why it could not be replayed at all; empty where it could."""

    job_id: uuid.UUID
    workflow: str
    version: int
    events: int
    differences: tuple[Difference, ...] = ()
    error: str = ""

    @property
    def equal(self) -> bool:
        """True where the history leads to the very state that is stored."""
        return not self.differences and not self.error


def replay_job(job_id: uuid.UUID) -> Replay:
    """Replay one job as it is now, archived or not. Job.DoesNotExist where there is none; nothing is changed."""
    return _replay(find_job(job_id))


def replay_all(workflow: str = "", limit: int | None = None) -> Iterator[Replay]:
    """Replay every job that no worker holds, the newest first, in bounded portions; at most `limit` of them. Those in
    the archive are not among them."""
    last: uuid.UUID | None = None
    left = limit
    while left is None or left > 0:
        jobs = Job.objects.filter(claimed_by__isnull=True).order_by("-id").select_related("data")
        if workflow:
            jobs = jobs.filter(workflow=workflow)
        if last is not None:
            jobs = jobs.filter(pk__lt=last)
        portion = list(jobs[: BATCH if left is None else min(BATCH, left)])
        if not portion:
            return
        for job in portion:
            yield _replay(job)
        last = portion[-1].pk
        left = None if left is None else left - len(portion)


def replay_archive(workflow: str = "", limit: int | None = None) -> Iterator[Replay]:
    """Replay every archived job, the newest first, one in memory at a time; at most `limit` of them."""
    jobs = ArchivedJob.objects.order_by("-id")
    if workflow:
        jobs = jobs.filter(workflow=workflow)
    for archived in jobs[:limit].iterator(chunk_size=BATCH):
        yield _replay(archived.as_job())


def _replay(job: Job) -> Replay:
    try:
        state, count = _again(job)
        stored = _kept(job, state)
    except (EngineError, DefinitionNotFound, LookupError) as error:
        text = str(error) if not isinstance(error, LookupError) else f"The history has a gap: {error}."
        return Replay(job.pk, job.workflow, job.version, 0, error=text)
    if not state.started and stored is not None and stored.get("created_at") is not None:
        reason = "The first part of its history was written before histories could be replayed."
        return Replay(job.pk, job.workflow, job.version, 0, error=reason)
    replayed = _as_kept(state.to_json()) if stored is not None or count else None
    differences = () if canonical(replayed) == canonical(stored) else tuple(_differences(stored, replayed))
    return Replay(job.pk, job.workflow, job.version, count, differences)


def _kept(job: Job, state: JobState) -> Any:
    """The state that the job has, read and written again: releases differ in what they leave out."""
    if job.data.state is None:
        return None
    return _as_kept(JobState.from_json(job.data.state, state.input).to_json())


def _again(job: Job) -> tuple[JobState, int]:
    """The state that the history leads to, and how many events it took."""
    events = list(_events(job))
    moves = [event for event, _ in events if isinstance(event, Migrated)]
    version = moves[0].from_version if moves else job.version
    state = JobState.new(full_input_of(job))
    for event, now in events:
        definition = get_definition(job.workflow, version, job.fragment)
        if isinstance(event, Migrated):
            version = event.to_version
            moved = migrate(definition, get_definition(job.workflow, version), state, event.mapping, now)
            if moved.obstacles:
                raise EngineError(f"The move to version {version} is not possible: {moved.obstacles[0].detail}")
            state = moved.state
        else:
            state = decide(definition, state, event, now).state
    return state, len(events)


def _events(job: Job) -> Iterator[tuple[Event | Migrated, Any]]:
    """Every event of a history with its time, each with the output that a task run holds for it.

    Runs carry the newest names of their tasks, so an earlier name is followed through the moves that came after it.
    """
    kept = [
        {"now": at, **about_run(entry, task, iteration)}
        for at, task, iteration, decided in _decided(job)
        for entry in decided or ()
    ]
    moves = [(place, entry["mapping"]) for place, entry in enumerate(kept) if entry["event"] == Migrated.__name__]
    outputs: dict[tuple[str, int], Json] | None = None
    for place, entry in enumerate(kept):
        data = dict(entry)
        now = data.pop("now")
        now = parse_timestamp(now) if isinstance(now, str) else now
        field = data.pop("in_run", None)
        if field is not None:
            outputs = _outputs(job) if outputs is None else outputs
            name = data["task"]
            for later, mapping in moves:
                name = mapping.get(name, name) if later > place else name
            data[field] = outputs[name, data["iteration"]]
        yield decided_from_json(data), now


def _decided(job: Job) -> Iterable[tuple[Any, str, int | None, Any]]:
    if job.archive is not None:
        return [(row.at, row.task, row.iteration, row.decided) for row in job.archive.history()]
    rows = History.objects.filter(job_id=job.pk, decided__isnull=False).order_by("sequence")
    return rows.values_list("at", "task", "iteration", "decided")


def _outputs(job: Job) -> dict[tuple[str, int], Json]:
    if job.archive is not None:
        done = (run for run in job.archive.task_runs() if run.status == TaskRunStatus.DONE)
        return {(run.task, run.iteration): run.output for run in done}
    runs = TaskRun.objects.filter(job_id=job.pk, status=TaskRunStatus.DONE).order_by()
    return {(task, iteration): output for task, iteration, output in runs.values_list("task", "iteration", "output")}


def _as_kept(value: Json) -> Json:
    """The value as the database keeps JSON: PostgreSQL writes numbers in its own way (1e22 as an integer)."""
    if connection.vendor != "postgresql":
        return json.loads(canonical(value))
    with connection.cursor() as cursor:
        cursor.execute("SELECT CAST(CAST(%s AS jsonb) AS text)", [canonical(value)])
        return json.loads(cursor.fetchone()[0])


def _differences(stored: Json, replayed: Json) -> Iterator[Difference]:
    """The innermost places where two JSON values differ, the first twenty."""
    found = 0
    stack: list[tuple[tuple[str | int, ...], Json, Json]] = [((), stored, replayed)]
    while stack and found < MAX_DIFFERENCES:
        path, one, other = stack.pop()
        if canonical(one) == canonical(other):
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            keys = sorted({*one, *other}, reverse=True)
            stack.extend(((*path, key), one.get(key), other.get(key)) for key in keys)
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            stack.extend(((*path, i), a, b) for i, (a, b) in reversed(list(enumerate(zip(one, other, strict=True)))))
        else:
            found += 1
            yield Difference(pointer_to(path), one, other)
