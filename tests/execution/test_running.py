"""Repairs of a job while a worker is in the middle of one of its steps: a real thread, held at the step by the test."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from tests.execution import plugin_doubles
from tests.execution.jobs import publish, register, submit
from workflows.execution.worker import drain
from workflows.models import History, Job, Signal, TaskRun
from workflows.operations import WrongState, cancel_job, restart_job, retry_job, skip_task

pytestmark = pytest.mark.django_db(transaction=True)

DOCUMENT = {
    "name": "branches",
    "tasks": {
        "first": {"type": "plugin", "plugin": "echo", "compensate": "echo"},
        "refused": {"type": "plugin", "plugin": "refuses"},
        "waiting": {"type": "wait", "for": "PT1H"},
        "slow": {"type": "plugin", "plugin": "waits"},
        "after": {"type": "plugin", "plugin": "echo"},
    },
    "transitions": [{"from": "first", "to": "slow"}, {"from": "waiting", "to": "after"}],
}


@pytest.fixture
def running(settings):
    """A job with one failed branch, one that waits, and one at whose step a worker is at this moment. Calling it lets
    the worker go on to its end."""
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    register("echo", "Echo")
    register("refuses", "AnswersFailed")
    register("waits", "Waits")
    plugin = plugin_doubles.Waits
    plugin.began.clear()
    plugin.go_on.clear()
    plugin.runs.clear()
    job = submit(publish(DOCUMENT))

    def work():
        try:
            drain()
        finally:
            connection.close()

    worker = threading.Thread(target=work, name="worker")
    worker.start()
    assert plugin.began.wait(20)

    def go_on():
        plugin.go_on.set()
        worker.join(20)
        drain()

    yield job, go_on
    plugin.go_on.set()
    worker.join(20)


def job_of(job):
    return Job.objects.select_related("data").get(pk=job.pk)


def runs(job):
    found = TaskRun.objects.filter(job=job).order_by("task", "iteration", "attempt")
    return {f"{run.task}#{run.iteration}.{run.attempt}": run.status for run in found}


def test_a_worker_is_at_the_job_when_these_repairs_come(running):
    job, go_on = running
    found = job_of(job)
    assert (found.status, found.claimed_by is not None) == ("READY", True)
    assert runs(job) == {"first#1.1": "done", "refused#1.1": "failed", "waiting#1.1": "waiting"}
    go_on()
    assert job_of(job).status == "FAIL"


def test_cancelling_takes_the_job_from_the_worker(running):
    job, go_on = running
    fence = job_of(job).fence
    cancelled = cancel_job(job.pk, actor="olga")
    assert (cancelled.status, cancelled.fence, cancelled.claimed_by) == ("CANC", fence + 1, None)
    go_on()
    assert job_of(job).status == "CANC"
    assert runs(job)["slow#1.1"] == "withdrawn", "what the worker did was not written"


def test_cancelling_with_compensation_takes_the_job_from_the_worker_and_undoes_the_rest(running):
    job, go_on = running
    assert cancel_job(job.pk, actor="olga", compensate=True).status == "READY"
    go_on()
    assert job_of(job).status == "CANC"
    assert runs(job)["undo:first#1.1"] == "done"
    assert runs(job)["slow#1.1"] == "withdrawn"


def test_restarting_takes_the_job_from_the_worker_and_runs_the_step_as_a_new_iteration(running):
    job, go_on = running
    restarted = restart_job(job.pk, "first", actor="olga")
    assert (restarted.status, restarted.claimed_by) == ("READY", None)
    go_on()
    assert runs(job)["slow#1.1"] == "withdrawn"
    assert (runs(job)["first#2.1"], runs(job)["slow#2.1"]) == ("done", "done")
    assert [run.split()[:2] for run in plugin_doubles.Waits.runs] == [["slow", "1"], ["slow", "2"]]


def test_skipping_a_task_that_waits_leaves_the_worker_its_step(running):
    job, go_on = running
    assert skip_task(job.pk, "waiting", actor="olga", reason="no need").claimed_by is not None
    go_on()
    assert len(plugin_doubles.Waits.runs) == 1, "no step was run twice for it"
    found = runs(job)
    assert (found["waiting#1.1"], found["slow#1.1"], found["after#1.1"]) == ("skipped", "done", "done")
    asked, skipped = History.objects.filter(job=job, actor="olga").order_by("sequence")
    assert (asked.event, skipped.event, skipped.data["reason"]) == ("task.skip_asked", "task.skipped", "no need")
    assert not Signal.objects.filter(job=job).exists()


def test_retrying_a_failed_task_leaves_the_worker_its_step(running):
    job, go_on = running
    retry_job(job.pk, task="refused", input={"edited": True}, actor="olga")
    go_on()
    assert len(plugin_doubles.Waits.runs) == 1
    assert (runs(job)["slow#1.1"], runs(job)["refused#1.2"]) == ("done", "failed")
    assert TaskRun.objects.get(job=job, task="refused", attempt=2).input == {"edited": True}


def test_the_step_that_runs_can_neither_be_skipped_nor_retried(running):
    job, go_on = running
    with pytest.raises(WrongState, match="'slow' is ready"):
        skip_task(job.pk, "slow", actor="olga")
    with pytest.raises(WrongState, match="'slow' is ready"):
        retry_job(job.pk, task="slow", actor="olga")
    go_on()
    assert len(plugin_doubles.Waits.runs) == 1
