"""Schedules: jobs that the clock submits."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from .jobs import Job


class Schedule(models.Model):
    """A workflow started by the clock: by a cron line in a time zone, or every so often.

    `next_at` is the due time that comes next, worked out when the one before was taken; null where none comes any more.
    """

    class Overlap(models.TextChoices):
        SKIP = "skip", "Skip while the one before still runs"
        BUFFER_ONE = "buffer_one", "Start one after the one before has ended"
        ALLOW = "allow", "Start whatever else runs"

    name = models.SlugField(max_length=100, unique=True)
    workflow = models.CharField(max_length=100)
    version = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: the newest at each start.")
    input = models.JSONField(
        default=dict, blank=True, help_text="May hold ${schedule.due_at} and ${schedule.name}: the run's own facts."
    )
    priority = models.PositiveSmallIntegerField(null=True, blank=True)
    cron = models.CharField(max_length=200, blank=True, help_text="Five fields: minute hour day month weekday.")
    every = models.CharField(max_length=50, blank=True, help_text="ISO 8601 duration, such as PT15M.")
    time_zone = models.CharField(max_length=64, default="UTC")
    overlap = models.CharField(max_length=10, choices=Overlap.choices, default=Overlap.SKIP)
    catch_up = models.CharField(
        max_length=50,
        default="PT1H",
        help_text="ISO 8601 duration: due times missed by more than this are not made up for.",
    )
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    paused = models.BooleanField(default=False)
    next_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True, help_text="Why the last start was refused.")
    created_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(cron="") & ~Q(every="") | ~Q(cron="") & Q(every=""),
                name="schedule_cron_or_every",
                violation_error_message="Give either cron or every, and not both.",
            )
        ]
        indexes = [
            models.Index(fields=["next_at"], condition=Q(paused=False, next_at__isnull=False), name="schedule_due")
        ]

    def __str__(self) -> str:
        return self.name


class Backfill(models.Model):
    """Due times of the past that a schedule makes up for on request, so many at once."""

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="backfills")
    from_at = models.DateTimeField()
    to_at = models.DateTimeField()
    max_concurrency = models.PositiveIntegerField(default=1)
    next_at = models.DateTimeField(
        null=True, blank=True, help_text="The due time that comes next; null when all are made."
    )
    started = models.PositiveIntegerField(default=0)
    requested_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    cancelled = models.BooleanField(default=False)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["id"], condition=Q(finished_at__isnull=True), name="backfill_open")]

    def __str__(self) -> str:
        return f"{self.schedule} {self.from_at:%Y-%m-%d} to {self.to_at:%Y-%m-%d}"


class ScheduleRun(models.Model):
    """What became of one due time of one schedule: each due time is taken once, whatever the number of clusters."""

    class Result(models.TextChoices):
        STARTED = "started", "Started"
        BUFFERED = "buffered", "Waits for the one before"
        SKIPPED = "skipped", "Skipped: the one before still ran"
        MISSED = "missed", "Missed: older than the catch-up window"
        REFUSED = "refused", "Refused: see the error"

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="runs", db_index=False)
    due_at = models.DateTimeField()
    result = models.CharField(max_length=8, choices=Result.choices)
    job = models.ForeignKey(
        Job, null=True, blank=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="schedule_runs"
    )
    backfill = models.ForeignKey(Backfill, null=True, blank=True, on_delete=models.CASCADE, related_name="runs")
    error = models.TextField(blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-due_at"]
        constraints = [
            models.UniqueConstraint(fields=["schedule", "due_at"], name="schedule_run_once"),
            # One waits for the one before, and the next ones are skipped: also the index by which they are found.
            models.UniqueConstraint(
                fields=["schedule"], condition=Q(result="buffered"), name="schedule_run_one_buffered"
            ),
        ]
        # Whether the one before still runs: the newest that were started.
        indexes = [models.Index(fields=["schedule", "result", "due_at"], name="schedule_run_result")]

    def __str__(self) -> str:
        return f"{self.schedule} at {self.due_at:%Y-%m-%d %H:%M}"
