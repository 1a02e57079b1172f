"""Schedules in the admin: when each is due next, what became of the last due time, and the verbs as actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils import timezone
from import_export import resources
from import_export.fields import Field
from import_export.widgets import JSONWidget

from workflows.intake import schedules
from workflows.intake.exceptions import IntakeError, InvalidSchedule
from workflows.models import Backfill, Schedule, ScheduleRun

from .forms import JobLink, ReadOnlyAdmin, TableAdmin


def _plan(schedule: Schedule) -> None:
    """Check a schedule, and work out when it is due next. ValidationError with every fault, at its field."""
    try:
        schedules.plan(schedule)
    except InvalidSchedule as error:
        known = {field.name for field in Schedule._meta.fields}
        found: dict[str, list[str]] = {}
        for fault in error.faults:
            field, _, place = fault.pointer.removeprefix("/").partition("/")
            detail = f"{place}: {fault.detail}" if place else fault.detail
            found.setdefault(field if field in known else "__all__", []).append(detail)
        raise ValidationError(found) from None


class ScheduleForm(forms.ModelForm):
    """A schedule that could not do what it says is not saved."""

    class Meta:
        model = Schedule
        fields = (
            *("name", "workflow", "version", "input", "priority", "cron", "every", "time_zone", "overlap", "catch_up"),
            *("starts_at", "ends_at", "paused"),
        )

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if not self.errors:
            try:
                _plan(self.instance)
            except ValidationError as error:
                self.add_error(None, error)


class ScheduleResource(resources.ModelResource):
    """Schedules as rows, known by their name. A row that could not do what it says is refused, as in the form."""

    input = Field("input", "input", widget=JSONWidget(), default=dict)

    class Meta:
        model = Schedule
        import_id_fields = ("name",)
        fields = (
            *("name", "workflow", "version", "input", "priority", "cron", "every", "time_zone", "overlap", "catch_up"),
            *("starts_at", "ends_at", "paused"),
        )
        clean_model_instances = True
        skip_unchanged = True
        report_skipped = True

    def validate_instance(self, instance: Schedule, *args: Any, **named: Any) -> None:
        super().validate_instance(instance, *args, **named)
        _plan(instance)


@admin.register(Schedule)
class ScheduleAdmin(TableAdmin):
    """Schedules. What a change of the times means holds from now on."""

    form = ScheduleForm
    resource_classes = [ScheduleResource]
    list_display = ("name", "workflow", "times", "time_zone", "overlap", "paused", "next_at", "last_result", "error")
    list_filter = ("paused", "overlap")
    search_fields = ("name", "workflow")
    readonly_fields = ("next_at", "upcoming", "error", "created_by", "created_at", "updated_at")
    actions = ("pause_selected", "resume_selected", "trigger_selected")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Schedule]:
        last = ScheduleRun.objects.filter(schedule=OuterRef("pk")).order_by("-due_at").values("result")[:1]
        return super().get_queryset(request).annotate(last_result=Subquery(last))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [*ScheduleForm.Meta.fields, *(self.readonly_fields if obj else ())]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.readonly_fields if obj else ()

    def save_model(self, request: HttpRequest, obj: Schedule, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = request.user.get_username()[:150]
        super().save_model(request, obj, form, change)

    @admin.display(description="Times")
    def times(self, schedule: Schedule) -> str:
        """The cron line, or the interval."""
        return schedule.cron or f"every {schedule.every}"

    @admin.display(description="Last result")
    def last_result(self, schedule: Any) -> str:
        """What became of the last due time."""
        return dict(ScheduleRun.Result.choices).get(schedule.last_result, "-")

    @admin.display(description="Next due times")
    def upcoming(self, schedule: Schedule) -> str:
        """The next five, in the time zone of the office."""
        return ", ".join(f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S %Z}" for at in schedules.upcoming(schedule)) or "-"

    @admin.action(permissions=["change"], description="Pause selected schedules")
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        """Start nothing more."""
        self._each(request, queryset, "paused", schedules.pause)

    @admin.action(permissions=["change"], description="Resume selected schedules")
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        """Go on with the next due time."""
        self._each(request, queryset, "resumed", schedules.resume)

    @admin.action(permissions=["change"], description="Start a job of each now")
    def trigger_selected(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        """One job of each, whatever else runs."""
        self._each(request, queryset, "started", lambda pk: schedules.trigger(pk, submitted_by=request.user))

    def _each(
        self, request: HttpRequest, queryset: QuerySet[Schedule], done: str, verb: Callable[[int], object]
    ) -> None:
        count = 0
        for schedule in queryset:
            try:
                verb(schedule.pk)
            except IntakeError as error:
                self.message_user(request, f"{schedule}: {error}", messages.ERROR)
            else:
                self.log_change(request, schedule, f"{done.capitalize()}.")
                count += 1
        if count:
            many = "schedule was" if count == 1 else "schedules were"
            self.message_user(request, f"{count} {many} {done}.", messages.SUCCESS)


@admin.register(ScheduleRun)
class ScheduleRunAdmin(JobLink, ReadOnlyAdmin):
    """What became of the due times."""

    list_display = ("schedule", "due_at", "result", "job_link", "backfill", "error", "at")
    list_filter = ("result", "schedule")
    list_select_related = ("schedule", "backfill__schedule")
    fields = ("schedule", "due_at", "result", "job_link", "backfill", "error", "at")
    readonly_fields = fields
    search_fields = ("schedule__name", "=job__id")


@admin.register(Backfill)
class BackfillAdmin(ReadOnlyAdmin):
    """Ranges of the past that are made up for. They are asked for by the API, or by `manage.py schedules`."""

    list_display = ("schedule", "from_at", "to_at", "max_concurrency", "started", "next_at", "finished_at", "cancelled")
    list_filter = ("schedule",)
    list_select_related = ("schedule",)
    search_fields = ("schedule__name",)
    actions = ("cancel_selected",)

    @admin.action(permissions=["cancel"], description="Cancel selected backfills")
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Backfill]) -> None:
        """Start no more of them. What they have started goes on."""
        for backfill in queryset:
            schedules.cancel_backfill(backfill.pk)
            self.log_change(request, backfill, "Cancelled.")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whoever may change the schedule."""
        return bool(request.user.has_perm("workflows.change_schedule"))
