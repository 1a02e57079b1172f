"""Jobs run to their next stop, whatever their plugins do."""

from __future__ import annotations

import pytest

from tests.execution.jobs import chain, publish, register, submit
from workflows.execution.worker import drain
from workflows.models import Document, History, Job, TaskRun

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _allow_doubles(settings):
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    settings.WORKFLOW_STEP_SECONDS = 1


def reload(job: Job) -> Job:
    return Job.objects.select_related("data").get(pk=job.pk)


def test_a_job_of_three_plugin_tasks_runs_to_its_end():
    register("echo", "Echo")
    job = submit(publish(chain("three", "echo", "echo", "echo")), {"n": 1})

    assert drain() == 3

    job = reload(job)
    assert (job.status, job.claimed_by, job.claims) == ("DONE", None, 0)
    assert job.finished_at is not None
    assert job.data.output["input"] == {"n": 1}
    assert list(TaskRun.objects.filter(job=job).values_list("task", "status", "iteration", "attempt")) == [
        ("step1", "done", 1, 1),
        ("step2", "done", 1, 1),
        ("step3", "done", 1, 1),
    ]


def test_the_history_has_no_gap_and_ends_at_the_status_of_the_job():
    register("echo", "Echo")
    job = submit(publish(chain("three", "echo", "echo", "echo")))
    drain()

    rows = list(History.objects.filter(job=job))
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
    moves = [(row.from_status, row.to_status) for row in rows if row.to_status]
    assert moves[0] == ("", "NEW")
    assert [move[0] for move in moves[1:]] == [move[1] for move in moves[:-1]]
    assert moves[-1][1] == reload(job).status == "DONE"


@pytest.mark.parametrize(
    ("class_name", "configuration", "error", "cause"),
    [
        ("Raises", {}, "Unexpected", "ValueError: the plugin is broken"),
        ("FailsByName", {}, "ServiceUnavailable", "come back later"),
        ("AnswersFailed", {}, "Refused", "not today"),
        ("ReturnsNoJson", {"kind": "object"}, "Unexpected", "not JSON"),
        ("ReturnsNoJson", {}, "Unexpected", "not JSON"),
        ("ReturnsNonsense", {}, "Unexpected", "returned a int"),
        ("CallsExit", {}, "Unexpected", "SystemExit"),
        ("NeverReturns", {}, "Timeout", "longer than 1 seconds"),
    ],
)
def test_a_plugin_that_misbehaves_fails_its_own_job_by_name(class_name, configuration, error, cause):
    register("bad", class_name, **configuration)
    register("echo", "Echo")
    bad, good = submit(publish(chain("bad", "bad"))), submit(publish(chain("good", "echo")))

    drain()

    bad, good = reload(bad), reload(good)
    assert (bad.status, good.status) == ("FAIL", "DONE")
    assert bad.data.error["name"] == error
    assert cause in bad.data.error["cause"]
    assert bad.data.error["task"] == "step1"
    assert bad.claimed_by is None


def test_an_unknown_plugin_fails_its_jobs_and_takes_nothing_else_down():
    register("echo", "Echo")
    job = submit(publish(chain("unknown", "no_such_plugin")))
    other = submit(publish(chain("known", "echo")))

    drain()

    assert reload(job).data.error["name"] == "PluginNotFound"
    assert reload(other).status == "DONE"


def test_a_plugin_registered_later_is_found_without_a_restart():
    definition = publish(chain("late", "late"))
    first = submit(definition)
    drain()
    register("late", "Echo")
    second = submit(definition)
    drain()

    assert (reload(first).status, reload(second).status) == ("FAIL", "DONE")


def test_a_retry_waits_for_its_time_and_counts_its_attempts():
    register("flaky", "FailsByName", times=2)
    document = chain("flaky", "flaky")
    document["tasks"]["step1"]["retry"] = [{"errors": ["ServiceUnavailable"], "interval": "PT1S"}]
    job = submit(publish(document))
    drain()

    job = reload(job)
    assert job.status == "PEND"
    assert job.wake_at is not None
    run = TaskRun.objects.get(job=job)
    assert (run.status, run.error, run.attempt) == ("retrying", "ServiceUnavailable", 1)


def test_a_document_that_a_step_hands_back_is_attached_to_the_job():
    register("letter", "WritesLetter")
    job = submit(publish(chain("letter", "letter")), {"name": "claimant"})
    drain()

    document = Document.objects.get(job=job)
    assert (document.name, document.task, document.media_type) == ("letter.txt", "step1", "text/plain")
    with document.content.open("rb") as file:
        assert file.read() == b"Dear claimant"


def test_a_job_without_its_definition_is_given_to_a_person():
    register("echo", "Echo")
    job = submit(publish(chain("gone", "echo")))
    Job.objects.filter(pk=job.pk).update(version=7)
    drain()

    job = reload(job)
    assert job.status == "FAIL"
    assert job.data.error["name"] == "DefinitionNotFound"


def test_a_job_type_without_a_definition_runs_as_a_workflow_of_one_task():
    register("tests.echo", "Echo")
    job = Job.objects.create(workflow="tests.echo", version=0, history_count=1)
    from workflows.models import JobData

    JobData.objects.create(job=job, input={"a": 1})
    History.objects.create(job=job, sequence=1, event="job.submitted", to_status="NEW")
    drain()

    assert reload(job).data.output["input"] == {"a": 1}
