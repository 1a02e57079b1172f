"""The history: every move and decision, kept for ever."""

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from .jobs import Job


def allowed_move() -> Q:
    """(from, to) is no move at all, the birth of a job, or an edge of the state machine."""
    condition = Q(from_status="", to_status="") | Q(from_status="", to_status="NEW")
    for source, target in sorted(Job.edges()):
        condition |= Q(from_status=source, to_status=target)
    return condition


class HistoryQuerySet(models.QuerySet["History"]):
    """Rows are added and read, nothing else."""

    def update(self, **kwargs: Any) -> int:
        raise TypeError("History is never updated.")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise TypeError("History is never deleted.")


class History(models.Model):
    """One thing that happened to a job. `sequence` runs 1, 2, 3 … per job without a gap.

    `from_status` and `to_status` are set where the job moved, and the database refuses a move that the state machine
    does not have.
    """

    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="history", db_index=False, db_constraint=False)
    sequence = models.PositiveIntegerField()
    at = models.DateTimeField(default=timezone.now)
    event = models.CharField(max_length=40)
    task = models.CharField(max_length=120, blank=True)
    iteration = models.PositiveIntegerField(null=True, blank=True)
    actor = models.CharField(max_length=150, blank=True, help_text="A username; empty for the engine itself.")
    from_status = models.CharField(max_length=5, blank=True)
    to_status = models.CharField(max_length=5, blank=True)
    data = models.JSONField(default=dict, blank=True)
    decided = models.JSONField(
        null=True, blank=True, help_text="The engine's events that led here, each with its time: what a replay needs."
    )

    objects = HistoryQuerySet.as_manager()

    class Meta:
        ordering = ["job", "sequence"]
        verbose_name_plural = "history"
        constraints = [
            models.UniqueConstraint(fields=["job", "sequence"], name="history_job_sequence"),
            models.CheckConstraint(condition=allowed_move(), name="history_move_allowed"),
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.event}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("History is never updated.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise TypeError("History is never deleted.")
