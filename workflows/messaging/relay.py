"""The relay: messages that jobs wrote go out, in their order per job, and at least once.

There is no broker: the database is what everybody reads. An `emit` becomes an event, handled like any that comes from
outside. A command to a department or a queue is out as soon as it is written, for whoever does the work finds it among
the open requests; the relay notes the time.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Min
from django.db.models.functions import Now

from workflows.models import Message
from workflows.models.failpoints import failpoint

from .inbox import Arrival, keep, own_key

BATCH = 500
SOURCE = "/workflows/"
"""How the sources of this server's own events begin. Nobody outside may use it."""


class Relay:
    """Publishes what is not published. Any number may run at once: a job's messages are taken by one of them."""

    name = "relay"
    every_seconds = 1.0

    def run_once(self) -> dict[str, int]:
        """Publish up to a batch of messages; answer how many of each kind."""
        unpublished = Message.objects.filter(published_at__isnull=True)
        if not unpublished.exists():
            return {"events": 0, "commands": 0}
        with transaction.atomic():
            held = unpublished.select_for_update(skip_locked=True, of=("self",)).select_related("job__submitted_by")
            messages = _in_order(list(held.order_by("id")[:BATCH]))
            events = [message for message in messages if not message.destination]
            keep([_arrival(message) for message in events])
            failpoint("outbox.sent")
            Message.objects.filter(pk__in=[message.pk for message in messages]).update(published_at=Now())
            failpoint("outbox.marked")
        return {"events": len(events), "commands": len(messages) - len(events)}


def _in_order(held: Sequence[Message]) -> list[Message]:
    """Of the messages that are held, those before which nothing of their job is unpublished: another relay may hold an
    earlier one, and has not committed yet. A clock that went back may have given an earlier one a later id, too."""
    others = Message.objects.filter(published_at__isnull=True, job__in={message.job_id for message in held}).exclude(
        pk__in=[message.pk for message in held]
    )
    first = dict(others.values_list("job_id").annotate(first=Min("sequence")))
    free = [message for message in held if message.sequence < first.get(message.job_id, message.sequence + 1)]
    return sorted(free, key=lambda message: (message.job_id, message.sequence))


def _arrival(message: Message) -> Arrival:
    """The event that an `emit` is. Its key is the job's own, so that those who work on the same case find each other;
    nothing in its data has a meaning for the relay."""
    job = message.job
    return Arrival(
        source=f"{SOURCE}{job.workflow}/jobs/{job.pk}",
        event_id=str(message.pk),
        type=message.type,
        key=own_key(job.pk, job.correlation_id),
        time=message.created_at,
        data=message.data,
        received_by=job.submitted_by,
    )
