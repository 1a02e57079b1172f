"""What the engine is told of open requests: for why a job waits, and for whether anything would wake it."""

from __future__ import annotations

import uuid

from django.db.models import Exists, OuterRef
from django.urls import reverse

from workflows.operations.explain import Asked, register_inquirer
from workflows.operations.stranded import register_wake_up

from .models import WorkItem


def open_requests(job_id: uuid.UUID) -> dict[tuple[str, int], Asked]:
    """The open requests of a job by (task, iteration). One query."""
    items = WorkItem.objects.active().filter(job_id=job_id).select_related("department", "assignee")
    return {(item.task, item.iteration): _asked(item) for item in items}


def _asked(item: WorkItem) -> Asked:
    return Asked(
        whom=item.department.name if item.department else f"the queue {item.queue}",
        claimed_by=str(item.assignee) if item.assignee else "",
        due_at=item.due_at,
        link=reverse("inbox-item", args=[item.pk]) if item.kind == WorkItem.Kind.HUMAN else "",
    )


def has_open_request() -> Exists:
    """Whether a job has a request that somebody can answer."""
    return Exists(WorkItem.objects.active().filter(job=OuterRef("pk")))


def register() -> None:
    """Make both known to the engine. Called once, when the applications start."""
    register_inquirer(open_requests)
    register_wake_up(has_open_request)
