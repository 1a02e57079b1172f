"""Dead letters and their repair."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from .ids import uuid7
from .jobs import Job


class DeadLetter(models.Model):
    """One time that a job failed and nothing took the error. Kept when it is resolved, so that patterns can be seen.

    `fingerprint` is that of the cause: plugin (or type of task), error, and the message with what differs from job to
    job taken out of it.
    """

    class Resolution(models.TextChoices):
        RETRIED = "retried", "Retried"
        SKIPPED = "skipped", "Skipped"
        RESTARTED = "restarted", "Restarted from a task"
        MIGRATED = "migrated", "Moved to another version"
        CANCELLED = "cancelled", "Cancelled"

    job = models.ForeignKey(Job, on_delete=models.DO_NOTHING, db_constraint=False, related_name="dead_letters")
    workflow = models.CharField(max_length=100)
    version = models.PositiveIntegerField()
    task = models.CharField(max_length=120, blank=True)
    plugin = models.CharField(max_length=120, blank=True, help_text="The plugin, or the type of the task.")
    error = models.CharField(max_length=200)
    cause = models.TextField(blank=True)
    message = models.CharField(
        max_length=500, blank=True, help_text="The cause, with numbers, ids and quoted texts taken out."
    )
    fingerprint = models.CharField(max_length=64)
    failed_at = models.DateTimeField(default=timezone.now)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolution = models.CharField(max_length=9, choices=Resolution.choices, blank=True)
    resolved_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-failed_at"]
        constraints = [
            models.UniqueConstraint(fields=["job"], condition=Q(resolved_at__isnull=True), name="dead_letter_open_once")
        ]
        indexes = [
            models.Index(
                fields=["fingerprint", "failed_at"], condition=Q(resolved_at__isnull=True), name="dead_letter_open"
            ),
            models.Index(fields=["failed_at"], name="dead_letter_failed"),
        ]

    def __str__(self) -> str:
        return f"{self.error} of {self.job_id}"


class BulkRepair(models.Model):
    """One repair of many jobs: what was chosen is frozen at the preview, then each job is repaired by itself.

    `summary` is what the preview said. How far it is, the verdicts of its items say.
    """

    class Status(models.TextChoices):
        PREVIEW = "preview", "Previewed"
        RUNNING = "running", "Running"
        TRIAL = "trial", "Waits for the first one"
        DONE = "done", "Done"
        STOPPED = "stopped", "Stopped"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    verb = models.CharField(max_length=20, help_text="retry, skip, cancel, restart, suspend, resume or migrate.")
    arguments = models.JSONField(default=dict, blank=True)
    filter = models.JSONField(default=dict, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    first_alone = models.BooleanField(default=False, help_text="Repair one, and the rest only if that one passed.")
    summary = models.JSONField(default=dict, blank=True, help_text="What it would touch, as it was at the preview.")
    detail = models.CharField(max_length=500, blank=True, help_text="Why it was stopped, and by whom.")
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.PREVIEW)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["id"], condition=Q(status__in=["running", "trial"]), name="bulk_repair_open")]

    def __str__(self) -> str:
        return f"{self.verb} {self.id}"


class BulkRepairItem(models.Model):
    """One job of a bulk repair, and what came of it."""

    class Verdict(models.TextChoices):
        WAITING = "waiting", "Waiting"
        DONE = "done", "Repaired"
        REFUSED = "refused", "Refused"

    bulk = models.ForeignKey(BulkRepair, on_delete=models.CASCADE, related_name="items", db_index=False)
    job = models.ForeignKey(Job, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+", db_index=False)
    verdict = models.CharField(max_length=7, choices=Verdict.choices, default=Verdict.WAITING)
    detail = models.CharField(max_length=500, blank=True)
    at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["bulk", "job"], name="bulk_repair_item_once")]
        indexes = [models.Index(fields=["bulk", "verdict", "id"], name="bulk_repair_item_verdict")]

    def __str__(self) -> str:
        return f"{self.job_id}: {self.verdict}"
