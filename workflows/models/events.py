"""Events that came in, who waits for them, and what they start."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.engine.exceptions import ExpressionSyntaxError
from workflows.engine.expressions import compiled
from workflows.engine.jsonvalue import InvalidSchema, SchemaValidator
from workflows.engine.templates import Template

from .definitions import Definition
from .ids import uuid7
from .jobs import Job
from .plugins import PluginRegistration


class Event(models.Model):
    """One CloudEvent that arrived, from outside or from an `emit` task. (`source`, `event_id`) is never taken twice.

    It counts for everyone who waits for its type and key until `expires_at`, also for those who begin to wait later.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    source = models.CharField(max_length=300)
    event_id = models.CharField(max_length=300, help_text="The sender's id.")
    type = models.CharField(max_length=200)
    key = models.CharField(
        max_length=200, blank=True, help_text="Correlation key: the extension correlationkey, else subject."
    )
    subject = models.CharField(max_length=300, blank=True)
    time = models.DateTimeField(null=True, blank=True, help_text="When it happened, as the sender says.")
    data = models.JSONField(null=True)
    received_at = models.DateTimeField(default=timezone.now)
    received_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    expires_at = models.DateTimeField()
    handled_at = models.DateTimeField(null=True, blank=True, help_text="Waiters and subscriptions were served.")
    refused = models.BooleanField(
        default=False, help_text="Its data breaks the schema of its type: it wakes nobody and starts nothing."
    )
    used = models.BooleanField(
        default=False, help_text="It woke a task or started a job, and is kept with their history."
    )
    error = models.TextField(blank=True, help_text="Why it was refused, or could not start a subscribed workflow.")

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["source", "event_id"], name="event_once")]
        indexes = [
            models.Index(fields=["type", "key", "expires_at"], name="event_type_key"),
            models.Index(fields=["id"], condition=Q(handled_at__isnull=True), name="event_unhandled"),
            # What operators ask for: the events of one case, and those that need them; the newest first.
            models.Index(fields=["key", "id"], condition=~Q(key=""), name="event_key"),
            models.Index(fields=["id"], condition=~Q(error=""), name="event_failed"),
            # What is pruned once it has expired.
            models.Index(fields=["expires_at"], condition=Q(used=False), name="event_expires"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class EventWaiter(models.Model):
    """One `event` task that waits, or waited. `event` is the one that it got; no task of a job gets the same twice.

    Open until `closed_at`. Whichever of an event and its waiter is committed last finds the other: the event looks for
    waiters (`Event.handled_at`), the waiter for events that came before it (`looked_at`).
    """

    job = models.ForeignKey(
        Job, on_delete=models.DO_NOTHING, db_constraint=False, related_name="event_waiters", db_index=False
    )
    task = models.CharField(max_length=100)
    iteration = models.PositiveIntegerField(default=1)
    attempt = models.PositiveIntegerField(default=1)
    type = models.CharField(max_length=200)
    key = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    looked_at = models.DateTimeField(
        null=True, blank=True, help_text="When the events that had come before it were looked through."
    )
    event = models.ForeignKey(Event, null=True, blank=True, on_delete=models.SET_NULL, related_name="waiters")
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "task", "iteration", "attempt"], name="event_waiter_once"),
            models.UniqueConstraint(fields=["job", "task", "event"], name="event_waiter_event_once"),
        ]
        indexes = [
            models.Index(fields=["type", "key", "id"], condition=Q(closed_at__isnull=True), name="event_waiter_open"),
            # What a crash between the waiter's commit and its first look has left.
            models.Index(
                fields=["id"],
                condition=Q(closed_at__isnull=True, looked_at__isnull=True),
                name="event_waiter_unlooked",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task} of {self.job_id} waits for {self.type}"


def _fault_of(value: Any, *, condition: bool) -> str:
    """What is wrong with a condition, or a mapping, over `event`; empty where nothing is."""
    if value in (None, ""):
        return ""
    try:
        expressions = [compiled(value)] if condition else [expression for _, expression in Template(value).expressions]
    except ExpressionSyntaxError as error:
        return str(error)
    foreign = {str(path[0]) for expression in expressions for path in expression.paths} - {"event"}
    return f"Only `event` can be read here, not {', '.join(sorted(foreign))}." if foreign else ""


class Subscription(models.Model):
    """A workflow that events of a type start. Configuration: each event starts each enabled subscription once."""

    name = models.SlugField(max_length=100, unique=True)
    type = models.CharField(max_length=200, db_index=True, help_text="Type of the events, exactly.")
    when = models.TextField(
        blank=True, help_text="A condition over `event`, such as event.data.total > 100; empty: all."
    )
    workflow = models.CharField(max_length=100)
    version = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: the newest when the event comes.")
    input = models.JSONField(
        null=True, blank=True, help_text='A mapping over `event`, such as {"order": "${event.data}"}; empty: its data.'
    )
    correlation_id = models.CharField(max_length=300, blank=True, help_text="A mapping over `event`; empty: its key.")
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse what could never start a job: a text that does not parse or reads something else than the event, a
        workflow that is not there."""
        faults = {}
        for field, value in (("when", self.when), ("input", self.input), ("correlation_id", self.correlation_id)):
            fault = _fault_of(value, condition=field == "when")
            if fault:
                faults[field] = fault
        if not self._workflow_exists():
            known = "version" if self.version is not None else "workflow"
            faults[known] = f"There is no workflow {self.workflow!r}" + (
                f" with a version {self.version}." if self.version is not None else "; publish it first."
            )
        if faults:
            raise ValidationError(faults)

    def _workflow_exists(self) -> bool:
        published = Definition.objects.filter(name=self.workflow)
        if self.version is not None:
            return published.filter(version=self.version).exists()
        plugins = PluginRegistration.objects.filter(job_type=self.workflow, enabled=True)
        return published.exists() or plugins.exists()


class SubscriptionRun(models.Model):
    """One job that an event started through a subscription. A refusal leaves no row: `Event.error` tells it.

    `subscription` is the name, so that what was started stays known when the subscription is gone.
    """

    event = models.ForeignKey(Event, on_delete=models.PROTECT, related_name="runs", db_index=False)
    subscription = models.CharField(max_length=100)
    job = models.ForeignKey(Job, on_delete=models.DO_NOTHING, db_constraint=False, related_name="subscription_runs")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["event", "subscription"], name="subscription_run_once")]

    def __str__(self) -> str:
        return f"{self.subscription} by {self.event_id}"


class EventSchema(models.Model):
    """The JSON Schema that the data of every event of a type must keep to. Types without a row take any data."""

    type = models.CharField(max_length=200, unique=True, help_text="Type of the events, exactly.")
    schema = models.JSONField(help_text="JSON Schema 2020-12 of the event's data.")
    description = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["type"]

    def __str__(self) -> str:
        return self.type

    def clean(self) -> None:
        """Refuse a schema that nothing could be held against."""
        try:
            SchemaValidator(self.schema)
        except InvalidSchema as error:
            raise ValidationError({"schema": f"The schema cannot be used: {error}"}) from None
