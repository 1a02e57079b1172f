"""Events that came in, who waits for them, and what they start."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from .ids import uuid7
from .jobs import Job


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
    error = models.TextField(blank=True, help_text="Why a subscription could not start its workflow.")

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["source", "event_id"], name="event_once")]
        indexes = [
            models.Index(fields=["type", "key", "id"], name="event_type_key"),
            models.Index(fields=["id"], condition=Q(handled_at__isnull=True), name="event_unhandled"),
            models.Index(fields=["expires_at"], name="event_expires"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class EventWaiter(models.Model):
    """One `event` task that waits, or waited. `event` is the one that it got; no task of a job gets the same twice."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="event_waiters", db_index=False)
    task = models.CharField(max_length=100)
    iteration = models.PositiveIntegerField(default=1)
    attempt = models.PositiveIntegerField(default=1)
    type = models.CharField(max_length=200)
    key = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    event = models.ForeignKey(Event, null=True, blank=True, on_delete=models.SET_NULL, related_name="waiters")
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "task", "iteration", "attempt"], name="event_waiter_once"),
            models.UniqueConstraint(fields=["job", "task", "event"], name="event_waiter_event_once"),
        ]
        indexes = [models.Index(fields=["type", "key"], condition=Q(closed_at__isnull=True), name="event_waiter_open")]

    def __str__(self) -> str:
        return f"{self.task} of {self.job_id} waits for {self.type}"


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
