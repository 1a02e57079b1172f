"""What becomes of an event: workflows that subscribe to it start, once each, and what goes wrong can be seen."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.execution.jobs import publish, submit
from tests.factories import UserFactory
from tests.intake.makers import make_definition
from workflows.execution.prune import Pruner
from workflows.execution.services import ServiceLoop
from workflows.execution.worker import drain
from workflows.intake import events as intake
from workflows.intake.events import EventHandler, handle_event, receive_event, receive_events, retry_event
from workflows.intake.exceptions import EventNotFound, InvalidSubmission
from workflows.intake.subscriptions import AlreadyThere, create, describe, subscribe
from workflows.messaging import inbox
from workflows.messaging.inbox import Arrival, keep
from workflows.models import Event, EventSchema, EventWaiter, History, Job, Subscription, SubscriptionRun, uuid7

pytestmark = pytest.mark.django_db(transaction=True)

ORDER = {"total": 120, "customer": "C-9"}


def event(event_id: str = "1", data: Any = None, **attributes: Any) -> dict[str, Any]:
    return {
        **{"specversion": "1.0", "id": event_id, "source": "/shop", "type": "order.placed", "subject": "A-1"},
        "data": ORDER if data is None else data,
        **attributes,
    }


def subscription(name: str = "start-shipping", **fields: Any) -> Subscription:
    row = Subscription(**{"name": name, "type": "order.placed", "workflow": "ship", **fields})
    row.full_clean()
    row.save()
    return row


@pytest.fixture
def ship(db: None) -> Any:
    return make_definition("ship", input_schema={"type": "object", "required": ["total"]})


def come(*arguments: Any, **attributes: Any) -> Event:
    kept = receive_event(event(*arguments, **attributes), received_by=None).event
    kept.refresh_from_db()
    return kept


# ---- subscriptions --------------------------------------------------------------------------------------------------


def test_an_event_starts_the_workflow_that_subscribes_to_its_type(ship: Any) -> None:
    subscription()
    user = UserFactory()
    kept = receive_event(event(), received_by=user).event
    job = Job.objects.get()
    assert (job.workflow, job.data.input, job.correlation_id, job.submitted_by) == ("ship", ORDER, "A-1", user)
    run = SubscriptionRun.objects.get()
    assert (run.event, run.subscription, run.job) == (kept, "start-shipping", job)
    row = History.objects.get(job=job, event="subscription.started")
    assert row.data == {"subscription": "start-shipping", "event": str(kept.pk), "type": "order.placed"}
    kept.refresh_from_db()
    assert (kept.handled_at is not None, kept.error) == (True, "")


def test_mappings_say_what_the_job_is_given_and_the_condition_which_events_count(ship: Any) -> None:
    subscription(
        when="event.data.total > 100 && event.source == '/shop'",
        input={"total": "${event.data.total}", "from": "${event.source} ${event.id}", "at": "${event.time}"},
        correlation_id="${event.data.customer}-${event.key}",
    )
    come("1", {"total": 99, "customer": "C-9"})
    assert not Job.objects.exists()
    come("2", time="2026-03-01T12:00:00Z")
    job = Job.objects.get()
    assert job.data.input == {"total": 120, "from": "/shop 2", "at": "2026-03-01T12:00:00Z"}
    assert job.correlation_id == "C-9-A-1"


def test_an_event_starts_each_subscription_once_however_often_it_is_handled(ship: Any) -> None:
    subscription("a")
    subscription("b", version=1)
    subscription("c", enabled=False)
    subscription("d", type="order.cancelled")
    kept = come()
    assert receive_event(event(data={"total": 1}), received_by=None).created is False
    Event.objects.update(handled_at=None)
    handle_event(kept.pk)
    retry_event(kept.pk)
    assert sorted(SubscriptionRun.objects.values_list("subscription", flat=True)) == ["a", "b"]
    assert Job.objects.count() == 2


def test_a_refusal_is_kept_with_the_event_and_stops_no_other_subscription(ship: Any) -> None:
    subscription("a-broken", when="event.data.missing == 1")
    subscription("b-refused", input={"no": "total"})
    subscription("c-gone", workflow="ship", version=1)
    Subscription.objects.filter(name="c-gone").update(workflow="gone")
    subscription("d-fine")
    kept = come()
    assert [run.subscription for run in SubscriptionRun.objects.all()] == ["d-fine"]
    broken, refused, gone = kept.error.splitlines()
    assert broken.startswith("a-broken: `event.data.missing` does not exist")
    assert refused == "b-refused: /input/total is required"
    assert gone.startswith("c-gone: /workflow 'gone' is not published")
    assert kept.handled_at is not None
    assert kept.refused is False


def test_a_retry_starts_what_was_refused_and_nothing_twice(ship: Any) -> None:
    subscription("a", input={"no": "total"})
    subscription("b")
    kept = come()
    Subscription.objects.filter(name="a").update(input={"total": 1})
    again = retry_event(kept.pk)
    assert (again.error, again.handled_at is not None) == ("", True)
    assert list(SubscriptionRun.objects.order_by("id").values_list("subscription", flat=True)) == ["b", "a"]
    with pytest.raises(EventNotFound):
        retry_event(uuid7())


def test_an_error_that_nobody_foresaw_is_kept_and_the_database_s_absence_is_not(ship: Any, monkeypatch: Any) -> None:
    subscription("a")
    subscription("b")
    tried: list[Any] = []
    original = intake.start_subscribed.__globals__["submit_job"]

    def broken(submission: Any, **named: Any) -> Any:
        if not tried:
            tried.append(submission)
            raise ZeroDivisionError("oops")
        return original(submission, **named)

    monkeypatch.setitem(intake.start_subscribed.__globals__, "submit_job", broken)
    assert come().error == "a: ZeroDivisionError: oops"
    assert SubscriptionRun.objects.get().subscription == "b"

    def away(*arguments: Any, **named: Any) -> Any:
        raise OperationalError("the database is away")

    monkeypatch.setitem(intake.start_subscribed.__globals__, "submit_job", away)
    kept = come("2")
    assert (kept.handled_at, kept.error) == (None, "")


def test_two_processes_that_handle_an_event_at_once_start_each_subscription_once(ship: Any) -> None:
    subscription("a")
    subscription("b")
    for number in range(5):
        with transaction.atomic():
            [kept] = keep([Arrival("/shop", f"e{number}", "order.placed", data=ORDER)])
            Event.objects.filter(pk=kept.event.pk).update(handled_at=timezone.now())
        Event.objects.update(handled_at=None)
        barrier = threading.Barrier(3)
        errors: list[BaseException] = []

        def handle(barrier: Any = barrier, errors: Any = errors, event_id: Any = kept.event.pk) -> None:
            try:
                barrier.wait()
                handle_event(event_id)
            except BaseException as error:
                errors.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=handle) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors, errors
        assert SubscriptionRun.objects.filter(event=kept.event).count() == 2
    assert Job.objects.count() == SubscriptionRun.objects.count() == 10
    assert not Event.objects.exclude(error="").exists()


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"when": "event.data.total >"}, "when", "ends too early"),
        ({"when": "input.total > 1"}, "when", "Only `event` can be read here, not input."),
        ({"input": {"total": "${event.data"}}, "input", "never closed"),
        ({"input": {"total": ["${job.id}"]}}, "input", "not job"),
        ({"correlation_id": "${tasks.a.output}"}, "correlation_id", "not tasks"),
        ({"workflow": "nowhere"}, "workflow", "There is no workflow 'nowhere'; publish it first."),
        ({"version": 7}, "version", "There is no workflow 'ship' with a version 7."),
    ],
)
def test_a_subscription_that_could_never_start_a_job_is_refused(
    ship: Any, fields: dict[str, Any], field: str, says: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        subscription(**fields)
    assert set(caught.value.message_dict) == {field}
    assert says in caught.value.message_dict[field][0]


def test_subscriptions_and_schemas_are_made_by_script_and_kept_as_they_are(ship: Any) -> None:
    row = {"name": "a", "type": "order.placed", "workflow": "ship"}
    assert [done.change for done in subscribe([row])] == ["created"]
    assert [done.change for done in subscribe([{**row, "when": "true"}])] == ["kept"]
    assert [done.change for done in subscribe([{**row, "when": "true"}], replace=True)] == ["replaced"]
    assert Subscription.objects.get().when == "true"
    with pytest.raises(AlreadyThere):
        create(Subscription(), row)
    with pytest.raises(InvalidSubmission) as caught:
        subscribe([{"name": "b", "type": "t", "workflow": "ship"}, {"name": "c", "type": "t", "workflow": "no"}])
    assert [fault.pointer for fault in caught.value.faults] == ["/1/workflow"]
    assert not Subscription.objects.filter(name="b").exists(), "all or none"
    assert [done.change for done in describe([{"type": "t", "schema": {"type": "object"}}])] == ["created"]


def test_the_command_makes_what_its_files_say_and_names_what_is_wrong_with_them(ship: Any, tmp_path: Any) -> None:
    def run(rows: Any, *options: str, schemas: bool = False) -> str:
        path = tmp_path / "rows.json"
        path.write_text(rows if isinstance(rows, str) else json.dumps(rows), encoding="utf-8")
        out = StringIO()
        call_command("subscribe", *(["--schemas"] if schemas else []), str(path), *options, stdout=out)
        return out.getvalue()

    row = {"name": "a", "type": "order.placed", "workflow": "ship"}
    assert run([row]) == "created  subscription a\n"
    assert run([row]) == "kept     subscription a\n"
    assert run([row], "--replace") == "replaced subscription a\n"
    assert run([{"type": "t", "schema": {"type": "object"}}], schemas=True) == "created  event schema t\n"
    for rows, says in (
        ("{", "cannot be read"),
        ({}, "holds no list"),
        ([{"type": "t"}], "/0/name is required"),
        ([row, "b"], "/1/name is required"),
        ([{**row, "save": 1}], "/0/save is not expected"),
        ([{**row, "name": "b", "when": "event."}], "/0/when"),
    ):
        with pytest.raises(CommandError, match=says):
            run(rows)
    assert list(Subscription.objects.values_list("name", flat=True)) == ["a"]


# ---- schemas --------------------------------------------------------------------------------------------------------


@pytest.fixture
def schema(db: None) -> EventSchema:
    return EventSchema.objects.create(
        type="order.placed", schema={"type": "object", "properties": {"total": {"type": "number"}}}
    )


def test_an_event_with_a_wrong_schema_is_refused_with_the_place_and_nothing_is_kept(schema: EventSchema) -> None:
    with pytest.raises(InvalidSubmission) as caught:
        receive_event(event(data={"total": "much"}), received_by=None)
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [("/data/total", "type")]
    with pytest.raises(InvalidSubmission) as caught:
        receive_events([event(), event("2", {"total": "much"}), {"id": "3"}], received_by=None)
    assert {fault.pointer for fault in caught.value.faults} == {
        *("/1/data/total", "/2/specversion", "/2/source", "/2/type")
    }
    assert not Event.objects.exists()


def test_a_changed_schema_is_in_use_at_once(schema: EventSchema) -> None:
    come()
    schema.schema = {"type": "string"}
    schema.save()
    with pytest.raises(InvalidSubmission):
        come("2")
    schema.delete()
    assert come("3").refused is False


def test_what_a_job_emits_against_its_schema_wakes_nobody_and_says_why(ship: Any, schema: EventSchema) -> None:
    subscription()
    waits = {"name": "waits", "tasks": {"t": {"type": "event", "event": "order.placed"}}, "transitions": []}
    job = submit(publish(waits), correlation_id="A-1")
    drain()
    with transaction.atomic():
        [kept] = keep([Arrival("/workflows/x", "1", "order.placed", "A-1", data={"total": "much"})])
    kept.event.refresh_from_db()
    assert kept.event.refused is True
    assert kept.event.error.startswith("Its data breaks the schema of its type: /data/total ")
    assert not SubscriptionRun.objects.exists()
    schema.delete()
    assert retry_event(kept.event.pk).refused is False
    assert SubscriptionRun.objects.count() == 1
    drain()
    job.refresh_from_db()
    assert job.status == "DONE"


def test_a_schema_that_nothing_could_be_held_against_is_refused(db: None) -> None:
    with pytest.raises(ValidationError) as caught:
        EventSchema(type="t", schema={"type": "nonsense"}).full_clean()
    assert "schema" in caught.value.message_dict


# ---- keeping, and what was left -------------------------------------------------------------------------------------


def test_a_repeated_event_changes_nothing_also_within_a_batch(db: None) -> None:
    first = receive_event(event(), received_by=None)
    again = receive_event(event(data={"total": 7}, subject="B"), received_by=None)
    assert (again.created, again.event.pk, again.event.data, again.event.key) == (False, first.event.pk, ORDER, "A-1")
    batch = receive_events([event(), event("2"), event("2"), event("2", source="/other")], received_by=None)
    assert [kept.created for kept in batch] == [False, True, False, True]
    assert batch[1].event.pk == batch[2].event.pk
    assert Event.objects.count() == 3


def test_a_batch_has_its_bound_and_its_cost_does_not_grow_with_it(db: None, monkeypatch: Any) -> None:
    with pytest.raises(InvalidSubmission):
        receive_events([event(str(number)) for number in range(1001)], received_by=None)
    monkeypatch.setattr(inbox, "_handlers", [])
    counts = []
    for size in (2, 40):
        documents = [event(f"{size}-{number}") for number in range(size)]
        with CaptureQueriesContext(connection) as queries:
            receive_events(documents, received_by=None)
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_the_time_to_live_is_the_event_s_own_or_the_setting_s(settings: Any) -> None:
    settings.WORKFLOW_EVENT_TTL_SECONDS = 60
    short, own = come(), come("2", timetolive="PT2H")
    assert (short.expires_at - short.received_at, own.expires_at - own.received_at) == (
        timedelta(minutes=1),
        timedelta(hours=2),
    )


def test_the_service_handles_what_a_crash_left_and_asks_once_when_idle(ship: Any, monkeypatch: Any) -> None:
    subscription()
    with monkeypatch.context() as crash:
        crash.setattr(inbox, "_handlers", [])
        kept = come()
    assert EventHandler().run_once() == {"handled": 0}, "not so early: it may be handled at this moment"
    Event.objects.update(received_at=timezone.now() - timedelta(seconds=10))
    assert EventHandler().run_once() == {"handled": 1}
    assert SubscriptionRun.objects.get().event == kept
    with CaptureQueriesContext(connection) as queries:
        assert EventHandler().run_once() == {"handled": 0}
    assert len(queries) == 1


def test_a_crowd_of_waiters_is_woken_in_portions_and_then_the_subscriptions_start(ship: Any, monkeypatch: Any) -> None:
    subscription()
    monkeypatch.setattr(intake.handle_event, "__kwdefaults__", {"most": 2})
    monkeypatch.setattr(intake, "WAKE_IN_A_TURN", 2)
    waits = publish({"name": "waits", "tasks": {"t": {"type": "event", "event": "order.placed"}}, "transitions": []})
    for _ in range(5):
        submit(waits, correlation_id="A-1")
    drain()
    kept = come()
    assert kept.handled_at is None
    Event.objects.update(received_at=timezone.now() - timedelta(seconds=10))
    loop = ServiceLoop()
    loop.run_due()
    assert EventWaiter.objects.filter(event=kept).count() == 4
    loop.run_due()
    kept.refresh_from_db()
    assert kept.handled_at is not None, "an event that is not done with is gone on with at the next turn"
    assert EventWaiter.objects.filter(event=kept).count() == 5
    assert SubscriptionRun.objects.count() == 1


def test_expired_events_that_nobody_refers_to_are_pruned_and_no_others(ship: Any) -> None:
    subscription(when="event.data.total > 100")
    started, nobody, failed, fresh = (
        come("1"), come("2", {"total": 1}), come("3", {"total": "x"}), come("4", {"total": 1})
    )  # fmt: skip
    waits = publish({"name": "waits", "tasks": {"t": {"type": "event", "event": "order.placed"}}, "transitions": []})
    submit(waits, correlation_id="W")
    drain()
    woke = come("5", {"total": 1}, subject="W")
    assert failed.error
    old = Event.objects.exclude(pk=fresh.pk)
    old.update(expires_at=timezone.now() - timedelta(days=6))
    assert Pruner().run_once()["events"] == 0
    old.update(expires_at=timezone.now() - timedelta(days=8))
    assert Pruner().run_once()["events"] == 1
    assert set(Event.objects.values_list("pk", flat=True)) == {started.pk, failed.pk, fresh.pk, woke.pk}
    assert nobody.pk not in Event.objects.values_list("pk", flat=True)
    old.update(expires_at=timezone.now() - timedelta(days=31))
    assert Pruner().run_once()["events"] == 1
    assert not Event.objects.filter(pk=failed.pk).exists()
