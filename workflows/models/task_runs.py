"""Task runs: what each task of a job did."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from .jobs import Job


class TaskRunStatus(models.TextChoices):
    """Where one run of a task stands."""

    WAITING = "waiting", "Waiting"
    RETRYING = "retrying", "Failed, will be tried again"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    SKIPPED = "skipped", "Skipped"
    WITHDRAWN = "withdrawn", "Withdrawn"


FINISHED_RUNS = (TaskRunStatus.DONE,)


class TaskRun(models.Model):
    """One run of one task of one job: written when it starts to wait or ends, and once more when a wait ends.

    A plugin step that is being worked on has no row yet; the lease of its job says that it runs.
    """

    job = models.ForeignKey(
        Job, on_delete=models.CASCADE, related_name="task_runs", db_index=False, db_constraint=False
    )
    task = models.CharField(max_length=120)
    iteration = models.PositiveIntegerField(default=1)
    attempt = models.PositiveIntegerField(default=1)
    status = models.CharField(max_length=9, choices=TaskRunStatus.choices)
    outcome = models.CharField(max_length=100, null=True, blank=True)
    input = models.JSONField(null=True)
    output = models.JSONField(null=True)
    error = models.CharField(max_length=200, null=True, blank=True)
    cause = models.TextField(null=True, blank=True)
    actor = models.CharField(max_length=150, blank=True, help_text="Who decided; empty where a plugin did the step.")
    department = models.CharField(max_length=100, blank=True, help_text="Code of the department that was asked.")
    sequence = models.PositiveIntegerField(help_text="History row that ended it, or began its wait.")
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["job", "sequence"]
        # The first constraint's index begins with the job, so the foreign key needs none of its own.
        constraints = [
            models.UniqueConstraint(fields=["job", "task", "iteration", "attempt"], name="task_run_once"),
            # One committed success per job, task and iteration, whatever went wrong before.
            models.UniqueConstraint(
                fields=["job", "task", "iteration"], condition=Q(status="done"), name="task_run_done_once"
            ),
            models.CheckConstraint(condition=Q(status__in=TaskRunStatus.values), name="task_run_status_known"),
            models.CheckConstraint(
                condition=Q(status="waiting", finished_at__isnull=True)
                | (~Q(status="waiting") & Q(finished_at__isnull=False)),
                name="task_run_finished_at_when_ended",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task}#{self.iteration}.{self.attempt} of {self.job_id}"
