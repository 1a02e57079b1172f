"""How long things took before: worked out by a service, so that asking costs one row."""

from django.db import models
from django.utils import timezone


class WaitStatistic(models.Model):
    """How long the waits of one task of one workflow took lately, in seconds. No task: the wait for a worker."""

    workflow = models.CharField(max_length=100)
    task = models.CharField(max_length=120, blank=True)
    kind = models.CharField(max_length=20, help_text="human, external, event, wait, children, plugin or worker.")
    count = models.PositiveIntegerField()
    p50 = models.FloatField()
    p90 = models.FloatField()
    computed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workflow", "task", "kind"], name="wait_statistic_once")]

    def __str__(self) -> str:
        return f"{self.workflow} {self.task}: {self.p50:.0f} s"
