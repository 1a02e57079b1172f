"""What must hold of work items and of their answers: the departments' part of `manage.py verify`."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable

from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now

from workflows.models import FINISHED, TaskRun, TaskRunStatus
from workflows.operations.findings import LATE, Check, Found, Window, told
from workflows.operations.invariants import register_check
from workflows.operations.invariants.states import Place, register_requests

from .models import DepartmentResponse, WorkItem, WorkItemStatus


def open_requests(job_ids: Collection[uuid.UUID]) -> Iterable[Place]:
    """The open work items of these jobs, by job, task and iteration. One query."""
    items = WorkItem.objects.active().filter(job__in=job_ids).order_by()
    return items.values_list("job_id", "task", "iteration")


def item_without_wait(window: Window) -> Iterable[Found]:
    """Open items that no task waits for: whoever decides one is told that it counts for nothing."""
    runs = TaskRun.objects.filter(
        job=OuterRef("job_id"), task=OuterRef("task"), iteration=OuterRef("iteration"), status=TaskRunStatus.WAITING
    )
    items = WorkItem.objects.active().filter(~Exists(runs) | Q(job__status__in=FINISHED))
    return told(items, "pk", "job_id", "task", "iteration", "job__status", say="{1}, which is {4}: {2}#{3}, item {0}")


def item_without_answer(window: Window) -> Iterable[Found]:
    """Decided items of which no answer was kept."""
    answers = DepartmentResponse.objects.filter(work_item=OuterRef("pk"))
    items = WorkItem.objects.filter(window.of("job_id"), status=WorkItemStatus.DONE).filter(~Exists(answers))
    return told(items, "job_id", "task", "iteration", "pk", say="{0}: {1}#{2}, item {3}")


def answer_without_decision(window: Window) -> Iterable[Found]:
    """Answers to items that are not decided, or were decided otherwise."""
    same = Q(work_item__status=WorkItemStatus.DONE, work_item__outcome=F("status"))
    answers = DepartmentResponse.objects.filter(window.of("job_id"), work_item__isnull=False).exclude(same)
    columns = ("job_id", "task", "status", "work_item__status", "work_item__outcome")
    return told(answers, *columns, say="{0}: {1} was answered {2}; its item is {3}, {4}")


def decided_by_initiator(window: Window) -> Iterable[Found]:
    """Items that whoever submitted the job may not decide, and has decided."""
    items = WorkItem.objects.filter(window.of("job_id"), constraints__not_initiator=True)
    found = items.filter(Q(decided_by=F("job__submitted_by")) | Q(votes__voter=F("job__submitted_by")))
    return told(found.distinct(), "job_id", "task", "iteration", "pk", say="{0}: {1}#{2}, item {3}")


def late_escalations(window: Window) -> Iterable[Found]:
    """Items whose escalation is past: no worker's services are running."""
    items = WorkItem.objects.active().filter(escalate_at__lt=Now() - LATE)
    return told(items, "pk", "job_id", "task", "escalate_at", say="{1}: {2}, due since {3:%Y-%m-%d %H:%M:%S %Z}")


CHECKS = (
    Check("item_without_wait", "Open work items that no task waits for.", item_without_wait),
    Check("item_without_answer", "Decided work items without an answer.", item_without_answer, True),
    Check("answer_without_decision", "Answers that their work item does not show.", answer_without_decision, True),
    Check("decided_by_initiator", "Work items decided by whom a constraint kept out.", decided_by_initiator, True),
    Check("late_escalations", "Escalations due for over five minutes: are workers running?", late_escalations),
)


def register() -> None:
    """Make them known to the engine. Called once, when the applications start."""
    register_requests(("human", "external"), open_requests)
    for check in CHECKS:
        register_check(check)
