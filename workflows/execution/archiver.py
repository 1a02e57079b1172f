"""The archiver: jobs that ended long ago move out of the tables that are worked on, with all that is theirs.

What moves is a family: a job that nobody waits for, and its children to the last generation. It moves when all of it
has ended and nothing open refers to any of it, in one transaction, so that it is always in exactly one place.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from workflows.models import FINISHED, ChildGroup, Job, Message, Slot, least_uuid7
from workflows.models.archive import companions
from workflows.models.statements.archive import move, portions
from workflows.models.statements.partitions import make_months, month_of, next_month

BATCH = 200
"""Families in one transaction."""
MANY_JOBS = 2_000
"""Where the families have more children than this, fewer of them are taken at once."""
BUDGET_SECONDS = 0.5
"""So long a run goes on: the worker that runs it has jobs to do."""
CLOCKS = timedelta(days=1)
"""By no more than this was the clock that made a job's id ahead of the one that wrote its end."""


@dataclass(slots=True)
class Batch:
    """What came of one batch. `looked` counts families, also those that something still holds."""

    looked: int = 0
    families: int = 0
    jobs: int = 0
    last: uuid.UUID | None = None


@dataclass(slots=True)
class Archiver:
    """Archives what ended more than `WORKFLOW_ARCHIVE_AFTER_DAYS` ago. Any number may run at once: each family is
    moved by one of them, the others pass it by."""

    name: str = "archiver"
    every_seconds: float = 10.0
    _after: dict[str, uuid.UUID | None] = field(default_factory=dict)
    """By status, the family that was looked at last: one that is held is not looked at again before all others."""

    def run_once(self) -> dict[str, int]:
        """Archive for half a second, as long as there is something; answer how many jobs were moved."""
        if not settings.WORKFLOW_ARCHIVE_AFTER_DAYS:
            return {"archived": 0}
        before = timezone.now() - timedelta(days=settings.WORKFLOW_ARCHIVE_AFTER_DAYS)
        return {"archived": self.archive(before, seconds=BUDGET_SECONDS).jobs}

    def archive(self, before: datetime, *, seconds: float | None = None) -> Batch:
        """Archive what ended before this moment: all of it, or as much as can be begun in so many seconds."""
        until = None if seconds is None else time.monotonic() + seconds
        today = timezone.now().date()
        make_months([today.replace(day=1), next_month(today)], today)
        total = Batch()
        for status in FINISHED:
            while until is None or time.monotonic() < until:
                batch = archive_batch(status, before, self._after.get(status))
                self._after[status] = batch.last
                total.looked += batch.looked
                total.families += batch.families
                total.jobs += batch.jobs
                if batch.last is None:
                    break
        return total


def archive_batch(status: str, before: datetime, after: uuid.UUID | None = None) -> Batch:
    """Move up to a batch of families whose first job has this status and ended before this moment, in one transaction.

    `after` is the `last` of the batch before; `last` is None where no further family follows.
    """
    roots = list(candidates(status, before, after)[:BATCH])
    if not roots:
        return Batch()
    full = len(roots) == BATCH
    while len(roots) > 1 and Job.objects.filter(parent__in=roots)[: MANY_JOBS + 1].count() > MANY_JOBS:
        roots, full = roots[: len(roots) // 2], True
    families = families_of(roots)
    today = timezone.now().date()
    months = {month_of(member) for members in families.values() for member in members}
    make_months({month for month in months if month is not None}, today)
    with transaction.atomic():
        whole = _free(families, before)
        jobs = [member for root in whole for member in families[root]]
        if jobs:
            move(jobs)
    return Batch(len(roots), len(whole), len(jobs), roots[-1] if full else None)


def candidates(status: str, before: datetime, after: uuid.UUID | None = None) -> QuerySet[Job, uuid.UUID]:
    """The ids of jobs without a parent, of this status, that ended before this moment: after that one, in order."""
    found = Job.objects.filter(status=status, parent__isnull=True, finished_at__lt=before)
    # What ended before it was made before it: the index on status and id need not be read to its end.
    found = found.filter(pk__lt=least_uuid7(before + CLOCKS))
    if after is not None:
        found = found.filter(pk__gt=after)
    ids: QuerySet[Job, uuid.UUID] = found.order_by("pk").values_list("pk", flat=True)
    return ids


def families_of(roots: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[uuid.UUID]]:
    """Each of these jobs with all of its children, to the last generation: a statement for each generation."""
    families = {root: [root] for root in roots}
    root_of = {root: root for root in roots}
    level = list(roots)
    while level:
        found: list[uuid.UUID] = []
        for ids in portions(level):
            for child, parent in Job.objects.filter(parent__in=ids).order_by("pk").values_list("pk", "parent_id"):
                root_of[child] = root_of[parent]
                families[root_of[child]].append(child)
                found.append(child)
        level = found
    return families


def _free(families: dict[uuid.UUID, list[uuid.UUID]], before: datetime) -> list[uuid.UUID]:
    """The families of which every job is locked now, has ended before this moment, and is held by nothing open.

    A parent is locked before its child, and nobody is waited for. A job that has ended stays ended and makes no more
    children, so what was read of the families before still holds.
    """
    members = sorted(member for family in families.values() for member in family)
    free: set[uuid.UUID] = set()
    for ids in portions(members):
        ended = Job.objects.filter(pk__in=ids, status__in=FINISHED, finished_at__lt=before)
        locked = ended.select_for_update(skip_locked=True, of=("self",)).order_by("pk")
        free.update(locked.values_list("pk", flat=True))
    for ids in portions(sorted(free)):
        free -= _held(ids)
    return [root for root, family in families.items() if free.issuperset(family)]


def _held(ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Of these jobs, those that something open refers to: a message that is not out, children that are not settled, a
    place of a limit that is not given back, and what the companions call open."""
    held: set[uuid.UUID] = set()
    for rows in (
        Message.objects.filter(published_at__isnull=True),
        ChildGroup.objects.filter(closed_at__isnull=True),
        Slot.objects.all(),
        *(each.model._base_manager.filter(each.open) for each in companions() if each.open is not None),
    ):
        held.update(rows.filter(job__in=ids).values_list("job_id", flat=True))
    return held
