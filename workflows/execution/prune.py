"""Pruning: what nobody needs any more. Jobs and history are not among it."""

from __future__ import annotations

from datetime import timedelta

from django.db.models.functions import Now

from workflows.models import Document, IdempotencyKey, Worker

KEEP_WORKERS = timedelta(days=1)
KEEP_UNATTACHED = timedelta(days=1)
KEEP_KEYS = timedelta(days=30)
BATCH = 500


class Pruner:
    """Removes workers long gone, documents that no submission named, and idempotency keys past their promise."""

    name = "pruner"
    every_seconds = 600.0

    def run_once(self) -> dict[str, int]:
        """One batch of each; answer how many were removed."""
        workers, _ = Worker.objects.filter(seen_at__lt=Now() - KEEP_WORKERS).delete()
        keys = IdempotencyKey.objects.filter(created_at__lt=Now() - KEEP_KEYS).values("pk")[:BATCH]
        dropped, _ = IdempotencyKey.objects.filter(pk__in=list(keys.values_list("pk", flat=True))).delete()
        documents = Document.objects.filter(job__isnull=True, created_at__lt=Now() - KEEP_UNATTACHED)[:BATCH]
        removed = 0
        for document in documents:
            content = document.content
            document.delete()
            content.delete(save=False)  # the row first: never a row without its file
            removed += 1
        return {"workers": workers, "keys": dropped, "documents": removed}
