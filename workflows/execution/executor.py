"""One claimed job, from its lease to its next stop: decide, execute, commit, until nothing of it can run now."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from workflows.engine.codec import event_from_json
from workflows.engine.decide import decide
from workflows.engine.events import Command, Event, JobStarted, Publish, Record, TaskFailed, TimePassed
from workflows.engine.state import JobState
from workflows.messaging.relay import Relay
from workflows.models import FINISHED, Job, JobStatus, Signal
from workflows.models.failpoints import failpoint
from workflows.models.statements import Checkpoint, ClaimedJob, HistoryRow, checkpoint

from .children import full_input
from .commit import Decided, Outcome, Step, StepFacts, commit, plan
from .definitions import get_definition
from .exceptions import DefinitionNotFound, LeaseLost
from .gates import enter_step
from .lateness import due_after
from .letters import write_letter
from .services import hurry
from .steps import PreparedStep, StepResult, prepare_step

logger = logging.getLogger(__name__)

QUICK_SECONDS = 0.005
_seconds: dict[str, float] = {}
"""How long the steps of each plugin took in this process, the latest counting most."""


class JobRun:
    """Works on one claimed job.

    `base` is the state of the last commit; since then came the `opening`, the `signals` that doors wrote, and the
    worker's `own` events. Where a commit finds a signal that was not seen, all are decided again with it in its place.
    That is sound because `decide` is pure.
    """

    def __init__(self, job: ClaimedJob, owner: str) -> None:
        self.job = job
        self.owner = owner
        self.steps = 0
        self.over = False
        """True once the job has stopped and its lease is given up."""
        self.held = False
        """True where it stopped at a limit: its next step was not begun, and nothing is left to be written."""
        self.planned: Checkpoint | None = None
        """What is to be written after a step, where one statement can; None where requests or documents go with it."""
        self.alone = False
        """True where it must not wait for others to be written: its step may have had an effect outside that a
        repetition would repeat."""
        self.input = full_input(job.input, job.group_id, job.fragment)
        self.state = self.base = JobState.new(self.input)
        self.opening: list[Event] = []
        self.signals: list[Event] = []
        self.own: list[Event] = []
        self.records: list[Record] = []
        self.commands: list[Command] = []
        self.decided: list[Decided] = []
        self._begun = False
        self._idempotent = True
        self._suspended = False
        self._left: frozenset[str] = frozenset()
        self._told_at: datetime | None = None
        self._claimed_at = time.monotonic()
        self._began = 0.0
        self._facts = StepFacts()

    def clock(self) -> datetime:
        """The database's clock: its time at the claim, moved on by this machine's monotonic clock."""
        return self.job.now + timedelta(seconds=time.monotonic() - self._claimed_at)

    def work(self) -> int:
        """Run the job to its next stop; answer how many steps were run. LeaseLost where another worker has it now."""
        self.begin()
        while not self.over:
            self.advance()
            if not self.held:
                self.commit()
        return self.steps

    def begin(self) -> None:
        """Read the definition and the facts that came in; afterwards `quick` can be asked."""
        if self._begun:
            return
        self._begun = True
        try:
            self.definition = get_definition(self.job.workflow, self.job.version, self.job.fragment)
        except DefinitionNotFound as error:
            self.over = True
            fail_hard(self.job, self.owner, "DefinitionNotFound", str(error))
            return
        self._begin()

    @property
    def ended(self) -> bool:
        """True where the job is over and stands so that somebody may have waited for it."""
        return self.over and self.job.status in (*FINISHED, JobStatus.FAIL)

    @property
    def quick(self) -> bool:
        """True where the next step is known to take next to no time, so that others may wait for it."""
        runnable = self.state.runnable
        return not runnable or _seconds.get(self.definition.task(runnable[0]).plugin or "", 1.0) < QUICK_SECONDS

    def advance(self) -> None:
        """Run the next step, if there is one, up to the commit that must follow. `held` where a limit forbids it."""
        step = self.begin_step()
        if not self.held:
            self.end_step(step, None if step is None else step.run())

    def begin_step(self) -> PreparedStep | None:
        """Prepare the next step; None where there is none to be run, and `held` where a limit forbids it."""
        task = self._next_task()
        if self.held or task is None:
            return None
        self._began = time.monotonic()
        self._facts.started_at[task, self.state.tasks[task].attempt] = self.clock()
        prepared = prepare_step(self.job, self.definition, self.state, task, self.clock)
        if isinstance(prepared, PreparedStep):
            return prepared
        self._take(task, prepared)
        return None

    def end_step(self, step: PreparedStep | None, result: StepResult | None) -> None:
        """Take what a step came to, and plan what is to be written."""
        if step is not None and result is not None:
            failpoint("effect.returned")
            plugin = step.spec.plugin or ""
            _seconds[plugin] = 0.8 * _seconds.get(plugin, 0.0) + 0.2 * (time.monotonic() - self._began)
            self._take(step.task, result)
        planned = self._step()
        self.alone = not self._idempotent
        self.planned = None if planned.needs_transaction else plan(planned, release=self._stops)

    def _take(self, task: str, result: StepResult) -> None:
        self._idempotent = self._idempotent and result.idempotent
        self._facts.inputs[task, self.state.tasks[task].attempt] = result.input
        self._facts.documents += [(task, document) for document in result.documents]
        self.steps += 1
        self._apply(result.event)

    def _next_task(self) -> str | None:
        """The first runnable task that no limit forbids. Where all are forbidden the job is handed back, but only after
        what was decided is written: a request to a department does not wait for a slot of another branch."""
        while runnable := self.state.runnable:
            unwritten = bool(self.decided or self.records)
            for name in runnable:
                task = self.definition.task(name)
                if task.resource is None:
                    return name
                last = not unwritten and name == runnable[-1]
                if enter_step(self.owner, self.job, task, hold=last, wake_at=self.state.wake_at):
                    self._left |= {name}
                    return name
            if not unwritten:
                self.over = self.held = True
                return None
            self.commit()
            if self.over:
                self.held = True
                return None
        return None

    @property
    def _stops(self) -> bool:
        """Whether the lease is given up with the next commit."""
        return self._suspended or not self.state.runnable

    def commit(self) -> None:
        """Write everything since the last commit, deciding again as long as signals come in between."""
        refused: list[tuple[str, int]] = []
        while True:
            step = self._step()
            outcome = commit(self.owner, step, release=self._stops, refused=refused)
            if outcome is Outcome.WRITTEN:
                break
            if outcome is Outcome.REFUSED:
                # A request could not be opened. Its task fails, in the same commit that would have opened it.
                for refusal in step.refusals:
                    refused.append((refusal.task, refusal.iteration))
                    self._apply(TaskFailed(refusal.task, refusal.iteration, refusal.error, refusal.cause))
            else:
                self._see_signals()
        self.written()

    def written(self) -> None:
        """The commit stands: what comes next is measured from here."""
        self.over = self._stops
        if self.job.due_at is not None:
            self.job.due_at, self.job.due_paused_at = due_after(self._step())
        self.job.status = self.state.status
        if any(isinstance(command, Publish) for command in self.commands):
            hurry(Relay.name)
        self.base, self.opening, self.signals, self.own = self.state, [], [], []
        self.records, self.commands, self.decided = [], [], []
        self._facts = StepFacts()
        self._left = frozenset()
        self._idempotent = True

    def _step(self) -> Step:
        return Step(
            self.job,
            self.definition,
            self.state,
            self.records,
            self.commands,
            self._facts,
            self.clock(),
            decided=self.decided,
            told_at=self._told_at,
            left=self._left,
        )

    def _begin(self) -> None:
        job = self.job
        self.base = JobState.new(self.input) if job.state is None else JobState.from_json(job.state, self.input)
        if not self.base.started:
            self.opening = [JobStarted(str(job.id), job.created_at, job.priority)]
        self.signals = self._read_signals()
        self.own = [TimePassed()]
        self._decide_all()
        if job.claims > settings.WORKFLOW_MAX_CLAIMS and self.state.runnable:
            # So many workers died with this job in their hands: the step they were in is to blame.
            task = self.state.runnable[0]
            cause = f"{job.claims - 1} workers in a row were lost while they ran this step."
            self._apply(TaskFailed(task, self.state.tasks[task].iteration, "WorkerLost", cause))

    def _read_signals(self) -> list[Event]:
        if not self.job.signals:
            return []
        rows = list(Signal.objects.filter(job_id=self.job.id).order_by("sequence"))
        self._told_at = rows[0].created_at if rows else None
        return [event_from_json(row.event) for row in rows]

    def _decide_all(self) -> None:
        """From the last commit through every event since, anew."""
        self.state, self.records, self.commands, self.decided = self.base, [], [], []
        for event in (*self.opening, *self.signals, *self.own):
            self._decide(event)

    def _apply(self, event: Event) -> None:
        self.own.append(event)
        self._decide(event)

    def _decide(self, event: Event) -> None:
        now = self.clock()
        decision = decide(self.definition, self.state, event, now)
        if decision.state is not self.state:
            self.decided.append((len(self.records), now, event))
        self.state = decision.state
        self.records += decision.records
        self.commands += decision.commands

    def _see_signals(self) -> None:
        """The guard refused the commit: either the lease has passed on, or a door has written a signal meanwhile."""
        row = Job.objects.filter(pk=self.job.id).values("fence", "claimed_by", "signals", "hold").first()
        if row is None or row["fence"] != self.job.fence or row["claimed_by"] != self.owner:
            raise LeaseLost(f"The lease of job {self.job.id} has passed to another worker.")
        if row["signals"] == self.job.signals:
            raise RuntimeError(f"Job {self.job.id} refuses its commit, and neither its lease nor a signal is why.")
        self.job.signals = row["signals"]
        self._suspended = bool(row["hold"])
        self.signals = self._read_signals()
        self._decide_all()


def fail_hard(job: ClaimedJob, owner: str, error: str, cause: str) -> None:
    """End a job that cannot even be decided on (no definition, a state nobody can read) in the dead letters.

    Writes nothing but the status, the error and the history row; facts that came in stay for a later retry. LeaseLost
    where another worker has the job now.
    """
    to_status = Job.moved(job.status, JobStatus.FAIL)
    history = HistoryRow(
        at=job.now,
        event="job.failed",
        from_status=job.status,
        to_status=to_status,
        data={"error": error, "cause": cause},
    )
    step = Checkpoint(
        job_id=job.id,
        fence=job.fence,
        signals=job.signals,
        keep_signals=True,
        from_status=job.status,
        to_status=to_status,
        release=True,
        at=job.now,
        state=job.state if job.state is not None else JobState.new(job.input).to_json(),
        error={"name": error, "cause": cause, "task": None},
        due_at=job.due_at,
        due_paused_at=job.due_paused_at,
        history=[history],
    )
    with transaction.atomic():
        if job.id not in checkpoint(owner, [step]):
            raise LeaseLost(f"The lease of job {job.id} has passed to another worker.")
        write_letter(job.id, job.workflow, job.version, step.error or {}, at=job.now)
    job.status = to_status
