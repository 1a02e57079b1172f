"""Suspending and resuming: one job, a workflow, or everything.

Nothing is lost by it. What runs finishes its step, answers that come meanwhile are kept, new jobs are taken in; only
nothing further is begun. One job is held at once, and its history says by whom. The jobs of a workflow are held when
they are claimed; its row of `Suspension` stays for ever, with who stopped it, who let it go on, and why.
"""

from __future__ import annotations

import logging
import uuid
from functools import partial

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from workflows.execution import gates
from workflows.execution.doorbell import ring
from workflows.execution.holds import LIFTED, SUSPENDED, is_limit, lift, suspended_by
from workflows.execution.respond import add_history, lock_job
from workflows.models import FINISHED, Definition, History, Job, PluginRegistration, Suspension, Worker

from .exceptions import SuspensionConflict, WorkflowNotFound, WrongState

logger = logging.getLogger(__name__)

EVERYTHING = Suspension.EVERYTHING
LIFT_AT_ONCE = 1000
LIFTS = 10
"""How many portions of held jobs a resume lets go by itself; the service `limits` goes on with the rest."""


# ---- one job --------------------------------------------------------------------------------------------------------


def suspend_job(job_id: uuid.UUID, *, actor: str, reason: str = "") -> Job:
    """Hold one job that has not ended: no worker claims it, and one that is at a step of it stops after that step.

    WrongState where it has ended, or is suspended already.
    """
    with transaction.atomic():
        job = lock_job(job_id)
        if job.status in FINISHED:
            raise WrongState(job, f"A job that has ended cannot be suspended. This one is {job.status}.")
        if job.hold == SUSPENDED:
            raise _refusal(job, "The job is suspended already")
        # A worker cannot commit over a change of `signals`: then it sees the hold.
        Job.objects.filter(pk=job.pk).update(hold=SUSPENDED, signals=F("signals") + 1)
        add_history(job.pk, "job.suspended", actor=actor, data={"reason": reason} if reason else None)
    job.refresh_from_db()
    return job


def resume_job(job_id: uuid.UUID, *, actor: str, reason: str = "") -> Job:
    """Let a suspended job go on from where it stood, in its old place in the queue.

    Where its workflow, or everything, is suspended, it stays held for that. WrongState where the job itself is not
    suspended.
    """
    with transaction.atomic():
        job = lock_job(job_id)
        if job.hold != SUSPENDED:
            raise WrongState(job, _not_suspended(job))
        over = _suspensions_over(job.workflow)
        lifted = {"hold": suspended_by(over[0].workflow)} if over else LIFTED
        Job.objects.filter(pk=job.pk).update(**lifted)
        add_history(job.pk, "job.resumed", actor=actor, data={"reason": reason} if reason else None)
        transaction.on_commit(partial(ring, job.queue))
    job.refresh_from_db()
    return job


def _refusal(job: Job, sentence: str) -> WrongState:
    row = History.objects.filter(job_id=job.pk, event="job.suspended").order_by("-sequence").first()
    if row is None:
        return WrongState(job, f"{sentence}.")
    detail = f"{sentence}, since {row.at:%Y-%m-%d %H:%M:%S %Z} by {row.actor or 'an unknown hand'}."
    return WrongState(job, detail, by=row.actor, at=row.at)


def _not_suspended(job: Job) -> str:
    if is_limit(job.hold):
        return f"The job is not suspended: it waits for a place under the limit {job.hold}."
    if job.hold:
        workflow = job.hold.removeprefix(f"{SUSPENDED}:")
        what = "Everything" if workflow == EVERYTHING else f"The workflow {workflow}"
        return f"The job itself is not suspended. {what} is: resume that."
    return f"The job is not suspended. It is {job.status}."


# ---- a workflow, or everything --------------------------------------------------------------------------------------


def suspend(workflow: str, *, actor: str, reason: str = "") -> Suspension:
    """Stop a workflow, or everything (`*`). Costs one row, whatever the number of jobs.

    SuspensionConflict where it is suspended already, WorkflowNotFound where nothing has that name.
    """
    if workflow != EVERYTHING and not _exists(workflow):
        raise WorkflowNotFound(f"There is no workflow {workflow!r}; the name * means everything.")
    try:
        with transaction.atomic():
            suspension = Suspension.objects.create(
                workflow=workflow, reason=reason[:500], suspended_by=actor[:150], suspended_at=timezone.now()
            )
    except IntegrityError:
        found = Suspension.objects.active().filter(workflow=workflow).first()
        by = f" since {found.suspended_at:%Y-%m-%d %H:%M:%S %Z} by {found.suspended_by}" if found else ""
        what = "Everything" if workflow == EVERYTHING else f"The workflow {workflow}"
        raise SuspensionConflict(f"{what} is suspended already{by}.", found) from None
    logger.warning("%s is suspended by %s: %s", suspension, actor, reason or "no reason was given")
    transaction.on_commit(gates.forget)
    return suspension


def resume(workflow: str, *, actor: str, reason: str = "") -> tuple[Suspension, int]:
    """Let a workflow, or everything (`*`), go on. Jobs that it held keep their places in the queue.

    Answers the suspension and how many jobs were let go; more than 10,000 follow within seconds, by a service. Jobs
    that were suspended one by one stay so. SuspensionConflict where it is not suspended.
    """
    now = timezone.now()
    resumed = {"resumed_at": now, "resumed_by": actor[:150], "resumed_reason": reason[:500]}
    with transaction.atomic():
        found = Suspension.objects.active().select_for_update(of=("self",)).filter(workflow=workflow).first()
        if found is None:
            what = "Everything is" if workflow == EVERYTHING else f"The workflow {workflow} is"
            raise SuspensionConflict(f"{what} not suspended.")
        Suspension.objects.filter(pk=found.pk).update(**resumed)
    for name, value in resumed.items():
        setattr(found, name, value)
    logger.warning("%s is resumed by %s: %s", found, actor, reason or "no reason was given")
    transaction.on_commit(gates.forget)
    lifted = 0
    for _ in range(LIFTS):
        portion = lift(suspended_by(workflow), LIFT_AT_ONCE)
        lifted += portion
        if portion < LIFT_AT_ONCE:
            break
    if workflow == EVERYTHING:
        # Most of it was never touched, so nobody else tells the workers.
        for queue in set(Worker.objects.values_list("queue", flat=True)):
            transaction.on_commit(partial(ring, queue))
    return found, lifted


def leases_left(workflow: str = EVERYTHING) -> int:
    """How many jobs workers still hold: of a workflow, or of all. At 0 what was suspended stands still."""
    leased = Job.objects.leased()
    return int(leased.count() if workflow == EVERYTHING else leased.filter(workflow=workflow).count())


def _suspensions_over(workflow: str) -> list[Suspension]:
    """The suspensions that hold the jobs of a workflow, that of everything first."""
    return list(Suspension.objects.active().filter(workflow__in=(EVERYTHING, workflow)).order_by("workflow"))


def _exists(workflow: str) -> bool:
    return (
        Definition.objects.filter(name=workflow).exists()
        or PluginRegistration.objects.filter(job_type=workflow).exists()
        or Job.objects.filter(workflow=workflow).exists()
    )
