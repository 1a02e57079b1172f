"""Limits and suspensions in the admin: what holds jobs back, who set it, and letting go."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from workflows import policy
from workflows.execution.holds import RESOURCE
from workflows.models import Job, Limit, Suspension
from workflows.operations.exceptions import InvalidRequest, OperationError
from workflows.operations.explain import Reason, why
from workflows.operations.limits import set_limit, use_of, uses_of
from workflows.operations.suspend import EVERYTHING, leases_left, resume, suspend

from .forms import ReadOnlyAdmin

BANNER_MOST = 5
NUMBERS = ("max_concurrency", "rate_limit", "rate_per")


# ---- on the pages of jobs -------------------------------------------------------------------------------------------


class JobWaits:
    """Why a job waits, on its page, and what is suspended, above the list: mix into the ModelAdmin of jobs."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list says what is suspended."""
        standing = list(Suspension.objects.active()[: BANNER_MOST + 1])
        context = {"suspensions": standing[:BANNER_MOST], "more_suspensions": len(standing) > BANNER_MOST}
        answer: HttpResponse = super().changelist_view(  # type: ignore[misc]
            request, {**context, **(extra_context or {})}
        )
        return answer

    @admin.display(description="Why it waits")
    def why(self, job: Job) -> SafeString | str:
        """Every reason why it does not move now, and what would move it."""
        said = [_said(reason) for reason in why(job)]
        if len(said) == 1:
            return said[0]
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{}</li>", ((each,) for each in said)))


def _said(reason: Reason) -> SafeString:
    text = format_html("<strong>{}</strong> {}", reason.text, reason.moves)
    if reason.before is not None:
        before = reason.before
        text += format_html(
            " Such waits took {} before, nine of ten no more than {} ({} of them).",
            duration(before.p50),
            duration(before.p90),
            before.count,
        )
    if reason.link:
        text += format_html(' <a href="{}">Open it</a>', reason.link)
    for other in reason.jobs:
        text += format_html(' <a href="{}">{}</a>', reverse("admin:workflows_job_change", args=[other]), other)
    return text


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    for size, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {word}"
    return f"{seconds:.1f} s"


# ---- suspensions ----------------------------------------------------------------------------------------------------


class SuspendForm(forms.Form):
    """What to suspend, and why."""

    workflow = forms.CharField(max_length=100, help_text="Name of the workflow; * suspends everything.")
    reason = forms.CharField(
        required=False, max_length=500, widget=forms.TextInput({"size": 60}), help_text="Why; kept for ever."
    )


@admin.register(Suspension)
class SuspensionAdmin(ReadOnlyAdmin):
    """What is suspended, and what was: rows stay for ever. Adding one suspends, an action resumes."""

    list_display = (
        *("workflow", "stands", "leased", "suspended_by", "suspended_at", "reason"),
        *("resumed_by", "resumed_at", "resumed_reason"),
    )
    list_filter = (("resumed_at", admin.EmptyFieldListFilter),)
    search_fields = ("workflow",)
    actions = ("resume_selected",)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whom suspending is for."""
        return policy.may_operate(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_operate_permission(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_operate_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_operate_permission(request)

    @admin.display(description="Stands", boolean=True)
    def stands(self, suspension: Suspension) -> bool:
        """Whether it holds jobs now."""
        return suspension.resumed_at is None

    @admin.display(description="Leases left")
    def leased(self, suspension: Suspension) -> str:
        """How many of its jobs workers still hold; 0 is drained."""
        return "-" if suspension.resumed_at else str(leases_left(suspension.workflow))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Suspend a workflow, or everything."""
        if not self.has_add_permission(request):
            return HttpResponseRedirect(reverse("admin:index"))
        form = SuspendForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                made = suspend(
                    form.cleaned_data["workflow"],
                    actor=request.user.get_username(),
                    reason=form.cleaned_data["reason"],
                )
            except OperationError as error:
                form.add_error("workflow", str(error))
            else:
                self.log_addition(request, made, [{"added": {}}])
                self.message_user(request, f"{str(made).capitalize()} is suspended.", messages.SUCCESS)
                return HttpResponseRedirect(reverse("admin:workflows_suspension_changelist"))
        context = {**self.admin_site.each_context(request), "title": "Suspend", "form": form, "opts": self.opts}
        return TemplateResponse(request, "admin/workflows/suspension/suspend.html", context)

    @admin.action(permissions=["operate"], description="Resume selected")
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Suspension]) -> None:
        """Let what was suspended go on."""
        for row in queryset:
            if row.resumed_at is not None:
                self.message_user(request, f"{row} is not suspended any more.", messages.WARNING)
                continue
            try:
                over, count = resume(row.workflow, actor=request.user.get_username())
            except OperationError as error:
                self.message_user(request, str(error), messages.ERROR)
            else:
                self.log_change(request, over, "Resumed.")
                what = "Everything" if over.workflow == EVERYTHING else str(over)
                self.message_user(request, f"{what} is resumed; {count} held jobs go on.", messages.SUCCESS)


