"""Settling groups of children: making more of them, telling the parent what came of them, cancelling what is left.

Every step looks at the children as they are, under the parent's lock and then the group's, so it may be done any number
of times, by anyone. A group goes one way: open, then closing (the parent was told, or wants no more of it), then closed
(none of its children is left). Locks are taken from the parent down; nobody waits for a second child's lock.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import reduce
from operator import add
from typing import Any

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Count, F, Max, Min, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from workflows.engine.contract import Json
from workflows.engine.decide import decide
from workflows.engine.events import CancelRequested, ChildrenFailed, ChildrenFinished
from workflows.engine.exceptions import InvalidCalendar, NoWorkingTime
from workflows.engine.state import JobState
from workflows.models import FINISHED, ChildGroup, ChildGroupData, Job, JobData, JobStatus
from workflows.models.statements import ClaimedJob, checkpoint

from .births import write_jobs
from .calendars import moved
from .children import CAUSE_LENGTH, COMPENSATE, Kind
from .commit import Step, StepFacts, plan
from .definitions import get_definition
from .exceptions import CalendarNotFound, DefinitionNotFound, JobFinished, NotDecided
from .intervene import intervene
from .ranks import rank_at
from .respond import lock_job, signal_job

logger = logging.getLogger(__name__)

PORTION = 1_000
"""So many children are made, or cancelled before they have begun, in one transaction."""
LEASE = timedelta(seconds=60)
"""How long children are leased while they are cancelled: within one transaction, so that nobody sees it."""
UNWANTED = "The job that waited for it does so no longer."
CANCEL_PORTION = 100
SECONDS_AT_ONCE = 2.0
"""How long one call stays at one group; the service goes on with it."""
MOVING = (JobStatus.NEW, JobStatus.READY, JobStatus.PEND)
LEFT = (*MOVING, JobStatus.FAIL)
BROKEN = (JobStatus.FAIL, JobStatus.CANC)


class _AtWork(threading.local):
    """The groups that this thread is settling: a child that it cancels need not tell it so."""

    def __init__(self) -> None:
        self.groups: set[int] = set()


_at_work = _AtWork()


def settle_groups(group_ids: Iterable[int]) -> int:
    """Settle those of the groups that have something to be done; answer how many they were."""
    wanted = set(group_ids) - _at_work.groups
    waiting = list(_needing(ChildGroup.objects.filter(pk__in=wanted))) if wanted else []
    count = len(waiting)
    while waiting:
        group_id = waiting.pop()
        until = time.monotonic() + SECONDS_AT_ONCE
        _at_work.groups.add(group_id)
        try:
            while _settle(group_id) and time.monotonic() < until:
                continue
            waiting += _later_attempts(group_id)
        except DatabaseError:
            raise
        except Exception:
            logger.exception("The group of children %s cannot be settled", group_id)
        finally:
            _at_work.groups.discard(group_id)
    return count


def _needing(groups: QuerySet[ChildGroup]) -> QuerySet[Any]:
    """The ids of those groups that have something to be done, found without a lock.

    Nothing is missed by that: of two children that end at once, the one that is committed last finds both ended. And no
    question takes longer where a group has more children that run: the index says whether there is one.
    """
    one_left = {f"one_{status}": _one(status) for status in MOVING}
    none_left = Q(**{f"{name}__isnull": True for name in one_left})
    ready_to_make = Q(started__lt=F("total")) & (Q(max_concurrency__isnull=True) | Q(running__lt=F("max_concurrency")))
    return (
        groups.filter(closed_at__isnull=True)
        .annotate(**one_left, running=_count(MOVING), broken=_count(BROKEN))
        .filter(
            ~Q(closing="")
            | (Q(started=F("total")) & none_left)
            | ready_to_make
            | Q(total__gt=1, broken__gt=F("tolerated_failures"))  # of one child alone, its end says as much
        )
        .values_list("pk", flat=True)
    )


def _children(status: str) -> QuerySet[Job]:
    """The children of the group of the outer query in one status. Asked for one status at a time, each question is one
    descent of the index that is made for it, and the planner sees that."""
    found: QuerySet[Job] = Job.objects.filter(group=OuterRef("pk"), status=status).order_by()
    return found


def _one(status: str) -> Subquery:
    # Not EXISTS: that may be turned into reading the children of all groups at once.
    return Subquery(_children(status).values("pk")[:1])


def _count(statuses: Iterable[str]) -> Any:
    counts = (
        Coalesce(Subquery(_children(status).values("group").annotate(count=Count("pk")).values("count")), 0)
        for status in statuses
    )
    return reduce(add, counts)


def _later_attempts(group_id: int) -> list[int]:
    """The groups of later attempts of the same task, which begin when nothing of this one is left."""
    group = ChildGroup.objects.get(pk=group_id)
    if group.closed_at is None:
        return []
    later = ChildGroup.objects.filter(
        job_id=group.job_id, task=group.task, iteration=group.iteration, attempt__gt=group.attempt
    )
    return list(later.filter(closed_at__isnull=True).values_list("pk", flat=True))


def _settle(group_id: int) -> bool:
    """One portion of what is to be done for a group; True where more of it can be done at once."""
    group = ChildGroup.objects.get(pk=group_id)
    if not group.closing:
        with transaction.atomic():
            parent = lock_job(group.job_id)
            group = ChildGroup.objects.select_for_update(of=("self",)).get(pk=group_id)
            if not group.closing:
                more = _advance(parent, group)
                group.save(update_fields=["started", "closing"])
                return more
    return group.closed_at is None and _wind_up(group)


def _advance(parent: Job, group: ChildGroup) -> bool:
    """Tell the parent where the children have ended, else make more of them. The caller has both locks."""
    if parent.status in FINISHED:
        group.closing = "finished"
        return True
    if not group.started and group.attempt > 1 and not _takes_over(group):
        return False
    children = Job.objects.filter(group=group)
    failed = _how_many(children, BROKEN)
    if failed > group.tolerated_failures:
        _tell_failed(parent, group, children.filter(status__in=BROKEN), failed)
        return True
    if group.started < group.total:
        room = PORTION
        if group.max_concurrency is not None:
            room = min(room, group.max_concurrency - _how_many(children, MOVING))
        if room > 0:
            _make(parent, group, room)
            return True
        return False
    if any(children.filter(status=status).exists() for status in MOVING):
        return False
    _tell_finished(parent, group, failed)
    return True


def _how_many(children: QuerySet[Job], statuses: Iterable[str]) -> int:
    return sum(children.filter(status=status).count() for status in statuses)


# ---- making children ------------------------------------------------------------------------------------------------


class _Items:
    """The items of the groups that this process makes children of at the moment: long lists are read once."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: OrderedDict[tuple[int, uuid.UUID], list[Json]] = OrderedDict()

    def of(self, group: ChildGroup) -> list[Json]:
        """The items of a group. They are let go where its last child is about to be made."""
        key = (group.pk, group.job_id)
        items = self._kept.pop(key, None)
        if items is None:
            items = ChildGroupData.objects.values_list("items", flat=True).get(pk=group.pk)
        self._kept[key] = items
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)
        return items

    def forget(self, group: ChildGroup) -> None:
        """Let go of a group."""
        self._kept.pop((group.pk, group.job_id), None)


