"""The report of the history: everything that happened to jobs, job by job in the order it happened."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from workflows.models import History, JobStatus
from workflows.policy import may_operate, visible_jobs

from .filters import Filter, by, identifier, moment, one_of, text
from .tables import Column, Grouping, Report, Row, User


def visible_history(user: User) -> QuerySet[History]:
    """What happened to the jobs that a user may see."""
    rows = History.objects.all()
    return rows if may_operate(user) else rows.filter(job__in=visible_jobs(user))


def _prepare(rows: QuerySet[Any]) -> QuerySet[Any]:
    # What the engine needs for a replay is long, and tells people nothing: it stays where it is.
    return rows.select_related("job").defer("decided").order_by("job_id", "sequence")


def _row(row: History, as_of: datetime) -> Row:
    return (
        str(row.job_id),
        row.job.correlation_id,
        row.job.workflow,
        row.job.version,
        row.sequence,
        row.at,
        row.event,
        row.task,
        row.iteration,
        row.actor,
        row.from_status,
        row.to_status,
        json.dumps(row.data, ensure_ascii=False) if row.data else None,
    )


HISTORY = Report(
    name="history",
    title="History of jobs",
    columns=(
        Column("job", "Job", "The job's id.", width=38),
        Column("correlation_id", "Correlation id", "The submitter's own key for the request.", width=24),
        Column("workflow", "Workflow", "Name of the definition, or the job type.", width=24),
        Column(
            "version", "Version", "Version of the definition now; 0 for a job type without one.", "integer", width=9
        ),
        Column("sequence", "Number", "1, 2, 3 … within the job, without a gap.", "integer", width=9),
        Column("at", "At", "When it happened.", "time", width=20),
        Column("event", "Event", "What happened, such as job.submitted or task.completed.", width=20),
        Column("task", "Task", "Name of the task it happened to.", width=20),
        Column("iteration", "Iteration", "How often the job has come to this task.", "integer", width=10),
        Column("actor", "By", "Username of who did it; empty for the engine itself."),
        Column("from_status", "From", "The job's status before, where it moved.", width=9),
        Column("to_status", "To", "The job's status after, where it moved.", width=9),
        Column("data", "Data", "What else is known of it, as JSON.", width=40),
    ),
    filters=(
        Filter("workflow", text, by("job__workflow"), "workflow {}"),
        Filter("status", one_of(JobStatus.values), by("job__status__in"), "status {}", several=True),
        Filter("correlation_id", text, by("job__correlation_id"), "correlation id {}"),
        Filter("created_after", moment, by("job__created_at__gte"), "created at or after {}"),
        Filter("created_before", moment, by("job__created_at__lt"), "created before {}"),
        Filter("job", identifier, by("job_id"), "job {}"),
    ),
    visible=visible_history,
    unasked=lambda rows, chosen: rows if chosen.has("job") else rows.filter(job__fragment=""),
    prepare=_prepare,
    row=_row,
    groupings=(Grouping("Events by kind", ("event",)),),
)
