"""The relay: what jobs say goes out once it is committed, in order per job, and whoever waits for it goes on."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from departments.models import Department
from tests.execution.jobs import publish, submit
from tests.factories import UserFactory
from workflows.execution import services
from workflows.execution.services import ServiceLoop
from workflows.execution.worker import drain
from workflows.messaging.relay import Relay
from workflows.models import Event, Job, Message, uuid7

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _nothing_hurries() -> Any:
    services._hurried.clear()
    yield
    services._hurried.clear()


def emitting(*events: str, name: str = "emits") -> dict[str, Any]:
    tasks = {
        f"t{number}": {"type": "emit", "event": event, "data": {"n": number}} for number, event in enumerate(events, 1)
    }
    names = list(tasks)
    return {
        "name": name,
        "tasks": tasks,
        "transitions": [{"from": a, "to": b} for a, b in itertools.pairwise(names)],
    }


def written(job: Job, sequence: int, type: str = "said", destination: str = "", data: Any = None) -> Message:
    return Message.objects.create(job=job, sequence=sequence, type=type, destination=destination, data=data)


@pytest.fixture
def job(db: None) -> Job:
    return submit(publish(emitting("unused")), correlation_id="A-1")


def sent() -> list[tuple[str, Any]]:
    return list(Event.objects.order_by("id").values_list("type", "data"))


def test_what_a_job_emits_is_an_event_with_the_job_as_its_source(db: None) -> None:
    user = UserFactory()
    job = submit(publish(emitting("order.placed", "order.counted")), correlation_id="A-1", submitted_by=user)
    drain()
    assert Relay().run_once() == {"events": 2, "commands": 0}
    first, second = Event.objects.order_by("id")
    message = Message.objects.get(type="order.placed")
    assert (first.source, first.event_id) == (f"/workflows/emits/jobs/{job.pk}", str(message.pk))
    assert (first.type, first.key, first.data, first.received_by) == ("order.placed", "A-1", {"n": 1}, user)
    assert first.time == message.created_at
    assert second.type == "order.counted"
    assert first.handled_at is not None
    assert not Message.objects.filter(published_at=None).exists()
    assert Relay().run_once() == {"events": 0, "commands": 0}
    assert Event.objects.count() == 2


def test_the_key_of_a_job_without_a_reference_is_its_id(db: None) -> None:
    job = submit(publish(emitting("order.placed")))
    drain()
    Relay().run_once()
    assert Event.objects.get().key == str(job.pk)


def test_a_command_is_out_when_it_is_written_and_is_no_event(db: None) -> None:
    Department.objects.create(code="packing", name="Packing")
    document = {
        "name": "asks",
        "tasks": {"pack": {"type": "external", "department": "packing", "message": {"order": 7}}},
        "transitions": [],
    }
    submit(publish(document))
    drain()
    assert Relay().run_once() == {"events": 0, "commands": 1}
    message = Message.objects.get()
    assert (message.type, message.destination, message.data) == ("task.requested", "packing", {"order": 7})
    assert message.published_at is not None
    assert not Event.objects.exists()


def test_an_event_with_the_name_of_the_command_is_still_an_event(job: Job) -> None:
    written(job, 1, "task.requested")
    assert Relay().run_once() == {"events": 1, "commands": 0}


def test_what_one_job_emits_wakes_what_another_waits_for(db: None) -> None:
    waits = {"name": "waits", "tasks": {"t": {"type": "event", "event": "order.placed"}}, "transitions": []}
    waiter = submit(publish(waits), correlation_id="A-1")
    submit(publish(emitting("order.placed")), correlation_id="A-1")
    drain()
    Relay().run_once()
    drain()
    waiter.refresh_from_db()
    assert (waiter.status, waiter.data.output) == ("DONE", {"n": 1})


def test_the_worker_that_committed_a_message_relays_it_at_its_next_turn(db: None) -> None:
    loop = ServiceLoop()
    loop.run_due()
    submit(publish(emitting("order.placed")), correlation_id="A-1")
    loop.run_due()
    assert not Event.objects.exists()
    drain()
    loop.run_due()
    assert sent() == [("order.placed", {"n": 1})]


def test_a_service_that_found_more_than_one_turn_does_gets_another_at_once(job: Job, monkeypatch: Any) -> None:
    monkeypatch.setattr("workflows.messaging.relay.BATCH", 100)
    for number in range(1, 151):
        written(job, number)
    loop = ServiceLoop()
    loop.run_due()
    assert Event.objects.count() == 100
    loop.run_due()
    assert Event.objects.count() == 150


def test_messages_go_out_in_their_order_whatever_the_order_of_their_ids(job: Job) -> None:
    later, earlier = sorted((uuid7(), uuid7()), reverse=True)
    Message.objects.create(id=later, job=job, sequence=1, type="first")
    Message.objects.create(id=earlier, job=job, sequence=2, type="second")
    Relay().run_once()
    assert [type for type, _ in sent()] == ["first", "second"]


def test_an_idle_relay_asks_once(job: Job) -> None:
    with CaptureQueriesContext(connection) as queries:
        Relay().run_once()
    assert len(queries) == 1


def test_the_number_of_statements_does_not_grow_with_the_number_of_messages(job: Job, monkeypatch: Any) -> None:
    monkeypatch.setattr("workflows.messaging.inbox._handlers", [])
    counts = []
    for size in (1, 30):
        start = Message.objects.count()
        for number in range(start + 1, start + 1 + size):
            written(job, number)
        with CaptureQueriesContext(connection) as queries:
            assert Relay().run_once()["events"] == size
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_a_message_is_not_published_where_its_event_could_not_be_kept(job: Job, monkeypatch: Any) -> None:
    written(job, 1)

    def broken(arrivals: Any) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("workflows.messaging.relay.keep", broken)
    with pytest.raises(RuntimeError):
        Relay().run_once()
    monkeypatch.undo()
    assert Relay().run_once() == {"events": 1, "commands": 0}
    assert Event.objects.count() == 1


def in_a_thread(act: Any) -> Any:
    answers: list[Any] = []

    def run() -> None:
        try:
            answers.append(act())
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return answers[0]


@pytest.mark.postgresql
def test_a_relay_leaves_a_job_alone_while_another_holds_an_earlier_message_of_it(job: Job) -> None:
    first = written(job, 1, "first")
    other = submit(publish(emitting("unused", name="other")))
    with transaction.atomic():
        Message.objects.select_for_update().get(pk=first.pk)

        def write_and_relay() -> dict[str, int]:
            written(job, 2, "second")
            written(other, 1, "of another job")
            return Relay().run_once()

        assert in_a_thread(write_and_relay) == {"events": 1, "commands": 0}
        assert [type for type, _ in sent()] == ["of another job"]
    assert Relay().run_once() == {"events": 2, "commands": 0}
    assert [type for type, _ in sent()] == ["of another job", "first", "second"]


def test_many_relays_at_once_send_each_message_once_and_each_job_s_in_order(on_postgresql: bool) -> None:
    jobs = [submit(publish(emitting("unused", name=f"emits-{number}"))) for number in range(4)]
    size = 25 if on_postgresql else 8
    for number in range(1, size + 1):
        for job in jobs:
            written(job, number, "said", data=number)
    barrier = threading.Barrier(4)
    errors: list[BaseException] = []

    def relay() -> None:
        try:
            barrier.wait()
            while Message.objects.filter(published_at=None).exists():
                Relay().run_once()
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=relay) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    for job in jobs:
        events = Event.objects.filter(source__endswith=str(job.pk)).order_by("id")
        assert [event.data for event in events] == list(range(1, size + 1))