_items = _Items(most=4)


def _make(parent: Job, group: ChildGroup, room: int) -> None:
    """Make the next children, at most `room` of them."""
    items = _items.of(group)
    stop = min(group.total, group.started + PORTION)
    here = Job.objects.filter(group=group, item_index__gte=group.started, item_index__lt=stop)
    taken = set(here.values_list("item_index", flat=True)) if group.attempt > 1 else set()
    indexes = [index for index in range(group.started, stop) if index not in taken][:room]
    now = timezone.now()
    due_at = _due_at(group, now)
    write_jobs([(_child(parent, group, index, now, due_at), _input(group, items[index], index)) for index in indexes])
    group.started = stop if len(indexes) < room else indexes[-1] + 1
    if group.started == group.total:
        _items.forget(group)


def _child(parent: Job, group: ChildGroup, index: int, now: datetime, due_at: datetime | None) -> Job:
    child: Job = Job(
        workflow=group.workflow,
        version=group.version,
        fragment=group.fragment,
        parent_id=parent.pk,
        group_id=group.pk,
        item_index=index,
        queue=group.queue,
        priority=group.priority,
        correlation_id=parent.correlation_id,
        submitted_by_id=parent.submitted_by_id,
        # A task on another queue is its parent's outside, so what it does there is fenced as its parent is.
        fence=parent.fence if group.kind == Kind.QUEUE else 0,
        run_at=now,
        rank=rank_at(now, group.priority),
        due_at=due_at,
        created_at=now,
    )
    return child


def _input(group: ChildGroup, item: Json, index: int) -> Json:
    if group.kind == Kind.MAP:
        return {"item": item, "index": index}
    return {"given": item} if group.kind == Kind.QUEUE else item


def _due_at(group: ChildGroup, now: datetime) -> datetime | None:
    """When a child workflow should be done, by what it promises itself; a part of a job is due with the job."""
    if group.fragment:
        return None
    sla = get_definition(group.workflow, group.version).document.get("sla", {})
    if "due" not in sla:
        return None
    try:
        return moved(now, sla["due"], sla.get("calendar"))
    except (CalendarNotFound, InvalidCalendar, NoWorkingTime) as error:
        logger.warning("A child of %s has no due time: %s", group.workflow, error)
        return None


