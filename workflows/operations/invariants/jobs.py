"""Jobs, their leases and their dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from django.conf import settings
from django.db.models import Count, Exists, F, Model, OuterRef, Q
from django.db.models.functions import Now

from workflows.execution.definitions import ONE_TASK
from workflows.models import (
    CLAIMABLE,
    FINISHED,
    ChildGroup,
    DeadLetter,
    Definition,
    EventWaiter,
    History,
    IdempotencyKey,
    Job,
    JobData,
    JobStatus,
    Message,
    PluginRegistration,
    Signal,
    Slot,
    TaskRun,
    Worker,
)
from workflows.operations.findings import LATE, Check, Found, Window, told

_HANGING: tuple[type[Model], ...] = (
    JobData,
    History,
    TaskRun,
    Message,
    Signal,
    EventWaiter,
    ChildGroup,
    DeadLetter,
    Slot,
    IdempotencyKey,
)


def unknown_status(window: Window) -> Iterable[Found]:
    """Jobs with a status that is none."""
    strange = Job.objects.filter(window.of()).exclude(status__in=JobStatus.values)
    return told(strange, "pk", "workflow", "status", say="{1} {0}: {2!r}")


def broken_lease(window: Window) -> Iterable[Found]:
    """Leases without an owner, an expiry or a fence; leases of jobs that nobody works on."""
    whole = Q(claimed_by__isnull=False, claimed_until__isnull=False, status__in=CLAIMABLE, fence__gte=1)
    none = Q(claimed_by__isnull=True, claimed_until__isnull=True)
    jobs = Job.objects.filter(window.of()).exclude(whole | none)
    columns = ("pk", "workflow", "status", "claimed_by", "claimed_until", "fence")
    return told(jobs, *columns, say="{1} {0}: {2}, claimed by {3} until {4}, fence {5}")


def unknown_worker(window: Window) -> Iterable[Found]:
    """Leases that count, of workers that nobody has seen."""
    known = Worker.objects.filter(name=OuterRef("claimed_by"))
    jobs = Job.objects.leased().filter(~Exists(known), claimed_until__gte=Now())
    return told(jobs, "pk", "workflow", "claimed_by", say="{1} {0}: claimed by {2}")


def endless_lease(window: Window) -> Iterable[Found]:
    """Leases far longer than any that is given: should the worker die, nobody takes the job over."""
    longest = timedelta(seconds=2 * settings.WORKFLOW_LEASE_SECONDS) + LATE
    jobs = Job.objects.leased().filter(claimed_until__gt=Now() + longest)
    return told(jobs, "pk", "workflow", "claimed_until", say="{1} {0}: until {2:%Y-%m-%d %H:%M:%S %Z}")


def too_many_claims(window: Window) -> Iterable[Found]:
    """Jobs that were claimed without a commit more often than a job may be. The claim after the last one that is
    allowed fails the step."""
    jobs = Job.objects.filter(window.of(), claims__gt=settings.WORKFLOW_MAX_CLAIMS + 1)
    return told(jobs, "pk", "workflow", "claims", say="{1} {0}: {2} claims")


def broken_end(window: Window) -> Iterable[Found]:
    """Jobs that have ended and do not say when, or still have a timer, a hold or a clock that stands still; and jobs
    that go on and say when they ended."""
    left = Q(finished_at__isnull=True) | Q(wake_at__isnull=False) | ~Q(hold="") | Q(due_paused_at__isnull=False)
    ended = Q(status__in=FINISHED)
    jobs = Job.objects.filter(window.of()).filter((ended & left) | (~ended & Q(finished_at__isnull=False)))
    columns = ("pk", "workflow", "status", "finished_at", "wake_at", "hold")
    return told(jobs, *columns, say="{1} {0}: {2}, finished at {3}, timer {4}, hold {5!r}")


def no_data(window: Window) -> Iterable[Found]:
    """Jobs without the row that holds their input and their state: no worker can claim them."""
    data = JobData.objects.filter(pk=OuterRef("pk"))
    return told(Job.objects.filter(window.of()).filter(~Exists(data)), "pk", "workflow", say="{1} {0}")


def orphans(window: Window) -> Iterator[Found]:
    """Rows whose job does not exist."""
    for model in _HANGING:
        job = Job.objects.filter(pk=OuterRef("job_id"))
        rows = model._default_manager.filter(window.of("job_id")).filter(~Exists(job))
        yield from told(rows, "job_id", "pk", say=f"{model._meta.verbose_name} {{1}} of {{0}}")


def unknown_version(window: Window) -> Iterator[Found]:
    """Jobs on a version that was never published; jobs that are not over, of a job type that is not registered."""
    jobs = Job.objects.filter(window.of())
    names = jobs.order_by().values_list("workflow", "version").distinct()
    wanted = set(names.exclude(version=ONE_TASK)) | {
        (name, ONE_TASK) for name, _ in names.filter(version=ONE_TASK).exclude(status__in=(*FINISHED, JobStatus.FAIL))
    }
    if not wanted:
        return
    workflows = {name for name, _ in wanted}
    known = set(Definition.objects.filter(name__in=workflows).values_list("name", "version"))
    types = PluginRegistration.objects.filter(job_type__in=workflows).values_list("job_type", flat=True)
    known |= {(name, ONE_TASK) for name in types}
    for name, version in sorted(wanted - known):
        lost = jobs.filter(workflow=name, version=version)
        yield from told(lost, "pk", "workflow", "version", say="{1} {0}: version {2}")


def unreported_lateness(window: Window) -> Iterable[Found]:
    """Jobs that are late, and nobody was told: no worker's services are running."""
    late = Job.objects.filter(
        due_at__lt=Now() - LATE, due_breached_at__isnull=True, finished_at__isnull=True, due_paused_at__isnull=True
    )
    return told(late, "pk", "workflow", "due_at", say="{1} {0}: due {2:%Y-%m-%d %H:%M:%S %Z}")


