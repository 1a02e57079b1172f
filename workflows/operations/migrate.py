"""Moving live jobs to another version of their workflow: first a dry run over all of them, then each by itself.

A job moves between two steps, under its row's lock: one that a worker holds at this moment is refused, and can be moved
a moment later. What doors told it before the move is decided in the words of the version it had.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Model, QuerySet
from django.utils import timezone

from workflows.engine.codec import event_from_json
from workflows.engine.contract import Json
from workflows.engine.decide import decide
from workflows.engine.definition import Definition
from workflows.engine.events import Command, Event, JobStarted, Migrated, Record
from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import pointer_to
from workflows.engine.migration import NEEDS_MAPPING, Migration, Obstacle, migrate
from workflows.engine.state import JobState
from workflows.execution.children import full_input
from workflows.execution.commit import Decided, Outcome, Step, StepFacts, commit
from workflows.execution.definitions import get_definition
from workflows.execution.doorbell import ring
from workflows.execution.exceptions import DefinitionNotFound
from workflows.execution.ranks import rank_at
from workflows.execution.respond import lock_job
from workflows.models import FINISHED, ChildGroup, DeadLetter, EventWaiter, Job, JobStatus, Signal, TaskRun
from workflows.models.statements import ClaimedJob

from .exceptions import CannotMigrate, InvalidRequest, WrongState

BATCH = 200
EXAMPLES = 5
MAX_EXAMINED = 10_000
LIVE = (JobStatus.NEW, JobStatus.READY, JobStatus.PEND, JobStatus.FAIL)
_NAMING: tuple[type[Model], ...] = (TaskRun, EventWaiter, ChildGroup)
"""The tables of this floor whose rows are found by the name of a task."""
_APART = "\N{RIGHT-POINTING ANGLE BRACKET}"

_renamers: list[Callable[[uuid.UUID, Mapping[str, str]], None]] = []


def register_renamer(renamer: Callable[[uuid.UUID, Mapping[str, str]], None]) -> None:
    """Let `renamer(job_id, names)` follow tasks that go on under another name, in tables this floor does not know."""
    if renamer not in _renamers:
        _renamers.append(renamer)


@dataclass(slots=True)
class Verdict:
    """What holds for `count` jobs: the first few of them by id, and why. A clean move has no code."""

    code: str = ""
    task: str = ""
    detail: str = ""
    count: int = 0
    examples: list[uuid.UUID] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, job_id: uuid.UUID, notes: Sequence[str] = ()) -> None:
        """Count one job more."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(job_id)
        self.notes += [note for note in notes if note not in self.notes][: 10 - len(self.notes)]


@dataclass(slots=True)
class DryRun:
    """What a migration would do. `examined` is less than `total` where there are more than 10,000 live jobs."""

    workflow: str
    to: int
    total: int = 0
    examined: int = 0
    clean: Verdict = field(default_factory=Verdict)
    needs_mapping: list[Verdict] = field(default_factory=list)
    cannot: list[Verdict] = field(default_factory=list)


@dataclass(slots=True)
class Moved:
    """What a migration of many jobs did: how many moved, and of the others why not."""

    workflow: str
    to: int
    total: int = 0
    moved: int = 0
    refused: list[Verdict] = field(default_factory=list)


def live_jobs(
    workflow: str,
    to: int,
    *,
    versions: Collection[int] = (),
    status: Collection[str] = (),
    correlation_id: str = "",
    jobs: Collection[uuid.UUID] = (),
) -> QuerySet[Job]:
    """The jobs that a migration to `to` is about: those of the workflow that have not ended and are on another version.

    `versions`, `status`, `correlation_id` and `jobs` narrow it, where given. Parts of a job end with it on its version.
    """
    found: QuerySet[Job] = Job.objects.whole().filter(workflow=workflow, status__in=LIVE).exclude(version=to)
    if versions:
        found = found.filter(version__in=versions)
    if status:
        found = found.filter(status__in=status)
    if correlation_id:
        found = found.filter(correlation_id=correlation_id)
    if jobs:
        found = found.filter(pk__in=jobs)
    return found


