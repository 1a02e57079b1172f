"""What the plugin that undoes a run is told of it, whichever attempt of the run it was that ended well."""

from __future__ import annotations

import pytest

from tests.execution.jobs import publish, register, submit
from tests.execution.plugin_doubles import Remembers
from workflows import registry
from workflows.execution.worker import drain
from workflows.models import Job, PluginRegistration
from workflows.operations import cancel_job, retry_job

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _allow_doubles(settings):
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    Remembers.seen.clear()


def booked(when: str) -> Job:
    """A job whose first task has an effect and an undoing, and a transition that cannot be read."""
    register("books", "Echo")
    register("unbooks", "Remembers")
    task = {"type": "plugin", "plugin": "books", "compensate": "unbooks"}
    document = {
        "name": "trip",
        "tasks": {"book": task, "end": {"type": "pass"}},
        "transitions": [{"from": "book", "to": "end", "when": when}],
    }
    job = submit(publish(document), {"seat": 7})
    drain()
    assert Job.objects.get(pk=job.pk).status == "FAIL"
    return job


def test_a_run_that_was_repeated_because_its_transitions_failed_is_undone_once_with_what_it_returned_last():
    job = booked("output.wanted")
    retry_job(job.pk, actor="operator")
    drain()
    cancel_job(job.pk, actor="operator", compensate=True)
    drain()

    assert Job.objects.get(pk=job.pk).status == "CANC"
    (context,) = Remembers.seen
    assert context.undoes is not None
    assert (context.undoes["input"], context.undoes["output"]["input"]) == ({"seat": 7}, {"seat": 7})
    assert context.undoes["output"]["attempt"] == 2
    assert context.input == context.undoes["output"]


def test_an_undoing_that_failed_is_retried_with_the_input_that_a_person_gave():
    register("books", "Echo")
    register("unbooks", "AnswersFailed")
    book = {"type": "plugin", "plugin": "books", "compensate": "unbooks"}
    tasks = {"book": book, "end": {"type": "wait", "for": "P1D"}}
    job = submit(publish({"name": "trip", "tasks": tasks, "transitions": [{"from": "book", "to": "end"}]}))
    drain()
    cancel_job(job.pk, actor="operator", compensate=True)
    drain()
    failed = Job.objects.select_related("data").get(pk=job.pk)
    assert (failed.status, failed.data.error["task"]) == ("FAIL", "undo:book")

    PluginRegistration.objects.filter(job_type="unbooks").update(class_name="Remembers")
    registry.forget()
    retry_job(job.pk, actor="operator", task="undo:book", input={"seat": 8})
    drain()
    assert Job.objects.get(pk=job.pk).status == "CANC"
    assert [context.input for context in Remembers.seen] == [{"seat": 8}]
