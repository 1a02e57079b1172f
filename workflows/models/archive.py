"""The archive: jobs that ended long ago, out of the way of those that run, and how long they are kept."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from .children import ChildGroup, ChildGroupData
from .dead_letters import BulkRepair, BulkRepairItem, DeadLetter
from .documents import Document
from .events import EventWaiter, SubscriptionRun
from .history import History
from .jobs import FINISHED, IdempotencyKey, Job, JobData, JobStatus
from .messages import Message, Signal
from .schedules import ScheduleRun
from .task_runs import TaskRun


class ArchivedJob(models.Model):
    """One job that ended long ago, with all that was its own: one row instead of dozens, never changed.

    The columns are those of `Job` that lists and reports ask for, under the same names. `document` holds every row of
    the job as it was, column by column: the job itself, its data, history, task runs, messages, unread signals and
    groups of children (`PARTS`). On PostgreSQL the table is partitioned by month: ids are in order of time, so a job
    is found by its id in one partition, and a month that retention has emptied is dropped whole.

    Absent on purpose: foreign keys. A key to the users would have every partition that is dropped lock their table;
    the rule that an account with jobs is not deleted holds all the same, in Django.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    workflow = models.CharField(max_length=100)
    version = models.PositiveIntegerField()
    status = models.CharField(max_length=5, choices=[(each.value, each.label) for each in map(JobStatus, FINISHED)])
    outcome = models.CharField(max_length=100, null=True, blank=True)
    priority = models.PositiveSmallIntegerField()
    queue = models.CharField(max_length=50)
    correlation_id = models.CharField(max_length=200, blank=True)
    parent_id = models.UUIDField(null=True, blank=True, help_text="The job that waited for it; archived with it.")
    group_id = models.BigIntegerField(null=True, blank=True, help_text="The group of children that it was one of.")
    fragment = models.CharField(max_length=200, blank=True)
    submitted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="archived_jobs",
        db_index=False,
        db_constraint=False,
    )
    run_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True, blank=True)
    due_paused_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField()
    archived_at = models.DateTimeField(default=timezone.now)
    document = models.JSONField(help_text="Every row of the job, as it was.")

    class Meta:
        ordering = ["-id"]
        constraints = [models.CheckConstraint(condition=Q(status__in=FINISHED), name="archived_job_finished")]
        indexes = [
            # The same lists as of jobs: newest first, within a workflow, a status, a submitter.
            models.Index(fields=["workflow", "id"], name="archived_workflow"),
            models.Index(fields=["status", "id"], name="archived_status"),
            models.Index(fields=["submitted_by", "id"], name="archived_submitter"),
            models.Index(fields=["parent_id"], condition=Q(parent_id__isnull=False), name="archived_children"),
            models.Index(fields=["correlation_id"], condition=~Q(correlation_id=""), name="archived_correlation"),
        ]

    def __str__(self) -> str:
        return f"{self.workflow} {self.id}"

    def as_job(self) -> Job:
        """The job as it was, with its `data` and `task_runs`: what reads a job reads this. It cannot be saved."""
        job: Job = rebuilt(Job, self.document["job"])
        job.archive = self
        job.archived_at = self.archived_at
        job._state.fields_cache["data"] = rebuilt(JobData, {**self.document["data"], "job_id": str(self.pk)})
        runs: Any = job.task_runs.all()
        runs._result_cache, runs._prefetch_done = self.task_runs(), True
        job.__dict__["_prefetched_objects_cache"] = {"task_runs": runs}
        return job

    def history(self) -> list[History]:
        """What happened to it, oldest first."""
        return self._rows(History, "history")

    def task_runs(self) -> list[TaskRun]:
        """The runs of its tasks, in the order in which they were committed."""
        return self._rows(TaskRun, "runs")

    def messages(self) -> list[Message]:
        """What it sent out."""
        return self._rows(Message, "messages")

    def groups(self) -> list[ChildGroup]:
        """The groups of its children."""
        return self._rows(ChildGroup, "groups")

    def group_names(self, group_id: int) -> Mapping[str, Any]:
        """The names that the children of a group read of this job. KeyError where it has no such group."""
        names: dict[int, Mapping[str, Any]] = {row["group_id"]: row["names"] for row in self.document["group_data"]}
        return names[group_id]

    def _rows(self, model: type[Any], part: str) -> list[Any]:
        return [rebuilt(model, {**row, "job_id": str(self.pk)}) for row in self.document[part]]


