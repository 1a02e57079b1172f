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
from workflows.engine.exceptions import InvalidCalendar, NoWorkingTime
from workflows.execution.calendars import moved
from workflows.execution.exceptions import CalendarNotFound

Place = tuple[int | None, str | None]
"""A department's id, and the code of the calendar it works by (None: around the clock)."""

Refused = tuple[UUID, str, int, str, str]
"""(job id, task, iteration, error name, cause): a request that could not be opened; the executor fails its task."""

UNKNOWN_DEPARTMENT = "DepartmentNotFound"
TITLE_MAX = 300


class DepartmentParker:
    """Opens work items for tasks that begin to wait, and withdraws those that nobody has to answer any more."""

    def open(self, batch: Sequence[tuple[Any, OpenWork]]) -> list[Refused]:
        """Create a work item for each (job, request); the job has `id`, `workflow` and `correlation_id`.

        Returns what could not be opened: its department does not exist, or works by a calendar that nothing can be
        counted on. The number of statements does not grow with the batch.
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
                continue
            place = departments[work.department] if work.department else (None, None)
            try:
                items.append(_item(job, work, place, holders.get((work.department, work.assignee))))
            except (NoWorkingTime, InvalidCalendar, CalendarNotFound) as error:
                refused.append((job.id, work.task, work.iteration, type(error).__name__, str(error)))
        if items:
            _leave_free([item for item in items if item.assignee_id is not None])
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


def _departments(codes: set[str]) -> dict[str, Place]:
    from .models import Department

    if not codes:
        return {}
    found = Department.objects.filter(code__in=codes).values_list("code", "id", "calendar__code")
    return {code: (pk, calendar) for code, pk, calendar in found}


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


def _item(job: Any, work: OpenWork, place: Place, holder_id: int | None) -> Any:
    from .escalation import next_at, steps_of
    from .models import WorkItem, WorkItemStatus

    now = timezone.now()
    department_id, calendar = place
    if work.quorum:
        holder_id = None  # several decide it, so nobody holds it
    due_at = work.due_at if work.due is None or calendar is None else moved(now, work.due, calendar)
    steps = steps_of(work.escalate, now, due_at, calendar)
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
        due_at=due_at,
        follow_up_at=None if work.follow_up is None else moved(now, work.follow_up, calendar),
        quorum=work.quorum,
        constraints=work.constraints,
        escalations=steps,
        escalate_at=next_at(steps),
        priority=work.priority,
        created_at=now,
    )


def _leave_free(items: Sequence[Any]) -> None:
    """Whoever may not decide an item is not given it either: it is open to the department instead."""
    from .constraints import barred_from, read_constraints
    from .models import WorkItemStatus

    read_constraints(items)
    for item in items:
        if item.assignee_id in barred_from(item):
            item.status, item.assignee_id, item.claimed_at = WorkItemStatus.OPEN, None, None


def _status_after(reason: str) -> str:
    from .models import WorkItemStatus

    return WorkItemStatus.SKIPPED if reason == "skipped" else WorkItemStatus.WITHDRAWN


def rename_items(job_id: UUID, names: Mapping[str, str]) -> None:
    """The items of a job that was moved to another version follow their tasks to their new names, all at once."""
    from .models import WorkItem

    places = [When(task=name, then=Value(target)) for name, target in names.items()]
    WorkItem.objects.filter(job_id=job_id, task__in=list(names)).update(task=Case(*places, default=F("task")))


def calendar_of(code: str) -> str | None:
    """The calendar on which a department works; None for around the clock, and for a department that is not there."""
    return _departments({code}).get(code, (None, None))[1]


def department_codes() -> set[str]:
    """The codes that a definition may name."""
    from .models import Department

    return set(Department.objects.values_list("code", flat=True))


def register() -> None:
    """Make the departments known to the engine. Called once, when the applications are ready."""
    from workflows.execution.parking import register_parker
    from workflows.execution.services import register_service
    from workflows.intake.publishing import register_department_codes
    from workflows.operations.migrate import register_renamer
    from workflows.operations.simulate import register_department_calendar
    from workflows.policy import register_job_visibility

    from .escalation import Escalations
    from .policy import visible_job_condition

    register_service(Escalations())
    register_parker(DepartmentParker())
    register_job_visibility(visible_job_condition)
    register_department_codes(department_codes)
    register_renamer(rename_items)
    register_department_calendar(calendar_of)
