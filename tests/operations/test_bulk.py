"""Repairs of many jobs: the choice is frozen and shown, each job is repaired by itself, one first where asked."""

from __future__ import annotations

import itertools
import threading
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.execution.jobs import chain, publish, register, submit
from tests.factories import UserFactory
from workflows import registry
from workflows.execution.timers import Timers
from workflows.execution.worker import drain
from workflows.models import BulkRepair, DeadLetter, History, Job, JobData, PluginRegistration
from workflows.operations import bulk
from workflows.operations.exceptions import InvalidRequest, WrongStage

pytestmark = pytest.mark.django_db(transaction=True)
numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _in_one_round(settings, monkeypatch):
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    monkeypatch.setattr(bulk, "SECONDS", 30.0)  # however slow the machine is


@pytest.fixture
def olga():
    return UserFactory(username="olga")


@pytest.fixture
def definition():
    register("echo", "Echo")
    register("refuses", "AnswersFailed")
    return publish(chain("refused", "echo", "refuses", "echo"))


def failed(definition, count=3, **fields):
    """So many jobs that have failed at their second step."""
    jobs = [submit(definition, {"number": next(numbers)}, **fields) for _ in range(count)]
    drain()
    return jobs


def mend():
    """The step that refused no longer does."""
    PluginRegistration.objects.filter(job_type="refuses").update(class_name="Echo")
    registry.forget()


def rounds(count=10):
    """What the workers do meanwhile."""
    for _ in range(count):
        bulk.BulkRepairs().run_once()
        drain()


def statuses(jobs):
    return [Job.objects.get(pk=job.pk).status for job in jobs]


def faults_of(*args, **named):
    with pytest.raises(InvalidRequest) as refused:
        bulk.preview(*args, **named)
    return {(fault.pointer, fault.code) for fault in refused.value.faults}


def test_the_preview_says_what_would_be_touched_and_touches_nothing(definition, olga):
    jobs = failed(definition, 3, correlation_id="A-1")
    running = submit(definition)
    found = bulk.preview("cancel", {"workflow": "refused"}, requested_by=olga)
    assert found.summary["count"] == 4
    assert found.summary["refused"] == 0
    assert found.summary["by"] == [
        {"workflow": "refused", "version": 1, "status": "FAIL", "count": 3},
        {"workflow": "refused", "version": 1, "status": "NEW", "count": 1},
    ]
    assert found.summary["errors"] == [{"error": "Refused", "task": "step2", "count": 3}]
    assert [row["id"] for row in found.summary["examples"]] == [str(job.pk) for job in [*jobs, running]]
    assert statuses([*jobs, running]) == ["FAIL", "FAIL", "FAIL", "NEW"]
    assert found.status == "preview"


def test_jobs_in_another_state_are_counted_in_the_preview_and_refused_one_by_one(definition, olga):
    jobs = [*failed(definition, 2), submit(definition)]
    found = bulk.preview("retry", {"ids": [str(job.pk) for job in jobs]}, requested_by=olga)
    assert (found.summary["count"], found.summary["refused"]) == (3, 1)
    mend()
    bulk.start(found.pk, requested_by=olga)
    bulk.BulkRepairs().run_once()
    assert bulk.progress(found) == {"waiting": 0, "done": 2, "refused": 1, "total": 3}
    refused = found.items.get(verdict="refused")
    assert refused.job_id == jobs[2].pk
    assert "Only a failed job can be retried" in refused.detail


def test_a_group_of_one_cause_is_retried_with_actor_and_reason(definition, olga):
    jobs = failed(definition, 3)
    fingerprint = DeadLetter.objects.values_list("fingerprint", flat=True).distinct().get()
    found = bulk.preview("retry", {"fingerprint": fingerprint}, requested_by=olga, reason="the bank is back")
    mend()
    bulk.start(found.pk, requested_by=olga)
    rounds(2)
    assert statuses(jobs) == ["DONE"] * 3
    found.refresh_from_db()
    assert found.status == "done"
    assert found.finished_at is not None
    for job in jobs:
        row = History.objects.get(job=job, event="task.retried")
        assert (row.actor, row.data["reason"]) == ("olga", "the bank is back")


def test_what_came_after_the_preview_is_not_touched(definition, olga):
    jobs = failed(definition, 2)
    found = bulk.preview("cancel", {"error": "Refused"}, requested_by=olga)
    late = failed(definition, 1)
    bulk.start(found.pk, requested_by=olga)
    rounds(1)
    assert statuses(jobs + late) == ["CANC", "CANC", "FAIL"]


def test_the_rest_follows_when_the_first_one_has_passed(definition, olga):
    jobs = failed(definition, 4)
    found = bulk.preview("retry", {"error": "Refused"}, requested_by=olga, first_alone=True)
    mend()
    bulk.start(found.pk, requested_by=olga)
    for _ in range(3):
        bulk.BulkRepairs().run_once()
    found.refresh_from_db()
    assert found.status == "trial"
    assert statuses(jobs) == ["READY", "FAIL", "FAIL", "FAIL"], "one is tried, and the others wait for it"
    rounds(2)
    assert statuses(jobs) == ["DONE"] * 4
    found.refresh_from_db()
    assert found.status == "done"


