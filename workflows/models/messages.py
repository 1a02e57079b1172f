"""Facts that come in for a job, and messages that go out from it."""

from django.db import models
from django.utils import timezone

from .ids import uuid7
from .jobs import Job


class Signal(models.Model):
    """One fact that a door wrote for a job, waiting for the worker to decide what it means.

    `sequence` is the job's `signals` count when it was written, so facts are taken in the order they came. The row is
    deleted in the commit that used it: the history has the fact.
    """

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="+", db_index=False)
    sequence = models.PositiveIntegerField()
    event = models.JSONField(help_text="An event of workflows.engine.events, as JSON.")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "sequence"], name="signal_job_sequence")]

    def __str__(self) -> str:
        return f"signal {self.sequence} of {self.job_id}"


class Message(models.Model):
    """The outbox: one message that a job sends out, written in the transaction that causes it.

    `sequence` orders the messages of a job; the id is the key by which a receiver drops repeats.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="messages", db_index=False, db_constraint=False)
    sequence = models.PositiveIntegerField()
    type = models.CharField(max_length=200)
    task = models.CharField(max_length=120, blank=True)
    iteration = models.PositiveIntegerField(null=True, blank=True)
    destination = models.CharField(max_length=100, blank=True, help_text="Department or queue; empty for an event.")
    data = models.JSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    published_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["job", "sequence"]
        constraints = [models.UniqueConstraint(fields=["job", "sequence"], name="message_job_sequence")]
        indexes = [
            models.Index(
                fields=["job", "sequence"], condition=models.Q(published_at__isnull=True), name="message_unpublished"
            ),
            # The relay: what is to be sent, oldest first (the id is in order of time).
            models.Index(fields=["id"], condition=models.Q(published_at__isnull=True), name="message_relay"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"
