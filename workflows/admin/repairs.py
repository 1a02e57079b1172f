"""Repairs in the admin: of one job on a page of its own, of many by a preview that becomes a page of progress."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.views.decorators.http import require_POST

from workflows import operations, policy
from workflows.engine.events import UNSET
from workflows.engine.exceptions import InvalidState
from workflows.engine.state import FAILED, PENDING, RETRYING, WAITING, WITHDRAWN, JobState
from workflows.models import FINISHED, BulkRepair, Job, JobStatus, TaskRun
from workflows.operations import bulk
from workflows.operations.choice import FILTER, MAX_IDS
from workflows.operations.exceptions import BulkNotFound, InvalidRequest, OperationError
from workflows.operations.verbs import VERBS

from .forms import ReadOnlyAdmin

REASON_LENGTH = 500


class JSONText(forms.CharField):
    """A field with JSON as text; empty is UNSET, for null is a value."""

    widget = forms.Textarea(attrs={"rows": 6, "cols": 80, "spellcheck": "false"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, "strip": True, "max_length": 2**20, **options})

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            return json.loads(text) if text else UNSET
        except ValueError as error:
            raise forms.ValidationError(f"This is no JSON: {error}.", code="json") from None


def _reason() -> forms.CharField:
    return forms.CharField(
        required=False,
        max_length=REASON_LENGTH,
        widget=forms.TextInput({"size": 60}),
        help_text="Why; kept in the history of each job.",
    )


# ---- one job --------------------------------------------------------------------------------------------------------


class RepairForm(forms.Form):
    """One repair of one job, as its page sends it."""

    verb = forms.ChoiceField(choices=[(verb, verb) for verb in ("retry", "edit", "skip", "restart", "cancel", "undo")])
    task = forms.CharField(required=False, max_length=120)
    input = JSONText()
    output = JSONText()
    outcome = forms.CharField(required=False, max_length=100)
    reason = forms.CharField(required=False, max_length=REASON_LENGTH)

    def repair(self, job_id: uuid.UUID, actor: str) -> Job:
        """Do what was asked for. OperationError where the job does not allow it."""
        given = self.cleaned_data
        task, how = given["task"], {"actor": actor, "reason": given["reason"]}
        output = None if given["output"] is UNSET else given["output"]
        match given["verb"]:
            case "retry":
                return operations.retry_job(job_id, task=task or None, **how)
            case "edit":
                return operations.retry_job(job_id, task=task, input=given["input"], **how)
            case "skip":
                return operations.skip_task(job_id, task, output=output, outcome=given["outcome"] or None, **how)
            case "restart":
                return operations.restart_job(job_id, task, **how)
            case _:
                return operations.cancel_job(job_id, compensate=given["verb"] == "undo", **how)


class JobRepairs:
    """The repairs of jobs: mix into their ModelAdmin, and add `repair_selected` to its actions."""

    admin_site: admin.AdminSite
    opts: Any

    def get_urls(self) -> list[Any]:
        """With the page of a job's repairs."""
        repair = self.admin_site.admin_view(self.repair_view)
        urls: list[Any] = super().get_urls()  # type: ignore[misc]
        return [path("<uuid:job_id>/repair/", repair, name="workflows_job_repair"), *urls]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whom the repairs are for."""
        return policy.may_operate(request.user)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **named: Any) -> Any:
        """The page of a job says whether it can be repaired, and by this user."""
        job = context.get("original")
        context["may_repair"] = self.has_operate_permission(request) and job and job.status not in FINISHED
        return super().render_change_form(request, context, *args, **named)  # type: ignore[misc]

    def repair_view(self, request: HttpRequest, job_id: uuid.UUID) -> HttpResponse:
        """What can be done about a job now, and doing it."""
        if not self.has_operate_permission(request):
            raise PermissionDenied
        job = get_object_or_404(Job.objects.select_related("data"), pk=job_id)
        form = RepairForm(request.POST or None)
        if request.method == "POST":
            if not form.is_valid():
                for name, errors in form.errors.items():
                    messages.error(request, f"{name}: {' '.join(errors)}")
            elif self._repaired(request, job, form):
                return HttpResponseRedirect(reverse("admin:workflows_job_change", args=[job.pk]))
            job = Job.objects.select_related("data").get(pk=job_id)
        context = {
            **self.admin_site.each_context(request),
            **{"title": f"Repair {job.workflow}", "job": job, "opts": self.opts, **_standing(job)},
            "kept": request.POST,
        }
        return TemplateResponse(request, "admin/workflows/job/repair.html", context)

    def _repaired(self, request: HttpRequest, job: Job, form: RepairForm) -> bool:
        """Make the repair and tell of it; False where it was refused."""
        try:
            repaired = form.repair(job.pk, request.user.get_username())
        except OperationError as error:
            messages.error(request, str(error))
            return False
        verb = {"undo": "cancel, undoing what was done", "edit": "retry with another input"}
        said = verb.get(form.cleaned_data["verb"], form.cleaned_data["verb"])
        task = f" {form.cleaned_data['task']}" if form.cleaned_data["task"] else ""
        self.log_change(request, job, f"Repair: {said}{task}.")  # type: ignore[attr-defined]
        messages.success(request, f"Repair made: {said}{task}. The job is {repaired.get_status_display().lower()} now.")
        return True

    @admin.action(permissions=["operate"], description="Repair selected jobs…")
    def repair_selected(self, request: HttpRequest, queryset: QuerySet[Job]) -> HttpResponse | None:
        """Choose what to do with jobs; the preview follows."""
        ids = [str(pk) for pk in queryset.values_list("pk", flat=True)[: MAX_IDS + 1]]
        if len(ids) > MAX_IDS:
            messages.error(request, f"More than {MAX_IDS:,} jobs are selected. Choose them by a filter: Repairs, Add.")
            return None
        form = BulkForm(initial={"ids": "\n".join(ids), "verb": "retry"})
        return _bulk_page(self.admin_site, request, form)


def _standing(job: Job) -> dict[str, Any]:
    """What can be done about a job: which tasks failed, can be skipped or restarted, what there is to undo."""
    try:
        state = JobState.from_json(job.data.state, job.data.input) if job.data.state else JobState.new(None)
    except InvalidState:
        state = JobState.new(None)
    inputs: dict[str, Any] = {}
    for run in TaskRun.objects.filter(job=job).order_by("iteration", "attempt").values("task", "input"):
        inputs[run["task"]] = run["input"]
    active = {name: state.tasks[name] for name in state.active}
    failed = [
        {"name": name, "error": task.error or {}, "input": json.dumps(inputs.get(name), indent=2, ensure_ascii=False)}
        for name, task in active.items()
        if task.status == FAILED
    ]
    reached = [name for name, task in state.tasks.items() if task.status not in (PENDING, WITHDRAWN)]
    whole = job.status == JobStatus.FAIL and not failed
    return {
        "failed": failed,
        "whole": job.data.error if whole else None,
        "skippable": [name for name, task in active.items() if task.status in (FAILED, WAITING, RETRYING)],
        "restartable": [name for name in reached if not name.startswith("undo:")] if state.phase == "active" else [],
        "undo": [name for name, _ in reversed(state.undo)] if state.phase != "compensating" else [],
        "compensating": state.phase == "compensating",
        "over": job.status in FINISHED,
    }


# ---- many jobs ------------------------------------------------------------------------------------------------------


class BulkForm(forms.Form):
    """A repair of many: which jobs, and what to do with them."""

    verb = forms.ChoiceField(label="Repair", choices=[(verb, verb.capitalize()) for verb in VERBS])
    reason = _reason()
    first_alone = forms.BooleanField(
        required=False, label="One first", help_text="Repair one, and the rest only if that one passed."
    )
    task = forms.CharField(
        required=False,
        max_length=120,
        help_text="Restart: from which. Retry, skip: which; without one, those that failed.",
    )
    input = JSONText(help_text="Retry: the input instead of the task's own, as JSON.")
    output = JSONText(help_text="Skip: the output, as JSON.")
    outcome = forms.CharField(required=False, max_length=100, help_text="Skip: the outcome, for transitions that ask.")
    compensate = forms.BooleanField(required=False, help_text="Cancel: first undo what was done.")
    to = forms.IntegerField(required=False, min_value=1, label="Version", help_text="Migrate: to which version.")
    mapping = JSONText(help_text='Migrate: tasks that have other names there, as in {"old": "new"}.')

    ids = forms.CharField(
        required=False, widget=forms.Textarea({"rows": 3, "cols": 60}), help_text="Ids of jobs, one on each line."
    )
    status = forms.MultipleChoiceField(required=False, choices=JobStatus.choices)
    workflow = forms.CharField(required=False, max_length=100)
    version = forms.IntegerField(required=False, min_value=0)
    correlation_id = forms.CharField(required=False, max_length=200, label="Reference")
    priority = forms.IntegerField(required=False, min_value=0, max_value=100)
    created_after = forms.DateTimeField(required=False)
    created_before = forms.DateTimeField(required=False)
    fingerprint = forms.CharField(
        required=False, max_length=64, label="Cause", help_text="Fingerprint of dead letters."
    )
    error = forms.CharField(required=False, max_length=200)
    failed_task = forms.CharField(required=False, max_length=120)
    failed_after = forms.DateTimeField(required=False)
    failed_before = forms.DateTimeField(required=False)

    HOW = ("verb", "reason", "first_alone", "task", "input", "output", "outcome", "compensate", "to", "mapping")
    WHICH = {name: "failed_task" if name == "task" else name for name in FILTER["properties"]}

    @property
    def how(self) -> list[tuple[forms.BoundField, str]]:
        """What to do: each field with the verbs that it goes with; none where it goes with all."""
        verbs = {name: " ".join(verb for verb in VERBS if name in VERBS[verb].arguments) for name in self.HOW}
        return [(self[name], verbs[name]) for name in self.HOW]

    @property
    def which(self) -> list[forms.BoundField]:
        """Which jobs: the fields that say something."""
        return [field for field in self._which if field.value() or field.errors]

    @property
    def more(self) -> list[forms.BoundField]:
        """The other fields that could narrow the choice."""
        return [field for field in self._which if not (field.value() or field.errors)]

    @property
    def _which(self) -> list[forms.BoundField]:
        return [self[name] for name in self.WHICH.values()]

    def preview(self, user: Any) -> BulkRepair:
        """The preview of what was asked for. InvalidRequest with every fault."""
        given = self.cleaned_data
        verb = given["verb"]
        arguments = {
            name: given[name]
            for name in VERBS[verb].arguments
            if given.get(name) not in ("", None, False) and given[name] is not UNSET
        }
        filter: dict[str, Any] = {}
        for name, field in self.WHICH.items():
            value = given[field]
            if name == "ids":
                value = value.split()
            if value not in (None, "", []):
                filter[name] = value.isoformat() if hasattr(value, "isoformat") else value
        options = {"reason": given["reason"], "first_alone": given["first_alone"]}
        return bulk.preview(verb, filter, arguments=arguments, requested_by=user, **options)


def _bulk_page(site: admin.AdminSite, request: HttpRequest, form: BulkForm) -> TemplateResponse:
    context = {**site.each_context(request), "title": "Repair jobs", "form": form, "opts": BulkRepair._meta}
    return TemplateResponse(request, "admin/workflows/bulkrepair/form.html", context)


@admin.register(BulkRepair)
class BulkRepairAdmin(ReadOnlyAdmin):
    """Repairs of many jobs: previewed, started, watched."""

    list_display = ("id", "verb", "status", "first_alone", "reason", "requested_by", "created_at", "finished_at")
    list_filter = ("status", "verb")
    list_select_related = ("requested_by",)
    show_full_result_count = False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return policy.may_operate(request.user)

    def has_view_permission(self, request: HttpRequest, obj: BulkRepair | None = None) -> bool:
        return policy.may_operate(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return policy.may_operate(request.user)

    def get_urls(self) -> list[Any]:
        act = self.admin_site.admin_view(require_POST(self.act_view))
        own = [
            path(f"<uuid:bulk_id>/{name}/", act, {"act": name}, name=f"workflows_bulkrepair_{name}")
            for name in ("start", "stop")
        ]
        return [*own, *super().get_urls()]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Choose jobs and a repair; a GET may bring both along."""
        if not policy.may_operate(request.user):
            raise PermissionDenied
        form = BulkForm(request.POST) if request.method == "POST" else BulkForm(initial=request.GET.dict())
        if request.method == "POST" and form.is_valid():
            try:
                found = form.preview(request.user)
            except InvalidRequest as error:
                self._tell(form, error)
            else:
                return HttpResponseRedirect(reverse("admin:workflows_bulkrepair_change", args=[found.pk]))
        return _bulk_page(self.admin_site, request, form)

    @staticmethod
    def _tell(form: BulkForm, error: InvalidRequest) -> None:
        """Put each fault at the field that it is about."""
        for fault in error.faults:
            _, place, *rest = [*fault.pointer.split("/"), ""]
            name = next(iter(rest), "")
            field = form.WHICH.get(name) if place == "filter" else name if place == "arguments" else place
            form.add_error(field if field in form.fields else None, fault.detail)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The preview, or how far it is."""
        if not policy.may_operate(request.user):
            raise PermissionDenied
        found = self._found(object_id)
        progress = bulk.progress(found)
        refused = found.items.filter(verdict="refused").order_by("id")[: bulk.EXAMPLES]
        trial = found.items.filter(verdict="done").order_by("id").first()
        context = {
            **self.admin_site.each_context(request),
            **{"title": f"{found.verb.capitalize()} {progress['total']:,} jobs", "opts": self.opts, "bulk": found},
            **{"progress": progress, "over": progress["total"] - progress["waiting"], "refused": refused},
            **{"moving": found.status in bulk.OPEN, "trial": trial if found.status == "trial" else None},
            "arguments": json.dumps(found.arguments, indent=2, ensure_ascii=False) if found.arguments else "",
            "filter": _shown(found.filter),
        }
        return TemplateResponse(request, "admin/workflows/bulkrepair/change.html", context)

    def act_view(self, request: HttpRequest, bulk_id: uuid.UUID, act: str) -> HttpResponse:
        """Start or stop it."""
        if not policy.may_operate(request.user):
            raise PermissionDenied
        found = self._found(str(bulk_id))
        try:
            if act == "start":
                bulk.start(bulk_id, requested_by=request.user)
            else:
                bulk.stop(bulk_id, actor=request.user.get_username())
        except OperationError as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            self.log_change(
                request, found, f"{act.capitalize()}: {found.verb} of {found.summary.get('count', 0)} jobs."
            )
        return HttpResponseRedirect(reverse("admin:workflows_bulkrepair_change", args=[bulk_id]))

    @staticmethod
    def _found(text: str) -> BulkRepair:
        try:
            return bulk.get_bulk(uuid.UUID(text))
        except (ValueError, BulkNotFound):
            raise Http404 from None


def _shown(filter: dict[str, Any]) -> list[tuple[str, str]]:
    """A filter in words; of many ids their number."""
    found = []
    for name, value in filter.items():
        text = ", ".join(value) if isinstance(value, list) else str(value)
        if name == "ids" and len(value) > 3:
            text = f"{len(value):,} jobs that were selected"
        found.append((name.replace("_", " "), text))
    return found
