"""What is limited, and what is stopped."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from .jobs import Job


class Limit(models.Model):
    """A named limit on how many run at once, and on how many start in a time.

    A task's `resource` is one row, with the code `resource:<name>`, that operators fill in. A workflow's own
    `max_concurrency` and `rate_limit` are one row, `workflow:<name>`, filled in from its document. Empty is unlimited.
    `tokens_at` is the theoretical arrival time of the generic cell rate algorithm (ITU-T I.371).
    """

    code = models.CharField(max_length=120, unique=True)
    description = models.CharField(max_length=500, blank=True)
    max_concurrency = models.PositiveIntegerField(null=True, blank=True)
    rate_limit = models.PositiveIntegerField(null=True, blank=True, help_text="How many may start …")
    rate_per = models.PositiveIntegerField(null=True, blank=True, help_text="… in so many seconds.")
    tokens_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(
                condition=Q(rate_limit__isnull=True, rate_per__isnull=True) | Q(rate_limit__gte=1, rate_per__gte=1),
                name="limit_rate_whole",
            ),
            models.CheckConstraint(
                condition=Q(max_concurrency__isnull=True) | Q(max_concurrency__gte=1), name="limit_concurrency_from_1"
            ),
        ]

    def __str__(self) -> str:
        return self.code


class Slot(models.Model):
    """One of the places that a limit gives out, and who has it: a job (its `task` is empty) or one step of a job."""

    limit = models.ForeignKey(Limit, on_delete=models.CASCADE, related_name="slots", db_index=False)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="slots")
    task = models.CharField(max_length=100, blank=True)
    fence = models.PositiveBigIntegerField(default=0, help_text="The claim that took it; a later claim has its own.")
    taken_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["limit", "job", "task"], name="slot_once")]

    def __str__(self) -> str:
        return f"{self.limit} held by {self.job_id}"


class SuspensionQuerySet(models.QuerySet["Suspension"]):
    """The vocabulary of suspensions."""

    def active(self) -> "SuspensionQuerySet":
        """Those that were not resumed yet."""
        return self.filter(resumed_at__isnull=True)


class Suspension(models.Model):
    """One time that a workflow, or everything (`*`), was suspended: its jobs are kept and not run until it is resumed.

    Rows stay for ever, as the record of who stopped what, and why, and who let it go on.
    """

    EVERYTHING = "*"

    workflow = models.CharField(max_length=100, help_text="Name of the workflow; * is everything.")
    reason = models.CharField(max_length=500, blank=True)
    suspended_by = models.CharField(max_length=150)
    suspended_at = models.DateTimeField(default=timezone.now)
    resumed_by = models.CharField(max_length=150, blank=True)
    resumed_at = models.DateTimeField(null=True, blank=True)
    resumed_reason = models.CharField(max_length=500, blank=True)

    objects = SuspensionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["workflow"], condition=Q(resumed_at__isnull=True), name="suspension_active_once"
            )
        ]

    def __str__(self) -> str:
        return "everything" if self.workflow == self.EVERYTHING else self.workflow
