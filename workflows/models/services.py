"""What keeps the house: background services and the workers that are alive."""

from django.db import models
from django.utils import timezone


class ServiceRun(models.Model):
    """When a background service ran last and is due next: one row a service, so that one worker at a time runs it."""

    name = models.CharField(primary_key=True, max_length=50)
    due_at = models.DateTimeField(default=timezone.now)
    ran_at = models.DateTimeField(null=True, blank=True)
    counts = models.JSONField(default=dict, help_text="What the last run did.")
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Worker(models.Model):
    """One worker process, seen at `seen_at`. For people and for readiness only: recovery reads leases, never this."""

    name = models.CharField(primary_key=True, max_length=200, help_text="Host, boot, process, start and chance.")
    queue = models.CharField(max_length=50)
    host = models.CharField(max_length=100)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)
    steps = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["-seen_at"]

    def __str__(self) -> str:
        return self.name
