"""Retention: archived jobs whose time is over are deleted, with their history and documents, and counted."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, Max, Min, OuterRef
from django.utils import timezone

from workflows.models import (
    ArchivedJob,
    Document,
    Event,
    EventWaiter,
    Retention,
    RetentionRun,
    SubscriptionRun,
)
from workflows.models.archive import companions
from workflows.models.statements.archive import forget, portions
from workflows.models.statements.partitions import drop_empty_months

logger = logging.getLogger(__name__)

BATCH = 200
"""Families in one transaction."""
BUDGET_SECONDS = 0.5
"""So long a run goes on: the worker that runs it has jobs to do."""


class Retainer:
    """Deletes what the rules of `Retention` let go. A workflow without a rule is kept for ever."""

    name = "retention"
    every_seconds = 60.0

    def run_once(self) -> dict[str, int]:
        """Delete for half a second, as long as there is something; answer how many jobs, and how many empty months
        were dropped."""
        return self.delete(seconds=BUDGET_SECONDS)

    def delete(self, *, seconds: float | None = None) -> dict[str, int]:
        """The same, for so many seconds, or to the end."""
        until = None if seconds is None else time.monotonic() + seconds
        deleted = 0
        for rule in Retention.objects.order_by("workflow"):
            while until is None or time.monotonic() < until:
                count = delete_batch(rule)
                deleted += count
                if not count:
                    break
        return {"deleted": deleted, "months": drop_empty_months(timezone.now().date())}


def delete_batch(rule: Retention) -> int:
    """Delete up to a batch of families by this rule, in one transaction; answer how many jobs that were.

    Each batch leaves a `RetentionRun`. The contents of documents go after the commit: never a row without its file.
    """
    with transaction.atomic():
        over = ArchivedJob.objects.filter(
            workflow=rule.workflow,
            parent_id__isnull=True,
            finished_at__lt=timezone.now() - timedelta(days=rule.keep_days),
        )
        found = over.select_for_update(skip_locked=True, of=("self",)).order_by("pk")
        roots = list(found.values_list("pk", flat=True)[:BATCH])
        if not roots:
            return 0
        jobs = _with_children(roots)
        span = ArchivedJob.objects.filter(pk__in=roots).aggregate(first=Min("finished_at"), last=Max("finished_at"))
        documents = [each for ids in portions(jobs) for each in Document.objects.filter(job_id__in=ids)]
        events = _events_of(jobs)
        count = forget(jobs, companions())
        _release(events)
        RetentionRun.objects.create(
            workflow=rule.workflow,
            keep_days=rule.keep_days,
            jobs=count,
            documents=len(documents),
            first_finished_at=span["first"],
            last_finished_at=span["last"],
        )
        for document in documents:
            content = document.content
            transaction.on_commit(lambda content=content: content.delete(save=False), robust=True)  # type: ignore[misc]
    logger.info("%s: %s jobs and %s documents were deleted", rule, count, len(documents))
    return count


def _with_children(roots: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """These jobs and their children, to the last generation: a statement for each generation."""
    jobs, level = list(roots), list(roots)
    while level:
        level = [
            child
            for ids in portions(level)
            for child in ArchivedJob.objects.filter(parent_id__in=ids).values_list("pk", flat=True)
        ]
        jobs += level
    return jobs


def _events_of(jobs: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """The events that woke or started these jobs."""
    found: set[uuid.UUID] = set()
    for ids in portions(jobs):
        woke = EventWaiter.objects.filter(job_id__in=ids, event__isnull=False)
        found.update(each for each in woke.values_list("event_id", flat=True) if each is not None)
        found.update(SubscriptionRun.objects.filter(job_id__in=ids).values_list("event_id", flat=True))
    return found


def _release(events: set[uuid.UUID]) -> None:
    """Events were kept with the history of their jobs: one that has none left is pruned as any other."""
    woke = EventWaiter.objects.filter(event=OuterRef("pk"))
    started = SubscriptionRun.objects.filter(event=OuterRef("pk"))
    for ids in portions(sorted(events)):
        Event.objects.filter(pk__in=ids).exclude(Exists(woke)).exclude(Exists(started)).update(used=False)