def clock_without_due_time(window: Window) -> Iterable[Found]:
    """Jobs whose clock stands still though it counts towards nothing."""
    jobs = Job.objects.filter(window.of(), due_paused_at__isnull=False, due_at__isnull=True)
    return told(jobs, "pk", "workflow", "due_paused_at", say="{1} {0}: since {2:%Y-%m-%d %H:%M:%S %Z}")


def repeated_key(window: Window) -> Iterable[Found]:
    """Idempotency keys of one client that made more than one job."""
    keys = IdempotencyKey.objects.order_by().values("principal", "key").annotate(count=Count("pk")).filter(count__gt=1)
    for row in keys.order_by("principal", "key")[:1000]:
        yield Found(f"{row['principal']} {row['key']}", f"{row['key']} of {row['principal']}: {row['count']} jobs")


def failure_without_letter(window: Window) -> Iterable[Found]:
    """Failed jobs that are in no list of dead letters: nobody is told of them."""
    letters = DeadLetter.objects.filter(job=OuterRef("pk"), resolved_at__isnull=True)
    return told(Job.objects.dead_letters().filter(~Exists(letters)), "pk", "workflow", say="{1} {0}")


def letter_without_failure(window: Window) -> Iterable[Found]:
    """Open dead letters of jobs that did not fail, or do so no longer."""
    letters = DeadLetter.objects.filter(resolved_at__isnull=True).exclude(job__status=JobStatus.FAIL)
    return told(letters, "job_id", "workflow", "job__status", "error", say="{1} {0}: {2}, and a letter about {3}")


def repeated_letter(window: Window) -> Iterable[Found]:
    """Failed jobs with more than one open dead letter."""
    letters = DeadLetter.objects.filter(resolved_at__isnull=True).order_by().values("job_id")
    for row in letters.annotate(count=Count("pk")).filter(count__gt=1).order_by("job_id")[:1000]:
        yield Found(str(row["job_id"]), f"{row['job_id']}: {row['count']} letters")


def broken_child(window: Window) -> Iterable[Found]:
    """Children that belong to no group, to a group of another job, or to no place in it."""
    own = Q(parent__isnull=False) | Q(group__isnull=False)
    fits = Q(
        parent__isnull=False,
        group__isnull=False,
        parent=F("group__job"),
        fragment=F("group__fragment"),
        item_index__isnull=False,
        item_index__lt=F("group__total"),
    )
    jobs = Job.objects.filter(window.of()).filter(own).exclude(fits)
    columns = ("pk", "workflow", "parent_id", "group_id", "item_index")
    return told(jobs, *columns, say="{1} {0}: parent {2}, group {3}, item {4}")


CHECKS = (
    Check("unknown_status", "Jobs with a status that is none.", unknown_status, by_job=True),
    Check("broken_lease", "Leases without an owner, an expiry or a fence, or of jobs that wait.", broken_lease, True),
    Check("unknown_worker", "Jobs claimed by a worker that nobody has seen.", unknown_worker),
    Check("endless_lease", "Leases far longer than any that is given.", endless_lease),
    Check("too_many_claims", "Jobs claimed without a commit more often than is allowed.", too_many_claims, True),
    Check("broken_end", "Jobs that have ended, and something of them has not; or the reverse.", broken_end, True),
    Check("no_data", "Jobs without the row of their input and state.", no_data, True),
    Check("orphans", "Rows of a job that does not exist.", orphans, True),
    Check("unknown_version", "Jobs on a version, or of a job type, that does not exist.", unknown_version, True),
    Check("unreported_lateness", "Late jobs that were not reported as late.", unreported_lateness),
    Check("clock_without_due_time", "Jobs without a due time whose clock stands still.", clock_without_due_time, True),
    Check("repeated_key", "Idempotency keys with more than one job.", repeated_key),
    Check("failure_without_letter", "Failed jobs without an open dead letter.", failure_without_letter),
    Check("letter_without_failure", "Open dead letters of jobs that are not failed.", letter_without_failure),
    Check("repeated_letter", "Jobs with more than one open dead letter.", repeated_letter),
    Check("broken_child", "Children that do not fit their group.", broken_child, True),
)
