"""The admin: what is configured is changed here, what happened is only read, and every change is in its log."""

from __future__ import annotations

from importlib import import_module
from typing import Any, ClassVar

from django.apps import apps
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from import_export import resources

from workflows import registry
from workflows.admin.forms import JobLink, ReadOnlyAdmin, ReadOnlyInline, TableAdmin, pretty
from workflows.admin.limits import JobWaits
from workflows.admin.repairs import JobRepairs
from workflows.admin.search import JobSearch, PartFilter, WorkflowFilter
from workflows.execution.children import progress_of
from workflows.models import (
    ApiToken,
    Document,
    History,
    Job,
    PluginRegistration,
    ServiceRun,
    TaskRun,
    Worker,
)
from workflows.reporting.admin_actions import export_actions, export_history

from . import archive, calendars, dead_letters, events, schedules, versions  # noqa: F401  (register their pages)

admin.site.site_header = "Workflow server"
admin.site.site_title = "Workflow server"

# The queue library's own pages: its schedules never run here, and its tasks are this product's ticks. Django would ask
# for them after ours.
import_module("django_q.admin")
for _model in apps.get_app_config("django_q").get_models():
    if admin.site.is_registered(_model):
        admin.site.unregister(_model)


# ---- plugins --------------------------------------------------------------------------------------------------------


class PluginRegistrationResource(resources.ModelResource):
    """Registrations as rows, known by their job type. A row that could never run is refused, as in the form."""

    class Meta:
        model = PluginRegistration
        import_id_fields = ("job_type",)
        fields = ("job_type", "module", "class_name", "configuration", "description", "enabled")
        clean_model_instances = True
        skip_unchanged = True
        report_skipped = True


@admin.register(PluginRegistration)
class PluginRegistrationAdmin(TableAdmin):
    """Job types and their classes. Check loads the class and says whether its jobs could run."""

    resource_classes = [PluginRegistrationResource]
    list_display = ("job_type", "module", "class_name", "enabled", "updated_at")
    list_filter = ("enabled",)
    search_fields = ("job_type", "module", "class_name", "description")
    readonly_fields = ("created_at", "updated_at")
    actions = ("check_selected",)

    def get_urls(self) -> list[Any]:
        check = self.admin_site.admin_view(require_POST(self.check_view))
        return [path("<int:pk>/check/", check, name="workflows_pluginregistration_check"), *super().get_urls()]

    def check_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The Check button: the verdict is shown on the page it came from."""
        registration = get_object_or_404(PluginRegistration, pk=pk)
        if not self.has_view_permission(request, registration):
            raise PermissionDenied
        self._tell(request, registration)
        return HttpResponseRedirect(reverse("admin:workflows_pluginregistration_change", args=[pk]))

    @admin.action(permissions=["view"], description="Check selected")
    def check_selected(self, request: HttpRequest, queryset: QuerySet[PluginRegistration]) -> None:
        """The verdict on each selected row."""
        for registration in queryset:
            self._tell(request, registration)

    def _tell(self, request: HttpRequest, registration: PluginRegistration) -> None:
        faults = registry.faults_of(registration)
        if faults:
            self.message_user(request, f"{registration}: {' '.join(faults)}", messages.ERROR)
        else:
            self.message_user(request, f"{registration}: loads, and takes its configuration.", messages.SUCCESS)


# ---- jobs -----------------------------------------------------------------------------------------------------------


class TaskRunInline(ReadOnlyInline):
    """The runs of a job's tasks."""

    model = TaskRun
    fields = ("task", "iteration", "attempt", "status", "outcome", "error", "actor", "started_at", "finished_at")
    readonly_fields = fields
    ordering = ("sequence",)


class HistoryInline(ReadOnlyInline):
    """What happened to a job."""

    model = History
    fields = ("sequence", "at", "event", "task", "iteration", "actor", "from_status", "to_status", "data")
    readonly_fields = fields
    ordering = ("sequence",)