class Retention(models.Model):
    """How long the archived jobs of a workflow are kept. Without a row they are kept for ever.

    It is a rule about whole jobs: their children go with them, whatever workflow those are of.
    """

    workflow = models.CharField(max_length=100, unique=True, help_text="Name of the definition, or the job type.")
    keep_days = models.PositiveIntegerField(
        help_text="Days after its end that a job is kept; then it is deleted with its history and documents."
    )
    reason = models.CharField(max_length=500, blank=True, help_text="By which rule or law.")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["workflow"]
        verbose_name_plural = "retention"
        constraints = [models.CheckConstraint(condition=Q(keep_days__gte=1), name="retention_from_one_day")]

    def __str__(self) -> str:
        return f"{self.workflow}: {self.keep_days} days"


class RetentionRun(models.Model):
    """One time that archived jobs were deleted by a rule of retention: how many, of what time. Kept for ever."""

    workflow = models.CharField(max_length=100)
    keep_days = models.PositiveIntegerField()
    jobs = models.PositiveIntegerField(help_text="Jobs that were deleted, their children among them.")
    documents = models.PositiveIntegerField(help_text="Documents that were deleted with them.")
    first_finished_at = models.DateTimeField(help_text="When the first of them had ended.")
    last_finished_at = models.DateTimeField(help_text="When the last of them had ended.")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.jobs} jobs of {self.workflow}"


# ---- what moves, and what stays --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """A table whose rows are a job's own: they move with it into the document, in this order, under this name."""

    name: str
    model: type[models.Model]
    order: tuple[str, ...]
    through: type[models.Model] | None = None
    """The part that it hangs on, by the column `group_id`, where it has no column of the job itself."""


PARTS = (
    Part("group_data", ChildGroupData, ("group_id",), through=ChildGroup),
    Part("groups", ChildGroup, ("id",)),
    Part("signals", Signal, ("sequence",)),
    Part("messages", Message, ("sequence",)),
    Part("runs", TaskRun, ("sequence", "id")),
    Part("history", History, ("sequence",)),
)
"""In an order in which they can be deleted."""


@dataclass(frozen=True, slots=True)
class Companion:
    """A table whose rows name a job and stay where they are when it is archived: they have lists and a life of their
    own. Their keys to the job are without a constraint; `find_job` answers the job.

    `path` leads from a row to the job's id. A row that `open` is true of holds the job back from the archive. All of
    them are deleted with the job when its retention is over.
    """

    model: type[models.Model]
    path: str = "job_id"
    open: Q | None = None


_companions: list[Companion] = [
    Companion(Document),
    Companion(DeadLetter, open=Q(resolved_at__isnull=True)),
    Companion(
        BulkRepairItem,
        open=Q(bulk__status__in=(BulkRepair.Status.PREVIEW, BulkRepair.Status.RUNNING, BulkRepair.Status.TRIAL)),
    ),
    Companion(EventWaiter, open=Q(closed_at__isnull=True)),
    Companion(SubscriptionRun),
    Companion(ScheduleRun),
    Companion(IdempotencyKey),
]


def register_companion(companion: Companion) -> None:
    """Make a table of a higher floor known. Called when the applications start; those that hang on others first."""
    if all(known.model is not companion.model for known in _companions):
        _companions.append(companion)


def companions() -> tuple[Companion, ...]:
    """Every table that names jobs and stays."""
    return tuple(_companions)


# ---- reading back ----------------------------------------------------------------------------------------------------


def rebuilt(model: type[models.Model], row: Mapping[str, Any]) -> Any:
    """A row of a document as the instance it was. A column that is younger than the document has its default."""
    fields: Any = model._meta.concrete_fields
    values = {field.attname: _value(field, row[field.column]) for field in fields if field.column in row}
    instance = model(**values)
    instance._state.adding, instance._state.db = False, "default"
    return instance


def _value(field: Any, kept: Any) -> Any:
    while field.remote_field is not None:
        field = field.target_field
    if kept is None or isinstance(field, models.JSONField):
        return kept
    if isinstance(field, models.DateTimeField):
        moment = datetime.fromisoformat(kept)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return field.to_python(kept)


def find_job(job_id: uuid.UUID) -> Job:
    """The job, with its data, whether it is archived or not. Job.DoesNotExist where there is none."""
    job: Job | None = Job.objects.select_related("data").filter(pk=job_id).first()
    if job is not None:
        return job
    archived = ArchivedJob.objects.filter(pk=job_id).first()
    if archived is None:
        raise Job.DoesNotExist(f"There is no job {job_id}.")
    return archived.as_job()
