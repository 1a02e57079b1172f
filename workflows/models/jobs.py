"""Jobs: the row a worker claims, the data that travels with it, and the rules of its states."""

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django_fsm import ConcurrentTransitionMixin, FSMField, transition

from .ids import uuid7


class JobStatus(models.TextChoices):
    """The states of a job. "Running" is none of them: a claimed job carries a lease."""

    NEW = "NEW", "New"
    READY = "READY", "Ready"
    PEND = "PEND", "Pending"
    DONE = "DONE", "Done"
    FAIL = "FAIL", "Failed"
    CANC = "CANC", "Cancelled"


CLAIMABLE = (JobStatus.NEW, JobStatus.READY)
FINISHED = (JobStatus.DONE, JobStatus.CANC)


class JobQuerySet(models.QuerySet["Job"]):
    """The vocabulary of jobs."""

    def claimable(self) -> "JobQuerySet":
        """Jobs that a worker may claim now."""
        return self.filter(status__in=CLAIMABLE, claimed_by__isnull=True, hold="", run_at__lte=timezone.now())

    def whole(self) -> "JobQuerySet":
        """Jobs that were asked for, or that a workflow started as a workflow: not the parts that one job is run in."""
        return self.filter(fragment="")

    def held(self) -> "JobQuerySet":
        """Jobs that are not claimed though they could run."""
        return self.exclude(hold="")

    def leased(self) -> "JobQuerySet":
        """Jobs that some worker holds."""
        return self.filter(claimed_by__isnull=False)

    def abandoned(self, now: datetime) -> "JobQuerySet":
        """Jobs whose lease has passed: their worker died, or cannot reach the database."""
        return self.leased().filter(claimed_until__lt=now)

    def due(self, now: datetime) -> "JobQuerySet":
        """Parked jobs whose earliest timer has come."""
        return self.filter(status=JobStatus.PEND, wake_at__lte=now)

    def overdue(self, now: datetime) -> "JobQuerySet":
        """Unfinished jobs past the time their workflow promised."""
        return self.exclude(status__in=FINISHED).filter(due_at__lt=now, due_paused_at__isnull=True)

    def dead_letters(self) -> "JobQuerySet":
        """Jobs that failed and wait for a person."""
        return self.filter(status=JobStatus.FAIL)


