"""From the definition through the departments to the end, with the engine that is really there."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from departments import actions
from departments.exceptions import ItemConflict
from departments.models import WorkItem
from tests.departments.conftest import People
from workflows.execution.worker import drain
from workflows.intake.publishing import faults, publish
from workflows.intake.submit import Submission, submit_job
from workflows.models import History, Job, JobData, TaskRun
from workflows.operations import cancel_job, skip_task
from workflows.policy import visible_jobs

DOCUMENT: dict[str, Any] = {
    "name": "claim_and_ship",
    "tasks": {
        "verify": {
            "type": "human",
            "department": "verification",
            "title": "Verify ${input.claim_no}",
            "outcomes": ["approve", "reject", "return"],
            "form": {"type": "object", "properties": {"payable": {"type": "number"}}},
            "due": "P3D",
        },
        "ship": {"type": "external", "department": "payments", "message": {"sum": "${tasks.verify.output.payable}"}},
        "done": {"type": "pass", "input": {"parcel": "${tasks.ship.output.parcel}", "how": "${tasks.ship.outcome}"}},
        "declined": {"type": "pass", "input": {"why": "declined"}},
    },
    "transitions": [
        {"from": "verify", "to": "ship", "when": "outcome == 'approve'"},
        {"from": "verify", "to": "declined", "when": "outcome == 'reject'"},
        {"from": "verify", "to": "verify", "when": "outcome == 'return'", "loop": {"max_iterations": 3}},
        {"from": "ship", "to": "done"},
    ],
}


@pytest.fixture
def job(people: People) -> Job:
    """A job that waits for the verification department."""
    publish(DOCUMENT)
    submitted = submit_job(
        Submission(workflow="claim_and_ship", input={"claim_no": "CLM-1"}, correlation_id="CLM-1"),
        submitted_by=people.stranger,
    )
    drain()
    return Job.objects.get(pk=submitted.job.pk)


def the_item(job: Job) -> WorkItem:
    return WorkItem.objects.active().get(job=job)


def status(job: Job) -> str:
    return Job.objects.get(pk=job.pk).status


def test_a_request_waits_for_its_departments_one_after_the_other_and_is_done(job: Job, people: People) -> None:
    item = the_item(job)
    assert status(job) == "PEND"
    assert (item.title, item.reference, item.workflow) == ("Verify CLM-1", "CLM-1", "claim_and_ship")
    assert (item.department, item.due_at is not None) == (people.department, True)

    actions.complete(item.pk, people.member, "approve", data={"payable": 850})
    assert status(job) == "READY"
    drain()
    shipping = the_item(job)
    assert (shipping.kind, shipping.department, shipping.data) == ("external", people.elsewhere, {"sum": 850})

    client = APIClient()
    client.force_authenticate(people.outsider)
    answer = client.post(
        f"/api/v1/jobs/{job.pk}/tasks/ship/response/",
        "<response><status>shipped</status><data><parcel>P-1</parcel></data></response>",
        content_type="application/xml",
    )
    assert answer.status_code == 201
    drain()
    assert status(job) == "DONE"
    assert JobData.objects.get(job=job).output == {"parcel": "P-1", "how": "shipped"}
    late = client.post(f"/api/v1/jobs/{job.pk}/tasks/ship/response/", {"status": "lost"}, format="json")
    assert (late.status_code, late.json()["code"]) == (409, "job_finished")
    run = TaskRun.objects.get(job=job, task="verify")
    assert (run.actor, run.outcome, run.output) == ("member", "approve", {"payable": 850})
    events = list(History.objects.filter(job=job).values_list("event", flat=True))
    assert events.index("item.decided") < events.index("task.responded") < events.index("job.done")


def test_a_return_asks_again_as_the_next_iteration(job: Job, people: People) -> None:
    first = the_item(job)
    actions.complete(first.pk, people.member, "return", comment="The receipt is missing.")
    drain()
    second = the_item(job)
    assert (second.pk != first.pk, second.iteration, second.status) == (True, 2, "open")
    actions.complete(second.pk, people.member, "reject", comment="Still missing.")
    drain()
    assert (status(job), JobData.objects.get(job=job).output) == ("DONE", {"why": "declined"})


def test_a_cancelled_job_withdraws_its_item_and_takes_no_decision(job: Job, people: People) -> None:
    item = the_item(job)
    cancel_job(job.pk, actor="operator", reason="Sent twice")
    drain()
    item.refresh_from_db()
    assert (item.status, item.withdrawn_reason) == ("withdrawn", "cancelled")
    with pytest.raises(ItemConflict, match="the job was cancelled") as error:
        actions.complete(item.pk, people.member, "approve")
    assert error.value.code == "withdrawn"


def test_a_task_that_an_operator_went_on_without_skips_its_item(job: Job, people: People) -> None:
    item = the_item(job)
    skip_task(job.pk, "verify", actor="operator", output={"payable": 1})
    drain()
    item.refresh_from_db()
    assert item.status == "skipped"
    with pytest.raises(ItemConflict, match="an operator went on without it"):
        actions.claim(item.pk, people.member)


def test_a_department_that_is_gone_fails_the_task_and_nothing_else(people: People) -> None:
    publish(DOCUMENT)
    people.department.delete()
    submitted = submit_job(Submission(workflow="claim_and_ship", input={"claim_no": "CLM-2"}), submitted_by=None)
    drain()
    assert status(submitted.job) == "FAIL"
    assert JobData.objects.get(job=submitted.job).error["name"] == "DepartmentNotFound"


def test_a_definition_that_names_no_department_of_the_house_is_refused(people: People) -> None:
    document = {"name": "wrong", "tasks": {"ask": {"type": "human", "department": "nowhere"}}, "transitions": []}
    assert [fault.pointer for fault in faults(document)] == ["/tasks/ask/department"]


def test_members_see_the_jobs_that_their_department_was_asked_about(job: Job, people: People) -> None:
    def seen(user: Any) -> bool:
        return visible_jobs(type(user).objects.get(pk=user.pk)).filter(pk=job.pk).exists()

    assert [seen(user) for user in (people.member, people.stranger, people.operator)] == [True, True, True]
    assert not seen(people.outsider)
    actions.complete(the_item(job).pk, people.member, "approve", data={"payable": 1})
    drain()
    assert seen(people.outsider)
    assert seen(people.member)