@admin.register(Job)
class JobAdmin(JobWaits, JobRepairs, JobSearch, ReadOnlyAdmin):
    """Jobs are read here, and repaired: one on a page of its own, many with the action of the list."""

    class Media:
        css: ClassVar = {"all": ("workflows/admin.css",)}

    list_display = ("id", "workflow", "version", "status", "correlation_id", "submitted_by", "created_at", "due_at")
    list_filter = ("status", PartFilter, WorkflowFilter)
    list_select_related = ("submitted_by",)
    show_full_result_count = False
    inlines = (TaskRunInline, HistoryInline)
    fields = (
        *("id", "workflow", "version", "status", "why", "outcome", "priority", "queue", "correlation_id"),
        *("submitted_by", "created_at", "started_at", "finished_at", "due_at", "run_at", "wake_at"),
        *("claimed_by", "claimed_until", "hold", "waits_for_it", "part", "children"),
        *("input", "output", "error", "state"),
    )
    readonly_fields = fields
    actions = ("repair_selected", *export_actions("jobs"), export_history)

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        """A job that is not here may be in the archive."""
        if archive.is_archived(object_id):
            return HttpResponseRedirect(reverse("admin:workflows_archivedjob_change", args=[object_id]))
        answer: HttpResponse = super()._get_obj_does_not_exist_redirect(request, opts, object_id)  # type: ignore[misc]
        return answer

    @admin.display(description="Parent")
    def waits_for_it(self, job: Job) -> SafeString | str:
        """The job that waits for this one."""
        if job.parent_id is None:
            return "-"
        url = reverse("admin:workflows_job_change", args=[job.parent_id])
        return format_html('<a href="{}">{}</a>', url, job.parent_id)

    @admin.display(description="Part")
    def part(self, job: Job) -> str:
        """Which part of its parent it is."""
        return f"{job.fragment}, item {job.item_index}" if job.fragment else "-"

    @admin.display(description="Children")
    def children(self, job: Job) -> SafeString | str:
        """The jobs that this one waits for."""
        groups = progress_of(job.pk)
        if not groups:
            return "-"
        said = "; ".join(
            f"{task}: {group['done']} of {group['total']} done, {group['failed']} failed"
            for (task, _, _), group in groups.items()
        )
        url = f"{reverse('admin:workflows_job_changelist')}?parent={job.pk}"
        return format_html('<a href="{}">{}</a>', url, said)

    @admin.display(description="Input")
    def input(self, job: Job) -> SafeString | str:
        """What was submitted."""
        return pretty(job.data.input)

    @admin.display(description="Output")
    def output(self, job: Job) -> SafeString | str:
        """What came of it."""
        return pretty(job.data.output)

    @admin.display(description="Error")
    def error(self, job: Job) -> SafeString | str:
        """What a person must look at."""
        return pretty(job.data.error)

    @admin.display(description="State")
    def state(self, job: Job) -> SafeString | str:
        """The serialized workflow."""
        return pretty(job.data.state)


@admin.register(Document)
class DocumentAdmin(JobLink, JobSearch, ReadOnlyAdmin):
    """Documents with their jobs."""

    list_display = ("name", "media_type", "size", "job_link", "task", "uploaded_by", "created_at")
    list_select_related = ("uploaded_by",)
    show_full_result_count = False
    fields = ("id", "name", "media_type", "size", "sha256", "job_link", "task", "uploaded_by", "created_at", "download")
    readonly_fields = fields
    search_columns = ("pk", "job_id")
    search_texts = ("name__startswith",)

    @admin.display(description="Content")
    def download(self, document: Document) -> SafeString:
        """A link that gives the file."""
        return format_html('<a href="{}">Download</a>', reverse("api:document-content", args=[document.pk]))


# ---- the machinery --------------------------------------------------------------------------------------------------


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):
    """Tokens can be seen and revoked. They are issued by `manage.py issue_token`, which alone can show one."""

    list_display = ("user", "scope_names", "note", "created", "expiry")
    list_display_links = None
    list_select_related = ("user",)
    search_fields = ("user__username", "note")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return False

    def change_view(self, request: HttpRequest, *args: Any, **named: Any) -> HttpResponse:
        """A token has no page of its own: there is nothing about it to see or change."""
        raise Http404

    @admin.display(description="Scopes")
    def scope_names(self, token: ApiToken) -> str:
        """What it is narrowed to."""
        return ", ".join(token.scopes) or "all that the user may"


@admin.register(ServiceRun)
class ServiceRunAdmin(ReadOnlyAdmin):
    """When the background services ran, and what they did."""

    list_display = ("name", "ran_at", "due_at", "counts", "error")


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """Workers that were seen."""

    list_display = ("name", "queue", "host", "pid", "started_at", "seen_at", "steps")
    list_filter = ("queue",)
