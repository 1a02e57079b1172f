"""One claimed job, from its lease to its next stop: decide, execute, commit, until nothing of it can run now."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings

from workflows.engine.codec import event_from_json
from workflows.engine.decide import decide
from workflows.engine.events import Command, Event, JobStarted, Record, TaskFailed, TimePassed
from workflows.engine.state import JobState
from workflows.models import Job, JobStatus, Signal
from workflows.models.statements import Checkpoint, ClaimedJob, HistoryRow, checkpoint

from .commit import Outcome, Step, StepFacts, commit
from .definitions import get_definition
from .exceptions import DefinitionNotFound, LeaseLost
from .steps import run_step

logger = logging.getLogger(__name__)


class JobRun:
    """Works on one claimed job.

    `base` is the state of the last commit; since then came the `opening`, the `signals` that doors wrote, and the
    worker's `own` events. Where a commit finds a signal that was not seen, all are decided again with it in its place.
    That is sound because `decide` is pure.
    """

    def __init__(self, job: ClaimedJob, owner: str, may_go_on: Callable[[], bool] = lambda: True) -> None:
        self.job = job
        self.owner = owner
        self.may_go_on = may_go_on
        self.steps = 0
        self._began = time.monotonic()
        self._facts = StepFacts()

    def clock(self) -> datetime:
        """The database's clock: its time at the claim, moved on by this machine's monotonic clock."""
        return self.job.now + timedelta(seconds=time.monotonic() - self._began)

    def work(self) -> int:
        """Run the job to its next stop; answer how many steps were run. LeaseLost where another worker has it now."""
        try:
            self.definition = get_definition(self.job.workflow, self.job.version)
        except DefinitionNotFound as error:
            fail_hard(self.job, self.owner, "DefinitionNotFound", str(error))
            return 0
        self._begin()
        while True:
            runnable = self.state.runnable
            if not runnable or not self.may_go_on():
                self._commit(release=True)
                return self.steps
            self._execute(runnable[0])
            self._commit(release=not self.state.runnable)
            if not self.state.runnable:
                return self.steps

    def _begin(self) -> None:
        job = self.job
        self.base = JobState.new(job.input) if job.state is None else JobState.from_json(job.state, job.input)
        self.opening: list[Event] = []
        if not self.base.started:
            self.opening = [JobStarted(str(job.id), job.created_at, job.priority)]
        self.signals = self._read_signals()
        self.own: list[Event] = [TimePassed()]
        self._decide_all()
        if job.claims > settings.WORKFLOW_MAX_CLAIMS and self.state.runnable:
            # So many workers died with this job in their hands: the step they were in is to blame.
            task = self.state.runnable[0]
            cause = f"{job.claims - 1} workers in a row were lost while they ran this step."
            self._apply(TaskFailed(task, self.state.tasks[task].iteration, "WorkerLost", cause))

    def _read_signals(self) -> list[Event]:
        if not self.job.signals:
            return []
        rows = Signal.objects.filter(job_id=self.job.id).order_by("sequence")
        return [event_from_json(row.event) for row in rows]

    def _decide_all(self) -> None:
        """From the last commit through every event since, anew."""
        self.state, self.records, self.commands = self.base, list[Record](), list[Command]()
        for event in (*self.opening, *self.signals, *self.own):
            self._decide(event)

    def _apply(self, event: Event) -> None:
        self.own.append(event)
        self._decide(event)

    def _decide(self, event: Event) -> None:
        decision = decide(self.definition, self.state, event, self.clock())
        self.state = decision.state
        self.records += decision.records
        self.commands += decision.commands

    def _execute(self, task: str) -> None:
        run = (task, self.state.tasks[task].attempt)
        self._facts.started_at[run] = self.clock()
        result = run_step(self.job, self.definition, self.state, task, self.clock)
        self._facts.inputs[run] = result.input
        self._facts.documents += [(task, document) for document in result.documents]
        self.steps += 1
        self._apply(result.event)

    def _commit(self, *, release: bool) -> None:
        """Write everything since the last commit, deciding again as long as signals come in between."""
        refused: set[tuple[str, int]] = set()
        while True:
            step = Step(self.job, self.definition, self.state, self.records, self.commands, self._facts, self.clock())
            outcome = commit(self.owner, step, release=release, refused=refused)
            if outcome is Outcome.WRITTEN:
                break
            if outcome is Outcome.REFUSED:
                # A request could not be opened. Its task fails, in the same commit that would have opened it.
                for refusal in step.refusals:
                    refused.add((refusal.task, refusal.iteration))
                    self._apply(TaskFailed(refusal.task, refusal.iteration, refusal.error, refusal.cause))
            else:
                self._see_signals()
            release = release or not self.state.runnable
        self.job.status = self.state.status
        self.base, self.opening, self.signals, self.own = self.state, [], [], []
        self.records, self.commands = [], []
        self._facts = StepFacts()

    def _see_signals(self) -> None:
        """The guard refused the commit: either the lease has passed on, or a door has written a signal meanwhile."""
        row = Job.objects.filter(pk=self.job.id).values("fence", "claimed_by", "signals").first()
        if row is None or row["fence"] != self.job.fence or row["claimed_by"] != self.owner:
            raise LeaseLost(f"The lease of job {self.job.id} has passed to another worker.")
        if row["signals"] == self.job.signals:
            raise RuntimeError(f"Job {self.job.id} refuses its commit, and neither its lease nor a signal is why.")
        self.job.signals = row["signals"]
        self.signals = self._read_signals()
        self._decide_all()


def fail_hard(job: ClaimedJob, owner: str, error: str, cause: str) -> None:
    """End a job that cannot even be decided on (no definition, a state nobody can read) in the dead letters.

    Writes nothing but the status, the error and the history row; facts that came in stay for a later retry. LeaseLost
    where another worker has the job now.
    """
    row = Job(id=job.id, status=job.status)
    row.move_to(JobStatus.FAIL)
    history = HistoryRow(
        at=job.now,
        event="job.failed",
        from_status=job.status,
        to_status=row.status,
        data={"error": error, "cause": cause},
    )
    step = Checkpoint(
        job_id=job.id,
        fence=job.fence,
        signals=job.signals,
        keep_signals=True,
        from_status=job.status,
        to_status=row.status,
        release=True,
        at=job.now,
        state=job.state if job.state is not None else JobState.new(job.input).to_json(),
        error={"name": error, "cause": cause, "task": None},
        history=[history],
    )
    if job.id not in checkpoint(owner, [step]):
        raise LeaseLost(f"The lease of job {job.id} has passed to another worker.")
