"""Messages that go out, and facts that came in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from django.db.models import Count, Exists, F, OuterRef
from django.db.models.functions import Now

from workflows.execution.prune import KEEP_EVENTS
from workflows.messaging.relay import SOURCE
from workflows.models import FINISHED, Event, History, Message, Signal
from workflows.operations.findings import AT_ONCE, LATE, Check, Found, Window, portions, told


def message_without_history(window: Window) -> Iterable[Found]:
    """Messages that no row of the history goes with: what has caused them was not committed."""
    rows = History.objects.filter(job=OuterRef("job_id"), sequence=OuterRef("sequence"))
    messages = Message.objects.filter(window.of("job_id")).filter(~Exists(rows))
    return told(messages, "job_id", "type", "sequence", say="{0}: {1}, number {2}")


def late_messages(window: Window) -> Iterable[Found]:
    """Messages that nobody has sent: no worker's services are running."""
    late = Message.objects.filter(published_at__isnull=True, created_at__lt=Now() - LATE)
    return told(late, "pk", "job_id", "type", say="{1}: {2} {0}")


def message_out_of_order(window: Window) -> Iterable[Found]:
    """Messages that are not sent though a later one of their job is."""
    later = Message.objects.filter(
        job=OuterRef("job_id"), sequence__gt=OuterRef("sequence"), published_at__isnull=False
    )
    messages = Message.objects.filter(published_at__isnull=True).filter(Exists(later))
    return told(messages, "pk", "job_id", "type", "sequence", say="{1}: {2}, number {3}")


def lost_message(window: Window) -> Iterator[Found]:
    """Messages of the last days that were sent, and no event came of them. Sending is keeping the event."""
    sent = Message.objects.filter(destination="", published_at__gt=Now() - KEEP_EVENTS + timedelta(days=1))
    own = sent.filter(window.of("job_id")).values("pk", "job_id", "job__workflow", "type")
    for rows in portions(Window(), own, AT_ONCE):
        names = {(f"{SOURCE}{row['job__workflow']}/jobs/{row['job_id']}", str(row["pk"])): row for row in rows}
        found = Event.objects.filter(
            source__in={source for source, _ in names}, event_id__in={event_id for _, event_id in names}
        )
        for name in names.keys() - set(found.values_list("source", "event_id")):
            yield Found(str(names[name]["job_id"]), "{job_id}: {type} {pk}".format(**names[name]))


def repeated_event(window: Window) -> Iterable[Found]:
    """Events that were taken twice."""
    events = Event.objects.order_by().values("source", "event_id").annotate(count=Count("pk")).filter(count__gt=1)
    for row in events.order_by("source", "event_id")[:1000]:
        words = f"{row['event_id']} of {row['source']}, {row['count']} times"
        yield Found(f"{row['source']} {row['event_id']}", words)


def uncounted_signal(window: Window) -> Iterable[Found]:
    """Facts that their job has not counted: a worker could commit over them unseen."""
    signals = Signal.objects.filter(window.of("job_id"), sequence__gt=F("job__signals"))
    return told(signals, "job_id", "sequence", "job__signals", say="{0}: number {1} of {2}")


def signal_after_end(window: Window) -> Iterable[Found]:
    """Facts that were told and not used before their job has ended."""
    signals = Signal.objects.filter(job__status__in=FINISHED)
    return told(signals, "pk", "job_id", "sequence", "job__status", say="{1}, which is {3}: number {2}")


CHECKS = (
    Check("message_without_history", "Messages that no history goes with.", message_without_history, True),
    Check("late_messages", "Messages not sent for over five minutes: are workers running?", late_messages),
    Check("message_out_of_order", "Messages not sent though a later one of their job is.", message_out_of_order),
    Check("lost_message", "Messages that were sent, and no event came of them.", lost_message, True),
    Check("repeated_event", "Events that were taken twice.", repeated_event),
    Check("uncounted_signal", "Facts that their job has not counted.", uncounted_signal, True),
    Check("signal_after_end", "Facts that were not used before their job ended.", signal_after_end),
)