class Job(ConcurrentTransitionMixin, models.Model):
    """One submitted request, travelling through one version of one workflow.

    The row is small, for it is written at every step; what may be large lies in `JobData`. Three numbers guard it:
    `fence` rises with every claim, and a worker writes only with the number it was given; `signals` counts the facts
    that doors have written for it, so that no worker parks a job over an answer it has not seen; `history_count` is
    the sequence number of its newest history row.

    Absent on purpose: a "running" state (the lease says so), and a foreign key to the definition (it may live in
    another database).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workflow = models.CharField(max_length=100, help_text="Name of the definition, or a plugin's job type.")
    version = models.PositiveIntegerField(help_text="Version of the definition; 0 for a job type without one.")
    status = FSMField(max_length=5, choices=JobStatus.choices, default=JobStatus.NEW, protected=True)
    outcome = models.CharField(max_length=100, null=True, blank=True, help_text="Outcome of the last finished task.")
    priority = models.PositiveSmallIntegerField(default=50)
    queue = models.CharField(max_length=50, default="default", help_text="Which clusters may claim it.")
    run_at = models.DateTimeField(default=timezone.now, help_text="Not claimed before this time.")
    rank = models.DateTimeField(default=timezone.now, help_text="Place in the queue: earlier is claimed first.")
    wake_at = models.DateTimeField(null=True, blank=True, help_text="When a parked job's earliest timer is due.")
    claimed_by = models.CharField(max_length=200, null=True, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)
    fence = models.PositiveBigIntegerField(default=0)
    claims = models.PositiveSmallIntegerField(default=0, help_text="Claims since the last commit.")
    signals = models.PositiveIntegerField(default=0, help_text="Facts written for it by doors.")
    history_count = models.PositiveIntegerField(default=0)
    correlation_id = models.CharField(max_length=200, blank=True)
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="children", db_index=False
    )
    group = models.ForeignKey(
        "ChildGroup", null=True, blank=True, on_delete=models.PROTECT, related_name="children", db_index=False
    )
    item_index = models.PositiveIntegerField(null=True, blank=True, help_text="Its place among the items of its group.")
    fragment = models.CharField(
        max_length=200, blank=True, help_text="The one task of the parent's definition that it runs; empty: all of it."
    )
    hold = models.CharField(
        max_length=120,
        blank=True,
        help_text="Why it is not claimed though it could run: suspended, suspended:NAME, or a limit's code.",
    )
    submitted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="jobs", db_index=False
    )
    due_at = models.DateTimeField(null=True, blank=True)
    due_paused_at = models.DateTimeField(
        null=True, blank=True, help_text="Since when its time does not count: it waits for a third party."
    )
    due_breached_at = models.DateTimeField(null=True, blank=True, help_text="When it was reported as late.")
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    archive: Any = None
    """Of a job that was read back from the archive: the row there."""
    archived_at: datetime | None = None

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        permissions = [("operate_job", "Can retry, skip and cancel jobs, and see all of them")]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=JobStatus.values), name="job_status_known"),
            models.CheckConstraint(
                condition=Q(claimed_by__isnull=True, claimed_until__isnull=True)
                | Q(claimed_by__isnull=False, claimed_until__isnull=False, status__in=CLAIMABLE),
                name="job_lease_whole_and_claimable",
            ),
            models.CheckConstraint(
                condition=Q(status__in=FINISHED, finished_at__isnull=False)
                | (~Q(status__in=FINISHED) & Q(finished_at__isnull=True)),
                name="job_finished_at_when_finished",
            ),
            models.CheckConstraint(
                # Held for a limit, a job still has the timers of its other branches, and its own time limit.
                condition=Q(wake_at__isnull=True)
                | Q(status=JobStatus.PEND)
                | (Q(status=JobStatus.READY) & ~Q(hold="")),
                name="job_wake_only_parked_or_held",
            ),
            models.CheckConstraint(condition=Q(priority__lte=100), name="job_priority_0_to_100"),
            # One child for an item, and its index: the results of a group in order.
            models.UniqueConstraint(
                fields=["group", "item_index"], condition=Q(group__isnull=False), name="job_group_item"
            ),
        ]
        indexes = [
            # The claim: what can run now, in order. Leased and parked jobs are not in it.
            models.Index(
                fields=["queue", "rank", "id"],
                condition=Q(status__in=CLAIMABLE, claimed_by__isnull=True, hold=""),
                name="job_claim",
            ),
            # Jobs that are held back, by what holds them, the first in rank first.
            models.Index(fields=["hold", "rank", "id"], condition=~Q(hold=""), name="job_held"),
            # The children of a group that are not done, by status: whether one is left, and how many failed.
            models.Index(
                fields=["group", "status"],
                condition=Q(group__isnull=False, status__in=["NEW", "READY", "PEND", "FAIL", "CANC"]),
                name="job_group_not_done",
            ),
            # Lateness: what was promised and not yet reported as late.
            models.Index(
                fields=["due_at"],
                condition=Q(due_at__isnull=False, due_breached_at__isnull=True, finished_at__isnull=True),
                name="job_due",
            ),
            # The rescuer: jobs under a lease, the first to pass first. A step that keeps its lease does not touch it.
            models.Index(fields=["claimed_until"], condition=Q(claimed_by__isnull=False), name="job_leased"),
            # The timers: parked jobs by their earliest timer.
            models.Index(fields=["wake_at"], condition=Q(wake_at__isnull=False), name="job_wake"),
            # Lists and reports: newest first (the id is in order of time), within a workflow, a status, a submitter.
            models.Index(fields=["workflow", "id"], name="job_workflow"),
            models.Index(fields=["status", "id"], name="job_status"),
            models.Index(fields=["submitted_by", "id"], condition=Q(submitted_by__isnull=False), name="job_submitter"),
            models.Index(fields=["parent"], condition=Q(parent__isnull=False), name="job_children"),
            models.Index(fields=["correlation_id"], condition=~Q(correlation_id=""), name="job_correlation"),
        ]

    def __str__(self) -> str:
        return f"{self.workflow} {self.id}"

    # The edges of the state machine. Whoever moves a job calls one of these, and then saves it under its guard: a
    # worker under its fence (statements), a door under the row's lock. Anything else raises TransitionNotAllowed.

    @transition(field=status, source=[JobStatus.NEW, JobStatus.PEND, JobStatus.FAIL], target=JobStatus.READY)
    def make_ready(self) -> None:
        """Something of it can run now: an answer came, a timer fired, a retry was asked for."""

    @transition(field=status, source=[JobStatus.NEW, JobStatus.READY], target=JobStatus.PEND)
    def park(self) -> None:
        """Every active task waits."""

    @transition(field=status, source=[JobStatus.NEW, JobStatus.READY], target=JobStatus.DONE)
    def finish(self) -> None:
        """Nothing is active any more."""

    @transition(field=status, source=[JobStatus.NEW, JobStatus.READY, JobStatus.PEND], target=JobStatus.FAIL)
    def fail(self) -> None:
        """A task failed, and nothing took the error: a person must look."""

    @transition(
        field=status,
        source=[JobStatus.NEW, JobStatus.READY, JobStatus.PEND, JobStatus.FAIL],
        target=JobStatus.CANC,
    )
    def cancel(self) -> None:
        """Ended by request."""

    def move_to(self, status: str) -> None:
        """Take the one edge that leads to `status`; staying where it is takes none. TransitionNotAllowed otherwise."""
        if status != self.status:
            edge = {
                JobStatus.READY: self.make_ready,
                JobStatus.PEND: self.park,
                JobStatus.DONE: self.finish,
                JobStatus.FAIL: self.fail,
                JobStatus.CANC: self.cancel,
            }[JobStatus(status)]
            edge()

    @staticmethod
    @cache
    def moved(source: str, target: str) -> str:
        """`target`, where an edge of the state machine leads there from `source`: TransitionNotAllowed where none does.

        What the edges allow never changes, so each pair is asked once a process.
        """
        job = Job(status=source)
        job.move_to(target)
        return str(job.status)

    def refresh_from_db(
        self, using: str | None = None, fields: Iterable[str] | None = None, from_queryset: Any = None
    ) -> None:
        """Reload the row. Replaces what django-fsm-2 offers for protected fields, which lifts the protection for the
        whole process while it works, and for ever when it fails."""
        names = None if fields is None else list(fields)
        held = self.__dict__.pop("status", None) if names is None or "status" in names else None
        try:
            models.Model.refresh_from_db(self, using=using, fields=names, from_queryset=from_queryset)
        except BaseException:
            if held is not None:
                self.__dict__["status"] = held
            raise
        self._update_initial_state()

    @classmethod
    def edges(cls) -> frozenset[tuple[str, str]]:
        """Every allowed move, as (from, to): read off the transitions above."""
        found = set()
        status: Any = cls._meta.get_field("status")
        for edge in status.get_all_transitions(cls):
            found.add((str(edge.source), str(edge.target)))
        return frozenset(found)


class JobData(models.Model):
    """What travels with a job and may be large: its input, the serialized workflow state, its result.

    A row of its own, so that the hot row of `Job` stays small.
    """

    job = models.OneToOneField(
        Job, on_delete=models.CASCADE, primary_key=True, related_name="data", db_constraint=False
    )
    input = models.JSONField()
    state = models.JSONField(null=True, help_text="The serialized JobState; null until the first commit.")
    output = models.JSONField(null=True)
    error = models.JSONField(null=True, help_text='{"name", "cause", "task"} of the failure a person must look at.')

    class Meta:
        verbose_name_plural = "job data"

    def __str__(self) -> str:
        return f"data of {self.job_id}"


class IdempotencyKey(models.Model):
    """One submission made with an `Idempotency-Key`: whoever repeats it gets the first job again.

    Written in the transaction that creates the job. `request` is kept to name the fields that differ.
    """

    principal = models.CharField(max_length=200, help_text="Who submitted: keys of two clients never meet.")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the canonical JSON of the request.")
    request = models.JSONField()
    job = models.ForeignKey(Job, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["principal", "key"], name="idempotency_principal_key")]

    def __str__(self) -> str:
        return self.key
