"""Groups of child jobs: the items of a `map`, the child of a `workflow` task, a task that runs on another queue."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from .jobs import Job


class ChildGroup(models.Model):
    """The child jobs of one attempt of one task of a parent job. The parent waits for the group, never for a child.

    The items lie in `data`, apart from the hot columns: children are made from them in portions, as many as may run at
    once. A further attempt of the same iteration takes over what is done of the one before. `fragment` is the path of
    the task, in the parent's definition, that the children run (`m`, or `m/m` where a map holds a map); it is empty
    where the child is a whole workflow of its own.
    """

    class Kind(models.TextChoices):
        MAP = "map", "Items of a map"
        WORKFLOW = "workflow", "A child workflow"
        QUEUE = "queue", "A task on another queue"

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="child_groups", db_index=False)
    task = models.CharField(max_length=100)
    iteration = models.PositiveIntegerField(default=1)
    attempt = models.PositiveIntegerField(default=1)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    workflow = models.CharField(max_length=100, help_text="What the children run.")
    version = models.PositiveIntegerField()
    fragment = models.CharField(max_length=200, blank=True)
    queue = models.CharField(max_length=50, default="default")
    priority = models.PositiveSmallIntegerField(default=50)
    total = models.PositiveIntegerField(default=1)
    started = models.PositiveIntegerField(default=0, help_text="How many children were made, in item order.")
    max_concurrency = models.PositiveIntegerField(null=True, blank=True)
    tolerated_failures = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    closing = models.CharField(
        max_length=200,
        blank=True,
        help_text="Why no more of it is wanted: the parent was told, or has moved on. What is left of it is cancelled.",
    )
    closed_at = models.DateTimeField(null=True, blank=True, help_text="Since when none of its children is left.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "task", "iteration", "attempt"], name="child_group_once"),
            models.CheckConstraint(condition=Q(started__lte=models.F("total")), name="child_group_started_to_total"),
        ]
        indexes = [models.Index(fields=["id"], condition=Q(closed_at__isnull=True), name="child_group_open")]

    def __str__(self) -> str:
        return f"children of {self.task}#{self.iteration}.{self.attempt} of {self.job_id}"


class ChildGroupData(models.Model):
    """What may be large of a group: its items, and the names of the parent that the children's expressions read."""

    group = models.OneToOneField(ChildGroup, on_delete=models.CASCADE, primary_key=True, related_name="data")
    items = models.JSONField(help_text="A list: one value for each child.")
    names = models.JSONField(default=dict, help_text="Roots such as input and tasks, as the parent saw them.")

    class Meta:
        verbose_name_plural = "child group data"

    def __str__(self) -> str:
        return f"data of group {self.group_id}"