def dry_run(workflow: str, to: int, mapping: Mapping[str, str], jobs: QuerySet[Job]) -> DryRun:
    """What would become of `jobs` (of `live_jobs`): which move cleanly, which need a mapping, which cannot and why.

    Reads in portions of 200 and writes nothing. InvalidRequest where the version is unknown, or the mapping names tasks
    that the versions do not have.
    """
    new = check_request(workflow, to, mapping, jobs)
    result = DryRun(workflow, to, total=jobs.count())
    groups: dict[tuple[str, str, str], Verdict] = {}
    now = timezone.now()
    for job, signals in _portions(jobs, MAX_EXAMINED):
        result.examined += 1
        try:
            old = get_definition(job.workflow, job.version)
            move = migrate(old, new, _caught_up(job, old, signals, now).state, _own(mapping, old), now)
        except DefinitionNotFound as error:
            move = Migration(JobState.new(None), (Obstacle("unknown_version", "", str(error)),))
        if not move.obstacles:
            result.clean.add(job.pk, move.notes)
        for obstacle in move.obstacles[:1]:
            key = (obstacle.code, obstacle.task, obstacle.detail)
            verdict = groups.setdefault(key, Verdict(*key))
            verdict.add(job.pk)
    for verdict in sorted(groups.values(), key=lambda verdict: -verdict.count):
        (result.needs_mapping if verdict.code == NEEDS_MAPPING else result.cannot).append(verdict)
    return result


def migrate_job(
    job_id: uuid.UUID, to: int, *, mapping: Mapping[str, str] | None = None, actor: str, reason: str = ""
) -> Job:
    """Move one job to version `to` of its workflow. `mapping` says which task goes on as which; all others keep their
    names. What it waits for goes on waiting as it was asked.

    CannotMigrate with every obstacle; WrongState where the job has ended, is on that version, is part of another job,
    or is in a worker's hands; InvalidRequest where the version, or a task of the mapping, does not exist.
    """
    with transaction.atomic():
        job = lock_job(job_id)
        _check_job(job, to)
        new = check_request(job.workflow, to, mapping or {}, Job.objects.filter(pk=job.pk))
        old = get_definition(job.workflow, job.version)
        now = timezone.now()
        if job.signals:
            signals = Signal.objects.filter(job_id=job.pk).order_by("sequence")
            _write(job, _caught_up(job, old, [row.event for row in signals], now), old, now, actor)
        own = _own(mapping or {}, old)
        move = migrate(old, new, _state(job), own, now)
        if move.obstacles:
            raise CannotMigrate(job, move.obstacles)
        event = Migrated(job.version, to, own, actor, reason)
        data: dict[str, Json] = {"from": job.version, "to": to, "mapping": own, "notes": list(move.notes)}
        record = Record("job.migrated", actor=actor, cause=reason or None, data=data)
        job.version = to
        Job.objects.filter(pk=job.pk).update(version=to)
        _rename(job.pk, {name: target for name, target in own.items() if name != target})
        told = _Told(move.state, [record, *move.records], list(move.commands), [(0, now, event)])
        _write(job, told, new, now, actor)
        if job.status == JobStatus.READY:
            Job.objects.filter(pk=job.pk).update(rank=rank_at(now, job.priority))
            transaction.on_commit(partial(ring, job.queue))
    return job


def migrate_jobs(
    workflow: str, to: int, mapping: Mapping[str, str], jobs: QuerySet[Job], *, actor: str, reason: str = ""
) -> Moved:
    """Move every one of `jobs` (of `live_jobs`), each by itself, in portions; say of the others why not.

    InvalidRequest as `dry_run`. Whoever must not wait narrows the jobs to 1,000 first.
    """
    check_request(workflow, to, mapping, jobs)
    result = Moved(workflow, to)
    groups: dict[tuple[str, str, str], Verdict] = {}
    for job, _ in _portions(jobs, None):
        result.total += 1
        try:
            migrate_job(job.pk, to, mapping=_own(mapping, job), actor=actor, reason=reason)
        except WrongState as error:
            first = error.obstacles[0] if isinstance(error, CannotMigrate) else Obstacle("wrong_state", "", str(error))
            key = (first.code, first.task, first.detail)
            groups.setdefault(key, Verdict(*key)).add(job.pk)
        else:
            result.moved += 1
    result.refused = sorted(groups.values(), key=lambda verdict: -verdict.count)
    return result


# ---- checks ---------------------------------------------------------------------------------------------------------


def _check_job(job: Job, to: int) -> None:
    if job.status in FINISHED:
        raise WrongState(job, f"The job is {job.status} already; only one that has not ended can move.")
    if job.fragment:
        raise WrongState(job, f"The job runs a part of job {job.parent_id}, and ends on the version it began with.")
    if job.version == to:
        raise WrongState(job, f"The job is on version {to} already.")
    if job.claimed_by is not None:
        raise WrongState(job, "A worker is at this job. Try again in a moment.")


