"""What an operator can mend, seen through the whole machine."""

from __future__ import annotations

import pytest

from tests.execution.jobs import chain, publish, register, submit
from workflows.execution.worker import drain
from workflows.models import History, Job, TaskRun
from workflows.operations import retry_job, skip_task

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _allow_doubles(settings):
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]


def test_a_transition_that_cannot_be_read_is_a_dead_letter_that_can_be_retried_and_skipped():
    register("echo", "Echo")
    document = chain("unreadable", "echo", "echo")
    document["transitions"][0]["when"] = "output.input.wanted"
    job = submit(publish(document), {"other": True})
    drain()
    job.refresh_from_db()
    assert (job.status, job.data.error["name"]) == ("FAIL", "ExpressionError")
    assert "wanted" in job.data.error["cause"]

    for attempt in (2, 3):
        retry_job(job.pk, actor="operator")
        drain()
        job = Job.objects.get(pk=job.pk)
        assert (job.status, job.data.error["name"]) == ("FAIL", "ExpressionError")
        assert TaskRun.objects.filter(job=job, task="step1").count() == attempt

    skip_task(job.pk, "step1", actor="operator", output={"input": {"wanted": True}})
    drain()
    job = Job.objects.get(pk=job.pk)
    assert job.status == "DONE"
    assert TaskRun.objects.get(job=job, task="step2").status == "done"


def test_a_job_that_ends_with_a_repair_is_done_once_in_its_history():
    register("refuses", "AnswersFailed")
    job = submit(publish(chain("ends", "refuses")))
    drain()
    skip_task(job.pk, "step1", actor="operator")
    drain()
    moves = History.objects.filter(job=job).exclude(to_status="").order_by("sequence")
    assert [(row.event, row.to_status, row.actor) for row in moves] == [
        ("job.submitted", "NEW", ""),
        ("job.failed", "FAIL", ""),
        ("task.skipped", "READY", "operator"),
        ("job.done", "DONE", ""),
    ]
