"""What is remembered of departments: who belongs to them, what they are asked, what they answered."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.models import Job, uuid7


class Department(models.Model):
    """A part of the office that decides or does something. Definitions name it by its code."""

    code = models.SlugField(max_length=100, unique=True)
    name = models.CharField(max_length=200)
    description = models.CharField(max_length=500, blank=True, help_text="What it does, in a sentence staff will read.")
    calendar = models.ForeignKey(
        "workflows.Calendar",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="departments",
        help_text="When it works: its items are due, and escalated, in its working time. Empty: around the clock.",
    )
    members: Any = models.ManyToManyField(
        settings.AUTH_USER_MODEL, through="Membership", related_name="departments", blank=True
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """One person in one department. A lead may also assign and release what others hold."""

    class Role(models.TextChoices):
        MEMBER = "member", "Member"
        LEAD = "lead", "Lead"

    department = models.ForeignKey(Department, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=6, choices=Role.choices, default=Role.MEMBER)

    class Meta:
        ordering = ["department", "user"]
        constraints = [
            models.UniqueConstraint(fields=["department", "user"], name="membership_once"),
            models.CheckConstraint(condition=Q(role__in=["member", "lead"]), name="membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.department}"


class WorkItemStatus(models.TextChoices):
    """Where a request to a department stands."""

    OPEN = "open", "Unclaimed"
    CLAIMED = "claimed", "Claimed"
    DONE = "done", "Done"
    WITHDRAWN = "withdrawn", "Withdrawn"
    SKIPPED = "skipped", "Skipped"


ACTIVE = (WorkItemStatus.OPEN, WorkItemStatus.CLAIMED)


class WorkItemQuerySet(models.QuerySet["WorkItem"]):
    """The vocabulary of work items."""

    def active(self) -> "WorkItemQuerySet":
        """Items that wait for an answer, claimed or not."""
        return self.filter(status__in=ACTIVE)

    def human(self) -> "WorkItemQuerySet":
        """Items that a person decides; the others wait for a system."""
        return self.filter(kind=WorkItem.Kind.HUMAN)


class WorkItem(models.Model):
    """What a department is asked to decide (`human`) or another system to do (`external`), for one run of one task.

    `version` rises with every change; whoever changes it says which version they saw. Facts that lists show (workflow,
    reference) are copied here, so that a page of items needs no join.
    """

    class Kind(models.TextChoices):
        HUMAN = "human", "Decision of a person"
        EXTERNAL = "external", "Answer of a system"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    job = models.ForeignKey(Job, on_delete=models.DO_NOTHING, db_constraint=False, related_name="work_items")
    workflow = models.CharField(max_length=100)
    reference = models.CharField(max_length=200, blank=True, help_text="The job's correlation id.")
    task = models.CharField(max_length=100)
    iteration = models.PositiveIntegerField(default=1)
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.HUMAN)
    department = models.ForeignKey(Department, null=True, blank=True, on_delete=models.PROTECT, related_name="items")
    queue = models.CharField(max_length=100, blank=True, help_text="Where an external task went, if to no department.")
    title = models.CharField(max_length=300)
    status = models.CharField(max_length=9, choices=WorkItemStatus.choices, default=WorkItemStatus.OPEN)
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="claimed_items"
    )
    claimed_at = models.DateTimeField(null=True, blank=True)
    outcomes = models.JSONField(default=list)
    form = models.JSONField(null=True, blank=True, help_text="JSON Schema of what the decision must carry.")
    data = models.JSONField(null=True, help_text="The facts of the case: the task's evaluated input, or message.")
    priority = models.PositiveSmallIntegerField(default=50)
    due_at = models.DateTimeField(null=True, blank=True)
    follow_up_at = models.DateTimeField(null=True, blank=True, help_text="When somebody should look at it again.")
    quorum = models.JSONField(null=True, blank=True, help_text='{"need", "of", "veto"}: several people decide it.')
    constraints = models.JSONField(
        null=True, blank=True, help_text='{"not_completed_by": [tasks], "not_initiator": true}: who may not decide it.'
    )
    escalations = models.JSONField(
        default=list, blank=True, help_text="The steps of `escalate` that are still to come."
    )
    escalate_at = models.DateTimeField(null=True, blank=True, help_text="When the first of them is due.")
    escalated_at = models.DateTimeField(null=True, blank=True, help_text="When it was escalated last.")
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="decided_items"
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=100, null=True, blank=True)
    answer = models.JSONField(null=True, blank=True, help_text="What the form, or the system, answered.")
    comment = models.TextField(blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    withdrawn_reason = models.CharField(
        max_length=200, blank=True, help_text="In a word: timeout, cancelled, loop or skipped."
    )

    objects = WorkItemQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["job", "task", "iteration"], condition=Q(status__in=ACTIVE), name="work_item_active_once"
            ),
            models.CheckConstraint(condition=Q(status__in=WorkItemStatus.values), name="work_item_status_known"),
            models.CheckConstraint(
                condition=~Q(status="claimed") | Q(assignee__isnull=False), name="work_item_claimed_by_someone"
            ),
            models.CheckConstraint(
                condition=Q(status="done", decided_at__isnull=False) | ~Q(status="done"), name="work_item_done_when"
            ),
            models.CheckConstraint(
                condition=Q(department__isnull=False) | Q(kind="external"), name="work_item_human_has_department"
            ),
        ]
        indexes = [
            # The inbox: what people of a department have to decide, and what I hold, the most urgent first. Requests
            # to systems are not in it, so that a department with very many of them has as quick a list.
            models.Index(
                fields=["department", "due_at", "id"],
                condition=Q(status__in=ACTIVE, kind="human"),
                name="work_item_open",
            ),
            models.Index(
                fields=["assignee", "due_at", "id"],
                condition=Q(status__in=ACTIVE, kind="human"),
                name="work_item_mine",
            ),
            models.Index(fields=["department", "id"], name="work_item_department"),
            models.Index(
                fields=["escalate_at"],
                condition=Q(status__in=ACTIVE, escalate_at__isnull=False),
                name="work_item_escalate",
            ),
            models.Index(fields=["decided_by", "decided_at"], name="work_item_decided"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_active(self) -> bool:
        """True while it waits for an answer."""
        return self.status in ACTIVE


class DepartmentResponse(models.Model):
    """The async data table: one answer to one task, as it was received, JSON or XML.

    Never changed. `response_id` is the sender's own key: a repeated one changes nothing.
    """

    class Format(models.TextChoices):
        JSON = "json", "JSON"
        XML = "xml", "XML"

    job = models.ForeignKey(Job, on_delete=models.DO_NOTHING, db_constraint=False, related_name="responses")
    work_item = models.ForeignKey(
        WorkItem,
        null=True,
        on_delete=models.PROTECT,
        related_name="responses",
        help_text="Empty where a plugin's step waited for the answer: no department was asked.",
    )
    task = models.CharField(max_length=120)
    iteration = models.PositiveIntegerField(default=1)
    status = models.CharField(max_length=100, help_text="Becomes the task's outcome.")
    data = models.JSONField(null=True, help_text="Becomes the task's output.")
    format = models.CharField(max_length=4, choices=Format.choices, default=Format.JSON)
    body = models.TextField(blank=True, help_text="The answer as received, where it was XML.")
    response_id = models.CharField(max_length=200, null=True, blank=True)
    received_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    received_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]
        permissions = [("respond_any", "Can answer any external task, whichever department it was sent to")]
        constraints = [
            models.UniqueConstraint(fields=["job", "response_id"], name="response_once"),
            models.UniqueConstraint(fields=["work_item"], name="response_one_an_item"),
        ]

    def __str__(self) -> str:
        return f"{self.task}: {self.status}"


class Vote(models.Model):
    """What one person of a quorum decided. Never changed; the item is decided when the votes say so."""

    item = models.ForeignKey(WorkItem, on_delete=models.CASCADE, related_name="votes", db_index=False)
    voter = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    outcome = models.CharField(max_length=100)
    data = models.JSONField(null=True, blank=True)
    comment = models.TextField(blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["item", "id"]
        constraints = [models.UniqueConstraint(fields=["item", "voter"], name="vote_once")]

    def __str__(self) -> str:
        return f"{self.voter}: {self.outcome}"


class Comment(models.Model):
    """What a person said about an item, apart from a decision."""

    item = models.ForeignKey(WorkItem, on_delete=models.CASCADE, related_name="comments")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    text = models.TextField(max_length=4000)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["at", "id"]

    def __str__(self) -> str:
        return self.text[:50]
