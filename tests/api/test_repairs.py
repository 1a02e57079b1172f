"""Dead letters and repairs through the API."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from tests.execution.jobs import chain, publish, register, submit
from workflows.execution.letters import write_letter
from workflows.execution.worker import drain
from workflows.models import DeadLetter, History, Job, JobData
from workflows.operations import bulk
from workflows.operations.bulk import BulkRepairs

pytestmark = pytest.mark.django_db(transaction=True)

API = "/api/v1/"


@pytest.fixture(autouse=True)
def _in_one_round(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    monkeypatch.setattr(bulk, "SECONDS", 30.0)  # however slow the machine is


def failed(count: int = 1) -> list[Job]:
    """Jobs that failed at their second step."""
    register("echo", "Echo")
    register("refuses", "AnswersFailed")
    definition = publish(chain("refused", "echo", "refuses", "echo"))
    jobs = [submit(definition, {"number": number}) for number in range(count)]
    drain()
    return jobs


def post(client: APIClient, path: str, body: Any = None) -> Any:
    return client.post(f"{API}{path}", {} if body is None else body, format="json")


def letters_of(count: int, cause: str = "claim {} is closed", error: str = "Closed") -> None:
    """Jobs that failed, without running them."""
    jobs = Job.objects.bulk_create(Job(workflow=f"w{number % 3}", version=1, status="FAIL") for number in range(count))
    JobData.objects.bulk_create(JobData(job=job, input={}) for job in jobs)
    for number, job in enumerate(jobs):
        found = {"name": error, "cause": cause.format(number)}
        write_letter(job.pk, job.workflow, 1, found, task="pay", plugin="bank", at=timezone.now())


# ---- one job --------------------------------------------------------------------------------------------------------


def test_each_repair_answers_the_job_and_leaves_actor_and_reason(operator: APIClient) -> None:
    [job] = failed()
    for verb, body, event in (
        ("retry", {"task": "step2", "input": {"edited": True}, "reason": "corrected"}, "task.retried"),
        ("restart", {"task": "step1", "reason": "from the start"}, "task.restarted"),
        (
            "skip",
            {"task": "step2", "output": {"by": "hand"}, "outcome": "well", "reason": "done by phone"},
            "task.skipped",
        ),
        ("cancel", {"reason": "withdrawn", "compensate": True}, "job.cancelled"),
    ):
        if verb == "cancel":
            [job] = Job.objects.filter(pk=submit(publish(chain("other", "echo"))).pk)
        answer = post(operator, f"jobs/{job.pk}/{verb}/", body)
        assert answer.status_code == 200, answer.content
        assert answer.json()["id"] == str(job.pk)
        row = History.objects.filter(job=job, event=event).latest("sequence")
        assert row.actor == operator.user.username  # type: ignore[attr-defined]
        assert body["reason"] in (row.data.get("reason"), row.data.get("cause"))
        drain()
    done = Job.objects.select_related("data").get(workflow="refused")
    assert (done.status, done.data.state["tasks"]["step2"]["outcome"]) == ("DONE", "well")


def test_a_retry_with_another_input_runs_on_that(operator: APIClient) -> None:
    register("echo", "Echo")
    register("picky", "FailsByName", times=1)
    job = submit(publish(chain("picky", "picky")), {"a": 1})
    drain()
    post(operator, f"jobs/{job.pk}/retry/", {"task": "step1", "input": {"a": 2}})
    drain()
    runs = operator.get(f"{API}jobs/{job.pk}/").json()["tasks"]
    assert [(run["attempt"], run["status"]) for run in runs] == [(1, "failed"), (2, "done")]
    assert job.task_runs.get(attempt=2).input == {"a": 2}


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("retry", {}),
        ("skip", {"task": "step1"}),
        ("restart", {"task": "step1"}),
        ("cancel", {}),
        ("cancel", {"compensate": True}),
    ],
)
def test_a_repair_of_a_job_that_ended_is_a_conflict_that_says_who_and_when(
    operator: APIClient, verb: str, body: dict[str, Any]
) -> None:
    [job] = failed()
    post(operator, f"jobs/{job.pk}/cancel/")
    answer = post(operator, f"jobs/{job.pk}/{verb}/", body)
    assert answer.status_code == 409
    problem = answer.json()
    name = operator.user.username  # type: ignore[attr-defined]
    assert problem["by"] == name
    assert problem["at"].startswith("20")
    assert f"CANC since {problem['at'][:10]}" in problem["detail"]
    assert f"by {name}" in problem["detail"]
    assert problem["job"]["status"] == "CANC"


@pytest.mark.parametrize(
    ("verb", "body", "pointer"),
    [
        ("skip", {"task": "step2", "outcome": ""}, "/outcome"),
        ("skip", {}, "/task"),
        ("restart", {}, "/task"),
        ("restart", {"task": 7}, "/task"),
        ("retry", {"reason": "x" * 501}, "/reason"),
        ("cancel", {"compensate": "yes"}, "/compensate"),
        ("retry", {"task": "step2", "input": {"text": "a\0b"}}, "/input/text"),
        ("retry", {"task": "step2", "input": "x" * 300_000}, "/input"),
    ],
)
def test_bad_input_of_a_repair_is_named(operator: APIClient, verb: str, body: dict[str, Any], pointer: str) -> None:
    [job] = failed()
    answer = post(operator, f"jobs/{job.pk}/{verb}/", body)
    assert answer.status_code in (413, 422), answer.content
    if answer.status_code == 422:
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert Job.objects.get(pk=job.pk).status == "FAIL"


def test_a_task_that_was_not_reached_cannot_be_restarted(operator: APIClient) -> None:
    [job] = failed()
    answer = post(operator, f"jobs/{job.pk}/restart/", {"task": "step3"})
    assert answer.status_code == 409
    assert "has not reached the task step3" in answer.json()["detail"]


# ---- dead letters ---------------------------------------------------------------------------------------------------


def test_dead_letters_are_grouped_by_cause(operator: APIClient) -> None:
    letters_of(4)
    letters_of(1, cause="the bank is away", error="Away")
    newest, other = operator.get(f"{API}dead-letters/").json()["results"]
    assert (newest["error"], newest["count"]) == ("Away", 1)
    assert (other["plugin"], other["error"], other["count"]) == ("bank", "Closed", 4)
    assert other["message"] == "claim … is closed"
    assert other["workflows"] == [
        {"workflow": "w0", "version": 1, "count": 2},
        {"workflow": "w1", "version": 1, "count": 1},
        {"workflow": "w2", "version": 1, "count": 1},
    ]
    assert other["example"]["cause"] == "claim 3 is closed"
    assert other["first_failed_at"] < other["last_failed_at"]


def test_the_groups_come_in_pages_and_can_be_filtered(operator: APIClient) -> None:
    for word in ("red", "green", "blue"):
        letters_of(2, cause=f"the {word} bank is away", error=word.title())
    page = operator.get(f"{API}dead-letters/?page_size=2").json()
    assert [group["error"] for group in page["results"]] == ["Blue", "Green"]
    rest = operator.get(page["next"]).json()
    assert [group["error"] for group in rest["results"]] == ["Red"]
    assert rest["next"] is None
    assert [group["error"] for group in operator.get(rest["previous"]).json()["results"]] == ["Blue", "Green"]
    [only] = operator.get(f"{API}dead-letters/?error=Red&workflow=w1").json()["results"]
    assert (only["error"], only["count"]) == ("Red", 1)
    assert operator.get(f"{API}dead-letters/?colour=red").status_code == 400


def test_a_group_shows_its_jobs_and_what_became_of_them(operator: APIClient) -> None:
    letters_of(3)
    fingerprint = DeadLetter.objects.values_list("fingerprint", flat=True).distinct().get()
    first = DeadLetter.objects.earliest("id")
    DeadLetter.objects.filter(pk=first.pk).update(resolved_at=timezone.now(), resolution="retried", resolved_by="olga")
    path = f"{API}dead-letters/{fingerprint}/"
    assert [row["cause"] for row in operator.get(path).json()["results"]] == ["claim 2 is closed", "claim 1 is closed"]
    [resolved] = operator.get(f"{path}?state=resolved").json()["results"]
    assert (resolved["job"], resolved["resolution"], resolved["resolved_by"]) == (str(first.job_id), "retried", "olga")
    assert len(operator.get(f"{path}?state=all").json()["results"]) == 3
    assert operator.get(f"{API}dead-letters/{'0' * 32}/").status_code == 404


def test_failures_over_time_are_counted_by_cause(operator: APIClient) -> None:
    letters_of(3)
    now = timezone.now()
    day = timezone.timedelta(days=1)
    first, second, third = DeadLetter.objects.order_by("id")
    DeadLetter.objects.filter(pk=first.pk).update(failed_at=now - 2 * day, resolved_at=now, resolution="retried")
    DeadLetter.objects.filter(pk=second.pk).update(failed_at=now - 2 * day)
    DeadLetter.objects.filter(pk=third.pk).update(failed_at=now - 60 * day)
    found = operator.get(f"{API}dead-letters/patterns/").json()
    [cause] = found["causes"]
    assert (cause["error"], cause["count"], cause["open"]) == ("Closed", 2, 1)
    [point] = cause["points"]
    assert (point["count"], point["open"]) == (2, 1)
    assert point["at"].startswith(f"{now - 2 * day:%Y-%m-%d}T00:00:00")
    since = f"{now - 90 * day:%Y-%m-%dT%H:%M:%SZ}"
    [cause] = operator.get(f"{API}dead-letters/patterns/?by=day&since={since}").json()["causes"]
    assert [point["count"] for point in cause["points"]] == [1, 2]
    assert operator.get(f"{API}dead-letters/patterns/?by=hour").json()["causes"] == []
    for query, name in (("by=year", "by"), (f"by=hour&since={since}", "since"), ("since=now", "since")):
        answer = operator.get(f"{API}dead-letters/patterns/?{query}")
        assert answer.status_code == 400, query
        assert [error["parameter"] for error in answer.json()["errors"]] == [name]


def test_only_operators_see_dead_letters_and_repairs(client: APIClient) -> None:
    for path in ("dead-letters/", "dead-letters/patterns/", f"dead-letters/{'0' * 32}/", "repairs/"):
        assert client.get(f"{API}{path}").status_code == 403, path
    assert post(client, "repairs/", {"verb": "cancel", "filter": {"workflow": "a"}}).status_code == 403


def test_the_metrics_count_the_dead_letters_by_cause(operator: APIClient) -> None:
    letters_of(2)
    letters_of(1, error='Odd "name"')
    text = operator.get("/metrics").content.decode()
    assert 'workflow_dead_letters{plugin="bank",error="Closed"} 2' in text
    assert r'workflow_dead_letters{plugin="bank",error="Odd \"name\""} 1' in text


# ---- many at once ---------------------------------------------------------------------------------------------------


def test_a_repair_of_many_is_previewed_started_and_watched(operator: APIClient) -> None:
    jobs = failed(3)
    body = {"verb": "skip", "filter": {"error": "Refused"}, "arguments": {"output": {"a": 1}}, "reason": "by phone"}
    answer = post(operator, "repairs/", body)
    assert answer.status_code == 201, answer.content
    found = answer.json()
    assert answer["Location"].endswith(f"/api/v1/repairs/{found['id']}/")
    assert (found["status"], found["summary"]["count"]) == ("preview", 3)
    assert found["progress"] == {"waiting": 3, "done": 0, "refused": 0, "total": 3}
    path = f"repairs/{found['id']}/"
    assert post(operator, f"{path}start/").json()["status"] == "running"
    assert post(operator, f"{path}start/").status_code == 409
    BulkRepairs().run_once()
    found = operator.get(f"{API}{path}").json()
    assert (found["status"], found["progress"]["done"]) == ("done", 3)
    items = operator.get(f"{API}{path}items/?verdict=done&page_size=2").json()
    assert [item["job"] for item in items["results"]] == [str(job.pk) for job in jobs[:2]]
    assert items["next"]
    assert post(operator, f"{path}stop/").status_code == 409
    assert [row["id"] for row in operator.get(f"{API}repairs/?status=done").json()["results"]] == [found["id"]]
    drain()
    assert set(Job.objects.values_list("status", flat=True)) == {"DONE"}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"verb": "mend", "filter": {"workflow": "a"}}, "/verb"),
        ({"verb": "cancel"}, "/filter"),
        ({"verb": "cancel", "filter": {}}, "/filter"),
        ({"verb": "cancel", "filter": {"status": "LATE"}}, "/filter/status"),
        ({"verb": "restart", "filter": {"workflow": "a"}}, "/arguments/task"),
        ({"verb": "cancel", "filter": {"workflow": "a"}, "arguments": {"task": "x"}}, "/arguments/task"),
        ({"verb": "cancel", "filter": {"workflow": "a\0"}}, "/filter/workflow"),
        ({"verb": "cancel", "filter": {"workflow": "a"}, "first_alone": "yes"}, "/first_alone"),
    ],
)
def test_a_preview_with_a_fault_names_it(operator: APIClient, body: dict[str, Any], pointer: str) -> None:
    answer = post(operator, "repairs/", body)
    assert answer.status_code == 422, answer.content
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_a_repair_of_many_that_is_not_there_is_not_found(operator: APIClient) -> None:
    path = f"{API}repairs/0190a5d2-0000-7000-8000-000000000000/"
    for found in (operator.get(path), operator.get(f"{path}items/"), operator.post(f"{path}start/")):
        assert found.status_code == 404


def test_no_call_asks_more_queries_for_a_thousand_jobs_than_for_ten(operator: APIClient) -> None:
    counts = []
    for number in (10, 990):
        letters_of(number)
        fingerprint = DeadLetter.objects.values_list("fingerprint", flat=True).distinct().get()
        body = {"verb": "retry", "filter": {"fingerprint": fingerprint}}
        found = {}
        with CaptureQueriesContext(connection) as queries:
            made = post(operator, "repairs/", body).json()
        found["preview"] = len(queries)
        for path in (
            *("dead-letters/", "dead-letters/patterns/", f"dead-letters/{fingerprint}/", "repairs/"),
            *(f"repairs/{made['id']}/", f"repairs/{made['id']}/items/"),
        ):
            with CaptureQueriesContext(connection) as queries:
                assert operator.get(f"{API}{path}").status_code == 200
            found[path.replace(made["id"], "…")] = len(queries)
        counts.append(found)
    assert made["summary"]["count"] == 1000
    assert counts[0] == counts[1]
    assert max(counts[0].values()) <= 18, counts
