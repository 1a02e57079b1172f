"""Holds: why a job is not claimed though it could run. Set when it is handed back, lifted when the reason is gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial, reduce
from operator import or_

from django.db import models, transaction
from django.db.models import Case, F, Q, Value, When

from workflows.models import CLAIMABLE, Job, JobStatus
from workflows.models.statements import ClaimedJob

from .doorbell import ring

SUSPENDED = "suspended"
"""The hold of one job that a person suspended."""
RESOURCE, WORKFLOW = "resource:", "workflow:"


LIFTED = {
    "hold": "",
    # Only a parked job has a timer without a hold; any other is claimed, and the worker looks at the time.
    "wake_at": Case(When(status=JobStatus.PEND, then=F("wake_at")), default=Value(None)),
}
"""What lifting a hold writes."""


def suspended_by(workflow: str) -> str:
    """The hold of the jobs of a suspended workflow; `*` is everything."""
    return f"{SUSPENDED}:{workflow}"


def is_limit(hold: str) -> bool:
    """Whether a hold is the code of a limit."""
    return hold.startswith((RESOURCE, WORKFLOW))


def after_fact(hold: str) -> str:
    """The hold of a job that was just told something. One that waits for a limit asks again: what it was told may be
    nothing that the limit is for."""
    return "" if is_limit(hold) else hold


def hold_back(owner: str, jobs: Sequence[ClaimedJob], hold: str, *, wake_at: datetime | None = None) -> int:
    """Give up the leases of jobs and hold them; the claim does not count. A job that was suspended meanwhile stays so.

    Behind the fence: a lease that has passed on is left alone. `wake_at` is the earliest timer of a job that has begun:
    the timers lift its hold then. Answers how many were held.
    """
    if not jobs:
        return 0
    mine = reduce(or_, (Q(pk=job.id, fence=job.fence) for job in jobs))
    held = Job.objects.filter(mine, claimed_by=owner).update(
        claimed_by=None,
        claimed_until=None,
        claims=Case(When(claims__gt=0, then=F("claims") - 1), default=Value(0)),
        # What was never worked on has not begun.
        started_at=Case(
            When(status=JobStatus.NEW, then=Value(None)), default=F("started_at"), output_field=models.DateTimeField()
        ),
        hold=Case(When(hold="", then=Value(hold)), default=F("hold")),
        **({} if wake_at is None else {"wake_at": wake_at}),
    )
    return int(held)


def lift(hold: str, most: int) -> int:
    """Let up to `most` jobs with this hold go on, the first in rank first; answer how many.

    They keep their rank, so they are claimed in the order in which they came. A job whose row somebody has locked is
    passed by.
    """
    with transaction.atomic():
        held = Job.objects.held().filter(hold=hold)
        if is_limit(hold):
            held = held.filter(status__in=CLAIMABLE)
        first = held.select_for_update(skip_locked=True, of=("self",)).order_by("rank", "id")
        rows = list(first.values_list("pk", "queue")[:most])
        if rows:
            Job.objects.filter(pk__in=[pk for pk, _ in rows], hold=hold).update(**LIFTED)
        for queue in sorted({queue for _, queue in rows}):
            transaction.on_commit(partial(ring, queue))
    return len(rows)


def holds() -> Iterator[str]:
    """Every hold that some job has, in order: one short look into the index for each, whatever the number of jobs."""
    last = ""
    while True:
        further = Job.objects.held().filter(hold__gt=last).order_by("hold").values_list("hold", flat=True).first()
        if further is None:
            return
        yield further
        last = further