def _takes_over(group: ChildGroup) -> bool:
    """Take what is done of the attempt before over into this one, where it was about the same items; False as long as
    something of that attempt is left, so that no item is at work in both."""
    runs = ChildGroup.objects.filter(job_id=group.job_id, task=group.task, iteration=group.iteration)
    before = list(runs.filter(attempt__lt=group.attempt))
    if any(earlier.closed_at is None for earlier in before):
        return False
    if group.kind == Kind.MAP and before:
        wanted = _is_about(group)
        same = [earlier.pk for earlier in before if _is_about(earlier) == wanted]
        Job.objects.filter(group__in=same, status=JobStatus.DONE).update(group=group)
    return True


def _is_about(group: ChildGroup) -> tuple[Any, ...]:
    data = ChildGroupData.objects.get(pk=group.pk)
    return group.workflow, group.version, group.fragment, data.items, data.names


# ---- telling the parent ---------------------------------------------------------------------------------------------


class _TooLarge(Exception):
    """The outputs are more than a step may answer."""


def _tell_finished(parent: Job, group: ChildGroup, failed: int) -> None:
    group.closing = "finished"
    if group.kind == Kind.MAP:
        try:
            output, outcome = _outputs(group), None
        except _TooLarge as error:
            _tell(parent, group, ChildrenFailed(*_run(group), "ResultTooLarge", str(error)), {})
            return
    else:
        child = Job.objects.select_related("data").get(group=group)
        output, outcome = child.data.output, child.outcome
    event = ChildrenFinished(*_run(group), output, outcome)
    _tell(parent, group, event, {"done": group.total - failed, "failed": failed})


def _outputs(group: ChildGroup) -> list[Json]:
    """The outputs in item order, null in the place of a failure. Raises _TooLarge for more than a step may answer."""
    most = settings.WORKFLOW_MAP_MAX_BYTES
    outputs: list[Json] = [None] * group.total
    size = group.total
    done = JobData.objects.filter(job__group=group, job__status=JobStatus.DONE)
    for index, output in done.values_list("job__item_index", "output").iterator(chunk_size=500):
        size += len(json.dumps(output, separators=(",", ":"), ensure_ascii=False).encode())
        if size > most:
            raise _TooLarge(
                f"The outputs of the {group.total} items are more than {most} bytes together. Let each answer less, or "
                "raise WORKFLOW_MAP_MAX_BYTES."
            )
        outputs[index or 0] = output
    return outputs


def _tell_failed(parent: Job, group: ChildGroup, broken: QuerySet[Job], failed: int) -> None:
    group.closing = "failed"
    child = broken.select_related("data").order_by("item_index")[0]
    error = child.data.error or {}
    name = error.get("name") or ("ChildCancelled" if child.status == JobStatus.CANC else "Unexpected")
    cause = error.get("cause") or ("It was cancelled." if child.status == JobStatus.CANC else "It says no cause.")
    place = f"Item {child.item_index} (job {child.pk})" if group.kind == Kind.MAP else f"Job {child.pk}"
    event = ChildrenFailed(*_run(group), name, f"{place}: {cause}"[:CAUSE_LENGTH])
    _tell(parent, group, event, {"failed": failed, "child": str(child.pk), "error": name})


def _run(group: ChildGroup) -> tuple[str, int, int]:
    return group.task, group.iteration, group.attempt


def _tell(parent: Job, group: ChildGroup, event: ChildrenFinished | ChildrenFailed, data: dict[str, Any]) -> None:
    kind = "children.finished" if isinstance(event, ChildrenFinished) else "children.failed"
    if group.kind == Kind.QUEUE and parent.claimed_by is None:
        # From now on its parent does what it did: nobody must take that for the deed of a lost worker.
        highest = Job.objects.filter(group=group).aggregate(highest=Max("fence"))["highest"] or 0
        Job.objects.filter(pk=parent.pk, fence__lt=highest).update(fence=highest)
    try:
        signal_job(
            parent.pk,
            event,
            history_event=kind,
            task=group.task,
            iteration=group.iteration,
            data={"group": group.pk, "attempt": group.attempt, "total": group.total, **data},
        )
    except JobFinished:
        return


# ---- winding up -----------------------------------------------------------------------------------------------------