# ---- limits ---------------------------------------------------------------------------------------------------------


class LimitForm(ModelForm):
    """A limit as operators set it."""

    class Meta:
        model = Limit
        fields = ("description", *NUMBERS)

    def clean(self) -> dict[str, Any]:
        """Half a rate is none."""
        data: dict[str, Any] = super().clean() or {}
        if (data.get("rate_limit") is None) != (data.get("rate_per") is None):
            raise forms.ValidationError("A rate is two numbers: how many may start, and in how many seconds.")
        for name in NUMBERS:
            if data.get(name) == 0:
                self.add_error(name, "At least 1; empty is any number. To stop everything, suspend it.")
        return data


@admin.register(Limit)
class LimitAdmin(admin.ModelAdmin):
    """Limits of resources are set here; those of workflows are what their definitions say."""

    form = LimitForm
    list_display = ("code", *NUMBERS, "running", "waiting", "description")
    search_fields = ("code",)
    fields = ("code", "description", *NUMBERS, "running", "waiting", "holders")
    readonly_fields = ("code", "running", "waiting", "holders")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The list, with how all of its rows are used."""
        found = super().get_changelist_instance(request)
        uses = uses_of(list(found.result_list))
        for limit in found.result_list:
            limit.use = uses[limit.code]
        return found

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Limit | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Limit | None = None) -> bool:
        return policy.may_operate(request.user) or policy.may_configure(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Limit | None = None) -> bool:
        return self.has_view_permission(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_readonly_fields(self, request: HttpRequest, obj: Limit | None = None) -> tuple[str, ...]:
        own = obj is not None and not obj.code.startswith(RESOURCE)
        return (*self.readonly_fields, *(NUMBERS if own else ()))

    def save_model(self, request: HttpRequest, obj: Limit, form: Any, change: bool) -> None:
        """Set it by the same door as the API."""
        changes = {name: form.cleaned_data[name] for name in form.changed_data}
        try:
            set_limit(obj.code, changes)
        except InvalidRequest as error:
            self.message_user(request, str(error), messages.ERROR)

    @admin.display(description="Running")
    def running(self, limit: Limit) -> int:
        """How many have a slot."""
        return self._use(limit).running

    @admin.display(description="Waiting")
    def waiting(self, limit: Limit) -> int:
        """How many jobs it holds."""
        return self._use(limit).waiting

    @admin.display(description="Who has its slots")
    def holders(self, limit: Limit) -> SafeString | str:
        """Those who have had them longest."""
        rows = (
            (reverse("admin:workflows_job_change", args=[each.job]), each.job, each.task, each.since)
            for each in self._use(limit).holders
        )
        return format_html_join("", '<div><a href="{}">{}</a> {} since {}</div>', rows) or "-"

    @staticmethod
    def _use(limit: Limit) -> Any:
        use = getattr(limit, "use", None)
        if use is None:
            use = limit.use = use_of(limit)  # type: ignore[attr-defined]
        return use
