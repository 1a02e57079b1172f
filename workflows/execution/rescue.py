"""The rescuer: jobs whose worker died go back to the queue. It reads the lease's clock alone, never who is alive."""

from __future__ import annotations

from functools import partial

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from workflows.models import History, Job
from workflows.models.failpoints import failpoint

from .doorbell import ring

BATCH = 500


class Rescuer:
    """Hands back jobs whose lease has passed. The fence stays: the next claim raises it, and from then on, like from
    now on (the owner is gone), the lost worker can write nothing."""

    name = "rescuer"
    every_seconds = 2.0

    def run_once(self) -> dict[str, int]:
        """Hand back up to a batch of abandoned jobs; answer how many."""
        abandoned = Job.objects.filter(claimed_by__isnull=False, claimed_until__lt=Now())
        # In order: without statistics, too, PostgreSQL then reads the index of leases, and not every job.
        if not abandoned.order_by("claimed_until").values_list("pk")[:1]:
            return {"rescued": 0}
        with transaction.atomic():
            jobs = list(abandoned.select_for_update(skip_locked=True, of=("self",)).order_by("claimed_until")[:BATCH])
            failpoint("reap.selected")
            Job.objects.filter(pk__in=[job.pk for job in jobs]).update(
                claimed_by=None, claimed_until=None, history_count=F("history_count") + 1
            )
            History.objects.bulk_create(
                History(
                    job=job,
                    sequence=job.history_count + 1,
                    at=timezone.now(),
                    event="lease.expired",
                    data={"worker": job.claimed_by, "fence": job.fence},
                )
                for job in jobs
            )
            for queue in {job.queue for job in jobs}:
                transaction.on_commit(partial(ring, queue))
        return {"rescued": len(jobs)}
