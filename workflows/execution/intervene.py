"""Deciding for a job without a worker: what a repair says, and what becomes of the children that nobody wants."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from django.db import transaction
from django.utils import timezone

from workflows.engine.codec import event_from_json
from workflows.engine.decide import decide
from workflows.engine.definition import Definition
from workflows.engine.events import CancelRequested, Command, Event, JobStarted, Record, TaskFailed
from workflows.engine.exceptions import InvalidState
from workflows.engine.state import READY, JobState
from workflows.models import Job, JobStatus, Signal
from workflows.models.statements import ClaimedJob

from .children import full_input, settle_soon
from .commit import Decided, Outcome, Step, StepFacts, commit
from .definitions import ONE_TASK, get_definition
from .doorbell import ring
from .exceptions import DefinitionNotFound, NotDecided
from .holds import after_fact
from .ranks import rank_at


@dataclass
class _Progress:
    """What follows from several events, one after the other."""

    definition: Definition
    state: JobState
    now: datetime
    records: list[Record] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)

    def take(self, event: Event) -> bool:
        """Decide on one event; False where it does not fit, and nothing but a record of that came of it."""
        decision = decide(self.definition, self.state, event, self.now)
        fits = decision.state is not self.state
        if fits:
            self.decided.append((len(self.records), self.now, event))
        self.state = decision.state
        self.records += decision.records
        self.commands += decision.commands
        return fits


def intervene(job: Job, event: Event, *, actor: str = "") -> None:
    """Decide on the event, after the facts that came in before it, and write what follows.

    The caller holds the job's lock. A worker that is at the job can write no more. Raises NotDecided, and writes
    nothing, where the event does not fit; a job whose definition or state cannot be had can only be cancelled.
    """
    now = timezone.now()
    progress = _read(job, event, now)
    before = progress.state
    if not before.started and not isinstance(event, CancelRequested):
        progress.take(JobStarted(str(job.pk), job.created_at, job.priority))
    if job.signals:
        for row in Signal.objects.filter(job_id=job.pk).order_by("sequence"):
            progress.take(event_from_json(row.event))
    if not progress.take(event):
        raise NotDecided(str(progress.records[-1].data.get("reason", "The job is not in a state for this.")))
    step = _write(job, progress, before, actor)
    if step.status == JobStatus.READY:
        Job.objects.filter(pk=job.pk).update(rank=rank_at(now, job.priority), hold=after_fact(job.hold))
        transaction.on_commit(partial(ring, job.queue))
    if job.group_id is not None:
        # Another job waits for this one: it is told where this was the last it waited for.
        settle_soon([job.group_id])


def _write(job: Job, progress: _Progress, before: JobState, actor: str) -> Step:
    refused: list[tuple[str, int]] = []
    while True:
        step = _step(job, progress, actor)
        if job.claimed_by is not None:
            # The steps that were being worked on are over, and with them their places.
            step.left = frozenset(_with_resource(progress.definition, before))
        outcome = commit(None, step, release=True, refused=refused)
        if outcome is Outcome.WRITTEN:
            return step
        if outcome is not Outcome.REFUSED:
            raise NotDecided(f"It could not be written: {outcome.value}.")
        # What comes next cannot be opened. That task fails, as it would in a worker's hands.
        for refusal in step.refusals:
            refused.append((refusal.task, refusal.iteration))
            progress.take(TaskFailed(refusal.task, refusal.iteration, refusal.error, refusal.cause))


def _read(job: Job, event: Event, now: datetime) -> _Progress:
    given = full_input(job.data.input, job.group_id, job.fragment)
    try:
        definition = get_definition(job.workflow, job.version, job.fragment)
        state = JobState.new(given) if job.data.state is None else JobState.from_json(job.data.state, given)
    except (DefinitionNotFound, InvalidState) as error:
        if not isinstance(event, CancelRequested):
            raise NotDecided(f"{error} Until that is mended the job can only be cancelled.") from None
        # So that nobody has to look at it for ever.
        definition, state = get_definition(job.workflow, ONE_TASK), JobState.new(given)
    return _Progress(definition, state, now)


def _step(job: Job, progress: _Progress, actor: str) -> Step:
    """What is to be written. A job that is cancelled now has ended; any other is ready: the worker that claims it parks
    it, or finishes it."""
    cancelled = progress.state.status == JobStatus.CANC
    return Step(
        ClaimedJob.of(job, progress.now),
        progress.definition,
        progress.state,
        # That it is done, the worker says that finishes it.
        [record for record in progress.records if cancelled or record.event != "job.done"],
        progress.commands,
        StepFacts(),
        progress.now,
        actor=actor,
        target=JobStatus.CANC if cancelled else JobStatus.READY,
        decided=progress.decided,
    )


def _with_resource(definition: Definition, state: JobState) -> list[str]:
    ready = [name for name in state.active if state.tasks[name].status == READY]
    return [name for name in ready if definition.task(name).resource is not None]
