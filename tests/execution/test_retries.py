"""Failed attempts through the whole machine: delays that grow and are capped, timers that keep them, then a person."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.execution.jobs import publish, register, submit
from tests.faults.clusters import eventually
from workflows.engine.durations import parse_timestamp
from workflows.execution.timers import Timers
from workflows.execution.worker import drain
from workflows.models import DeadLetter, History, Job, TaskRun

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _allow_doubles(settings):
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]


def shaky(times, **retry):
    register("shaky", "FailsByName", times=times)
    task = {"type": "plugin", "plugin": "shaky", "retry": [retry]}
    return submit(publish({"name": "shaky", "tasks": {"step": task}, "transitions": []}))


def work(job, status):
    def stands():
        Timers().run_once()
        drain()
        return Job.objects.get(pk=job.pk).status == status

    assert eventually(stands, 20)


def delays(job):
    """What each failed attempt was told to wait, in seconds."""
    rows = History.objects.filter(job=job, event="task.retrying").order_by("sequence")
    return [(parse_timestamp(row.data["retry_at"]) - row.at).total_seconds() for row in rows]


def test_the_delays_double_up_to_their_cap_and_the_timers_keep_them():
    job = shaky(4, errors=["ServiceUnavailable"], interval="PT0.1S", max_delay="PT0.4S")
    work(job, "DONE")
    assert delays(job) == pytest.approx([0.1, 0.2, 0.4, 0.4], abs=0.05)
    runs = list(TaskRun.objects.filter(job=job).order_by("attempt"))
    assert [run.status for run in runs] == ["retrying"] * 4 + ["done"]
    waited = [(later.started_at - earlier.finished_at).total_seconds() for earlier, later in pairwise(runs)]
    assert all(real >= told - 0.05 for real, told in zip(waited, delays(job), strict=True)), "none began too early"


def test_without_more_said_it_is_one_second_first_and_twice_as_much_each_time():
    job = shaky(9, errors=["*"])
    drain()
    assert delays(job) == pytest.approx([1.0], abs=0.05)
    wake_at = Job.objects.get(pk=job.pk).wake_at
    assert (wake_at - TaskRun.objects.get(job=job).finished_at).total_seconds() == pytest.approx(1.0, abs=0.05)


def test_an_error_that_no_retrier_names_and_one_whose_attempts_are_used_up_are_for_a_person():
    job = shaky(9, errors=["SomethingElse"])
    drain()
    assert DeadLetter.objects.get(job=job).error == "ServiceUnavailable"
    register("again", "FailsByName")
    task = {"type": "plugin", "plugin": "again", "retry": [{"errors": ["*"], "interval": "PT0.01S", "max_attempts": 3}]}
    other = submit(publish({"name": "again", "tasks": {"step": task}, "transitions": []}))
    work(other, "FAIL")
    assert TaskRun.objects.filter(job=other).count() == 3
    assert DeadLetter.objects.get(job=other).task == "step"


def test_jitter_keeps_within_the_delay():
    job = shaky(3, errors=["*"], interval="PT0.1S", jitter="full")
    work(job, "DONE")
    assert all(0 <= told <= full + 0.01 for told, full in zip(delays(job), [0.1, 0.2, 0.4], strict=True))
