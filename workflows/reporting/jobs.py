"""The report of jobs, and the filters it shares with the history."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.utils import timezone

from workflows.models import FINISHED, ArchivedJob, Job, JobStatus
from workflows.policy import visible_archived_jobs, visible_jobs

from .filters import Filter, by, flag, identifier, moment, one_of, text
from .tables import Column, Grouping, Report, Row, hours


def visible_cases(user: Any) -> QuerySet[Job]:
    """The jobs that a user may see, without the parts that a job runs as jobs of their own: these are no cases."""
    return visible_jobs(user).filter(fragment="")


def archived_cases(user: Any) -> QuerySet[ArchivedJob]:
    """The same of the archive."""
    return visible_archived_jobs(user).filter(fragment="")


def _archive(user: Any) -> QuerySet[Any]:
    error = KeyTextTransform("name", KeyTransform("error", KeyTransform("data", "document")))
    return visible_archived_jobs(user).select_related("submitted_by").annotate(error_name=error).order_by("pk")


def _overdue(queryset: QuerySet[Job], wanted: bool, user: Any) -> QuerySet[Job]:
    late = Job.objects.overdue(timezone.now()).values("pk")
    return queryset.filter(pk__in=late) if wanted else queryset.exclude(pk__in=late)


HISTORY_FILTERS = (
    Filter("workflow", text, by("workflow"), "workflow {}"),
    Filter("status", one_of(JobStatus.values), by("status__in"), "status {}", several=True),
    Filter("correlation_id", text, by("correlation_id"), "correlation id {}"),
    Filter("created_after", moment, by("created_at__gte"), "created at or after {}"),
    Filter("created_before", moment, by("created_at__lt"), "created before {}"),
)
JOB_FILTERS = (
    *HISTORY_FILTERS,
    Filter("parent", identifier, by("parent_id"), "children of {}"),
    Filter("overdue", flag, _overdue, "overdue: {}"),
)


def _prepare(jobs: QuerySet[Any]) -> QuerySet[Any]:
    return (
        jobs.select_related("submitted_by").annotate(error_name=KeyTextTransform("name", "data__error")).order_by("pk")
    )


def _row(job: Any, as_of: datetime) -> Row:
    late = job.due_at is not None and job.status not in FINISHED and job.due_at < as_of
    return (
        str(job.id),
        job.correlation_id,
        job.workflow,
        job.version,
        job.status,
        job.outcome,
        job.priority,
        job.submitted_by.get_username() if job.submitted_by else None,
        job.created_at,
        job.started_at,
        job.finished_at,
        hours(job.created_at, job.finished_at),
        job.due_at,
        late,
        job.error_name,
    )


JOBS = Report(
    name="jobs",
    title="Jobs",
    columns=(
        Column("id", "Job", "The job's id.", width=38),
        Column("correlation_id", "Correlation id", "The submitter's own key for the request.", width=24),
        Column("workflow", "Workflow", "Name of the definition, or the job type.", width=24),
        Column("version", "Version", "Version of the definition; 0 for a job type without one.", "integer", width=9),
        Column(
            "status",
            "Status",
            "NEW never claimed, READY can run, PEND waits, DONE finished, FAIL waits for a person, CANC cancelled.",
            width=9,
        ),
        Column("outcome", "Outcome", "Outcome of the last finished task."),
        Column("priority", "Priority", "0 to 100, high is urgent.", "integer", width=9),
        Column("submitted_by", "Submitted by", "Username of the submitter."),
        Column("created_at", "Created", "When it was submitted.", "time", width=20),
        Column("started_at", "Started", "When its first step began.", "time", width=20),
        Column("finished_at", "Finished", "When it was done or cancelled.", "time", width=20),
        Column("hours", "Hours", "From created to finished.", "number", "hours", width=10),
        Column("due_at", "Due", "When its workflow promised it.", "time", width=20),
        Column(
            "overdue", "Overdue", "Yes where it was due before the as-of time and is unfinished.", "boolean", width=9
        ),
        Column("error", "Error", "Name of the error that a person must look at.", width=20),
    ),
    filters=JOB_FILTERS,
    visible=visible_jobs,
    archive=_archive,
    unasked=lambda jobs, chosen: jobs if chosen.has("parent") else jobs.filter(fragment=""),
    prepare=_prepare,
    row=_row,
    groupings=(
        Grouping("Jobs by status", ("status",)),
        Grouping("Jobs by workflow and status", ("workflow", "status")),
    ),
)
