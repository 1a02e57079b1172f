"""Events in the admin: read, handled again, and configured by table."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from tablib import Dataset

from tests.execution.jobs import publish, submit
from tests.factories import UserFactory
from tests.intake.makers import make_definition
from workflows.admin.events import EventSchemaResource, SubscriptionResource
from workflows.execution.worker import drain
from workflows.intake.events import receive_event
from workflows.models import Event, EventSchema, Message, Subscription, SubscriptionRun

pytestmark = pytest.mark.django_db(transaction=True)
EVENT = {"specversion": "1.0", "id": "1", "source": "/bank", "type": "paid", "subject": "A-1", "data": {"amount": 7}}


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:workflows_{name}", args=args)


@pytest.fixture
def boss() -> Client:
    client = Client()
    client.force_login(UserFactory(username="boss", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def event(db: None) -> Event:
    """One that woke a task, started a job, and could not start another."""
    make_definition("ship")
    Subscription.objects.create(name="a-fine", type="paid", workflow="ship")
    Subscription.objects.create(name="b-broken", type="paid", workflow="gone")
    waits = {"name": "waits", "tasks": {"t": {"type": "event", "event": "paid"}}, "transitions": []}
    submit(publish(waits), correlation_id="A-1")
    drain()
    kept = receive_event(EVENT, received_by=None).event
    kept.refresh_from_db()
    return kept


def test_every_page_of_events_opens(boss: Client, event: Event) -> None:
    message = Message.objects.create(job=event.waiters.get().job, sequence=1, type="said", data={"a": 1})
    schema = EventSchema.objects.create(type="said", schema={"type": "object"})
    rows = {
        "event": event, "subscription": Subscription.objects.get(name="a-fine"), "eventschema": schema,
        "message": message,
    }  # fmt: skip
    for name, row in rows.items():
        assert boss.get(page(f"{name}_changelist")).status_code == 200, name
        assert boss.get(page(f"{name}_change", row.pk)).status_code == 200, name
    shown = boss.get(page("event_change", event.pk)).content.decode()
    assert str(event.waiters.get().job_id) in shown
    assert "a-fine" in shown
    assert "is not published" in shown


@pytest.mark.parametrize(("query", "found"), [("state=failed", 1), ("state=waiting", 0), ("q=A-1", 1), ("q=A-2", 0)])
def test_events_are_found_by_key_and_by_what_became_of_them(boss: Client, event: Event, query: str, found: int) -> None:
    response = boss.get(f"{page('event_changelist')}?{query}")
    assert response.context["cl"].result_count == found


def test_an_event_is_handled_again_by_an_operator_and_that_is_logged(boss: Client, event: Event) -> None:
    body = {"action": "retry_selected", "_selected_action": [str(event.pk)]}
    failed = boss.post(page("event_changelist"), body, follow=True)
    assert any("b-broken" in str(message) for message in failed.context["messages"])
    make_definition("gone")
    boss.post(page("event_changelist"), body)
    assert sorted(SubscriptionRun.objects.values_list("subscription", flat=True)) == ["a-fine", "b-broken"]
    assert LogEntry.objects.filter(object_id=str(event.pk)).count() == 2


def test_an_operator_reads_events_and_messages_and_a_configurator_keeps_the_tables(event: Event) -> None:
    pages = {"operators": ("event", "message"), "configurators": ("subscription", "eventschema")}
    for group, own in pages.items():
        user = UserFactory(is_staff=True)
        user.groups.add(Group.objects.get(name=group))
        client = Client()
        client.force_login(user)
        for name in sum(pages.values(), ()):
            assert client.get(page(f"{name}_changelist")).status_code == (200 if name in own else 403), (group, name)
        assert client.get(page("event_add")).status_code == 403


def test_a_subscription_that_could_never_start_a_job_is_refused_by_the_form(boss: Client) -> None:
    make_definition("ship")
    body = {"name": "a", "type": "paid", "workflow": "ship", "enabled": "on", "when": "event.", "input": "null"}
    assert "when" in boss.post(page("subscription_add"), body).context["adminform"].form.errors
    assert boss.post(page("subscription_add"), {**body, "when": "event.key != ''"}).status_code == 302
    assert Subscription.objects.get().input is None


def test_subscriptions_and_schemas_are_exported_and_a_faulty_import_is_refused(db: None) -> None:
    make_definition("ship")
    Subscription.objects.create(name="a", type="paid", workflow="ship", input={"x": "${event.key}"})
    EventSchema.objects.create(type="paid", schema={"type": "object"})
    for resource in (SubscriptionResource(), EventSchemaResource()):
        saved = Dataset().load(resource.export().csv, format="csv")
        result = resource.import_data(saved, dry_run=False)
        assert not result.has_errors()
        assert not result.has_validation_errors()
        assert result.totals["skip"] == 1
    rows = Dataset(headers=["name", "type", "workflow", "enabled", "when"])
    rows.append(["b", "paid", "nowhere", "1", ""])
    assert SubscriptionResource().import_data(rows, dry_run=False).has_validation_errors()
    rows = Dataset(headers=["type", "schema"])
    rows.append(["b", '{"type": "nonsense"}'])
    assert EventSchemaResource().import_data(rows, dry_run=False).has_validation_errors()
    assert not Subscription.objects.filter(name="b").exists()
