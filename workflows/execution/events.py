"""Events and those who wait for them: matched after both are committed, so neither can miss the other.

The waiter looks for events after its commit, the event for waiters after its own: whichever is committed last sees the
other. Where both see each other, the row lock of the job lets one of them tell it.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from workflows.engine.events import AwaitEvent, EventReceived, StopAwaiting
from workflows.messaging.inbox import own_key
from workflows.models import Event, EventWaiter

from .exceptions import JobFinished
from .parking import ParkedJob, Refusal
from .respond import lock_job, signal_job

MAX_KEY = 200
WAKE_AT_ONCE = 50
"""How many waiters one call wakes, each in a transaction of its own: somebody waits for an answer meanwhile."""
BATCH = 500
LEFT_AFTER = timedelta(seconds=2)
"""What was not matched so long after it was committed was left behind by a crash, or is more than one call matches."""


def await_events(job: ParkedJob, commands: Sequence[AwaitEvent]) -> list[Refusal]:
    """Write who waits for what, inside the waiter's commit, and look for events that came before after it.

    Without a key of its own a task waits for the job's correlation id; for the job's id where it has none.
    """
    waiters, refusals = [], []
    for command in commands:
        key = own_key(job.id, job.correlation_id) if command.key is None else command.key
        if len(key) > MAX_KEY or "\0" in key:
            cause = f"The correlation key is at most {MAX_KEY} characters without NUL, not {key[:80]!r}."
            refusals.append(Refusal(job.id, command.task, command.iteration, "ValidationError", cause))
            continue
        waiters.append(
            EventWaiter(
                job_id=job.id,
                task=command.task,
                iteration=command.iteration,
                attempt=command.attempt,
                type=command.event,
                key=key,
                created_at=Now(),
            )
        )
    if waiters:
        EventWaiter.objects.bulk_create(waiters)
        # Robust: the commit stands whatever becomes of the look, and the service looks again. No partial: Django asks
        # for the name of what failed.
        transaction.on_commit(lambda: look_for_events(job.id), robust=True)
    return refusals


def stop_awaiting(job_id: uuid.UUID, commands: Sequence[StopAwaiting]) -> None:
    """Close waiters that nobody needs any more, inside the commit."""
    for command in commands:
        EventWaiter.objects.filter(
            job_id=job_id,
            task=command.task,
            iteration=command.iteration,
            attempt=command.attempt,
            closed_at__isnull=True,
        ).update(closed_at=Now())


def look_for_events(job_id: uuid.UUID) -> int:
    """Give a job's new waiters the events that came before them; answer how many were woken."""
    woken = 0
    for waiter in EventWaiter.objects.filter(job_id=job_id, closed_at__isnull=True, looked_at__isnull=True)[:BATCH]:
        if _event_for(waiter) is not None and _wake(waiter):
            woken += 1
        else:
            EventWaiter.objects.filter(pk=waiter.pk, looked_at__isnull=True).update(looked_at=Now())
    return woken


def wake_waiters(event: Event, *, most: int = WAKE_AT_ONCE) -> bool:
    """Wake those who wait for an event's type and key; False where more wait than one call wakes."""
    had = EventWaiter.objects.filter(job=OuterRef("job"), task=OuterRef("task"), event=event)
    waiting = EventWaiter.objects.filter(
        ~Exists(had), type=event.type, key=event.key, closed_at__isnull=True, created_at__lte=event.expires_at
    ).order_by("id")
    waiters = list(waiting[: most + 1])
    for waiter in waiters[:most]:
        _wake(waiter)
    return len(waiters) <= most


def _event_for(waiter: EventWaiter) -> Event | None:
    """The first event that counts for a waiter: of its type and key, not expired when it began to wait, and not one
    that an earlier iteration of the task has had."""
    had = EventWaiter.objects.filter(job=waiter.job_id, task=waiter.task, event=OuterRef("pk"))
    events: QuerySet[Event] = Event.objects.filter(
        ~Exists(had), type=waiter.type, key=waiter.key, expires_at__gte=waiter.created_at, refused=False
    )
    return events.select_related("received_by").order_by("id").first()


def _wake(waiter: EventWaiter) -> bool:
    """Tell the job what it waited for, and close the waiter with the event; False where there is nothing to tell."""
    with transaction.atomic():
        job = lock_job(waiter.job_id)
        # Read again under the lock: somebody else may have told it, or it waits no more.
        if not EventWaiter.objects.filter(pk=waiter.pk, closed_at__isnull=True).exists():
            return False
        event = _event_for(waiter)
        if event is None:
            return False
        told = {"event": str(event.pk), "type": event.type, "key": event.key, "source": event.source}
        try:
            signal_job(
                job.pk,
                EventReceived(waiter.task, waiter.iteration, event.data, str(event.pk)),
                history_event="event.received",
                actor="" if event.received_by is None else event.received_by.get_username(),
                task=waiter.task,
                iteration=waiter.iteration,
                data=told,
            )
        except JobFinished:
            event = None
        EventWaiter.objects.filter(pk=waiter.pk).update(event=event, closed_at=Now())
        if event is None:
            return False
        use(event)
        return True


def use(event: Event) -> None:
    """Remember that something came of an event, in the transaction in which it does: such an event is not pruned."""
    Event.objects.filter(pk=event.pk, used=False).update(used=True)


class Waiters:
    """Looks for the events of waiters whose own look a crash has left out. The events' side is in `intake`."""

    name = "waiters"
    every_seconds = 1.0

    def run_once(self) -> dict[str, int]:
        """Look for up to a batch of waiters; answer how many were woken."""
        left = EventWaiter.objects.filter(
            closed_at__isnull=True, looked_at__isnull=True, created_at__lt=Now() - LEFT_AFTER
        ).order_by("id")
        jobs = dict.fromkeys(left.values_list("job_id", flat=True)[:BATCH])
        return {"woken": sum(look_for_events(job_id) for job_id in jobs)}
