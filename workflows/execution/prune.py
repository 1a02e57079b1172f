"""Pruning: what nobody needs any more. Jobs and history are not among it."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from workflows.models import Document, Event, IdempotencyKey, ScheduleRun, Worker

KEEP_WORKERS = timedelta(days=1)
KEEP_UNATTACHED = timedelta(days=1)
KEEP_KEYS = timedelta(days=30)
KEEP_EVENTS = timedelta(days=7)
"""After they have expired: so long is a repeated one recognised."""
KEEP_FAILED_EVENTS = timedelta(days=30)
"""The same for those that a person should look at."""
KEEP_RUNS = timedelta(days=90)
"""Of the due times that started nothing; those that started a job are kept as long as the job."""
BATCH = 500
RUNS_BATCH = 5_000


class Pruner:
    """Removes workers long gone, documents that no submission named, idempotency keys past their promise, events that
    have expired without waking or starting anything, and due times of schedules that started nothing."""

    name = "pruner"
    every_seconds = 600.0

    def run_once(self) -> dict[str, int]:
        """One batch of each; answer how many were removed."""
        workers, _ = Worker.objects.filter(seen_at__lt=Now() - KEEP_WORKERS).delete()
        keys = IdempotencyKey.objects.filter(created_at__lt=Now() - KEEP_KEYS).values("pk")[:BATCH]
        dropped, _ = IdempotencyKey.objects.filter(pk__in=list(keys.values_list("pk", flat=True))).delete()
        events = _unneeded_events().values_list("pk", flat=True)[:BATCH]
        forgotten, _ = Event.objects.filter(pk__in=list(events)).delete()
        runs = _runs_without_job().values_list("pk", flat=True)[:RUNS_BATCH]
        idle, _ = ScheduleRun.objects.filter(pk__in=list(runs)).delete()
        documents = Document.objects.filter(job__isnull=True, created_at__lt=Now() - KEEP_UNATTACHED)[:BATCH]
        removed = 0
        for document in documents:
            content = document.content
            document.delete()
            content.delete(save=False)  # the row first: never a row without its file
            removed += 1
        return {"workers": workers, "keys": dropped, "documents": removed, "events": forgotten, "runs": idle}


def _runs_without_job() -> QuerySet[ScheduleRun]:
    """Due times of long ago that started nothing: a busy schedule that skips has one a second."""
    idle = (ScheduleRun.Result.SKIPPED, ScheduleRun.Result.MISSED, ScheduleRun.Result.REFUSED)
    return ScheduleRun.objects.filter(result__in=idle, at__lt=Now() - KEEP_RUNS)


def _unneeded_events() -> QuerySet[Event]:
    """Expired events that woke nobody and started nothing: the others belong to the history of their jobs."""
    expired = Event.objects.filter(used=False, expires_at__lt=Now() - KEEP_EVENTS, handled_at__isnull=False)
    seen_to = Q(error="") | Q(expires_at__lt=Now() - KEEP_FAILED_EVENTS)
    return expired.filter(seen_to).order_by("expires_at")
