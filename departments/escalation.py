"""Items that wait too long: what their task's `escalate` says is done when it is due, each step once.

A step with `to` sends the item to that department, where it is open again. One without it turns to the leads of the
department it is with: its priority is raised (to 100 where the step says nothing) and it is marked as escalated;
whoever holds it keeps it, for they know the case, and a lead can release it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from workflows.engine.durations import format_timestamp, parse_timestamp
from workflows.execution.calendars import moved
from workflows.execution.respond import add_history
from workflows.models import Job

from .models import ACTIVE, Department, WorkItem, WorkItemStatus

logger = logging.getLogger(__name__)

BATCH = 200
HIGHEST = 100


def steps_of(escalate: Any, opened_at: datetime, due_at: datetime | None, calendar: str | None) -> list[dict[str, Any]]:
    """The steps of a task's `escalate`, each with the time `at` which it is due, the first one first.

    `after` counts from the opening, on the department's calendar; without it the step is due when the item is. A step
    that would be due with an item that is never due does not come.
    """
    listed: Sequence[Mapping[str, Any]] = escalate if isinstance(escalate, list) else [escalate] if escalate else []
    found: list[tuple[datetime, dict[str, Any]]] = []
    for step in listed:
        at = due_at if step.get("after") is None else moved(opened_at, step["after"], calendar)
        if at is not None:
            found.append((at, {name: step[name] for name in ("to", "priority") if step.get(name) is not None}))
    found.sort(key=lambda each: each[0])
    return [{"at": format_timestamp(at), **step} for at, step in found]


def next_at(steps: Sequence[Mapping[str, Any]]) -> datetime | None:
    """When the first of the steps is due."""
    return parse_timestamp(steps[0]["at"]) if steps else None


class Escalations:
    """Carries out the steps that are due. Any number may run at once: each step counts once."""

    name = "escalations"
    every_seconds = 5.0

    def run_once(self) -> dict[str, int]:
        """Carry out what is due, up to a batch of items; answer how many steps."""
        due = WorkItem.objects.filter(status__in=ACTIVE, escalate_at__lte=Now()).order_by("escalate_at")
        count = 0
        for item_id, job_id in list(due.values_list("pk", "job_id")[:BATCH]):
            with transaction.atomic():
                count += _escalate(item_id, job_id)
        return {"escalated": count}


def _escalate(item_id: UUID, job_id: UUID) -> int:
    """One step of one item. The job is locked before the item, as everywhere; where somebody else has it just now, the
    step's turn comes again."""
    if Job.objects.select_for_update(skip_locked=True, of=("self",)).filter(pk=job_id).first() is None:
        return 0
    item = WorkItem.objects.select_related("department", "assignee").get(pk=item_id)
    now = timezone.now()
    if not item.is_active or item.escalate_at is None or item.escalate_at > now or not item.escalations:
        return 0
    step, rest = item.escalations[0], item.escalations[1:]
    values: dict[str, Any] = {"escalations": rest, "escalate_at": next_at(rest), "escalated_at": now}
    said: dict[str, Any] = {"item": str(item.pk), "department": item.department.code if item.department else ""}
    target = _target(item, step)
    if target is not None:
        values |= {
            "department_id": target.pk,
            "status": WorkItemStatus.OPEN,
            "assignee_id": None,
            "claimed_at": None,
        }
        said["target"] = target.code
    if item.assignee is not None:
        said["held_by"] = item.assignee.get_username()
    if target is None or "priority" in step:
        values["priority"] = max(item.priority, step.get("priority", HIGHEST))
        said["priority"] = values["priority"]
    same = WorkItem.objects.filter(pk=item.pk, version=item.version, escalate_at=item.escalate_at, status__in=ACTIVE)
    if not same.update(version=F("version") + 1, **values):
        return 0  # somebody changed it between the reading and now: the next turn sees what is left to do
    add_history(job_id, "item.escalated", actor="", task=item.task, iteration=item.iteration, data=said)
    return 1


def _target(item: WorkItem, step: Mapping[str, Any]) -> Department | None:
    """The department that the step sends the item to; None where it says none, or the item is there already."""
    code = step.get("to")
    if not code:
        return None
    found = Department.objects.filter(code=code).first()
    if found is None:
        logger.warning("Item %s cannot be escalated to %r: there is no such department.", item.pk, code)
    return None if found is None or found.pk == item.department_id else found
