"""Waiting: for events, and for children. What departments were asked is theirs to check."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Now

from workflows.execution.settling import LEFT, MOVING
from workflows.models import ChildGroup, Event, EventWaiter, Job, Schedule, TaskRun, TaskRunStatus
from workflows.operations.findings import LATE, Check, Found, Window, told


def waiting_run() -> QuerySet[TaskRun]:
    """The run that waits, of the outer query's job, task, iteration and attempt."""
    names = ("job_id", "task", "iteration", "attempt")
    runs: QuerySet[TaskRun] = TaskRun.objects.filter(**{name: OuterRef(name) for name in names})
    return runs.filter(status=TaskRunStatus.WAITING)


# ---- events ---------------------------------------------------------------------------------------------------------


def waiter_without_wait(window: Window) -> Iterable[Found]:
    """Open waiters of tasks that do not wait."""
    waiters = EventWaiter.objects.filter(closed_at__isnull=True).filter(~Exists(waiting_run()))
    return told(waiters, "pk", "job_id", "task", "iteration", "type", say="{1}: {2}#{3} for {4}")


def missed_event(window: Window) -> Iterable[Found]:
    """Tasks that wait for an event which has come, and was not given to them."""
    had = EventWaiter.objects.filter(job=OuterRef(OuterRef("job_id")), task=OuterRef(OuterRef("task")))
    events = Event.objects.filter(
        ~Exists(had.filter(event=OuterRef("pk"))),
        type=OuterRef("type"),
        key=OuterRef("key"),
        expires_at__gte=OuterRef("created_at"),
        refused=False,
        received_at__lt=Now() - LATE,
    )
    waiters = EventWaiter.objects.filter(closed_at__isnull=True, created_at__lt=Now() - LATE).filter(Exists(events))
    return told(waiters, "pk", "job_id", "task", "type", "key", say="{1}: {2} for {3} {4}")


def late_waiters(window: Window) -> Iterable[Found]:
    """Tasks that wait for an event, and nobody has looked whether it came before them: no worker's services run."""
    waiters = EventWaiter.objects.filter(closed_at__isnull=True, looked_at__isnull=True, created_at__lt=Now() - LATE)
    return told(waiters, "pk", "job_id", "task", "type", say="{1}: {2} for {3}")


def late_events(window: Window) -> Iterable[Found]:
    """Events that nobody has handled: no worker's services are running."""
    events = Event.objects.filter(handled_at__isnull=True, received_at__lt=Now() - LATE)
    return told(events, "pk", "type", "event_id", say="{1} {2}")


# ---- children -------------------------------------------------------------------------------------------------------


def group_without_wait(window: Window) -> Iterable[Found]:
    """Groups that their parent should wait for, and it does not."""
    groups = ChildGroup.objects.filter(closed_at__isnull=True, closing="").filter(~Exists(waiting_run()))
    return told(groups, "pk", "job_id", "task", "iteration", "attempt", say="group {0} of {1}: {2}#{3}.{4}")


def wrong_number_of_children(window: Window) -> Iterable[Found]:
    """Open groups that have not one child for each item that was begun. An attempt that was taken over has fewer."""
    names = ("job_id", "task", "iteration")
    later = ChildGroup.objects.filter(**{name: OuterRef(name) for name in names}, attempt__gt=OuterRef("attempt"))
    begun = Job.objects.filter(group=OuterRef("pk"), item_index__lt=OuterRef("started")).order_by().values("group")
    made = Coalesce(Subquery(begun.annotate(count=Count("pk")).values("count")), 0)
    groups = ChildGroup.objects.filter(closed_at__isnull=True).filter(~Exists(later))
    found = groups.annotate(made=made).exclude(made=F("started"))
    return told(found, "pk", "job_id", "task", "started", "made", say="group {0} of {1}: {2}, {3} begun, {4} there")


def child_of_closed_group(window: Window) -> Iterable[Found]:
    """Children that are not over, of groups that are: nobody waits for them."""
    jobs = Job.objects.filter(group__closed_at__isnull=False, status__in=LEFT)
    return told(jobs, "pk", "workflow", "status", "group_id", say="{1} {0}: {2}, of group {3}")


def unsettled_group(window: Window) -> Iterable[Found]:
    """Groups with nothing left to wait for, which nobody has settled: no worker's services are running."""

    def having(statuses: Iterable[str]) -> Exists:
        return Exists(Job.objects.filter(group=OuterRef("pk"), status__in=statuses))

    lately = Job.objects.filter(group=OuterRef("pk"), finished_at__gte=Now() - LATE)
    open_ = ChildGroup.objects.filter(closed_at__isnull=True, created_at__lt=Now() - LATE)
    over = Q(closing="", started=F("total")) & ~having(MOVING) | ~Q(closing="") & ~having(LEFT)
    groups = open_.filter(over).filter(~Exists(lately))
    return told(groups, "pk", "job_id", "task", "closing", say="group {0} of {1}: {2} {3}")


# ---- the clock ------------------------------------------------------------------------------------------------------


def late_schedules(window: Window) -> Iterable[Found]:
    """Schedules whose next start is past: no worker's services are running."""
    late = Schedule.objects.filter(paused=False, next_at__lt=Now() - LATE)
    return told(late, "pk", "name", "next_at", say="{1}: due since {2:%Y-%m-%d %H:%M:%S %Z}")


CHECKS = (
    Check("waiter_without_wait", "Open waiters for events, of tasks that do not wait.", waiter_without_wait),
    Check("missed_event", "Tasks that wait for an event which has come.", missed_event),
    Check("late_waiters", "Waiters that have not looked for events before them for five minutes.", late_waiters),
    Check("late_events", "Events that nobody has handled for five minutes: are workers running?", late_events),
    Check("group_without_wait", "Open groups of children, of tasks that do not wait.", group_without_wait),
    Check("wrong_number_of_children", "Groups without one child for each item begun.", wrong_number_of_children),
    Check("child_of_closed_group", "Children that are not over, of groups that are.", child_of_closed_group),
    Check("unsettled_group", "Groups with nothing left to wait for, for over five minutes.", unsettled_group),
    Check("late_schedules", "Schedules due for over five minutes: are workers running?", late_schedules),
)
