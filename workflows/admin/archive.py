"""The archive in the admin: jobs that ended long ago are read, and how long they are kept is configured."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from import_export import resources

from workflows.models import ArchivedJob, Retention, RetentionRun

from .forms import ReadOnlyAdmin, TableAdmin, pretty
from .search import JobSearch, PartFilter, WorkflowFilter

RUN = ("task", "iteration", "attempt", "status", "outcome", "error", "actor", "started_at", "finished_at")
HISTORY = ("sequence", "at", "event", "task", "iteration", "actor", "from_status", "to_status", "data")


def is_archived(object_id: str) -> bool:
    """Whether the text is the id of an archived job."""
    try:
        return bool(ArchivedJob.objects.filter(pk=uuid.UUID(object_id)).exists())
    except ValueError:
        return False


@admin.register(ArchivedJob)
class ArchivedJobAdmin(JobSearch, ReadOnlyAdmin):
    """Archived jobs with all that happened to them. Nothing changes them, so there is nothing to repair."""

    class Media:
        css: ClassVar = {"all": ("workflows/admin.css",)}

    list_display = (
        "id",
        "workflow",
        "version",
        "status",
        "correlation_id",
        "submitted_by",
        "created_at",
        "finished_at",
    )
    list_filter = ("status", PartFilter, WorkflowFilter)
    list_select_related = ("submitted_by",)
    show_full_result_count = False
    fields = (
        *("id", "workflow", "version", "status", "outcome", "priority", "queue", "correlation_id", "submitted_by"),
        *("created_at", "started_at", "finished_at", "archived_at", "due_at", "waited_for_it", "part", "children"),
        *("input", "output", "error", "task_runs", "history", "state"),
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[ArchivedJob]:
        """Without the documents: a list needs none, and a page reads its own."""
        return super().get_queryset(request).defer("document")

    @admin.display(description="Parent")
    def waited_for_it(self, job: ArchivedJob) -> SafeString | str:
        """The job that waited for this one."""
        if job.parent_id is None:
            return "-"
        url = reverse("admin:workflows_archivedjob_change", args=[job.parent_id])
        return format_html('<a href="{}">{}</a>', url, job.parent_id)

    @admin.display(description="Part")
    def part(self, job: ArchivedJob) -> str:
        """Which part of its parent it was."""
        return f"{job.fragment}, item {job.document['job']['item_index']}" if job.fragment else "-"

    @admin.display(description="Children")
    def children(self, job: ArchivedJob) -> SafeString | str:
        """The jobs that this one waited for."""
        groups = job.groups()
        if not groups:
            return "-"
        url = f"{reverse('admin:workflows_archivedjob_changelist')}?parent={job.pk}"
        return format_html('<a href="{}">{}</a>', url, "; ".join(f"{one.task}: {one.total}" for one in groups))

    @admin.display(description="Input")
    def input(self, job: ArchivedJob) -> SafeString | str:
        """What was submitted."""
        return pretty(job.document["data"]["input"])

    @admin.display(description="Output")
    def output(self, job: ArchivedJob) -> SafeString | str:
        """What came of it."""
        return pretty(job.document["data"]["output"])

    @admin.display(description="Error")
    def error(self, job: ArchivedJob) -> SafeString | str:
        """What a person had to look at."""
        return pretty(job.document["data"]["error"])

    @admin.display(description="State")
    def state(self, job: ArchivedJob) -> SafeString | str:
        """The serialized workflow."""
        return pretty(job.document["data"]["state"])

    @admin.display(description="Task runs")
    def task_runs(self, job: ArchivedJob) -> SafeString:
        """The runs of its tasks."""
        return _table(RUN, job.task_runs())

    @admin.display(description="History")
    def history(self, job: ArchivedJob) -> SafeString:
        """What happened to it."""
        return _table(HISTORY, job.history())


def _table(columns: Sequence[str], rows: Iterable[Any]) -> SafeString:
    head = format_html_join("", "<th>{}</th>", ((column.replace("_", " "),) for column in columns))
    lines = (format_html_join("", "<td>{}</td>", ((_cell(getattr(row, each)),) for each in columns)) for row in rows)
    body = format_html_join("", "<tr>{}</tr>", ((line,) for line in lines))
    return format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", head, body)


def _cell(value: Any) -> Any:
    return "" if value in (None, {}) else value


class RetentionResource(resources.ModelResource):
    """Rules as rows, known by their workflow."""

    class Meta:
        model = Retention
        import_id_fields = ("workflow",)
        fields = ("workflow", "keep_days", "reason")
        clean_model_instances = True
        skip_unchanged = True
        report_skipped = True


@admin.register(Retention)
class RetentionAdmin(TableAdmin):
    """How long the jobs of a workflow are kept. Without a rule: for ever."""

    resource_classes = [RetentionResource]
    list_display = ("workflow", "keep_days", "reason", "updated_at")
    search_fields = ("workflow", "reason")
    readonly_fields = ("updated_at",)


@admin.register(RetentionRun)
class RetentionRunAdmin(ReadOnlyAdmin):
    """What retention has deleted."""

    list_display = ("workflow", "keep_days", "jobs", "documents", "first_finished_at", "last_finished_at", "at")
    list_filter = ("workflow",)
