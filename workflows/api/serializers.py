"""How rows look from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from workflows.engine.exceptions import InvalidState
from workflows.engine.state import JobState
from workflows.execution.children import progress_of_job
from workflows.models import Definition, Document, History, Job, JobStatus, TaskRun

ANY = {"description": "Any JSON."}


@extend_schema_field(ANY)
class AnyJSONField(serializers.JSONField):
    """Whatever was kept."""


class WaitingForSerializer(serializers.Serializer[Any]):
    """One thing that a job waits for."""

    task = serializers.CharField()
    iteration = serializers.IntegerField()
    kind = serializers.CharField(help_text="human, external, wait, event, children, retry, or plugin (a parked step)")
    since = serializers.DateTimeField(allow_null=True)
    until = serializers.DateTimeField(allow_null=True, help_text="When the wait ends by itself.")
    department = serializers.CharField(allow_null=True)
    queue = serializers.CharField(allow_null=True)
    reason = serializers.CharField(allow_blank=True)


class TaskErrorSerializer(serializers.Serializer[Any]):
    """Why an attempt failed."""

    name = serializers.CharField()
    cause = serializers.CharField(allow_null=True)


class ChildrenSerializer(serializers.Serializer[Any]):
    """How far the children of a task are."""

    group = serializers.IntegerField(help_text="Which children they are, among those of the job.")
    total = serializers.IntegerField()
    done = serializers.IntegerField()
    failed = serializers.IntegerField(help_text="Failed, or cancelled.")


class TaskRunSerializer(serializers.ModelSerializer[TaskRun]):
    """One run of one task. `children` is there only where child jobs do it."""

    name = serializers.CharField(source="task")
    output = AnyJSONField(read_only=True)
    error = serializers.SerializerMethodField()
    children = serializers.SerializerMethodField()

    class Meta:
        model = TaskRun
        fields = [
            *("name", "iteration", "status", "attempt", "outcome", "output", "error", "children"),
            *("started_at", "finished_at"),
        ]

    @extend_schema_field(ChildrenSerializer)
    def get_children(self, run: TaskRun) -> dict[str, int] | None:
        found: dict[str, int] | None = self.context.get("children", {}).get((run.task, run.iteration, run.attempt))
        return found

    def to_representation(self, run: TaskRun) -> dict[str, Any]:
        """The run; most have no children, and do not say so."""
        shown: dict[str, Any] = super().to_representation(run)
        if shown["children"] is None:
            del shown["children"]
        return shown

    @extend_schema_field(TaskErrorSerializer(allow_null=True))
    def get_error(self, run: TaskRun) -> dict[str, Any] | None:
        return {"name": run.error, "cause": run.cause} if run.error is not None else None


class JobListSerializer(serializers.ModelSerializer[Job]):
    """A job in a list: without its input, output, error and tasks, which the job's own page has."""

    status = serializers.ChoiceField(choices=JobStatus.choices, read_only=True)
    parent = serializers.UUIDField(source="parent_id", allow_null=True)
    archived_at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="Since when it is in the archive, where nothing changes it."
    )

    class Meta:
        model = Job
        fields = [
            *("id", "workflow", "version", "status", "outcome", "priority", "correlation_id", "parent"),
            *("run_at", "due_at", "due_paused_at", "created_at", "started_at", "finished_at", "archived_at"),
        ]

    def to_representation(self, job: Job) -> dict[str, Any]:
        """What the fields above would say, written out: they cost more than all else of a page. A test compares."""
        return listed(job)


def listed(job: Job) -> dict[str, Any]:
    """A job as a list shows it."""
    return {
        "id": str(job.id),
        "workflow": job.workflow,
        "version": job.version,
        "status": str(job.status),
        "outcome": job.outcome,
        "priority": job.priority,
        "correlation_id": job.correlation_id,
        "parent": None if job.parent_id is None else str(job.parent_id),
        "run_at": _moment(job.run_at),
        "due_at": _moment(job.due_at),
        "due_paused_at": _moment(job.due_paused_at),
        "created_at": _moment(job.created_at),
        "started_at": _moment(job.started_at),
        "finished_at": _moment(job.finished_at),
        "archived_at": _moment(job.archived_at),
    }


