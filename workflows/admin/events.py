"""Events in the admin: what came and what became of it is read, what it starts and what it must be is configured."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from import_export import resources

from workflows import policy
from workflows.intake.events import retry_event
from workflows.models import Event, EventSchema, EventWaiter, Message, Subscription, SubscriptionRun

from .forms import JobLink, ReadOnlyAdmin, ReadOnlyInline, TableAdmin, pretty
from .search import JobSearch

SHOWN = 100


class _FirstRows(JobLink, ReadOnlyInline):
    """The first of what may be thousands of rows."""

    verbose_name_plural = f"The first {SHOWN}"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        event = request.resolver_match.kwargs.get("object_id") if request.resolver_match else None
        first = rows.filter(event_id=event).order_by("id").values("pk")[:SHOWN]
        return rows.filter(pk__in=list(first.values_list("pk", flat=True))).order_by("id")


class WokeInline(_FirstRows):
    """The tasks that an event woke."""

    model = EventWaiter
    verbose_name_plural = f"Tasks that it woke (the first {SHOWN})"
    fields = ("job_link", "task", "iteration", "created_at", "closed_at")
    readonly_fields = fields


class StartedInline(_FirstRows):
    """The jobs that an event started."""

    model = SubscriptionRun
    verbose_name_plural = f"Jobs that it started (the first {SHOWN})"
    fields = ("subscription", "job_link", "at")
    readonly_fields = fields


class HandledFilter(admin.SimpleListFilter):
    """By what became of it."""

    title = "what became of it"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """What there is to choose from."""
        return [("waiting", "Not handled yet"), ("failed", "Refused, or could not start a workflow")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        """The chosen events."""
        if self.value() == "waiting":
            return queryset.filter(handled_at__isnull=True)
        return queryset.exclude(error="") if self.value() == "failed" else queryset


@admin.register(Event)
class EventAdmin(JobSearch, ReadOnlyAdmin):
    """Events are read here, and handled again with the action of the list."""

    list_display = ("event_id", "type", "key", "source", "received_at", "handled_at", "error_line")
    list_filter = (HandledFilter,)
    list_select_related = ("received_by",)
    show_full_result_count = False
    search_help_text = "An id, or a correlation key."
    search_texts = ("key",)
    inlines = (WokeInline, StartedInline)
    fields = (
        *("id", "source", "event_id", "type", "key", "subject", "time", "content", "received_at", "received_by"),
        *("expires_at", "handled_at", "refused", "error"),
    )
    readonly_fields = fields
    actions = ("retry_selected",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        rows = super().get_queryset(request)
        return rows if request.resolver_match and "object_id" in request.resolver_match.kwargs else rows.defer("data")

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whom the repair is for."""
        return policy.may_operate(request.user)

    @admin.display(description="Error")
    def error_line(self, event: Event) -> str:
        """The beginning of the error."""
        return event.error[:100] or "-"

    @admin.display(description="Data")
    def content(self, event: Event) -> SafeString | str:
        """What it says."""
        return pretty(event.data)

    @admin.action(permissions=["operate"], description="Handle selected events again")
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Event]) -> None:
        """Serve those who were not served; say of each event that still fails why."""
        count = 0
        for event in queryset:
            again = retry_event(event.pk)
            self.log_change(request, event, "Handled again.")
            count += not again.error
            if again.error:
                self.message_user(request, f"{event}: {again.error}", messages.ERROR)
        if count:
            many = "1 event was" if count == 1 else f"{count} events were"
            self.message_user(request, f"{many} handled again.", messages.SUCCESS)


class SubscriptionResource(resources.ModelResource):
    """Subscriptions as rows, known by their name. One that could never start a job is refused, as in the form."""

    class Meta:
        model = Subscription
        import_id_fields = ("name",)
        fields = ("name", "type", "when", "workflow", "version", "input", "correlation_id", "enabled")
        clean_model_instances = True
        skip_unchanged = True
        report_skipped = True


@admin.register(Subscription)
class SubscriptionAdmin(TableAdmin):
    """Workflows that events start."""

    resource_classes = [SubscriptionResource]
    list_display = ("name", "type", "workflow", "version", "enabled")
    list_filter = ("enabled",)
    search_fields = ("name", "type", "workflow")
    readonly_fields = ("created_at",)


class EventSchemaResource(resources.ModelResource):
    """Schemas as rows, known by the type of their events."""

    class Meta:
        model = EventSchema
        import_id_fields = ("type",)
        fields = ("type", "schema", "description")
        clean_model_instances = True
        skip_unchanged = True
        report_skipped = True


@admin.register(EventSchema)
class EventSchemaAdmin(TableAdmin):
    """What the data of events must be."""

    resource_classes = [EventSchemaResource]
    list_display = ("type", "description", "updated_at")
    search_fields = ("type", "description")
    readonly_fields = ("created_at", "updated_at")


@admin.register(Message)
class MessageAdmin(JobSearch, ReadOnlyAdmin):
    """What jobs sent: events, and commands to departments and queues. What is not published waits for the relay."""

    list_display = ("id", "type", "destination", "job", "task", "created_at", "published_at")
    list_filter = (("published_at", admin.EmptyFieldListFilter),)
    list_select_related = ("job",)
    show_full_result_count = False
    search_help_text = "The id of a message or of a job, or a job's reference."
    search_columns = ("pk", "job_id")
    search_texts = ("job__correlation_id",)
    fields = (
        "id",
        "job",
        "sequence",
        "type",
        "task",
        "iteration",
        "destination",
        "content",
        "created_at",
        "published_at",
    )
    readonly_fields = fields
    ordering = ("-id",)

    @admin.display(description="Data")
    def content(self, message: Message) -> SafeString | str:
        """What it says."""
        return pretty(message.data)
