"""The report of work items: what departments were asked, by whom it was decided, and how long it took."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from departments.models import WorkItem, WorkItemStatus
from departments.policy import visible_items
from workflows.reporting.filters import Filter, by, flag, moment, one_of, text
from workflows.reporting.registry import register as register_report
from workflows.reporting.tables import Column, Grouping, Report, Row, User, hours


def _held_by(items: QuerySet[Any], username: str, user: User) -> QuerySet[Any]:
    return items.filter(assignee=user.pk) if username == "me" else items.filter(assignee__username=username)


def _escalated(items: QuerySet[Any], wanted: bool, user: User) -> QuerySet[Any]:
    return items.filter(escalated_at__isnull=not wanted)


ITEM_FILTERS = (
    Filter("department", text, by("department__code"), "department {}"),
    Filter("status", one_of(WorkItemStatus.values), by("status__in"), "status {}", several=True),
    Filter("assignee", text, _held_by, "held by {}"),
    Filter("workflow", text, by("workflow"), "workflow {}"),
    Filter("kind", one_of(WorkItem.Kind.values), by("kind"), "kind {}"),
    Filter("due_before", moment, by("due_at__lt"), "due before {}"),
    Filter("follow_up_before", moment, by("follow_up_at__lt"), "to be looked at again before {}"),
    Filter("escalated", flag, _escalated, "escalated: {}"),
)


def _prepare(items: QuerySet[Any]) -> QuerySet[Any]:
    return items.select_related("department", "assignee", "decided_by").order_by("pk")


def _username(user: Any) -> str | None:
    return user.get_username() if user else None


def _row(item: WorkItem, as_of: datetime) -> Row:
    return (
        str(item.id),
        str(item.job_id),
        item.reference,
        item.workflow,
        item.task,
        item.iteration,
        item.kind,
        item.department.code if item.department else item.queue,
        item.title,
        item.status,
        _username(item.assignee),
        item.priority,
        item.created_at,
        item.due_at,
        item.is_active and item.due_at is not None and item.due_at < as_of,
        item.outcome,
        _username(item.decided_by),
        item.decided_at,
        hours(item.created_at, item.decided_at),
        item.comment,
    )


WORK_ITEMS = Report(
    name="work-items",
    title="Work items",
    columns=(
        Column("id", "Item", "The item's id.", width=38),
        Column("job", "Job", "The job it belongs to.", width=38),
        Column("reference", "Reference", "The job's correlation id.", width=24),
        Column("workflow", "Workflow", "Name of the definition.", width=24),
        Column("task", "Task", "Name of the task in the definition.", width=20),
        Column("iteration", "Iteration", "How often the job has come to this task.", "integer", width=10),
        Column("kind", "Kind", "human: a person decides; external: another system answers.", width=10),
        Column("department", "Department", "Code of the department asked, or the queue it went to.", width=20),
        Column("title", "Title", "What is asked, as the inbox shows it.", width=36),
        Column("status", "Status", "open, claimed, done, withdrawn or skipped.", width=11),
        Column("assignee", "Held by", "Who has claimed it."),
        Column("priority", "Priority", "0 to 100, high is urgent.", "integer", width=9),
        Column("created_at", "Created", "When it was opened.", "time", width=20),
        Column("due_at", "Due", "When it should be decided.", "time", width=20),
        Column("late", "Late", "Yes where it was due before the as-of time and is still open.", "boolean", width=8),
        Column("outcome", "Outcome", "What was decided."),
        Column("decided_by", "Decided by", "Who decided."),
        Column("decided_at", "Decided", "When it was decided.", "time", width=20),
        Column("hours", "Hours", "From created to decided.", "number", "hours", width=10),
        Column("comment", "Comment", "What was said with the decision.", width=40),
    ),
    filters=ITEM_FILTERS,
    visible=visible_items,
    prepare=_prepare,
    row=_row,
    groupings=(
        Grouping("Items by status", ("status",)),
        Grouping("Items by department and status", ("department", "status")),
    ),
)


def register() -> None:
    """Add the report to the product's reports."""
    register_report(WORK_ITEMS)
