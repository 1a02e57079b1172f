"""A repair of a child job is heard of by the job that waits for it."""

from __future__ import annotations

import pytest

from tests.execution.jobs import publish, register, submit
from workflows.execution.worker import drain
from workflows.models import DeadLetter, Job, TaskRun
from workflows.operations import cancel_job, retry_job, skip_task

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def family(settings):
    """A job, and the child that it waits for, which waits for an hour."""
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    register("echo", "Echo")
    wait = {"name": "inner", "tasks": {"wait": {"type": "wait", "for": "PT1H"}}, "transitions": []}
    publish(wait)
    tasks = {"child": {"type": "workflow", "workflow": "inner"}, "after": {"type": "plugin", "plugin": "echo"}}
    outer = publish({"name": "outer", "tasks": tasks, "transitions": [{"from": "child", "to": "after"}]})
    job = submit(outer)
    drain()
    return job, Job.objects.get(parent=job)


def job_of(job):
    return Job.objects.get(pk=job.pk)


def test_a_child_that_is_skipped_to_its_end_lets_its_parent_go_on(family):
    job, child = family
    skip_task(child.pk, "wait", actor="olga", output={"by": "hand"})
    drain()
    assert (job_of(child).status, job_of(job).status) == ("DONE", "DONE")
    assert TaskRun.objects.get(job=job, task="child").output == {"by": "hand"}


def test_a_child_that_is_cancelled_fails_the_task_of_its_parent(family):
    job, child = family
    cancel_job(child.pk, actor="olga")
    drain()
    assert job_of(job).status == "FAIL"
    assert DeadLetter.objects.get(job=job, resolved_at__isnull=True).task == "child"


def test_a_parent_that_is_cancelled_cancels_its_child(family):
    job, child = family
    cancel_job(job.pk, actor="olga")
    drain()
    assert (job_of(job).status, job_of(child).status) == ("CANC", "CANC")


def test_a_parent_that_is_retried_starts_another_child(family):
    job, child = family
    cancel_job(child.pk, actor="olga")
    drain()
    retry_job(job.pk, actor="olga")
    drain()
    [second] = Job.objects.filter(parent=job).exclude(pk=child.pk)
    assert (job_of(job).status, second.status) == ("PEND", "PEND")
