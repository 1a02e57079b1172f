"""The timers: parked jobs whose time has come are made ready."""

from __future__ import annotations

from functools import partial

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from workflows.models import History, Job, JobStatus

from .doorbell import ring
from .holds import LIFTED, RESOURCE
from .ranks import rank_at

BATCH = 500


class Timers:
    """Wakes parked jobs. Any number may run at once: each job is taken by one of them, the others pass it by."""

    name = "timers"
    every_seconds = 1.0

    def run_once(self) -> dict[str, int]:
        """Make up to a batch of due jobs ready, and lift the holds of those that wait for a limit; answer how many."""
        return {"woken": self._wake() + self._lift()}

    def _lift(self) -> int:
        """Have jobs that wait for a slot looked at: a timer of another branch is due, or the job's own time is over."""
        due = Job.objects.filter(status=JobStatus.READY, wake_at__lte=Now(), hold__startswith=RESOURCE)
        queues = set(due.values_list("queue", flat=True)[:BATCH])
        if not queues:
            return 0
        with transaction.atomic():
            found = (
                due.select_for_update(skip_locked=True, of=("self",)).order_by("wake_at").values_list("pk", flat=True)
            )
            count = Job.objects.filter(pk__in=list(found[:BATCH])).update(**LIFTED)
            for queue in queues:
                transaction.on_commit(partial(ring, queue))
        return int(count)

    def _wake(self) -> int:
        due = Job.objects.filter(status=JobStatus.PEND, wake_at__lte=Now())
        # In order: without statistics, too, PostgreSQL then reads the index of timers, and not every parked job.
        if not due.order_by("wake_at").values_list("pk")[:1]:
            return 0
        with transaction.atomic():
            jobs = list(due.select_for_update(skip_locked=True, of=("self",)).order_by("wake_at")[:BATCH])
            now = timezone.now()
            for job in jobs:
                job.make_ready()
                job.wake_at = None
                job.rank = rank_at(now, job.priority)
                job.history_count += 1
            Job.objects.bulk_update(jobs, ["status", "wake_at", "rank", "history_count"])
            History.objects.bulk_create(
                History(
                    job=job,
                    sequence=job.history_count,
                    at=now,
                    event="timer.fired",
                    from_status=JobStatus.PEND,
                    to_status=JobStatus.READY,
                )
                for job in jobs
            )
            for queue in {job.queue for job in jobs}:
                transaction.on_commit(partial(ring, queue))
        return len(jobs)