def _wind_up(group: ChildGroup) -> bool:
    """Cancel what is left of a closing group, and close it where nothing is: what has not begun goes all at once, each
    of the others by itself."""
    if _cancel_new(group):
        return True
    left = Job.objects.filter(group=group, status__in=LEFT)
    found = list(left.order_by("pk").values_list("pk", "claimed_by")[:CANCEL_PORTION])
    if found:
        compensate = group.closing == COMPENSATE
        cancelled = _cancel_idle([child_id for child_id, worker in found if worker is None], compensate=compensate)
        for child_id, worker in found:
            if worker is not None:
                with transaction.atomic():
                    cancelled += _cancel(lock_job(child_id), compensate=compensate)
        return cancelled > 0
    with transaction.atomic():
        lock_job(group.job_id)
        closed = ChildGroup.objects.filter(pk=group.pk, closed_at__isnull=True)
        if not left.exists():
            closed.update(closed_at=timezone.now())
    return False


def _cancel_new(group: ChildGroup) -> int:
    """Cancel a portion of the children that nothing has happened to yet; answer how many.

    Nobody has been asked for anything by them, so one decision holds for all. They are leased as a worker would lease
    them, and written by the statement that it writes with.
    """
    owner, now = f"settler:{uuid.uuid4()}", timezone.now()
    event = CancelRequested(reason=UNWANTED)
    with transaction.atomic():
        new = Job.objects.filter(group=group, status=JobStatus.NEW, claimed_by__isnull=True, signals=0, fence=0)
        children = list(new.select_related("data").select_for_update(skip_locked=True, of=("self",))[:PORTION])
        if not children:
            return 0
        try:
            definition = get_definition(group.workflow, group.version, group.fragment)
        except DefinitionNotFound:
            return 0  # one by one, that is looked at
        Job.objects.filter(pk__in=[child.pk for child in children]).update(
            claimed_by=owner, claimed_until=now + LEASE, fence=1
        )
        decision = decide(definition, JobState.new(None), event, now)
        steps = []
        for child in children:
            child.fence = 1
            step = Step(
                ClaimedJob.of(child, now),
                definition,
                decision.state,
                list(decision.records),
                list(decision.commands),
                StepFacts(),
                now,
                decided=[(0, now, event)],
            )
            steps.append(plan(step, release=True))
        written = checkpoint(owner, steps)
        if len(written) != len(children):
            raise RuntimeError(f"Of {len(children)} children {len(written)} could be cancelled.")
    return len(written)


def _cancel_idle(child_ids: list[uuid.UUID], *, compensate: bool) -> int:
    """Cancel children at which no worker is, in one transaction; one that somebody else has locked is left for later,
    so that two of these locks are never waited for."""
    if not child_ids:
        return 0
    with transaction.atomic():
        idle = Job.objects.filter(pk__in=child_ids, claimed_by__isnull=True).select_related("data").order_by("pk")
        children = list(idle.select_for_update(skip_locked=True, of=("self",)))
        return sum(_cancel(child, compensate=compensate) for child in children)


def _cancel(child: Job, *, compensate: bool) -> bool:
    """Cancel one child, whatever it is at, under its lock; True where something came of it."""
    if child.status in FINISHED:
        return True
    try:
        with transaction.atomic():
            intervene(child, CancelRequested(reason=UNWANTED, compensate=compensate))
    except NotDecided as error:
        logger.info("Child %s is not cancelled now: %s", child.pk, error)
        return False
    except DatabaseError:
        raise
    except Exception:
        logger.exception("Child %s cannot be cancelled", child.pk)
        return False
    return True


# ---- what a crash left ----------------------------------------------------------------------------------------------


class Settler:
    """Settles the groups that nobody has settled: whoever should have was killed in between.

    It walks through the open groups, a slice at a time and then from the beginning, and asks of each slice at once
    which of them have something to be done.
    """

    name = "settler"
    every_seconds = 2.0
    slice_size = 1_000
    at_once = 100

    def __init__(self) -> None:
        self._behind = 0

    def run_once(self) -> dict[str, int]:
        """Look at the next slice; answer how many groups were settled."""
        groups = ChildGroup.objects.filter(closed_at__isnull=True, pk__gt=self._behind).order_by("pk")
        ends = groups[: self.slice_size].aggregate(first=Min("pk"), last=Max("pk"), count=Count("pk"))
        if not ends["count"]:
            self._behind = 0
            return {"settled": 0}
        slice_ = ChildGroup.objects.filter(pk__gte=ends["first"], pk__lte=ends["last"])
        found = list(_needing(slice_).order_by("pk")[: self.at_once])
        if len(found) == self.at_once:
            self._behind = found[-1]
        else:
            self._behind = ends["last"] if ends["count"] == self.slice_size else 0
        return {"settled": settle_groups(found) if found else 0}
