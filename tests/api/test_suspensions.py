"""Suspending over REST: who may, what is answered, and that nothing of it costs more with more jobs."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.execution.jobs import chain, publish, register, submit
from workflows.execution import gates
from workflows.execution.worker import drain
from workflows.models import Job, ServiceRun, Suspension

pytestmark = pytest.mark.django_db

SUSPENSIONS = "/api/v1/suspensions/"


@pytest.fixture(autouse=True)
def _plugins(settings: Any, db: None) -> Any:
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    register("echo", "Echo")
    gates.forget()
    yield
    gates.forget()


def test_an_operator_suspends_and_resumes_a_job(operator: Any) -> None:
    job = submit(publish(chain("one", "echo")))
    page = f"/api/v1/jobs/{job.pk}"
    assert operator.post(f"{page}/suspend/", {"reason": "wait"}, format="json").status_code == 200
    drain()
    told = operator.post(f"{page}/suspend/", {}, format="json")
    assert (told.status_code, told.json()["job"]["status"]) == (409, "NEW")
    assert operator.post(f"{page}/resume/", {}, format="json").status_code == 200
    assert operator.post(f"{page}/resume/", {}, format="json").status_code == 409
    drain()
    assert Job.objects.get(pk=job.pk).status == "DONE"
    events = [row["event"] for row in operator.get(f"{page}/history/").json()["results"]]
    assert events[1:3] == ["job.suspended", "job.resumed"]


def test_nobody_else_suspends_a_job_and_a_job_one_may_not_see_is_not_there(client: Any) -> None:
    mine = submit(publish(chain("one", "echo")), submitted_by=client.user)
    assert client.post(f"/api/v1/jobs/{mine.pk}/suspend/", {}, format="json").status_code == 403
    assert client.post(f"/api/v1/jobs/{uuid.uuid4()}/suspend/", {}, format="json").status_code == 404


def test_an_operator_suspends_a_workflow_and_submission_stays_possible(operator: Any) -> None:
    publish(chain("one", "echo"))
    made = operator.post(SUSPENSIONS, {"workflow": "one", "reason": "the bank is closed"}, format="json")
    assert (made.status_code, made["Location"]) == (201, "http://testserver/api/v1/suspensions/one/")
    told = made.json()
    assert (told["workflow"], told["reason"], told["suspended_by"], told["leased"]) == (
        *("one", "the bank is closed", operator.user.get_username()),
        0,
    )
    taken = operator.post("/api/v1/jobs/", {"workflow": "one", "input": {}}, format="json")
    assert taken.status_code == 201
    drain()
    assert Job.objects.get().hold == "suspended:one"
    assert [row["workflow"] for row in operator.get(SUSPENSIONS).json()["results"]] == ["one"]
    assert operator.get(f"{SUSPENSIONS}one/").json() == told
    over = operator.delete(f"{SUSPENSIONS}one/", {"reason": "open"}, format="json")
    assert (over.status_code, over.json()["resumed_jobs"]) == (200, 1)
    assert operator.get(SUSPENSIONS).json()["results"] == []
    kept = Suspension.objects.get()
    assert (kept.resumed_by, kept.resumed_reason) == (operator.user.get_username(), "open")


def test_everything_is_suspended_by_a_star_and_only_once(operator: Any) -> None:
    assert operator.post(SUSPENSIONS, {"workflow": "*"}, format="json").status_code == 201
    again = operator.post(SUSPENSIONS, {"workflow": "*"}, format="json")
    assert again.status_code == 409
    assert "already" in again.json()["detail"]
    assert operator.delete(f"{SUSPENSIONS}*/").status_code == 200
    assert operator.delete(f"{SUSPENSIONS}*/").status_code == 404


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "", "required"),
        ({"workflow": "nowhere"}, "/workflow", "unknown_workflow"),
        ({"workflow": 7}, "/workflow", "type"),
        ({"workflow": "one", "reason": "x" * 501}, "/reason", "maxLength"),
        ({"workflow": "one", "why": "no"}, "", "unknown_field"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(operator: Any, body: Any, pointer: str, code: str) -> None:
    publish(chain("one", "echo"))
    answer = operator.post(SUSPENSIONS, body, format="json")
    assert answer.status_code == 422
    fault = answer.json()["errors"][0]
    assert (fault["pointer"] in (pointer, pointer + "/why", "/workflow"), fault["code"]) == (True, code)


def test_nobody_else_sees_or_changes_suspensions(client: Any, configurator: Any) -> None:
    for caller in (client, configurator):
        for answer in (
            caller.get(SUSPENSIONS),
            caller.post(SUSPENSIONS, {"workflow": "*"}, format="json"),
            caller.delete(f"{SUSPENSIONS}*/"),
        ):
            assert answer.status_code == 403
    assert not Suspension.objects.exists()


def test_the_metrics_say_how_many_are_held_by_what_and_what_was_found(operator: Any) -> None:
    definition = publish(chain("one", "echo"))
    for hold in ("resource:bank", "resource:bank", "suspended"):
        submit(definition, hold=hold)
    ServiceRun.objects.create(name="stranded", counts={"no_wake_up": 2})
    text = operator.get("/metrics").content.decode()
    assert 'workflow_jobs_held{hold="resource:bank"} 2' in text
    assert 'workflow_findings{check="no_wake_up"} 2' in text
