"""Who loses a race, and that the loser writes nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from departments.models import Department, WorkItem
from tests.execution.jobs import chain, publish, register, submit
from workflows.engine.contract import Completed, Plugin, StepContext
from workflows.engine.events import Responded
from workflows.execution import executor
from workflows.execution.exceptions import JobFinished, LeaseLost
from workflows.execution.executor import JobRun
from workflows.execution.rescue import Rescuer
from workflows.execution.respond import signal_job
from workflows.execution.timers import Timers
from workflows.execution.worker import drain
from workflows.models import History, Job, Message, Signal, TaskRun
from workflows.models.statements import claim, extend, release
from workflows.operations import WrongState, cancel_job, retry_job, skip_task

pytestmark = pytest.mark.django_db(transaction=True)

HUMAN = {
    "name": "two-branches",
    "tasks": {
        "ask": {"type": "human", "department": "verification", "outcomes": ["approve", "reject"]},
        "first": {"type": "plugin", "plugin": "meddling"},
        "second": {"type": "plugin", "plugin": "echo"},
    },
    "transitions": [{"from": "first", "to": "second"}],
}


class Meddling(Plugin):
    """Runs what the test wants to happen while a step is being worked on."""

    meddle = staticmethod(lambda context: None)

    def run(self, context: StepContext) -> Completed:
        type(self).meddle(context)
        return Completed({"ran": True})


@pytest.fixture(autouse=True)
def _allow_doubles(settings):
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]


@pytest.fixture
def meddling(db, monkeypatch):
    from tests.execution import plugin_doubles

    monkeypatch.setattr(plugin_doubles, "Meddling", Meddling, raising=False)
    Meddling.__module__ = "tests.execution.plugin_doubles"
    register("meddling", "Meddling")
    register("echo", "Echo")
    yield Meddling
    Meddling.meddle = staticmethod(lambda context: None)


def answer(job_id, outcome="approve"):
    with transaction.atomic():
        return signal_job(
            job_id, Responded("ask", 1, outcome, {"payable": 7}, "verifier"), history_event="response.received"
        )


def only_lease(owner="worker-a", seconds=30):
    [job] = claim("default", owner, 10, seconds)
    return job


def test_an_answer_that_comes_while_a_step_runs_is_not_lost(meddling):
    Department.objects.create(code="verification", name="Verification")
    job = submit(publish(HUMAN))
    # The first step answers the question of the other branch, in the middle of its own run.
    opened = []

    def meddle(context):
        if not opened:
            opened.append(answer(job.pk))

    # Park first: with both branches begun, the question is open while `first` runs.
    meddling.meddle = staticmethod(meddle)
    drain()

    job.refresh_from_db()
    assert job.status == "DONE"
    assert not Signal.objects.filter(job=job).exists()
    ask = TaskRun.objects.get(job=job, task="ask")
    assert (ask.status, ask.outcome, ask.actor, ask.output) == ("done", "approve", "verifier", {"payable": 7})
    assert TaskRun.objects.get(job=job, task="second").status == "done"


def test_a_worker_that_lost_its_lease_writes_nothing(meddling):
    register("slow", "Echo")
    job = submit(publish(chain("three", "meddling", "echo")))

    def lose_it(context):
        Job.objects.filter(pk=job.pk).update(claimed_until=timezone.now() - timedelta(seconds=1))
        assert Rescuer().run_once() == {"rescued": 1}
        Meddling.meddle = staticmethod(lambda context: None)
        assert drain() == 2

    meddling.meddle = staticmethod(lose_it)
    with pytest.raises(LeaseLost):
        JobRun(only_lease(), "worker-a").work()

    job.refresh_from_db()
    assert job.status == "DONE"
    assert TaskRun.objects.filter(job=job, status="done").count() == 2
    assert History.objects.filter(job=job, event="lease.expired").count() == 1


def test_of_two_claims_at_once_each_gets_other_jobs(meddling):
    definition = publish(chain("many", "echo"))
    jobs = {submit(definition).pk for _ in range(6)}
    first = claim("default", "worker-a", 4, 30)
    second = claim("default", "worker-b", 4, 30)

    assert {job.id for job in first} | {job.id for job in second} == jobs
    assert len(first) + len(second) == 6
    assert claim("default", "worker-c", 4, 30) == []


def test_jobs_are_claimed_in_the_order_of_their_rank(meddling):
    definition = publish(chain("many", "echo"))
    now = timezone.now()
    late = submit(definition, rank=now)
    urgent = submit(definition, rank=now - timedelta(hours=1))
    future = submit(definition, run_at=now + timedelta(hours=1))

    assert [job.id for job in claim("default", "worker-a", 10, 30)] == [urgent.pk, late.pk]
    future.refresh_from_db()
    assert future.claimed_by is None


def test_a_lease_that_has_passed_is_not_revived(meddling):
    job = submit(publish(chain("one", "echo")))
    only_lease()
    assert extend("worker-a", 60) == 1
    Job.objects.filter(pk=job.pk).update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert extend("worker-a", 60) == 0


def test_a_job_handed_back_unbegun_is_not_suspected(meddling):
    job = submit(publish(chain("one", "echo")))
    for _ in range(5):
        only_lease()
        assert release("worker-a", [job.pk], begun=False) == 1
    job.refresh_from_db()
    assert (job.claims, job.fence) == (0, 5)


def test_a_job_that_keeps_killing_its_workers_fails_as_worker_lost(meddling, settings):
    job = submit(publish(chain("deadly", "meddling")))
    for _ in range(settings.WORKFLOW_MAX_CLAIMS):
        only_lease()
        Job.objects.filter(pk=job.pk).update(claimed_until=timezone.now() - timedelta(seconds=1))
        Rescuer().run_once()
    drain()

    job.refresh_from_db()
    assert job.status == "FAIL"
    assert job.data.error["name"] == "WorkerLost"
    assert TaskRun.objects.get(job=job).error == "WorkerLost"


def test_a_suspect_runs_alone_so_that_it_takes_no_other_claim_with_it(meddling, monkeypatch):
    definition = publish(chain("many", "echo"))
    suspects = [submit(definition) for _ in range(2)]
    Job.objects.filter(pk__in=[job.pk for job in suspects]).update(claims=1)
    submit(definition)
    held_at_start = []

    def spy(self):
        held_at_start.append((self.job.claims, Job.objects.filter(claimed_by=self.owner).count()))
        return original(self)

    original = executor.JobRun.work
    monkeypatch.setattr(executor.JobRun, "work", spy)
    drain()

    assert Job.objects.filter(status="DONE").count() == 3
    assert all(held == 1 for claims, held in held_at_start if claims > 1)


def test_cancelling_takes_the_job_from_the_worker_in_the_middle_of_a_step(meddling):
    job = submit(publish(chain("three", "meddling", "echo")))
    meddling.meddle = staticmethod(lambda context: cancel_job(job.pk, actor="operator", reason="a mistake"))
    with pytest.raises(LeaseLost):
        JobRun(only_lease(), "worker-a").work()

    job.refresh_from_db()
    assert (job.status, job.claimed_by) == ("CANC", None)
    assert not TaskRun.objects.filter(job=job, status="done").exists()
    row = History.objects.get(job=job, event="job.cancelled")
    assert (row.actor, row.from_status, row.to_status, row.data["cause"]) == ("operator", "NEW", "CANC", "a mistake")
    with pytest.raises(WrongState):
        cancel_job(job.pk, actor="operator")


def test_an_answer_to_a_finished_job_is_refused(meddling):
    job = submit(publish(chain("one", "echo")))
    drain()
    with pytest.raises(JobFinished):
        answer(job.pk)
    assert not Signal.objects.exists()


def test_a_failed_task_is_retried_with_another_input(meddling):
    register("flaky", "FailsByName", times=1)
    document = chain("flaky", "flaky", "echo")
    document["tasks"]["step2"]["input"] = {"seen": "${tasks.step1.output.attempt}"}
    job = submit(publish(document))
    drain()
    job.refresh_from_db()
    assert job.status == "FAIL"

    with pytest.raises(WrongState):
        retry_job(job.pk, actor="operator", task="step2")
    retry_job(job.pk, actor="operator", task="step1", input={"edited": True})
    drain()

    job.refresh_from_db()
    assert job.status == "DONE"
    assert job.data.output["input"] == {"seen": 2}
    assert TaskRun.objects.get(job=job, task="step1", attempt=2).input == {"edited": True}
    assert History.objects.filter(job=job, event="task.retried", actor="operator").exists()


def test_a_failed_task_is_skipped_with_an_output(meddling):
    register("broken", "Raises")
    document = chain("broken", "broken", "echo")
    document["tasks"]["step2"]["input"] = {"seen": "${tasks.step1.output.by_hand}"}
    job = submit(publish(document))
    drain()
    skip_task(job.pk, "step1", actor="operator", output={"by_hand": 1})
    drain()

    job.refresh_from_db()
    assert job.status == "DONE"
    assert job.data.output["input"] == {"seen": 1}


def test_a_waiting_question_that_is_skipped_leaves_the_inbox(meddling):
    Department.objects.create(code="verification", name="Verification")
    job = submit(publish(HUMAN))
    drain()
    assert WorkItem.objects.get().status == "open"
    skip_task(job.pk, "ask", actor="operator", output={})
    drain()

    job.refresh_from_db()
    assert (job.status, WorkItem.objects.get().status) == ("DONE", "skipped")


def test_a_question_to_a_department_that_does_not_exist_is_a_dead_letter(meddling):
    job = submit(publish(HUMAN))
    drain()

    job.refresh_from_db()
    assert job.status == "FAIL"
    assert job.data.error["name"] == "DepartmentNotFound"
    assert not WorkItem.objects.exists()
    Department.objects.create(code="verification", name="Verification")
    retry_job(job.pk, actor="operator")
    drain()
    job.refresh_from_db()
    assert job.status == "PEND"
    assert WorkItem.objects.get().status == "open"


def test_the_command_of_a_request_that_could_not_be_opened_is_not_sent(meddling):
    ask = {"type": "external", "department": "packing", "message": {"n": 1}}
    job = submit(publish({"name": "unasked", "tasks": {"ask": ask}}))
    drain()
    assert not Message.objects.filter(job=job).exists()
    Department.objects.create(code="packing", name="Packing")
    retry_job(job.pk, actor="operator")
    drain()
    assert list(Message.objects.filter(job=job).values_list("type", "destination")) == [("task.requested", "packing")]


def test_a_timer_makes_its_job_ready_once(meddling):
    document = chain("timed", "echo")
    document["tasks"]["pause"] = {"type": "wait", "for": "PT1H"}
    document["transitions"].append({"from": "pause", "to": "step1"})
    job = submit(publish(document))
    drain()
    job.refresh_from_db()
    assert job.status == "PEND"
    assert Timers().run_once() == {"woken": 0}

    Job.objects.filter(pk=job.pk).update(wake_at=timezone.now() - timedelta(seconds=1))
    assert Timers().run_once() == {"woken": 1}
    assert Timers().run_once() == {"woken": 0}
    job.refresh_from_db()
    assert job.status == "READY"
    drain()
    job.refresh_from_db()
    # The engine looks at its own clock: the hour is not over, so the job parks again and nothing was lost.
    assert job.status == "PEND"
    assert job.wake_at > timezone.now()
