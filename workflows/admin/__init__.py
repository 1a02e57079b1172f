"""The admin: what is configured is changed here, what happened is only read, and every change is in its log."""

from __future__ import annotations

import json
from typing import Any

from django.apps import apps
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from import_export import resources

from workflows import registry
from workflows.admin.forms import PublishForm, ReadOnlyAdmin, ReadOnlyInline, TableAdmin, pretty
from workflows.admin.repairs import JobRepairs
from workflows.admin.search import JobSearch, PartFilter, WorkflowFilter
from workflows.execution.children import progress_of
from workflows.intake import publishing
from workflows.models import (
    ApiToken,
    Definition,
    Document,
    History,
    Job,
    PluginRegistration,
    ServiceRun,
    TaskRun,
    Worker,
)
from workflows.reporting.admin_actions import export_actions, export_history

from . import calendars, dead_letters, events, schedules  # noqa: F401  (register their pages)

admin.site.site_header = "Workflow server"
admin.site.site_title = "Workflow server"

# The queue library's own pages: its schedules never run here, and its tasks are this product's ticks.
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


# ---- definitions ----------------------------------------------------------------------------------------------------


@admin.register(Definition)
class DefinitionAdmin(admin.ModelAdmin):
    """Published versions, never changed. Adding one is publishing it."""

    list_display = ("name", "version", "title", "published_by", "published_at")
    list_display_links = ("name", "version")
    search_fields = ("name", "title")
    list_filter = ("published_at",)
    fields = ("name", "version", "title", "note", "published_by", "published_at", "digest", "pretty_document")
    readonly_fields = fields
    show_full_result_count = False

    def has_change_permission(self, request: HttpRequest, obj: Definition | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Definition | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Definition]:
        return super().get_queryset(request).defer("document")

    @admin.display(description="Document")
    def pretty_document(self, definition: Definition) -> SafeString | str:
        """The document, indented."""
        return pretty(definition.document)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **named: Any) -> Any:
        context["may_publish"] = self.has_add_permission(request)
        return super().render_change_form(request, context, *args, **named)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Publish a document that is written, or pasted, as text."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        found: list[Any] = []
        form = PublishForm(request.POST or None, initial=self._initial(request))
        if request.method == "POST" and form.is_valid():
            document = form.cleaned_data["text"]
            found = publishing.faults(document)
            if "_check" in request.POST and not found:
                self.message_user(request, "The document has no fault. Nothing was published yet.", messages.SUCCESS)
            elif not found:
                return self._publish(request, document, form.cleaned_data["note"])
        context = {
            **self.admin_site.each_context(request),
            **{"title": "Publish a definition", "form": form, "faults": found, "opts": self.opts},
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/workflows/definition/publish.html", context)

    def _initial(self, request: HttpRequest) -> dict[str, str]:
        """The document of the version that is to be followed, where one is named."""
        source = request.GET.get("from", "")
        if not (source.isascii() and source.isdigit() and len(source) < 19):
            return {}
        definition = Definition.objects.filter(pk=int(source)).first()
        return {"text": json.dumps(definition.document, indent=2, ensure_ascii=False)} if definition else {}

    def _publish(self, request: HttpRequest, document: dict[str, Any], note: str) -> HttpResponse:
        published = publishing.publish(document, published_by=request.user.get_username(), note=note)
        definition = published.definition
        if published.created:
            self.log_addition(request, definition, [{"added": {}}])
            self.message_user(request, f"{definition} is published.", messages.SUCCESS)
        else:
            self.message_user(request, f"The document equals {definition}: nothing was published.", messages.WARNING)
        return HttpResponseRedirect(reverse("admin:workflows_definition_change", args=[definition.pk]))


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
class JobAdmin(JobRepairs, JobSearch, ReadOnlyAdmin):
    """Jobs are read here, and repaired: one on a page of its own, many with the action of the list."""

    list_display = ("id", "workflow", "version", "status", "correlation_id", "submitted_by", "created_at", "due_at")
    list_filter = ("status", PartFilter, WorkflowFilter)
    list_select_related = ("submitted_by",)
    show_full_result_count = False
    inlines = (TaskRunInline, HistoryInline)
    fields = (
        *("id", "workflow", "version", "status", "outcome", "priority", "queue", "correlation_id", "submitted_by"),
        *("created_at", "started_at", "finished_at", "due_at", "run_at", "wake_at", "claimed_by", "claimed_until"),
        *("waits_for_it", "part", "children"),
        *("input", "output", "error", "state"),
    )
    readonly_fields = fields
    actions = ("repair_selected", *export_actions("jobs"), export_history)

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
class DocumentAdmin(JobSearch, ReadOnlyAdmin):
    """Documents with their jobs."""

    list_display = ("name", "media_type", "size", "job", "task", "uploaded_by", "created_at")
    list_select_related = ("job", "uploaded_by")
    show_full_result_count = False
    fields = ("id", "name", "media_type", "size", "sha256", "job", "task", "uploaded_by", "created_at", "download")
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
