"""Events over REST: three ways to send one, and what can be seen of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from tests.execution.jobs import publish, submit
from tests.factories import UserFactory
from tests.intake.makers import make_definition
from workflows.execution.worker import drain
from workflows.models import Event, EventSchema, Job, Subscription, uuid7

pytestmark = pytest.mark.django_db(transaction=True)
EVENTS = "/api/v1/events/"
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
HEADERS = {
    "HTTP_CE_SPECVERSION": "1.0",
    "HTTP_CE_ID": "1",
    "HTTP_CE_SOURCE": "/bank",
    "HTTP_CE_TYPE": "payment.taken",
}


def event(event_id: str = "1", **attributes: Any) -> dict[str, Any]:
    return {
        **{"specversion": "1.0", "id": event_id, "source": "/bank", "type": "payment.taken", "subject": "A-1"},
        "data": {"amount": 7},
        **attributes,
    }


def send(client: APIClient, document: Any, content_type: str = STRUCTURED) -> Any:
    return client.post(EVENTS, json.dumps(document), content_type=content_type)


def codes(response: Any, status: int = 422) -> set[tuple[str, str]]:
    assert response.status_code == status, response.content[:500]
    assert response["Content-Type"] == "application/problem+json"
    return {(error["pointer"], error["code"]) for error in response.json()["errors"]}


def test_a_structured_event_is_kept_once(client: APIClient) -> None:
    response = send(client, event(), f"{STRUCTURED}; charset=utf-8")
    assert response.status_code == 201, response.content
    body = response.json()
    assert (
        body.items()
        >= {
            **{"source": "/bank", "event_id": "1", "type": "payment.taken", "subject": "A-1", "key": "A-1"},
            **{"time": None, "refused": False, "error": "", "duplicate": False},
        }.items()
    )
    assert response["Location"].endswith(f"{EVENTS}{body['id']}/")
    again = send(client, event(data={"amount": 9}))
    assert (again.status_code, again.json()["duplicate"], again.json()["id"]) == (200, True, body["id"])
    assert Event.objects.get().data == {"amount": 7}
    assert Event.objects.get().received_by == client.user  # type: ignore[attr-defined]


def test_a_binary_event_has_its_attributes_in_the_headers(client: APIClient) -> None:
    headers = {**HEADERS, "HTTP_CE_SUBJECT": "caf%C3%A9", "HTTP_CE_TIMETOLIVE": "PT1H"}
    response = client.post(EVENTS, json.dumps({"amount": 7}), content_type="application/json", **headers)
    assert response.status_code == 201, response.content
    kept = Event.objects.get()
    assert (kept.key, kept.data, kept.expires_at - kept.received_at) == ("café", {"amount": 7}, timedelta(hours=1))


def test_a_binary_event_may_have_no_body(client: APIClient) -> None:
    response = client.generic("POST", EVENTS, "", content_type="", **HEADERS)
    assert response.status_code == 201, response.content
    assert Event.objects.get().data is None


def test_a_body_without_attributes_is_refused_with_the_names_of_those_it_needs(client: APIClient) -> None:
    response = client.post(EVENTS, json.dumps({"amount": 7}), content_type="application/json")
    assert codes(response) == {(f"/{name}", "required") for name in ("specversion", "id", "source", "type")}
    response = client.post(EVENTS, "{}", content_type="application/json", **{**HEADERS, "HTTP_CE_SUBJECT": "%ff"})
    assert codes(response) == {("/subject", "invalid_header")}


def test_a_batch_is_kept_whole_or_not_at_all(client: APIClient) -> None:
    response = send(client, [event(), event("2", specversion="0.3"), {"id": "3"}], BATCH)
    assert ("/1/specversion", "unsupported_version") in codes(response)
    assert ("/2/source", "required") in codes(response)
    assert not Event.objects.exists()
    response = send(client, [event(), event("2"), event()], BATCH)
    assert response.status_code == 201
    assert [one["duplicate"] for one in response.json()["events"]] == [False, False, True]
    assert send(client, [event(), event("2")], BATCH).status_code == 200
    assert send(client, [], BATCH).json() == {"events": []}
    assert codes(send(client, event(), BATCH)) == {("", "type")}
    assert codes(send(client, [event("x")] * 1001, BATCH)) == {("", "too_many")}


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (event(source="two words"), ("/source", "format")),
        (event(data_base64="AAAA"), ("/data_base64", "binary_data")),
        (event(timetolive="soon"), ("/timetolive", "format")),
        ([event()], ("", "type")),
        ("event", ("", "type")),
    ],
)
def test_what_is_no_event_is_refused_by_name(client: APIClient, document: Any, fault: tuple[str, str]) -> None:
    assert codes(send(client, document)) == {fault}


def test_an_event_with_a_wrong_schema_is_refused_with_the_place_in_its_data(client: APIClient) -> None:
    EventSchema.objects.create(type="payment.taken", schema={"type": "object", "required": ["amount", "iban"]})
    assert codes(send(client, event())) == {("/data/iban", "required")}
    assert not Event.objects.exists()


def test_a_body_that_cannot_be_read_is_400_and_another_type_415(client: APIClient) -> None:
    assert client.post(EVENTS, "{", content_type=STRUCTURED).status_code == 400
    assert client.post(EVENTS, "{", content_type="application/json", **HEADERS).status_code == 400
    assert client.post(EVENTS, "<a/>", content_type="application/xml", **HEADERS).status_code == 415


def test_sending_needs_the_scope_submit_and_reading_is_for_operators_and_the_sender(
    client_of: Callable[..., APIClient], operator: APIClient
) -> None:
    sender, other = UserFactory(), UserFactory()
    assert APIClient().post(EVENTS, json.dumps(event()), content_type=STRUCTURED).status_code == 401
    assert send(client_of(sender, ("read",)), event()).status_code == 403
    where = send(client_of(sender, ("submit",)), event()).json()["id"]
    page = f"{EVENTS}{where}/"
    assert client_of(sender, ("read",)).get(page).status_code == 200
    assert client_of(other).get(page).status_code == 404
    assert client_of(other).post(f"{page}retry/").status_code == 404
    assert client_of(sender).post(f"{page}retry/").status_code == 403
    assert client_of(sender).get(EVENTS).status_code == 403
    assert operator.get(EVENTS).status_code == 200
    assert operator.get(page).status_code == 200
    assert operator.get(f"{EVENTS}{uuid7()}/").status_code == 404


def test_the_page_of_an_event_says_whom_it_woke_and_what_it_started(client: APIClient, operator: APIClient) -> None:
    make_definition("ship")
    Subscription.objects.create(name="start-shipping", type="payment.taken", workflow="ship")
    Subscription.objects.create(name="z-broken", type="payment.taken", workflow="gone")
    waits = {"name": "waits", "tasks": {"t": {"type": "event", "event": "payment.taken"}}, "transitions": []}
    waiter = submit(publish(waits), correlation_id="A-1")
    drain()
    page = send(client, event())["Location"]
    body = operator.get(page).json()
    started = Job.objects.get(workflow="ship")
    assert [(one["job"], one["task"], one["iteration"]) for one in body["woke"]] == [(str(waiter.pk), "t", 1)]
    assert [(one["subscription"], one["job"]) for one in body["started"]] == [("start-shipping", str(started.pk))]
    assert body["data"] == {"amount": 7}
    assert body["error"].startswith("z-broken: /workflow 'gone' is not published")
    make_definition("gone")
    again = operator.post(f"{page}retry/")
    assert again.status_code == 200
    assert [one["subscription"] for one in again.json()["started"]] == ["start-shipping", "z-broken"]
    assert again.json()["error"] == ""


def test_the_list_is_filtered_by_what_operators_ask(client: APIClient, operator: APIClient) -> None:
    send(client, [event(), event("2", type="other"), event("3", subject="B"), event("4", source="/shop")], BATCH)
    Event.objects.filter(event_id="1").update(handled_at=None)
    Event.objects.filter(event_id="3").update(error="a: broken")

    def found(query: str) -> list[str]:
        response = operator.get(f"{EVENTS}?{query}")
        assert response.status_code == 200, response.content
        return [one["event_id"] for one in response.json()["results"]]

    assert found("") == ["4", "3", "2", "1"]
    assert found("type=other") == ["2"]
    assert found("key=B") == ["3"]
    assert found("source=/shop") == ["4"]
    assert found("handled=false") == ["1"]
    assert found("handled=true&type=other") == ["2"]
    assert found("failed=true") == ["3"]
    assert found("failed=false&handled=false") == ["1"]
    assert found(f"received_after={(timezone.now() + timedelta(hours=1)).isoformat().replace('+', '%2B')}") == []
    assert "data" not in operator.get(EVENTS).json()["results"][0]
    assert operator.get(f"{EVENTS}?typ=other").status_code == 400
    assert operator.get(f"{EVENTS}?handled=maybe").status_code == 400


def test_reading_events_costs_the_same_however_many_there_are(client: APIClient, operator: APIClient) -> None:
    waits = {"name": "waits", "tasks": {"t": {"type": "event", "event": "payment.taken"}}, "transitions": []}
    definition = publish(waits)
    costs = []
    for number in (1, 10):
        for _ in range(number):
            submit(definition, correlation_id=f"K-{number}")
        drain()
        page = send(client, event(str(number), subject=f"K-{number}"))["Location"]
        send(client, [event(f"{number}-{one}") for one in range(number)], BATCH)
        with CaptureQueriesContext(connection) as one_page:
            assert len(operator.get(page).json()["woke"]) == number
        with CaptureQueriesContext(connection) as the_list:
            operator.get(EVENTS)
        costs.append((len(one_page), len(the_list)))
    assert costs[0] == costs[1]


# ---- submissions ----------------------------------------------------------------------------------------------------

JOB = {"workflow": "claim", "input": {"a": 1}, "correlation_id": "C-1"}


def test_a_job_is_submitted_by_an_event_whose_id_is_the_idempotency_key(client: APIClient) -> None:
    make_definition("claim")
    response = send(client, event("order-7", type="job.submit", data=JOB))
    assert response.status_code == 201, response.content
    body = response.json()
    assert (body["workflow"], body["input"], body["correlation_id"]) == ("claim", {"a": 1}, "C-1")
    assert response["Location"].endswith(f"/api/v1/jobs/{body['id']}/")
    again = send(client, event("order-7", type="job.submit", data=JOB))
    assert (again.status_code, again["Idempotent-Replayed"], again.json()["id"]) == (200, "true", body["id"])
    other = send(client, event("order-7", type="job.submit", data={**JOB, "input": {"a": 2}}))
    assert other.status_code == 409
    assert not Event.objects.exists()


def test_a_submission_that_is_none_is_told_below_the_event_s_data(client: APIClient) -> None:
    make_definition("claim", input_schema={"type": "object", "required": ["b"]})

    def refused(data: Any, event_id: str = "1") -> set[tuple[str, str]]:
        return codes(send(client, event(event_id, type="job.submit", data=data)))

    assert refused(JOB) == {("/data/input/b", "required")}
    assert refused({"workflow": "claim", "extra": 1}) == {("/data/input", "required"), ("/data/extra", "unknown_field")}
    assert refused(None) == {("/data", "type")}
    assert refused({**JOB, "workflow": "nowhere"}) == {("/data/workflow", "unknown_workflow")}
    assert refused({**JOB, "run_at": "9999-99-99T00:00:00Z"}) == {("/data/run_at", "format")}
    assert refused({**JOB, "input": {"b": 1}}, "x" * 256) == {("/id", "invalid_idempotency_key")}
    assert not Job.objects.exists()


def test_a_submission_is_sent_by_itself(client: APIClient) -> None:
    make_definition("claim")
    response = send(client, [event(), event("2", type="job.submit", data=JOB)], BATCH)
    assert codes(response) == {("/1/type", "not_in_batch")}
    assert not Event.objects.exists()