def test_the_rest_is_left_alone_when_the_first_one_fails_again(definition, olga):
    jobs = failed(definition, 3)
    found = bulk.preview("retry", {"error": "Refused"}, requested_by=olga, first_alone=True)
    bulk.start(found.pk, requested_by=olga)
    rounds(3)
    found.refresh_from_db()
    assert found.status == "stopped"
    assert str(jobs[0].pk) in found.detail
    assert "failed again: Refused: not today" in found.detail
    assert bulk.progress(found) == {"waiting": 2, "done": 1, "refused": 0, "total": 3}
    assert statuses(jobs) == ["FAIL"] * 3


def test_a_first_one_that_passes_and_fails_further_on_has_passed(olga):
    register("echo", "Echo")
    register("refuses", "AnswersFailed")
    definition = publish(chain("two-ways", "refuses", "echo"))
    jobs = failed(definition, 2)
    found = bulk.preview("skip", {"workflow": "two-ways"}, requested_by=olga, first_alone=True)
    PluginRegistration.objects.filter(job_type="echo").update(class_name="Raises")
    registry.forget()
    bulk.start(found.pk, requested_by=olga)
    rounds(3)
    found.refresh_from_db()
    assert (found.status, found.detail) == ("done", "")
    assert [job.data.error["task"] for job in Job.objects.select_related("data")] == ["step2"] * len(jobs)


def test_a_first_one_that_is_still_being_tried_again_is_waited_for(olga):
    register("shaky", "FailsByName", times=2)
    document = chain("shaky", "shaky")
    job = submit(publish(document))
    drain()
    assert statuses([job]) == ["FAIL"]
    document["tasks"]["step1"]["retry"] = [{"errors": ["*"], "interval": "PT0.2S"}]
    again = publish(document)
    Job.objects.filter(pk=job.pk).update(version=again.version)
    PluginRegistration.objects.update(configuration={"times": 3})
    registry.forget()
    found = bulk.preview("retry", {"workflow": "shaky"}, requested_by=olga, first_alone=True)
    bulk.start(found.pk, requested_by=olga)
    rounds(2)
    found.refresh_from_db()
    assert (found.status, statuses([job])) == ("trial", ["PEND"])
    deadline = time.monotonic() + 20
    while found.status == "trial" and time.monotonic() < deadline:
        Timers().run_once()
        rounds(1)
        found.refresh_from_db()
    assert (found.status, statuses([job])) == ("done", ["DONE"])


def test_a_repair_that_is_stopped_leaves_the_rest_as_it_is(definition, olga, monkeypatch):
    jobs = failed(definition, 3)
    found = bulk.preview("cancel", {"error": "Refused"}, requested_by=olga)
    bulk.start(found.pk, requested_by=olga)
    real = bulk._verdict

    def stopping(*args):
        bulk.stop(found.pk, actor="peter")
        return real(*args)

    monkeypatch.setattr(bulk, "_verdict", stopping)
    rounds(2)
    found.refresh_from_db()
    assert (found.status, found.detail) == ("stopped", "Stopped by peter.")
    assert statuses(jobs) == ["CANC", "FAIL", "FAIL"]
    with pytest.raises(WrongStage):
        bulk.stop(found.pk, actor="peter")


def test_it_is_started_once(definition, olga):
    failed(definition, 1)
    found = bulk.preview("cancel", {"error": "Refused"}, requested_by=olga)
    bulk.start(found.pk, requested_by=olga)
    with pytest.raises(WrongStage, match="running"):
        bulk.start(found.pk, requested_by=olga)


def test_one_job_on_which_the_repair_itself_breaks_keeps_no_other_from_it(definition, olga, monkeypatch):
    jobs = failed(definition, 2)
    real = bulk.VERBS["cancel"].repair

    def breaking(job_id, **how):
        if job_id == jobs[0].pk:
            raise RuntimeError("it cannot be")
        return real(job_id, **how)

    monkeypatch.setitem(bulk.VERBS, "cancel", bulk.Verb(breaking, bulk.VERBS["cancel"].takes, "cancelled"))
    found = bulk.preview("cancel", {"error": "Refused"}, requested_by=olga)
    bulk.start(found.pk, requested_by=olga)
    rounds(1)
    assert statuses(jobs) == ["FAIL", "CANC"]
    assert found.items.get(verdict="refused").detail == "RuntimeError: it cannot be"


