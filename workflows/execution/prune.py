"""Pruning: what nobody needs any more. Jobs and history are not among it."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from workflows.models import Document, Event, IdempotencyKey, Worker

KEEP_WORKERS = timedelta(days=1)
KEEP_UNATTACHED = timedelta(days=1)
KEEP_KEYS = timedelta(days=30)
KEEP_EVENTS = timedelta(days=7)
"""After they have expired: so long is a repeated one recognised."""
KEEP_FAILED_EVENTS = timedelta(days=30)
"""The same for those that a person should look at."""
BATCH = 500


class Pruner:
    """Removes workers long gone, documents that no submission named, idempotency keys past their promise, and events
    that have expired without waking or starting anything."""

    name = "pruner"
    every_seconds = 600.0

    def run_once(self) -> dict[str, int]:
        """One batch of each; answer how many were removed."""
        workers, _ = Worker.objects.filter(seen_at__lt=Now() - KEEP_WORKERS).delete()
        keys = IdempotencyKey.objects.filter(created_at__lt=Now() - KEEP_KEYS).values("pk")[:BATCH]
        dropped, _ = IdempotencyKey.objects.filter(pk__in=list(keys.values_list("pk", flat=True))).delete()
        events = _unneeded_events().values_list("pk", flat=True)[:BATCH]
        forgotten, _ = Event.objects.filter(pk__in=list(events)).delete()
        documents = Document.objects.filter(job__isnull=True, created_at__lt=Now() - KEEP_UNATTACHED)[:BATCH]
        removed = 0
        for document in documents:
            content = document.content
            document.delete()
            content.delete(save=False)  # the row first: never a row without its file
            removed += 1
        return {"workers": workers, "keys": dropped, "documents": removed, "events": forgotten}


def _unneeded_events() -> QuerySet[Event]:
    """Expired events that woke nobody and started nothing: the others belong to the history of their jobs."""
    expired = Event.objects.filter(used=False, expires_at__lt=Now() - KEEP_EVENTS, handled_at__isnull=False)
    seen_to = Q(error="") | Q(expires_at__lt=Now() - KEEP_FAILED_EVENTS)
    return expired.filter(seen_to).order_by("expires_at")