def check_request(workflow: str, to: int, mapping: Mapping[str, str], jobs: QuerySet[Job]) -> Definition:
    """The version to move to. InvalidRequest where it, or a task of the mapping, does not exist."""
    try:
        new = get_definition(workflow, to) if 0 < to < 2**31 else None
    except DefinitionNotFound:
        new = None
    if new is None:
        raise InvalidRequest([Fault("/to", "unknown_version", f"{workflow!r} has no version {to}.")])
    faults = []
    old = _tasks_of(jobs) if mapping else set()
    for source, target in mapping.items():
        pointer = pointer_to(["mapping", source])
        if source not in old:
            faults.append(Fault(pointer, "unknown_task", f"No version that these jobs are on has a task {source!r}."))
        if target not in new.tasks:
            faults.append(Fault(pointer, "unknown_task", f"Version {to} has no task {target!r}."))
    if len(set(mapping.values())) < len(mapping):
        faults.append(Fault("/mapping", "ambiguous_mapping", "Two tasks cannot go on as one."))
    if faults:
        raise InvalidRequest(faults)
    return new


def _tasks_of(jobs: QuerySet[Job]) -> set[str]:
    found: set[str] = set()
    for workflow, version in jobs.order_by().values_list("workflow", "version").distinct():
        try:
            found |= set(get_definition(workflow, version).tasks)
        except DefinitionNotFound:
            continue
    return found


def _own(mapping: Mapping[str, str], source: Definition | Job) -> dict[str, str]:
    """What of a mapping is about tasks of this version: several versions may be moved with one mapping."""
    try:
        definition = source if isinstance(source, Definition) else get_definition(source.workflow, source.version)
    except DefinitionNotFound:
        return {}
    return {name: target for name, target in mapping.items() if name in definition.tasks}


# ---- reading and writing --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Told:
    """A state, with all that led to it since the last commit."""

    state: JobState
    records: list[Record] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)


def _portions(jobs: QuerySet[Job], most: int | None) -> Iterator[tuple[Job, list[Json]]]:
    """Jobs by id, each with the facts that no worker has seen yet: three queries for every 200 of them."""
    last: uuid.UUID | None = None
    count = 0
    while most is None or count < most:
        rows = jobs.order_by("id").select_related("data")
        rows = rows.filter(pk__gt=last) if last is not None else rows
        portion = list(rows[: BATCH if most is None else min(BATCH, most - count)])
        if not portion:
            return
        signals: dict[uuid.UUID, list[Json]] = {}
        told = [job.pk for job in portion if job.signals]
        for job_id, event in Signal.objects.filter(job_id__in=told).order_by("sequence").values_list("job_id", "event"):
            signals.setdefault(job_id, []).append(event)
        for job in portion:
            yield job, signals.get(job.pk, [])
        last = portion[-1].pk
        count += len(portion)


def _state(job: Job) -> JobState:
    given = full_input(job.data.input, job.group_id, job.fragment)
    return JobState.new(given) if job.data.state is None else JobState.from_json(job.data.state, given)


def _caught_up(job: Job, definition: Definition, signals: Sequence[Json], now: datetime) -> _Told:
    """The job with the facts decided that doors wrote for it and no worker has seen; nothing is written."""
    told = _Told(_state(job))
    facts: list[Event] = [event_from_json(event) for event in signals]
    if facts and not told.state.started:
        facts.insert(0, JobStarted(str(job.pk), job.created_at, job.priority))
    for fact in facts:
        decision = decide(definition, told.state, fact, now)
        if decision.state is not told.state:
            told.decided.append((len(told.records), now, fact))
        told.state = decision.state
        told.records += decision.records
        told.commands += decision.commands
    return told


def _write(job: Job, told: _Told, definition: Definition, now: datetime, actor: str) -> None:
    """Write a state under the job's lock, and read the job again. A job that goes nowhere new stays where it is."""
    stays = not told.state.started or told.state.status == job.status
    target = job.status if stays else JobStatus.READY
    step = Step(
        ClaimedJob.of(job, now),
        definition,
        told.state,
        told.records,
        told.commands,
        StepFacts(),
        now,
        actor=actor,
        target=target,
        decided=told.decided,
    )
    outcome = commit(None, step, release=True)
    if outcome is not Outcome.WRITTEN:
        causes = "; ".join(refusal.cause for refusal in step.refusals)
        raise WrongState(job, f"The move could not be written: {causes or outcome.value}.")
    job.refresh_from_db()
    job.data.refresh_from_db()


def _rename(job_id: uuid.UUID, names: Mapping[str, str]) -> None:
    """Let everything that hangs on a task follow it to its new name, so that the next answer finds it."""
    if not names:
        return
    # Two tasks may change names with each other: first all of them out of the way, then each to its place.
    tables: list[QuerySet[Any]] = [model._default_manager.filter(job_id=job_id) for model in _NAMING]
    for rows in (*tables, DeadLetter.objects.filter(job_id=job_id, resolved_at__isnull=True)):
        for number, name in enumerate(names):
            rows.filter(task=name).update(task=f"{_APART}{number}")
        for number, target in enumerate(names.values()):
            rows.filter(task=f"{_APART}{number}").update(task=target)
    for renamer in _renamers:
        renamer(job_id, names)
