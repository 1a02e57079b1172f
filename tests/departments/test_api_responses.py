"""Answers to external tasks over REST, in JSON and XML."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from rest_framework.test import APIClient

from departments.models import DepartmentResponse, WorkItem
from tests.departments.conftest import People
from tests.departments.makers import external_item, open_item, parked_job
from workflows.engine.state import JobState, TaskState
from workflows.models import ApiToken, JobData, Signal


@pytest.fixture
def item(people: People) -> WorkItem:
    return external_item(people.department)


def url(item: WorkItem, task: str = "ship") -> str:
    return f"/api/v1/jobs/{item.job_id}/tasks/{task}/response/"


def client_of(user: Any) -> APIClient:
    client = APIClient()
    client.force_authenticate(type(user).objects.get(pk=user.pk))
    return client


def send(user: Any, item: WorkItem, body: Any, task: str = "ship") -> Any:
    return client_of(user).post(url(item, task), body, format="json")


def send_xml(user: Any, item: WorkItem, text: str | bytes, media_type: str = "application/xml") -> Any:
    return client_of(user).post(url(item), text, content_type=media_type)


def test_the_first_answer_is_created_and_a_repeated_one_shown_again(item: WorkItem, people: People) -> None:
    body = {"status": "shipped", "data": {"parcel": "P-1"}, "response_id": "r-1"}
    first = send(people.member, item, body)
    again = send(people.member, item, body | {"status": "lost"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert (
        first.json()
        | {
            "job": str(item.job_id),
            "task": "ship",
            "iteration": 1,
            "status": "shipped",
            "data": {"parcel": "P-1"},
            "response_id": "r-1",
            "format": "json",
            "received_by": "member",
        }
        == first.json()
    )
    assert Signal.objects.filter(job=item.job_id).count() == 1


def test_a_second_answer_is_a_conflict_with_who_when_and_what(item: WorkItem, people: People) -> None:
    send(people.member, item, {"status": "shipped"})
    late = send(people.colleague, item, {"status": "lost"})
    assert late.status_code == 409
    assert (
        late.json() | {"status": 409, "code": "not_waiting", "decided_by": "member", "outcome": "shipped"}
        == late.json()
    )
    assert late.json()["item"]["status"] == "done"


def test_a_task_that_waits_for_no_answer_is_a_conflict(item: WorkItem, people: People) -> None:
    assert send(people.operator, item, {"status": "x"}, task="other").json()["code"] == "not_waiting"
    open_item(people.department, job=item.job)
    assert send(people.member, item, {"status": "approve"}, task="verify").json()["code"] == "human"


def test_an_undoing_that_waits_for_an_answer_is_answered_under_its_own_name(people: People) -> None:
    job = parked_job()
    now = datetime(2026, 10, 4, 10, 41, tzinfo=UTC)
    task = TaskState(status="waiting", kind="plugin", since=now)
    state = JobState(None, str(job.pk), now, phase="compensating", tasks={"undo:pay": task}, active=("undo:pay",))
    JobData.objects.filter(job=job).update(state=state.to_json())
    address = f"/api/v1/jobs/{job.pk}/tasks/undo:pay/response/"
    answer = client_of(people.system).post(address, {"status": "refunded"}, format="json")
    assert (answer.status_code, Signal.objects.get(job=job).event["task"]) == (201, "undo:pay")


@pytest.mark.parametrize("task", ["undo:", "pay%00", "pay:undo", "a%2Fb"])
def test_what_cannot_be_the_name_of_a_task_is_not_found(item: WorkItem, people: People, task: str) -> None:
    assert send(people.operator, item, {"status": "x"}, task=task).status_code == 404


@pytest.mark.parametrize("who", ["outsider", "stranger"])
def test_to_everybody_else_the_job_looks_like_one_that_is_not_there(item: WorkItem, people: People, who: str) -> None:
    hidden = send(people.named(who), item, {"status": "x"})
    absent = client_of(people.named(who)).post(
        f"/api/v1/jobs/{uuid.uuid4()}/tasks/ship/response/", {"status": "x"}, format="json"
    )
    assert hidden.status_code == absent.status_code == 404
    assert hidden.json() == absent.json()
    assert not DepartmentResponse.objects.exists()


def test_who_sees_the_job_only_through_another_department_may_not_answer(item: WorkItem, people: People) -> None:
    open_item(people.elsewhere, job=item.job, task="pay")
    refused = send(people.outsider, item, {"status": "x"})
    assert refused.status_code == 403
    assert "members of Verification" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/status"}),
        ({"status": 7}, {"/status"}),
        ({"status": "two words"}, {"/status"}),
        ({"status": "x", "colour": 1}, {"/colour"}),
        ({"status": "x", "response_id": ""}, {"/response_id"}),
        ({"status": "x", "response_id": 5}, {"/response_id"}),
        ({"status": "x", "data": "y" * 300_000}, {"/data"}),
        ([], {""}),
        ("shipped", {""}),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_with_every_fault(
    item: WorkItem, people: People, body: Any, pointers: set[str]
) -> None:
    answer = send(people.member, item, body)
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == pointers
    assert WorkItem.objects.get().status == "open"


def test_a_token_for_answers_answers_and_does_no_more(item: WorkItem, people: People) -> None:
    kept, token = ApiToken.objects.create(user=people.system)
    ApiToken.objects.filter(pk=kept.pk).update(scopes=["respond"])
    client = APIClient(headers={"Authorization": f"Bearer {token}"})
    assert client.post(url(item), {"status": "shipped"}, format="json").status_code == 201
    assert client.get("/api/v1/work-items/").status_code == 403


# ---- XML ------------------------------------------------------------------------------------------------------------


def test_an_answer_in_xml_is_kept_as_received_and_becomes_data(item: WorkItem, people: People) -> None:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<response xmlns="urn:example:carrier"><status> shipped </status>'
        "<response_id>r-7</response_id><data><parcel kind='box'>P-1</parcel><stop>A</stop><stop>Bücher</stop><note/>"
        "</data></response>"
    )
    answer = send_xml(people.member, item, text.encode())
    assert answer.status_code == 201
    kept = DepartmentResponse.objects.get()
    assert (kept.format, kept.body, kept.status, kept.response_id) == ("xml", text, "shipped", "r-7")
    assert kept.data == {"parcel": {"@kind": "box", "#text": "P-1"}, "stop": ["A", "Bücher"], "note": None}
    assert send_xml(people.member, item, text.encode(), "text/xml").status_code == 200


BILLION_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><response><status>&c;</status></response>'
)
NOT_TAKEN = {
    "blank": "  \n ",
    "no XML": "status=shipped",
    "JSON": '{"status": "shipped"}',
    "an open element": "<response><status>shipped</response>",
    "two roots": "<response><status>x</status></response><response/>",
    "cut off": "<response><status>shi",
    "a document type": "<!DOCTYPE response><response><status>x</status></response>",
    "an entity": '<!DOCTYPE r [<!ENTITY e "x">]><response><status>&e;</status></response>',
    "an external entity": '<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/passwd">]><response><status>&e;</status></response>',
    "a parameter entity": '<!DOCTYPE r [<!ENTITY % p SYSTEM "http://127.0.0.1/x"> %p;]><response/>',
    "an external document type": '<!DOCTYPE r SYSTEM "http://127.0.0.1/x.dtd"><response><status>x</status></response>',
    "a billion laughs": BILLION_LAUGHS,
    "an entity that nobody declared": "<response><status>&nbsp;</status></response>",
    "a NUL": "<response><status>a\0b</status></response>",
    "a NUL as a reference": "<response><status>a&#0;b</status></response>",
    "a double attribute": "<response><data a='1' a='2'/></response>",
    "a prefix without a namespace": "<x:response><status>x</status></x:response",
    "not UTF-8": b"<response><status>caf\xe9</status></response>",
    "UTF-16": "<response><status>x</status></response>".encode("utf-16"),
}


@pytest.mark.parametrize("what", NOT_TAKEN)
def test_xml_that_is_broken_or_has_a_document_type_is_a_bad_request(item: WorkItem, people: People, what: str) -> None:
    answer = send_xml(people.member, item, NOT_TAKEN[what])
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert b"root:" not in answer.content
    assert WorkItem.objects.get().status == "open"


UNFIT = {
    "nothing": "",
    "another root": "<answer><status>x</status></answer>",
    "an unknown element": "<response><status>x</status><colour>red</colour></response>",
    "no status": "<response><data>x</data></response>",
    "an empty status": "<response><status/></response>",
    "two of them": "<response><status>a</status><status>b</status></response>",
    "a status with parts": "<response><status><a>b</a></status></response>",
    "text beside the elements": "<response>hello<status>x</status></response>",
    "an empty root": "<response/>",
    "only text": "<response>shipped</response>",
    "deeper than can be kept": f"<response><status>x</status><data>{'<a>' * 200}{'</a>' * 200}</data></response>",
}


@pytest.mark.parametrize("what", UNFIT)
def test_xml_that_is_no_answer_is_refused_with_its_faults(item: WorkItem, people: People, what: str) -> None:
    answer = send_xml(people.member, item, UNFIT[what])
    assert answer.status_code == 422, answer.content
    assert answer.json()["errors"]
    assert WorkItem.objects.get().status == "open"


def test_xml_nested_a_hundred_thousand_deep_is_refused_and_the_server_lives(item: WorkItem, people: People) -> None:
    deep = f"<response><status>x</status><data>{'<a>' * 100_000}{'</a>' * 100_000}</data></response>"
    assert send_xml(people.member, item, deep).status_code in (400, 422)
    assert send_xml(people.member, item, "<response><status>x</status></response>").status_code == 201


@pytest.mark.parametrize("media_type", ["application/xml", "application/json"])
def test_a_body_of_fifty_megabytes_is_refused(item: WorkItem, people: People, media_type: str) -> None:
    answer = send_xml(people.member, item, b"<response>" + b" " * 50 * 2**20, media_type)
    assert answer.status_code == 413


def test_a_form_or_plain_text_is_not_taken(item: WorkItem, people: People) -> None:
    assert send_xml(people.member, item, "status=shipped", "application/x-www-form-urlencoded").status_code == 415
