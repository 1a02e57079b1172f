"""Events and waiters: whichever comes last finds the other, and nobody is told twice."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.execution.jobs import publish, submit
from workflows.engine.events import AwaitEvent
from workflows.execution import events as matching
from workflows.execution.events import Waiters, await_events, look_for_events, wake_waiters
from workflows.execution.exceptions import JobFinished
from workflows.execution.parking import ParkedJob
from workflows.execution.worker import drain
from workflows.messaging import inbox
from workflows.messaging.inbox import Arrival, keep
from workflows.models import Event, EventWaiter, History, Job, JobData, Signal, TaskRun
from workflows.operations import cancel_job

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)


def waiting_for(*tasks: tuple[str, str | None], **fields: Any) -> dict[str, Any]:
    """A definition whose tasks t1, t2 … wait, one after the other, for these types and keys."""
    names = [f"t{number}" for number in range(1, len(tasks) + 1)]
    specs = [
        {"type": "event", "event": type, **({} if key is None else {"correlation_key": key})} for type, key in tasks
    ]
    return {
        "name": "waits",
        "tasks": dict(zip(names, specs, strict=True)),
        "transitions": [{"from": a, "to": b} for a, b in itertools.pairwise(names)],
        **fields,
    }


def comes(type: str = "paid", key: str = "A-1", data: Any = None, *, event_id: str = "", **fields: Any) -> Event:
    """An event that is committed."""
    number = event_id or f"e{Event.objects.count() + 1}"
    with transaction.atomic():
        [kept] = keep([Arrival("/bank", number, type, key, data=data, **fields)])
    return kept.event


def status_of(job: Job) -> str:
    return str(Job.objects.values_list("status", flat=True).get(pk=job.pk))


def outputs(job: Job) -> list[Any]:
    return list(TaskRun.objects.filter(job=job, status="done").order_by("sequence").values_list("output", flat=True))


@pytest.fixture
def waits() -> Any:
    return publish(waiting_for(("paid", None)))


def test_an_event_wakes_the_task_that_waits_for_it_and_is_its_output(waits: Any) -> None:
    job = submit(waits, correlation_id="A-1")
    drain()
    assert status_of(job) == "PEND"
    event = comes(data={"amount": 7})
    assert status_of(job) == "READY"
    drain()
    assert (status_of(job), outputs(job)) == ("DONE", [{"amount": 7}])
    waiter = EventWaiter.objects.get()
    assert (waiter.event, waiter.closed_at is not None, waiter.event.used) == (event, True, True)
    row = History.objects.get(job=job, event="event.received")
    assert row.data == {"event": str(event.pk), "type": "paid", "key": "A-1", "source": "/bank"}


def test_an_event_that_came_before_its_waiter_counts(waits: Any) -> None:
    comes(data=1)
    job = submit(waits, correlation_id="A-1")
    drain()
    assert (status_of(job), outputs(job)) == ("DONE", [1])


def test_an_event_that_expired_before_its_waiter_began_does_not_count(waits: Any) -> None:
    event = comes(data=1)
    Event.objects.filter(pk=event.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    job = submit(waits, correlation_id="A-1")
    drain()
    assert status_of(job) == "PEND"
    assert EventWaiter.objects.get().looked_at is not None
    event.refresh_from_db()
    assert wake_waiters(event, most=0) is True, "for the event there is nobody to come back for"


def test_an_event_without_time_to_live_counts_for_those_who_wait_already_and_nobody_else(waits: Any) -> None:
    first, second = submit(waits, correlation_id="A-1"), submit(waits, correlation_id="A-1")
    Job.objects.filter(pk=second.pk).update(run_at=timezone.now() + HOUR)
    drain()
    comes(time_to_live=timedelta(0))
    Job.objects.filter(pk=second.pk).update(run_at=timezone.now())
    drain()
    assert (status_of(first), status_of(second)) == ("DONE", "PEND")


@pytest.mark.parametrize(("type", "key"), [("paid", "A-2"), ("refused", "A-1"), ("paid", ""), ("Paid", "A-1")])
def test_another_type_or_key_wakes_nobody(waits: Any, type: str, key: str) -> None:
    job = submit(waits, correlation_id="A-1")
    drain()
    comes(type, key)
    assert status_of(job) == "PEND"
    assert not Signal.objects.exists()


def test_one_event_wakes_every_waiter_of_its_type_and_key() -> None:
    document = waiting_for(("paid", "K"))
    document["tasks"]["other"] = {"type": "event", "event": "paid", "correlation_key": "K"}
    jobs = [submit(publish(document)) for _ in range(3)]
    drain()
    comes(key="K", data="x")
    drain()
    assert [status_of(job) for job in jobs] == ["DONE"] * 3
    assert [outputs(job) for job in jobs] == [["x", "x"]] * 3


def test_no_task_gets_the_same_event_twice_and_each_iteration_takes_the_next() -> None:
    document = waiting_for(("paid", None))
    document["tasks"]["more"] = {"type": "pass"}
    document["transitions"] = [
        {"from": "t1", "to": "more", "when": "output.more", "default": False},
        {"from": "more", "to": "t1", "loop": {"max_iterations": 5}},
    ]
    document["transitions"][0].pop("default")
    job = submit(publish(document), correlation_id="A-1")
    comes(data={"more": True, "n": 1})
    comes(data={"more": True, "n": 2})
    drain()
    assert status_of(job) == "PEND"
    assert [waiter.iteration for waiter in EventWaiter.objects.filter(closed_at=None)] == [3]
    comes(data={"more": False, "n": 3})
    drain()
    assert status_of(job) == "DONE"
    runs = TaskRun.objects.filter(job=job, task="t1").order_by("iteration")
    assert [run.output["n"] for run in runs] == [1, 2, 3]


def test_a_later_task_of_the_job_may_get_what_an_earlier_one_got() -> None:
    job = submit(publish(waiting_for(("paid", None), ("paid", None))), correlation_id="A-1")
    comes(data=1)
    drain()
    assert (status_of(job), outputs(job)) == ("DONE", [1, 1])


def test_without_a_reference_a_job_waits_for_its_own_id_and_not_for_everybody_else_s_nothing(waits: Any) -> None:
    job = submit(waits)
    drain()
    comes(key="")
    assert status_of(job) == "PEND"
    comes(key=str(job.pk))
    drain()
    assert status_of(job) == "DONE"


def test_a_key_that_is_empty_on_purpose_waits_for_events_without_one() -> None:
    job = submit(publish(waiting_for(("opened", "${''}"))), correlation_id="A-1")
    drain()
    comes("opened", "")
    drain()
    assert status_of(job) == "DONE"


def test_a_key_that_no_event_can_have_fails_the_task() -> None:
    job = submit(publish(waiting_for(("paid", "${input.key}"))), {"key": "x" * 201})
    drain()
    job.refresh_from_db()
    assert job.status == "FAIL"
    assert job.data.error["name"] == "ValidationError"
    assert "at most 200 characters" in job.data.error["cause"]
    assert not EventWaiter.objects.exists()


def test_a_cancelled_job_waits_for_nothing(waits: Any) -> None:
    job = submit(waits, correlation_id="A-1")
    drain()
    cancel_job(job.pk, actor="operator")
    waiter = EventWaiter.objects.get()
    assert (waiter.closed_at is not None, waiter.event) == (True, None)
    comes()
    assert not Signal.objects.exists()


def test_a_wait_that_timed_out_is_closed_and_the_next_attempt_waits_anew() -> None:
    document = waiting_for(("paid", None))
    document["tasks"]["t1"] |= {"timeout": "PT1H", "retry": [{"errors": ["Timeout"], "max_attempts": 2}]}
    job = submit(publish(document), correlation_id="A-1")
    drain()
    data = JobData.objects.get(pk=job.pk)
    data.state["tasks"]["t1"]["timeout_at"] = "2020-01-01T00:00:00Z"
    data.save()
    Job.objects.filter(pk=job.pk).update(status="READY", wake_at=None)
    drain()
    data.refresh_from_db()
    data.state["tasks"]["t1"]["wake_at"] = "2020-01-01T00:00:00Z"
    data.save()
    Job.objects.filter(pk=job.pk).update(status="READY", wake_at=None)
    drain()
    waiters = EventWaiter.objects.order_by("attempt")
    assert [(waiter.attempt, waiter.closed_at is None) for waiter in waiters] == [(1, False), (2, True)]
    comes()
    drain()
    assert status_of(job) == "DONE"


def test_a_waiter_whose_job_has_ended_is_closed_and_disturbs_nobody(waits: Any, monkeypatch: Any) -> None:
    job = submit(waits, correlation_id="A-1")
    drain()

    def ended(*arguments: Any, **named: Any) -> None:
        job.refresh_from_db()
        job.finished_at = timezone.now()
        raise JobFinished(job)

    monkeypatch.setattr(matching, "signal_job", ended)
    comes()
    waiter = EventWaiter.objects.get()
    assert (waiter.closed_at is not None, waiter.event) == (True, None)


def test_an_event_that_was_refused_wakes_nobody(waits: Any) -> None:
    event = comes(data=1)
    Event.objects.filter(pk=event.pk).update(refused=True)
    job = submit(waits, correlation_id="A-1")
    drain()
    assert status_of(job) == "PEND"


def test_a_look_that_fails_does_not_undo_the_commit_that_it_came_after(waits: Any, monkeypatch: Any) -> None:
    def broken(waiter: Any) -> Any:
        raise OperationalError("the database is away")

    with monkeypatch.context() as failing:
        failing.setattr(matching, "_event_for", broken)
        job = submit(waits, correlation_id="A-1")
        drain()
    assert (status_of(job), EventWaiter.objects.get().closed_at) == ("PEND", None)
    comes()
    assert status_of(job) == "READY"


# ---- what a crash leaves --------------------------------------------------------------------------------------------


def test_the_service_looks_where_a_waiter_s_own_look_was_lost(waits: Any, monkeypatch: Any) -> None:
    comes(data=1)
    job = submit(waits, correlation_id="A-1")
    with monkeypatch.context() as lost:
        lost.setattr(matching, "look_for_events", lambda job_id: 0)
        drain()
    assert (status_of(job), EventWaiter.objects.get().looked_at) == ("PEND", None)
    assert Waiters().run_once() == {"woken": 0}, "not so early: its own look may still come"
    EventWaiter.objects.update(created_at=timezone.now() - timedelta(seconds=10))
    assert Waiters().run_once() == {"woken": 1}
    assert Waiters().run_once() == {"woken": 0}
    drain()
    assert status_of(job) == "DONE"


def test_an_idle_service_asks_once_however_many_wait(waits: Any) -> None:
    for number in range(5):
        submit(waits, correlation_id=f"A-{number}")
    drain()
    EventWaiter.objects.update(created_at=timezone.now() - HOUR)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert Waiters().run_once() == {"woken": 0}
    assert len(queries) == 1


def test_one_call_wakes_no_more_than_it_may_and_says_so(waits: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(inbox, "_handlers", [])
    jobs = [submit(waits, correlation_id="A-1") for _ in range(5)]
    drain()
    event = comes()
    assert wake_waiters(event, most=3) is False
    assert [status_of(job) for job in jobs].count("READY") == 3
    assert wake_waiters(event, most=3) is True
    assert [status_of(job) for job in jobs].count("READY") == 5
    assert Signal.objects.count() == 5


# ---- at the same moment ---------------------------------------------------------------------------------------------


def at_once(*acts: Callable[[], object]) -> None:
    """Run these in threads of their own that start together; fails where one of them does."""
    barrier = threading.Barrier(len(acts))
    errors: list[BaseException] = []

    def run(act: Callable[[], object]) -> None:
        try:
            barrier.wait()
            act()
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors


def test_an_event_and_its_waiter_committed_at_the_same_moment_meet_exactly_once(
    waits: Any, on_postgresql: bool
) -> None:
    rounds = 25 if on_postgresql else 6
    for number in range(rounds):
        key = f"K-{number}"
        job = submit(waits, correlation_id=key)
        at_once(drain, partial(comes, key=key, data=key, event_id=key))
        drain()
        assert (status_of(job), outputs(job)) == ("DONE", [key])
    assert History.objects.filter(event="event.received").count() == rounds
    assert not EventWaiter.objects.filter(closed_at=None).exists()


def test_two_events_at_the_same_moment_wake_a_waiter_once_and_one_of_them_is_left(
    waits: Any, on_postgresql: bool
) -> None:
    for number in range(10 if on_postgresql else 3):
        job = submit(waits, correlation_id=f"K-{number}")
        drain()
        at_once(*[partial(comes, key=f"K-{number}", event_id=f"{number}-{one}") for one in range(3)])
        assert Signal.objects.filter(job=job).count() == 1
        drain()
        assert status_of(job) == "DONE"


@pytest.mark.postgresql
def test_a_waiter_that_is_committed_while_its_event_is_not_yet_is_found_by_the_event(waits: Any) -> None:
    job = submit(waits, correlation_id="A-1")
    with transaction.atomic():
        keep([Arrival("/bank", "1", "paid", "A-1")])
        at_once(drain)
        assert EventWaiter.objects.get().looked_at is not None
        assert status_of(job) == "PEND"
    assert status_of(job) == "READY"


@pytest.mark.postgresql
def test_an_event_that_is_committed_while_its_waiter_is_not_yet_is_found_by_the_waiter(waits: Any) -> None:
    job = submit(waits, correlation_id="another key")
    drain()
    with transaction.atomic():
        await_events(ParkedJob(job.pk, "waits", "A-1"), [AwaitEvent("t1", 2, 1, "paid")])
        at_once(comes)
        assert Event.objects.get().handled_at is not None
        assert not Signal.objects.exists()
    assert status_of(job) == "READY"


def test_many_who_match_at_once_tell_each_waiter_once(waits: Any, on_postgresql: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(inbox, "_handlers", [])
    for number in range(6 if on_postgresql else 2):
        jobs = [submit(waits, correlation_id=f"K-{number}") for _ in range(3)]
        drain()
        event = comes(key=f"K-{number}", event_id=f"e-{number}")
        looks = [partial(look_for_events, job.pk) for job in jobs]
        EventWaiter.objects.filter(closed_at=None).update(looked_at=None)
        at_once(*[partial(wake_waiters, event)] * 3, *looks)
        assert Signal.objects.filter(job__in=jobs).count() == 3
        assert EventWaiter.objects.filter(event=event).count() == 3
        drain()