def just_born(job: Job, given: Any) -> dict[str, Any]:
    """A job that was submitted this moment with this input, as its own page shows it, without reading it again."""
    shown = {**listed(job), "input": given, "output": None, "error": None, "waiting_for": [], "tasks": []}
    return {name: shown[name] for name in JobSerializer.Meta.fields}


_moments = serializers.DateTimeField()


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else _moments.to_representation(moment)


class JobSerializer(JobListSerializer):
    """A job with all that is known of it. Reads `data` and `task_runs`, so select and prefetch them."""

    input = AnyJSONField(source="data.input", read_only=True)
    output = AnyJSONField(source="data.output", read_only=True)
    error = AnyJSONField(source="data.error", read_only=True)
    waiting_for = serializers.SerializerMethodField()
    tasks = TaskRunSerializer(source="task_runs", many=True)

    class Meta(JobListSerializer.Meta):
        fields = [
            *("id", "workflow", "version", "status", "outcome", "priority", "input", "output", "error", "waiting_for"),
            *("tasks", "correlation_id", "parent", "run_at", "due_at", "due_paused_at"),
            *("created_at", "started_at", "finished_at", "archived_at"),
        ]

    def to_representation(self, job: Job) -> dict[str, Any]:
        """The job; its tasks say how far their children are."""
        self.context["children"] = progress_of_job(job)
        shown: dict[str, Any] = super(JobListSerializer, self).to_representation(job)
        return shown

    @extend_schema_field(WaitingForSerializer(many=True))
    def get_waiting_for(self, job: Job) -> list[dict[str, Any]]:
        return waiting_for(job)


def waiting_for(job: Job) -> list[dict[str, Any]]:
    """What a job waits for, read from its serialized state."""
    if job.data.state is None:
        return []
    try:
        waiting = JobState.from_json(job.data.state, job.data.input).waiting
    except InvalidState:
        # Written by a newer release while both run: the rest of the job can be shown all the same.
        return []
    return [dict(WaitingForSerializer(item).data) for item in waiting]


class HistorySerializer(serializers.ModelSerializer[History]):
    """One thing that happened."""

    data = AnyJSONField(read_only=True)

    class Meta:
        model = History
        fields = ["sequence", "at", "event", "task", "iteration", "actor", "from", "to", "data"]
        extra_kwargs = {"from": {"source": "from_status"}, "to": {"source": "to_status"}}

    def build_field(self, field_name: str, info: Any, model_class: Any, nested_depth: int) -> Any:
        # `from` is no name that a class body could give a field.
        column = {"from": "from_status", "to": "to_status"}.get(field_name, field_name)
        return super().build_field(column, info, model_class, nested_depth)


class BatchSerializer(serializers.Serializer[Any]):
    """The jobs of a batch, in the order they were given."""

    jobs = JobListSerializer(many=True)


class DocumentSerializer(serializers.ModelSerializer[Document]):
    """A document without its content, which is at `content/` below it."""

    job = serializers.UUIDField(source="job_id", allow_null=True)

    class Meta:
        model = Document
        fields = ["id", "name", "media_type", "size", "sha256", "job", "task", "created_at"]


class DefinitionListSerializer(serializers.ModelSerializer[Definition]):
    """A published version without its document. `retired` is there where the row was read with it."""

    retired = serializers.SerializerMethodField(help_text="No new job starts on it.")

    class Meta:
        model = Definition
        fields = ["name", "version", "title", "digest", "note", "published_by", "published_at", "retired"]

    def get_retired(self, definition: Definition) -> bool:
        return bool(getattr(definition, "retired", False))


class DefinitionSerializer(DefinitionListSerializer):
    """A published version."""

    document = AnyJSONField(read_only=True)

    class Meta(DefinitionListSerializer.Meta):
        fields = [*DefinitionListSerializer.Meta.fields, "document"]


class FaultSerializer(serializers.Serializer[Any]):
    """One fault: where, what kind, and how to mend it."""

    pointer = serializers.CharField(allow_blank=True, help_text="JSON Pointer; empty for the whole.")
    code = serializers.CharField()
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer[Any]):
    """Problem details (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = FaultSerializer(many=True, required=False)


class ValidationSerializer(serializers.Serializer[Any]):
    """Whether a definition could be published."""

    valid = serializers.BooleanField()
    errors = FaultSerializer(many=True)
