"""The departments as the engine's parker: where `human` and `external` tasks wait.

Called inside the worker's commit, for the whole batch at once: the number of statements does not grow with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Case, F, Value, When
from django.utils import timezone

from workflows.engine.events import OpenWork, WithdrawWork

Refused = tuple[UUID, str, int, str, str]
"""(job id, task, iteration, error name, cause): a request that could not be opened; the executor fails its task."""

UNKNOWN_DEPARTMENT = "DepartmentNotFound"
TITLE_MAX = 300


class DepartmentParker:
    """Opens work items for tasks that begin to wait, and withdraws those that nobody has to answer any more."""

    def open(self, batch: Sequence[tuple[Any, OpenWork]]) -> list[Refused]:
        """Create a work item for each (job, request); the job has `id`, `workflow` and `correlation_id`.

        Returns what could not be opened, because its department does not exist. Four statements at most.
        """
        from .models import WorkItem

        departments = _departments({work.department for _, work in batch if work.department})
        holders = _members({(work.department, work.assignee) for _, work in batch if work.assignee})
        items: list[Any] = []
        refused: list[Refused] = []
        for job, work in batch:
            if work.department and work.department not in departments:
                cause = f"There is no department “{work.department}”."
                refused.append((job.id, work.task, work.iteration, UNKNOWN_DEPARTMENT, cause))
            else:
                department = departments.get(work.department) if work.department else None
                items.append(_item(job, work, department, holders.get((work.department, work.assignee))))
        if items:
            WorkItem.objects.bulk_create(items)
        return refused

    def withdraw(self, batch: Sequence[tuple[UUID, WithdrawWork]]) -> None:
        """Close the items that wait for the named (job, task, iteration). One statement for each reason, and a read."""
        from .models import ACTIVE, WorkItem

        reasons = {(job_id, work.task, work.iteration): work.reason for job_id, work in batch}
        active = WorkItem.objects.filter(job_id__in={job_id for job_id, _ in batch}, status__in=ACTIVE)
        by_reason: dict[str, list[UUID]] = {}
        for item_id, job_id, task, iteration in active.values_list("id", "job_id", "task", "iteration"):
            if (job_id, task, iteration) in reasons:
                by_reason.setdefault(reasons[job_id, task, iteration], []).append(item_id)
        for reason, item_ids in sorted(by_reason.items()):
            WorkItem.objects.filter(pk__in=item_ids, status__in=ACTIVE).update(
                status=_status_after(reason),
                version=F("version") + 1,
                withdrawn_at=timezone.now(),
                withdrawn_reason=reason[:200],
            )


def _departments(codes: set[str]) -> dict[str, int]:
    from .models import Department

    return dict(Department.objects.filter(code__in=codes).values_list("code", "id")) if codes else {}


def _members(wanted: set[tuple[str | None, str | None]]) -> dict[tuple[str | None, str | None], int]:
    """(department code, username) to user id, of those who are active members; nobody else can hold its items."""
    from .models import Membership

    if not wanted:
        return {}
    found = Membership.objects.filter(
        department__code__in={code for code, _ in wanted},
        user__username__in={name for _, name in wanted},
        user__is_active=True,
    )
    return {(code, name): pk for code, name, pk in found.values_list("department__code", "user__username", "user_id")}


def _item(job: Any, work: OpenWork, department_id: int | None, holder_id: int | None) -> Any:
    from .models import WorkItem, WorkItemStatus

    now = timezone.now()
    return WorkItem(
        job_id=job.id,
        workflow=job.workflow,
        reference=job.correlation_id,
        task=work.task,
        iteration=work.iteration,
        kind=work.kind,
        department_id=department_id,
        queue=work.queue or "",
        title=(work.title or work.task)[:TITLE_MAX],
        status=WorkItemStatus.CLAIMED if holder_id else WorkItemStatus.OPEN,
        assignee_id=holder_id,
        claimed_at=now if holder_id else None,
        outcomes=list(work.outcomes),
        form=work.form,
        data=work.data,
        due_at=work.due_at,
        priority=work.priority,
        created_at=now,
    )


def _status_after(reason: str) -> str:
    from .models import WorkItemStatus

    return WorkItemStatus.SKIPPED if reason == "skipped" else WorkItemStatus.WITHDRAWN


def rename_items(job_id: UUID, names: Mapping[str, str]) -> None:
    """The items of a job that was moved to another version follow their tasks to their new names, all at once."""
    from .models import WorkItem

    places = [When(task=name, then=Value(target)) for name, target in names.items()]
    WorkItem.objects.filter(job_id=job_id, task__in=list(names)).update(task=Case(*places, default=F("task")))


def department_codes() -> set[str]:
    """The codes that a definition may name."""
    from .models import Department

    return set(Department.objects.values_list("code", flat=True))


def register() -> None:
    """Make the departments known to the engine. Called once, when the applications are ready."""
    from workflows.execution.parking import register_parker
    from workflows.intake.publishing import register_department_codes
    from workflows.operations.migrate import register_renamer
    from workflows.policy import register_job_visibility

    from .policy import visible_job_condition

    register_parker(DepartmentParker())
    register_job_visibility(visible_job_condition)
    register_department_codes(department_codes)
    register_renamer(rename_items)
