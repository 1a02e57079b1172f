"""Every failure leaves a dead letter, and every repair says what became of it."""

from __future__ import annotations

import pytest

from tests.execution.jobs import chain, publish, register, submit
from workflows.execution.executor import fail_hard
from workflows.execution.worker import drain
from workflows.models import DeadLetter, Job
from workflows.models.statements import claim
from workflows.operations import cancel_job, restart_job, retry_job, skip_task

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _allow_doubles(settings):
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]


def failed_job(error="Refused"):
    """A job whose second step refused."""
    register("echo", "Echo")
    register("refuses", "AnswersFailed", error=error)
    job = submit(publish(chain("refused", "echo", "refuses")))
    drain()
    return job


def letters(job):
    return list(DeadLetter.objects.filter(job=job).order_by("id"))


def test_a_job_that_fails_leaves_a_letter_with_its_cause():
    job = failed_job()
    [letter] = letters(job)
    assert (letter.workflow, letter.version, letter.task) == ("refused", 1, "step2")
    assert (letter.plugin, letter.error, letter.cause, letter.message) == (
        "refuses",
        "Refused",
        "not today",
        "not today",
    )
    assert letter.resolved_at is None
    assert len(letter.fingerprint) == 32


@pytest.mark.parametrize(
    ("repair", "resolution"),
    [
        (lambda job: retry_job(job.pk, actor="olga"), "retried"),
        (lambda job: skip_task(job.pk, "step2", actor="olga"), "skipped"),
        (lambda job: restart_job(job.pk, "step1", actor="olga"), "restarted"),
        (lambda job: cancel_job(job.pk, actor="olga"), "cancelled"),
    ],
)
def test_each_repair_says_what_became_of_the_letter(repair, resolution):
    job = failed_job()
    repair(job)
    [letter] = letters(job)
    assert (letter.resolution, letter.resolved_by) == (resolution, "olga")
    assert letter.resolved_at >= letter.failed_at


def test_a_job_that_fails_again_has_a_second_letter_of_the_same_cause():
    job = failed_job()
    retry_job(job.pk, actor="olga")
    drain()
    first, second = letters(job)
    assert first.fingerprint == second.fingerprint
    assert (first.resolution, second.resolution) == ("retried", "")


def test_a_job_without_a_definition_leaves_a_letter_too():
    definition = publish(chain("lost", "echo"))
    job = submit(definition)
    Job.objects.filter(pk=job.pk).update(version=7)
    drain()
    [letter] = letters(job)
    assert (letter.error, letter.task, letter.plugin) == ("DefinitionNotFound", "", "")


def test_a_job_that_the_engine_fails_on_leaves_a_letter_too():
    register("echo", "Echo")
    job = submit(publish(chain("broken", "echo")))
    [claimed] = claim("default", "worker-a", 1, 30)
    fail_hard(claimed, "worker-a", "InternalError", "RuntimeError: it cannot be")
    [letter] = letters(job)
    assert letter.error == "InternalError"
    assert Job.objects.get(pk=job.pk).status == "FAIL"


def test_a_job_of_which_nothing_can_be_read_can_still_be_cancelled():
    job = failed_job()
    Job.objects.filter(pk=job.pk).update(version=7)
    assert cancel_job(job.pk, actor="olga").status == "CANC"
    assert letters(job)[0].resolution == "cancelled"