def test_every_fault_of_a_request_is_told_with_its_place(olga):
    assert faults_of("mend", {"workflow": "a"}, requested_by=olga) == {("/verb", "unknown_verb")}
    assert faults_of("cancel", {}, requested_by=olga) == {("/filter", "required")}
    assert faults_of("cancel", {"colour": "red"}, requested_by=olga) == {("/filter/colour", "additionalProperties")}
    assert faults_of("cancel", {"created_after": "yesterday"}, requested_by=olga) == {
        ("/filter/created_after", "format")
    }
    assert faults_of("cancel", {"ids": ["17"]}, requested_by=olga) == {("/filter/ids/0", "format")}
    assert faults_of("restart", {"workflow": "a"}, requested_by=olga) == {("/arguments/task", "required")}
    arguments = {"input": {"a": float("nan")}}
    assert {pointer for pointer, _ in faults_of("retry", {"error": "a"}, requested_by=olga, arguments=arguments)} == {
        "/arguments/input/a"
    }
    assert not BulkRepair.objects.exists()


def test_a_choice_that_is_too_large_is_refused_before_anything_is_written(definition, olga, monkeypatch):
    monkeypatch.setattr(bulk, "MAX_JOBS", 2)
    failed(definition, 3)
    assert faults_of("cancel", {"workflow": "refused"}, requested_by=olga) == {("/filter", "too_many")}


@pytest.mark.parametrize(
    ("filter", "wanted"),
    [
        ({"status": "FAIL"}, 2),
        ({"status": ["FAIL", "NEW"]}, 3),
        ({"version": 1, "workflow": "refused"}, 3),
        ({"version": 2, "workflow": "refused"}, 0),
        ({"correlation_id": "B-1"}, 1),
        ({"priority": 7}, 1),
        ({"task": "step2"}, 2),
        ({"task": "step1"}, 0),
        ({"error": "Refused", "workflow": "refused"}, 2),
        ({"created_before": "2020-01-01T00:00:00Z"}, 0),
        ({"created_after": "2020-01-01T00:00:00Z"}, 3),
        ({"failed_after": "2020-01-01T00:00:00Z"}, 2),
        ({"failed_before": "2020-01-01T00:00:00Z"}, 0),
    ],
)
def test_each_field_of_the_filter_narrows_the_choice(definition, olga, filter, wanted):
    failed(definition, 2)
    submit(definition, correlation_id="B-1", priority=7)
    assert bulk.preview("cancel", filter, requested_by=olga).summary["count"] == wanted


def test_the_number_of_queries_is_the_same_for_ten_jobs_and_a_thousand(olga):
    definition = publish(chain("many", "echo"))
    counts = []
    for number in (10, 990):
        jobs = Job.objects.bulk_create(Job(workflow="many", version=definition.version) for _ in range(number))
        JobData.objects.bulk_create(JobData(job=job, input={}) for job in jobs)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            found = bulk.preview("cancel", {"workflow": "many"}, requested_by=olga)
            bulk.progress(found)
        counts.append(len(queries))
    assert found.summary["count"] == 1000
    assert counts[0] == counts[1] <= 16


def test_two_workers_carry_out_one_repair_and_no_job_is_repaired_twice(definition, olga):
    jobs = failed(definition, 30)
    found = bulk.preview("retry", {"error": "Refused"}, requested_by=olga)
    bulk.start(found.pk, requested_by=olga)
    begin = threading.Barrier(2)

    def work():
        begin.wait(20)
        try:
            bulk.BulkRepairs().run_once()
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    while BulkRepair.objects.get(pk=found.pk).status == "running":
        bulk.BulkRepairs().run_once()
    assert bulk.progress(found) == {"waiting": 0, "done": 30, "refused": 0, "total": 30}
    repaired = History.objects.filter(event="task.retried").values_list("job", flat=True)
    assert sorted(repaired) == sorted(job.pk for job in jobs)


def test_many_jobs_are_suspended_and_resumed(definition, olga):
    jobs = [submit(definition) for _ in range(3)]
    for verb, hold in (("suspend", "suspended"), ("resume", "")):
        found = bulk.preview(verb, {"workflow": "refused"}, requested_by=olga, first_alone=True)
        assert (found.summary["count"], found.summary["refused"]) == (3, 0)
        bulk.start(found.pk, requested_by=olga)
        for _ in range(3):
            bulk.BulkRepairs().run_once()
        assert BulkRepair.objects.get(pk=found.pk).status == "done"
        assert set(Job.objects.values_list("hold", flat=True)) == {hold}
    assert statuses(jobs) == ["NEW"] * 3


def test_a_preview_that_nobody_started_is_forgotten_after_a_day(definition, olga):
    failed(definition, 2)
    old, new, started = (bulk.preview("cancel", {"workflow": "refused"}, requested_by=olga) for _ in range(3))
    bulk.start(started.pk, requested_by=olga)
    yesterday = timezone.now() - timedelta(days=1, minutes=1)
    BulkRepair.objects.filter(pk__in=[old.pk, started.pk]).update(created_at=yesterday)
    assert bulk.ForgottenPreviews().run_once() == {"previews": 1}
    assert set(BulkRepair.objects.values_list("pk", flat=True)) == {new.pk, started.pk}
