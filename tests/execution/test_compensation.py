"""What a job has done is undone: in reverse, each tried again by its own policy, each recorded."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.execution.jobs import publish, register, submit
from tests.faults.clusters import cluster, eventually
from workflows import registry
from workflows.execution.timers import Timers
from workflows.execution.worker import drain
from workflows.models import DeadLetter, History, Job, PluginRegistration, TaskRun
from workflows.operations import WrongState, cancel_job, retry_job, skip_task

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _allow_doubles(settings):
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]


@pytest.fixture
def notes(tmp_path):
    register("echo", "Echo")
    register("refuses", "AnswersFailed")
    for name in ("unpack", "refund", "release"):
        register(name, "Undoes", file=str(tmp_path / "notes"))
    return lambda: [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]


def order(last="wait", name="order", **document):
    """Reserve, pay, pack, and then something at which the job stands still."""
    undo = {"reserve": "release", "pay": "refund", "pack": "unpack"}
    tasks = {
        name: {"type": "plugin", "plugin": "echo", "input": {"of": name}, "compensate": plugin}
        for name, plugin in undo.items()
    }
    tasks["pay"]["retry"] = [{"errors": ["ServiceUnavailable"], "interval": "PT0.05S", "max_attempts": 3}]
    tasks["pack"]["retry"] = []
    tasks["last"] = {"type": "wait", "for": "PT1H"} if last == "wait" else {"type": "plugin", "plugin": last}
    edges = [("reserve", "pay"), ("pay", "pack"), ("pack", "last")]
    transitions = [{"from": source, "to": target} for source, target in edges]
    return {"name": name, "tasks": tasks, "transitions": transitions, **document}


def configure(job_type, **configuration):
    row = PluginRegistration.objects.get(job_type=job_type)
    row.configuration = {**row.configuration, **configuration}
    row.save()
    registry.forget()


def job_of(job):
    return Job.objects.select_related("data").get(pk=job.pk)


def until(job, *statuses):
    """Let workers and timers work until the job stands so."""

    def stands():
        Timers().run_once()
        drain()
        return job_of(job).status in statuses

    assert eventually(stands, 15), job_of(job).status


def test_what_was_done_is_undone_in_reverse_and_each_is_told_what_it_undoes(notes):
    job = submit(publish(order()))
    drain()
    cancelled = cancel_job(job.pk, actor="olga", reason="changed their mind", compensate=True)
    assert cancelled.status == "READY", "it is cancelled when everything is undone"
    drain()

    found = job_of(job)
    assert (found.status, found.data.error) == ("CANC", None)
    assert [note["task"] for note in notes()] == ["undo:pack", "undo:pay", "undo:reserve"]
    assert [note["key"] for note in notes()] == [f"{job.pk}:undo:{name}:1" for name in ("pack", "pay", "reserve")]
    paid = TaskRun.objects.get(job=job, task="pay")
    assert notes()[1]["undoes"] == {"input": {"of": "pay"}, "output": paid.output, "outcome": None}
    assert notes()[1]["input"] == paid.output
    undone = TaskRun.objects.filter(job=job, task__startswith="undo:").order_by("sequence")
    assert [(run.task, run.status, run.output) for run in undone] == [
        (f"undo:{name}", "done", {"undone": True}) for name in ("pack", "pay", "reserve")
    ]
    begun = History.objects.get(job=job, event="job.compensating")
    assert (begun.actor, begun.data["cause"]) == ("olga", "changed their mind")
    assert begun.data["tasks"] == ["pack", "pay", "reserve"]
    ended = History.objects.get(job=job, event="job.cancelled")
    assert (ended.actor, ended.data["cause"], ended.to_status) == ("olga", "changed their mind", "CANC")
    assert TaskRun.objects.get(job=job, task="last").status == "withdrawn"


def test_a_job_with_nothing_to_undo_is_cancelled_at_once(notes):
    job = submit(publish(order()))
    assert cancel_job(job.pk, actor="olga", compensate=True).status == "CANC"


def test_a_job_that_is_being_undone_cannot_be_asked_to_do_it_again_but_can_be_ended(notes):
    configure("refund", times=2)
    job = submit(publish(order()))
    drain()
    cancel_job(job.pk, actor="olga", compensate=True)
    drain()
    assert job_of(job).status == "PEND", "it waits for a retry of its compensation"
    with pytest.raises(WrongState, match="compensated already"):
        cancel_job(job.pk, actor="olga", compensate=True)
    assert cancel_job(job.pk, actor="olga").status == "CANC"


def test_a_compensation_is_tried_again_as_its_task_is(notes):
    configure("refund", times=2)
    job = submit(publish(order()))
    drain()
    cancel_job(job.pk, actor="olga", compensate=True)
    until(job, "CANC")
    pays = [note for note in notes() if note["task"] == "undo:pay"]
    assert [note["attempt"] for note in pays] == [1, 2, 3]
    assert len({note["key"] for note in pays}) == 1
    runs = TaskRun.objects.filter(job=job, task="undo:pay").order_by("attempt")
    assert [run.status for run in runs] == ["retrying", "retrying", "done"]
    first, second, third = runs
    assert second.started_at >= first.finished_at + timedelta(seconds=0.05)
    assert third.started_at >= second.finished_at + timedelta(seconds=0.1)


def test_a_compensation_that_fails_is_a_dead_letter_and_the_rest_follows_when_it_is_retried(notes):
    configure("refund", times=3)
    job = submit(publish(order()))
    drain()
    cancel_job(job.pk, actor="olga", compensate=True)
    until(job, "FAIL")
    letter = DeadLetter.objects.get(job=job, resolved_at__isnull=True)
    assert (letter.task, letter.plugin, letter.error) == ("undo:pay", "refund", "ServiceUnavailable")
    assert job_of(job).data.error["task"] == "undo:pay"
    assert [note["task"] for note in notes()].count("undo:reserve") == 0, "what was done before it waits for it"

    retry_job(job.pk, task="undo:pay", input={"account": 7}, actor="peter", reason="another account")
    until(job, "CANC")
    assert [note["input"] for note in notes() if note["task"] == "undo:pay"][-1] == {"account": 7}
    assert notes()[-1]["task"] == "undo:reserve"
    row = History.objects.get(job=job, event="task.retried")
    assert (row.task, row.actor, row.data["reason"]) == ("undo:pay", "peter", "another account")


def test_a_compensation_that_a_person_did_is_skipped_by_its_name(notes):
    configure("unpack", times=9)
    job = submit(publish(order()))
    drain()
    cancel_job(job.pk, actor="olga", compensate=True)
    until(job, "FAIL")
    skip_task(job.pk, "undo:pack", output={"by": "hand"}, actor="peter", reason="unpacked by hand")
    until(job, "CANC")
    assert [note["task"] for note in notes()][-2:] == ["undo:pay", "undo:reserve"]
    assert TaskRun.objects.filter(job=job, task="undo:pack", actor="peter").get().status == "skipped"


def test_a_document_can_say_that_failing_undoes_what_was_done(notes):
    job = submit(publish(order("refuses", on_failure="compensate")))
    drain()
    found = job_of(job)
    assert found.status == "CANC"
    assert (found.data.error["name"], found.data.error["task"]) == ("Refused", "last")
    assert [note["task"] for note in notes()] == ["undo:pack", "undo:pay", "undo:reserve"]
    assert not DeadLetter.objects.exists()


def test_a_failed_job_can_be_undone_by_hand(notes):
    job = submit(publish(order("refuses")))
    drain()
    assert job_of(job).status == "FAIL"
    cancel_job(job.pk, actor="olga", compensate=True)
    assert DeadLetter.objects.get(job=job).resolution == "cancelled"
    drain()
    assert job_of(job).status == "CANC"
    assert len(notes()) == 3


def test_a_task_that_ended_well_and_failed_at_its_transitions_is_undone_with_what_it_did(notes):
    document = order()
    document["transitions"][2]["when"] = "output.nothing.there"
    job = submit(publish(document))
    drain()
    assert job_of(job).data.error["task"] == "pack"
    cancel_job(job.pk, actor="olga", compensate=True)
    drain()
    assert job_of(job).status == "CANC"
    assert notes()[0]["undoes"]["output"]["input"] == {"of": "pack"}


def test_a_job_past_its_own_time_is_still_undone_with_its_retries(notes):
    configure("refund", times=1)
    job = submit(publish(order(timeout="PT0.3S", on_failure="compensate")))
    drain()
    until(job, "CANC")
    assert job_of(job).data.error["name"] == "Timeout"
    assert [note["task"] for note in notes()] == ["undo:pack", "undo:pay", "undo:pay", "undo:reserve"]


@pytest.mark.processes
def test_a_worker_killed_while_it_undoes_something_is_followed_by_another_with_the_same_key(notes, tmp_path):
    job = submit(publish(order()))
    drain()
    configure("refund", kill=str(tmp_path / "killed"))
    cancel_job(job.pk, actor="olga", compensate=True)
    with cluster():
        assert eventually(lambda: job_of(job).status == "CANC", 60)

    assert [note["task"] for note in notes()] == ["undo:pack", "undo:pay", "undo:pay", "undo:reserve"]
    first, second = (note for note in notes() if note["task"] == "undo:pay")
    assert first["key"] == second["key"] == f"{job.pk}:undo:pay:1"
    assert second["fence"] > first["fence"]
    assert second["attempt"] == first["attempt"], "a killed worker is no failed attempt"
    assert History.objects.filter(job=job, event="lease.expired").exists()


@pytest.mark.parametrize("kind", ["plugin", "http", "undo"])
def test_every_kind_of_step_that_takes_its_workers_with_it_is_a_dead_letter(notes, kind, settings):
    document = order(name=f"lost-{kind}")
    if kind != "undo":
        steps = {"http": {"type": "http", "url": "https://example.org"}, "plugin": {"type": "plugin", "plugin": "echo"}}
        document = {"name": document["name"], "tasks": {"last": steps[kind]}, "transitions": []}
    job = submit(publish(document))
    if kind == "undo":
        drain()
        cancel_job(job.pk, actor="olga", compensate=True)
    Job.objects.filter(pk=job.pk).update(claims=settings.WORKFLOW_MAX_CLAIMS)
    drain()
    letter = DeadLetter.objects.get(job=job)
    assert (letter.error, letter.task) == ("WorkerLost", "undo:pack" if kind == "undo" else "last")
