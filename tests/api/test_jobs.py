"""Jobs over REST: the answers, the refusals, and what they cost."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from datetime import timezone as dt_timezone
from typing import Any

import pytest
from django.db.models import Q
from django.utils import timezone
from rest_framework.test import APIClient

from tests.factories import UserFactory
from tests.intake.makers import make_definition
from tests.statements import sent
from workflows import operations, policy
from workflows.api.serializers import JobListSerializer, JobSerializer, just_born, listed
from workflows.engine.jsonvalue import SchemaValidator
from workflows.intake.documents import store_document
from workflows.intake.submit import Submission, submit_job, submit_jobs
from workflows.models import History, Job, JobData, TaskRun

pytestmark = pytest.mark.django_db
JOBS = "/api/v1/jobs/"
FIELDS = {
    *("id", "workflow", "version", "status", "outcome", "priority", "input", "output", "error", "waiting_for", "tasks"),
    *("correlation_id", "parent", "run_at", "due_at", "due_paused_at", "created_at", "started_at", "finished_at"),
    "archived_at",
}


def codes(response: Any) -> set[tuple[str, str]]:
    return {(error["pointer"], error["code"]) for error in response.json()["errors"]}


def problem_of(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.content[:500]
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert {"type", "title", "detail"} <= body.keys()
    return body


def submitted(client: APIClient, workflow: str = "claim", **fields: Any) -> Job:
    return submit_job(Submission(workflow, fields.pop("input", {}), **fields), submitted_by=client.user).job  # type: ignore[attr-defined]


# ---- submitting -----------------------------------------------------------------------------------------------------


def test_a_submission_answers_with_the_job_and_where_it_is(client: APIClient) -> None:
    make_definition("claim")
    response = client.post(JOBS, {"workflow": "claim", "input": {"a": 1}, "correlation_id": "C-1"}, format="json")
    assert response.status_code == 201
    body = response.json()
    assert body.keys() == FIELDS
    assert (body["status"], body["input"], body["waiting_for"], body["tasks"]) == ("NEW", {"a": 1}, [], [])
    assert response["Location"].endswith(f"{JOBS}{body['id']}/")
    assert client.get(response["Location"]).json() == body
    assert uuid.UUID(body["id"]).version == 7
    assert body["created_at"].endswith("Z")


def test_a_submission_costs_the_token_and_the_writing(client: APIClient, on_postgresql: bool) -> None:
    make_definition("claim")
    one = {"workflow": "claim", "input": {}}
    client.post(JOBS, one, format="json")
    for path, body in ((JOBS, one), (f"{JOBS}batch/", {"jobs": [one] * 100})):
        with sent() as statements:
            assert client.post(path, body, format="json").status_code == 201
        if on_postgresql:
            assert len(statements) == 2, statements
        elif path == JOBS:  # the token; savepoint, the version, three inserts, release
            assert len(statements) == 7, statements


def test_what_is_written_out_by_hand_is_what_the_fields_say(client: APIClient) -> None:
    make_definition("claim", sla={"due": "P5D"})
    job = submitted(client, correlation_id="C", input={"a": None})
    parent = submitted(client)
    now = timezone.now()
    east = now.astimezone(dt_timezone(timedelta(hours=9)))
    for times in ({}, dict.fromkeys(["run_at", "due_at", "due_paused_at", "started_at", "finished_at"], east)):
        for name, value in times.items():
            setattr(job, name, value)
        job.parent_id = parent.pk if times else None
        by_fields = super(JobListSerializer, JobListSerializer()).to_representation(job)
        assert list(listed(job).items()) == list(by_fields.items())
        assert list(just_born(job, {})) == JobSerializer.Meta.fields


def test_the_same_key_and_body_are_answered_with_the_first_job(client: APIClient) -> None:
    make_definition("claim")
    body = {"workflow": "claim", "input": {}}
    first = client.post(JOBS, body, format="json", headers={"Idempotency-Key": "k"})
    again = client.post(JOBS, body, format="json", headers={"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert first.json()["id"] == again.json()["id"]


def test_the_same_key_with_another_body_is_a_conflict_that_names_the_field_and_the_job(client: APIClient) -> None:
    make_definition("claim")
    headers = {"Idempotency-Key": "k"}
    first = client.post(JOBS, {"workflow": "claim", "input": {"amount": 1}}, format="json", headers=headers)
    other = client.post(JOBS, {"workflow": "claim", "input": {"amount": 2}}, format="json", headers=headers)
    body = problem_of(other, 409)
    assert codes(other) == {("/input/amount", "differs")}
    assert body["job"]["id"] == first.json()["id"]


def test_an_empty_idempotency_key_is_refused(client: APIClient) -> None:
    make_definition("claim")
    body = {"workflow": "claim", "input": {}}
    response = client.post(JOBS, body, format="json", headers={"Idempotency-Key": ""})
    problem_of(response, 422)
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {("/workflow", "required"), ("/input", "required")}),
        ({"workflow": "claim", "input": {}, "colour": 1}, {("/colour", "unknown_field")}),
        ({"workflow": 5, "input": {}}, {("/workflow", "type")}),
        ({"workflow": "claim", "input": {}, "priority": "5"}, {("/priority", "type")}),
        ({"workflow": "claim", "input": {}, "priority": 101}, {("/priority", "maximum")}),
        ({"workflow": "claim", "input": {}, "run_at": "tomorrow"}, {("/run_at", "format")}),
        ({"workflow": "claim", "input": {}, "version": 9}, {("/version", "unknown_version")}),
        ({"workflow": "nowhere", "input": {}}, {("/workflow", "unknown_workflow")}),
        ({"workflow": "claim", "input": {}, "correlation_id": "x" * 201}, {("/correlation_id", "maxLength")}),
        ({"workflow": "claim", "input": {}, "documents": ["x"]}, {("/documents/0", "format")}),
        ({"workflow": "claim", "input": {}, "documents": [str(uuid.uuid4())]}, {("/documents/0", "unknown_document")}),
        ({"workflow": "claim", "input": "x" * 300_000}, {("/input", "too_large")}),
        ([], {("", "type")}),
        ("text", {("", "type")}),
    ],
)
def test_a_submission_with_faults_is_refused_with_each_of_them(
    client: APIClient, body: Any, expected: set[tuple[str, str]]
) -> None:
    make_definition("claim")
    response = client.post(JOBS, json.dumps(body), content_type="application/json")
    problem_of(response, 422)
    assert codes(response) == expected
    assert not Job.objects.exists()


def test_input_against_the_schema_is_refused_with_every_pointer(client: APIClient) -> None:
    schema = {"type": "object", "required": ["no"], "properties": {"items": {"items": {"type": "integer"}}}}
    make_definition("claim", input_schema=schema)
    response = client.post(JOBS, {"workflow": "claim", "input": {"items": [1, "x", 2.5]}}, format="json")
    problem_of(response, 422)
    assert codes(response) == {("/input/no", "required"), ("/input/items/1", "type"), ("/input/items/2", "type")}


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b'{"workflow": "claim", "input": NaN}', 400),
        (b'{"workflow": "claim", "input": -Infinity}', 400),
        (b'{"workflow": "claim", "input": 1e999}', 400),
        (b'{"workflow": "claim", "workflow": "claim", "input": 1}', 400),
        (b'{"workflow": "claim", "input": {"a": 1, "a": 2}}', 400),
        (b"\xff\xfe", 400),
        (b'{"workflow": ', 400),
        (b"[" * 100_000, 400),
        (b'{"workflow": "claim", "input": "a\\u0000b"}', 422),
        (b'{"workflow": "claim", "input": "\\ud800"}', 422),
        (b'{"workflow": "a\\u0000b", "input": 1}', 422),
        (b'{"workflow": "claim", "input": ' + b"[" * 70 + b"]" * 70 + b"}", 422),
        (b'{"workflow": "claim", "input": ' + b"9" * 400 + b"}", 422),
        (b'{"workflow": "claim", "input": ' + b"9" * 5000 + b"}", 400),
    ],
)
def test_a_body_that_cannot_be_read_or_kept_is_refused(client: APIClient, raw: bytes, status: int) -> None:
    make_definition("claim")
    problem_of(client.post(JOBS, raw, content_type="application/json"), status)
    assert not Job.objects.exists()


def test_a_body_of_fifty_megabytes_is_refused(client: APIClient) -> None:
    body = b'{"workflow": "claim", "input": "' + b"x" * 50_000_000 + b'"}'
    problem_of(client.post(JOBS, body, content_type="application/json"), 413)
    assert not Job.objects.exists()


def test_a_body_of_another_media_type_is_refused(client: APIClient) -> None:
    problem_of(client.post(JOBS, b"<a/>", content_type="application/xml"), 415)
    assert not Job.objects.exists()


def test_a_batch_is_captured_whole(client: APIClient) -> None:
    make_definition("claim")
    body = {"jobs": [{"workflow": "claim", "input": {"n": n}} for n in range(3)]}
    response = client.post(f"{JOBS}batch/", body, format="json")
    assert response.status_code == 201
    ids = [job["id"] for job in response.json()["jobs"]]
    assert [JobData.objects.get(pk=pk).input["n"] for pk in ids] == [0, 1, 2]


def test_a_batch_with_a_fault_captures_nothing_and_tells_the_index(client: APIClient) -> None:
    make_definition("claim", input_schema={"properties": {"amount": {"type": "number"}}})
    jobs = [{"workflow": "claim", "input": {"amount": 1}}] * 3 + [{"workflow": "claim", "input": {"amount": "x"}}]
    response = client.post(f"{JOBS}batch/", {"jobs": jobs}, format="json")
    problem_of(response, 422)
    assert codes(response) == {("/jobs/3/input/amount", "type")}
    assert not Job.objects.exists()


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_has_one_to_a_thousand_jobs(client: APIClient, count: int) -> None:
    make_definition("claim")
    response = client.post(f"{JOBS}batch/", {"jobs": [{"workflow": "claim", "input": 1}] * count}, format="json")
    problem_of(response, 422)
    assert codes(response) == {("/jobs", "minItems" if count == 0 else "maxItems")}


def test_a_submission_attaches_uploaded_documents(client: APIClient) -> None:
    make_definition("claim")
    document = store_document("note.txt", b"hello", uploaded_by=client.user)  # type: ignore[attr-defined]
    body = {"workflow": "claim", "input": {}, "documents": [str(document.pk)]}
    job = client.post(JOBS, body, format="json").json()
    page = client.get(f"{JOBS}{job['id']}/documents/").json()
    assert [found["id"] for found in page["results"]] == [str(document.pk)]


# ---- reading --------------------------------------------------------------------------------------------------------


def test_a_foreign_job_and_an_absent_one_answer_alike_everywhere(client: APIClient) -> None:
    make_definition("claim")
    foreign = submit_job(Submission("claim", {}), submitted_by=UserFactory()).job
    for method, tail in (
        *(("get", tail) for tail in ("", "history/", "documents/")),
        *(("post", tail) for tail in ("cancel/", "retry/", "skip/")),
    ):
        answers = []
        for pk in (foreign.pk, uuid.uuid4()):
            response = getattr(client, method)(f"{JOBS}{pk}/{tail}", {}, format="json")
            answers.append(problem_of(response, 404))
        assert answers[0] == answers[1]


def test_a_registered_rule_adds_jobs_to_what_a_user_sees(client: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    make_definition("claim")
    foreign = submit_job(Submission("claim", {}), submitted_by=None).job
    monkeypatch.setattr(policy, "_visibility", [])
    assert client.get(f"{JOBS}{foreign.pk}/").status_code == 404
    policy.register_job_visibility(lambda user: Q(pk__in=[foreign.pk]))
    assert client.get(f"{JOBS}{foreign.pk}/").status_code == 200
    assert len(client.get(JOBS).json()["results"]) == 1


def test_an_operator_sees_every_job(operator: APIClient) -> None:
    make_definition("claim")
    submit_job(Submission("claim", {}), submitted_by=UserFactory())
    assert len(operator.get(JOBS).json()["results"]) == 1


def test_the_tag_of_a_job_changes_with_it_and_saves_sending_it(client: APIClient) -> None:
    make_definition("claim")
    job = submitted(client)
    first = client.get(f"{JOBS}{job.pk}/")
    same = client.get(f"{JOBS}{job.pk}/", headers={"If-None-Match": first["ETag"]})
    assert (same.status_code, same.content) == (304, b"")
    JobData.objects.filter(job=job).update(output={"done": True})
    changed = client.get(f"{JOBS}{job.pk}/", headers={"If-None-Match": first["ETag"]})
    assert changed.status_code == 200
    assert changed["ETag"] != first["ETag"]


def test_the_runs_of_its_tasks_are_part_of_a_job(client: APIClient) -> None:
    make_definition("claim")
    job = submitted(client)
    now = timezone.now()
    TaskRun.objects.create(
        job=job, task="start", status="failed", error="Timeout", cause="slow", sequence=2, finished_at=now
    )
    [run] = client.get(f"{JOBS}{job.pk}/").json()["tasks"]
    assert run.keys() == {
        *("name", "iteration", "status", "attempt", "outcome", "output", "error", "started_at", "finished_at")
    }
    assert run["error"] == {"name": "Timeout", "cause": "slow"}


def test_a_waiting_job_says_for_what_since_when_and_who_is_asked(client: APIClient) -> None:
    make_definition("claim")
    job = submitted(client)
    JobData.objects.filter(job=job).update(state=_parked_state(job))
    [waiting] = client.get(f"{JOBS}{job.pk}/").json()["waiting_for"]
    assert (waiting["task"], waiting["kind"], waiting["iteration"]) == ("rest", "wait", 1)
    assert waiting["since"].endswith("Z")
    assert waiting["until"] > waiting["since"]


def _parked_state(job: Job) -> dict[str, Any]:
    from workflows.engine.decide import decide
    from workflows.engine.events import JobStarted
    from workflows.engine.parsing import parse
    from workflows.engine.state import JobState

    tasks = {"rest": {"type": "wait", "for": "PT1H"}}
    definition = parse({"name": "claim", "tasks": tasks, "transitions": []})
    event = JobStarted(str(job.pk), job.created_at, job.priority)
    decision = decide(definition, JobState.new({}), event, timezone.now())
    state: dict[str, Any] = decision.state.to_json()
    return state


def test_the_history_is_paged_oldest_first(client: APIClient) -> None:
    make_definition("claim")
    job = submitted(client)
    History.objects.bulk_create(History(job=job, sequence=n, event="noted") for n in range(2, 6))
    first = client.get(f"{JOBS}{job.pk}/history/?page_size=3").json()
    second = client.get(first["next"]).json()
    back = client.get(second["previous"]).json()
    assert [row["sequence"] for row in first["results"]] == [1, 2, 3]
    assert [row["sequence"] for row in second["results"]] == [4, 5]
    assert second["next"] is None
    assert back["results"] == first["results"]
    assert back["previous"] is None
    born = first["results"][0]
    assert born.keys() == {"sequence", "at", "event", "task", "iteration", "actor", "from", "to", "data"}
    assert (born["event"], born["from"], born["to"]) == ("job.submitted", "", "NEW")


# ---- lists ----------------------------------------------------------------------------------------------------------


def test_pages_hold_every_job_once_also_while_new_ones_come(client: APIClient) -> None:
    make_definition("claim")
    jobs = [submitted(client) for _ in range(7)]
    page = client.get(f"{JOBS}?page_size=3").json()
    seen = [job["id"] for job in page["results"]]
    submitted(client)
    while page["next"]:
        page = client.get(page["next"]).json()
        seen += [job["id"] for job in page["results"]]
    assert seen == [str(job.pk) for job in reversed(jobs)]


def test_the_way_back_gives_the_same_pages(client: APIClient) -> None:
    make_definition("claim")
    for _ in range(5):
        submitted(client)
    first = client.get(f"{JOBS}?page_size=2").json()
    second = client.get(first["next"]).json()
    third = client.get(second["next"]).json()
    assert client.get(third["previous"]).json()["results"] == second["results"]
    assert client.get(second["previous"]).json()["results"] == first["results"]
    assert (first["previous"], third["next"]) == (None, None)


def test_each_filter_narrows_the_list(client: APIClient) -> None:
    make_definition("claim")
    make_definition("order")
    claim = submitted(client, "claim", correlation_id="C-1")
    order = submitted(client, "order")
    now = timezone.now()
    Job.objects.filter(pk=order.pk).update(
        due_at=now - timedelta(hours=1), created_at=now - timedelta(hours=9), status="FAIL"
    )
    for query, expected in (
        ("status=NEW", [claim]),
        ("status=NEW&status=FAIL", [order, claim]),
        ("workflow=order", [order]),
        ("correlation_id=C-1", [claim]),
        (f"created_after={(now - timedelta(hours=1)):%Y-%m-%dT%H:%M:%SZ}", [claim]),
        (f"created_before={(now - timedelta(hours=1)):%Y-%m-%dT%H:%M:%SZ}", [order]),
        ("created_after=0086-08-02T06:13:17%2B20:22", [order, claim]),
        ("overdue=true", [order]),
        ("overdue=false", [claim]),
    ):
        found = [job["id"] for job in client.get(f"{JOBS}?{query}").json()["results"]]
        assert found == [str(job.pk) for job in expected], query


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("colour=red", "colour"),
        ("submitted_by__password__startswith=a", "submitted_by__password__startswith"),
        ("status=LOST", "status"),
        ("overdue=maybe", "overdue"),
        ("created_after=yesterday", "created_after"),
        ("created_after=2026-01-01T00:00:00", "created_after"),
        ("created_after=0001-01-01T00:00:00%2B20:22", "created_after"),
        ("workflow=a%00b", "workflow"),
        ("page_size=0", "page_size"),
        ("page_size=201", "page_size"),
        ("page_size=-1", "page_size"),
        ("page_size=x", "page_size"),
        ("cursor=", "cursor"),
        ("cursor=abc", "cursor"),
    ],
)
def test_an_unknown_filter_or_value_is_refused_by_name(client: APIClient, query: str, name: str) -> None:
    response = client.get(f"{JOBS}?{query}")
    problem_of(response, 400)
    assert [error["parameter"] for error in response.json()["errors"]] == [name]


def test_a_cursor_that_was_changed_or_is_of_another_list_is_refused(client: APIClient) -> None:
    make_definition("claim")
    jobs = [submitted(client) for _ in range(3)]
    link = client.get(f"{JOBS}?page_size=1").json()["next"]
    cursor = link.split("cursor=")[1].split("&")[0]
    History.objects.bulk_create(History(job=jobs[0], sequence=n, event="noted") for n in (2, 3))
    foreign = client.get(f"{JOBS}{jobs[0].pk}/history/?page_size=1").json()["next"].split("cursor=")[1].split("&")[0]
    assert client.get(f"{JOBS}?cursor={cursor}").status_code == 200
    for bad in (cursor[:-1] + ("A" if cursor[-1] != "A" else "B"), "A" + cursor, foreign):
        problem_of(client.get(f"{JOBS}?cursor={bad}"), 400)


@pytest.mark.parametrize("count", [1, 40])
def test_a_list_takes_the_same_queries_however_long_it_is(
    count: int, client: APIClient, django_assert_num_queries: Any
) -> None:
    make_definition("claim")
    submit_jobs([Submission("claim", {})] * count, submitted_by=client.user)  # type: ignore[attr-defined]
    with django_assert_num_queries(4):  # the token; operator?; departments; the page
        assert len(client.get(JOBS).json()["results"]) == count


@pytest.mark.parametrize("count", [1, 40])
def test_a_job_takes_the_same_queries_however_many_runs_it_has(
    count: int, client: APIClient, django_assert_num_queries: Any
) -> None:
    make_definition("claim")
    job = submitted(client)
    now = timezone.now()
    TaskRun.objects.bulk_create(
        TaskRun(job=job, task="start", iteration=n, status="done", sequence=n, finished_at=now) for n in range(count)
    )
    with django_assert_num_queries(6):  # the token; operator?; departments; the job; its runs; groups of children
        assert len(client.get(f"{JOBS}{job.pk}/").json()["tasks"]) == count


# ---- repairs --------------------------------------------------------------------------------------------------------


def test_an_operator_cancels_a_job_and_the_history_says_who_and_why(operator: APIClient) -> None:
    make_definition("claim")
    job = submit_job(Submission("claim", {}), submitted_by=None).job
    response = operator.post(f"{JOBS}{job.pk}/cancel/", {"reason": "sent twice"}, format="json")
    assert response.status_code == 200
    assert response.json()["status"] == "CANC"
    row = History.objects.filter(job=job).latest("sequence")
    assert row.actor == operator.user.username  # type: ignore[attr-defined]
    assert "sent twice" in json.dumps(row.data)


def test_cancelling_twice_is_a_conflict_that_tells_the_state(operator: APIClient) -> None:
    make_definition("claim")
    job = submit_job(Submission("claim", {}), submitted_by=None).job
    operator.post(f"{JOBS}{job.pk}/cancel/", {}, format="json")
    body = problem_of(operator.post(f"{JOBS}{job.pk}/cancel/", {}, format="json"), 409)
    assert body["job"]["status"] == "CANC"
    assert body["job"]["finished_at"]


@pytest.mark.parametrize(("verb", "body"), [("retry", {}), ("skip", {"task": "start"})])
def test_a_job_that_did_not_fail_cannot_be_repaired(operator: APIClient, verb: str, body: dict[str, Any]) -> None:
    make_definition("claim")
    job = submit_job(Submission("claim", {}), submitted_by=None).job
    told = problem_of(operator.post(f"{JOBS}{job.pk}/{verb}/", body, format="json"), 409)
    assert told["job"]["status"] == "NEW"


def test_a_repair_is_handed_on_with_its_actor(operator: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    make_definition("claim")
    job = submit_job(Submission("claim", {}), submitted_by=None).job
    calls: list[Any] = []
    monkeypatch.setattr(operations, "retry_job", lambda pk, **named: calls.append(named) or job)
    monkeypatch.setattr(operations, "skip_task", lambda pk, task, **named: calls.append({"task": task, **named}) or job)
    assert operator.post(f"{JOBS}{job.pk}/retry/", {"task": "a", "input": None}, format="json").status_code == 200
    assert operator.post(f"{JOBS}{job.pk}/skip/", {"task": "a", "output": [1]}, format="json").status_code == 200
    actor = operator.user.username  # type: ignore[attr-defined]
    assert calls == [
        {"task": "a", "input": None, "actor": actor},
        {"task": "a", "output": [1], "actor": actor},
    ]


@pytest.mark.parametrize("verb", ["cancel", "retry", "skip"])
def test_who_submitted_a_job_sees_it_but_may_not_repair_it(client: APIClient, verb: str) -> None:
    make_definition("claim")
    job = submitted(client)
    problem_of(client.post(f"{JOBS}{job.pk}/{verb}/", {}, format="json"), 403)
    assert client.get(f"{JOBS}{job.pk}/").json()["status"] == job.status == "NEW"
    assert not History.objects.filter(job=job, sequence__gt=1).exists()


def test_a_repair_with_an_unknown_field_is_refused(operator: APIClient) -> None:
    make_definition("claim")
    job = submit_job(Submission("claim", {}), submitted_by=None).job
    response = operator.post(f"{JOBS}{job.pk}/cancel/", {"why": "x"}, format="json")
    problem_of(response, 422)
    assert codes(response) == {("/why", "unknown_field")}


def test_what_a_job_looks_like_is_what_the_openapi_document_says(client: APIClient) -> None:
    make_definition("claim")
    job = submitted(client)
    schema = client.get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"}).json()
    reference = {"$ref": "#/components/schemas/Job", "components": schema["components"]}
    assert SchemaValidator(reference).faults(client.get(f"{JOBS}{job.pk}/").json()) == []


def test_a_token_narrowed_to_reading_cannot_submit(client_of: Callable[..., APIClient]) -> None:
    make_definition("claim")
    reader = client_of(UserFactory(), scopes=("read",))
    assert reader.get(JOBS).status_code == 200
    problem_of(reader.post(JOBS, {"workflow": "claim", "input": {}}, format="json"), 403)
