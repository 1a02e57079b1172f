"""Suspending and resuming one job, a workflow, or everything: nothing runs, nothing is lost, who and why stays."""

from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from departments.models import Department
from tests.execution.jobs import chain, publish, register, submit
from workflows.engine.events import Responded
from workflows.execution import gates
from workflows.execution.respond import signal_job
from workflows.execution.slots import Limits
from workflows.execution.worker import JobWorker, drain
from workflows.models import History, Job, Suspension
from workflows.operations import WrongState, cancel_job, resume_job, suspend_job
from workflows.operations.exceptions import SuspensionConflict, WorkflowNotFound
from workflows.operations.suspend import leases_left, resume, suspend

pytestmark = pytest.mark.django_db(transaction=True)

ASK = {
    "name": "ask",
    "tasks": {"ask": {"type": "human", "department": "verification", "outcomes": ["approve"]}},
    "transitions": [],
}


@pytest.fixture(autouse=True)
def _plugins(settings, db):
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    register("echo", "Echo")
    gates.forget()
    yield
    gates.forget()


def one(name="one"):
    return publish(chain(name, "echo"))


def status(job):
    return Job.objects.values_list("status", "hold").get(pk=job.pk)


def test_a_suspended_job_is_not_run_until_it_is_resumed_and_its_history_says_who_and_why():
    job = submit(one())
    suspend_job(job.pk, actor="olga", reason="the customer called")
    assert drain() == 0
    assert status(job) == ("NEW", "suspended")
    resume_job(job.pk, actor="otto", reason="they agreed")
    assert drain() == 1
    assert status(job) == ("DONE", "")
    told = History.objects.filter(job=job, event__in=["job.suspended", "job.resumed"])
    assert list(told.values_list("event", "actor", "data")) == [
        ("job.suspended", "olga", {"reason": "the customer called"}),
        ("job.resumed", "otto", {"reason": "they agreed"}),
    ]


def test_an_answer_for_a_suspended_job_is_kept_and_read_when_it_is_resumed():
    Department.objects.create(code="verification", name="Verification")
    job = submit(publish(ASK))
    drain()
    suspend_job(job.pk, actor="olga")
    with transaction.atomic():
        signal_job(job.pk, Responded("ask", 1, "approve", {}, "anna"), history_event="response.received")
    assert drain() == 0
    assert status(job) == ("READY", "suspended")
    resume_job(job.pk, actor="olga")
    drain()
    assert status(job) == ("DONE", "")


def test_a_job_that_is_suspended_while_a_step_runs_stops_after_that_step(monkeypatch):
    from tests.execution import plugin_doubles

    job = submit(publish(chain("two", "suspends", "echo")))

    class Suspends(plugin_doubles.Echo):
        def run(self, context):
            suspend_job(job.pk, actor="olga")
            return super().run(context)

    Suspends.__module__ = "tests.execution.plugin_doubles"
    monkeypatch.setattr(plugin_doubles, "Suspends", Suspends, raising=False)
    register("suspends", "Suspends")
    assert drain() == 1
    assert status(job) == ("READY", "suspended")
    assert Job.objects.get(pk=job.pk).claimed_by is None
    assert History.objects.filter(job=job, event="task.completed").count() == 1, "the step that ran is kept"
    resume_job(job.pk, actor="olga")
    assert drain() == 1
    assert status(job) == ("DONE", "")


def test_a_suspended_job_can_still_be_cancelled_and_keeps_no_hold():
    job = submit(one())
    suspend_job(job.pk, actor="olga")
    cancel_job(job.pk, actor="olga")
    assert status(job) == ("CANC", "")


@pytest.mark.parametrize("act", [suspend_job, resume_job])
def test_a_job_that_has_ended_can_neither_be_suspended_nor_resumed(act):
    job = submit(one())
    drain()
    with pytest.raises(WrongState):
        act(job.pk, actor="olga")


def test_a_second_suspension_of_a_job_is_told_who_was_first():
    job = submit(one())
    suspend_job(job.pk, actor="olga")
    with pytest.raises(WrongState, match=r"by olga\.") as caught:
        suspend_job(job.pk, actor="otto")
    assert caught.value.by == "olga"


# ---- a workflow -----------------------------------------------------------------------------------------------------


def test_jobs_of_a_suspended_workflow_are_held_when_they_are_claimed_and_others_run():
    definition, other = one("stopped"), one("other")
    jobs = [submit(definition) for _ in range(25)]
    free = submit(other)
    suspend("stopped", actor="olga", reason="the bank is closed")
    assert drain() == 1
    assert status(free) == ("DONE", "")
    rows = Job.objects.filter(pk__in=[job.pk for job in jobs])
    found = list(rows.values_list("status", "hold", "claims", "started_at", "claimed_by").order_by().distinct())
    assert found == [("NEW", "suspended:stopped", 0, None, None)]


def test_suspending_a_workflow_touches_no_job():
    definition = one("stopped")
    for _ in range(3):
        submit(definition)
    with CaptureQueriesContext(connection) as queries:
        suspend("stopped", actor="olga")
    assert not [query["sql"] for query in queries if 'UPDATE "workflows_job"' in query["sql"]]


def test_a_resumed_workflow_goes_on_in_the_order_of_its_rank():
    definition = one("stopped")
    low = submit(definition, priority=1)
    jobs = [submit(definition) for _ in range(3)]
    Job.objects.filter(pk=low.pk).update(rank="2099-01-01T00:00:00Z")
    ranks = list(Job.objects.order_by("rank").values_list("pk", "rank"))
    suspend("stopped", actor="olga")
    drain()
    suspension, lifted = resume("stopped", actor="otto", reason="open again")
    assert lifted == 4
    assert list(Job.objects.order_by("rank").values_list("pk", "rank")) == ranks
    assert drain() == 4
    ended = History.objects.filter(event="job.started").order_by("id").values_list("job_id", flat=True)
    assert list(ended) == [*(job.pk for job in jobs), low.pk]
    suspension.refresh_from_db()
    assert (suspension.suspended_by, suspension.resumed_by, suspension.resumed_reason) == ("olga", "otto", "open again")


def test_a_job_resumed_in_a_suspended_workflow_stays_held_and_one_suspended_alone_outlives_the_workflows():
    definition = one("stopped")
    alone, resumed = submit(definition), submit(definition)
    for job in (alone, resumed):
        suspend_job(job.pk, actor="olga")
    suspend("stopped", actor="olga")
    resume_job(resumed.pk, actor="olga")
    assert status(resumed) == ("NEW", "suspended:stopped")
    with pytest.raises(WrongState, match="The workflow stopped is"):
        resume_job(resumed.pk, actor="olga")
    resume("stopped", actor="olga")
    drain()
    assert status(resumed) == ("DONE", "")
    assert status(alone) == ("NEW", "suspended")


def test_a_hold_that_a_worker_wrote_after_the_resume_is_lifted_by_the_service():
    job = submit(one("stopped"))
    Job.objects.filter(pk=job.pk).update(hold="suspended:stopped")
    assert Limits().run_once() == {"freed": 0, "lifted": 1}
    drain()
    assert status(job) == ("DONE", "")


def test_the_service_leaves_what_is_still_suspended_alone():
    definition = one("stopped")
    jobs = [submit(definition) for _ in range(2)]
    suspend_job(jobs[0].pk, actor="olga")
    suspend("stopped", actor="olga")
    drain()
    assert Limits().run_once() == {"freed": 0, "lifted": 0}


def test_a_workflow_is_suspended_once_and_resumed_once():
    one("stopped")
    suspend("stopped", actor="olga")
    with pytest.raises(SuspensionConflict, match=r"already since .* by olga"):
        suspend("stopped", actor="otto")
    resume("stopped", actor="olga")
    with pytest.raises(SuspensionConflict, match="not suspended"):
        resume("stopped", actor="otto")
    suspend("stopped", actor="otto")
    assert list(Suspension.objects.order_by("id").values_list("suspended_by", "resumed_by")) == [
        ("olga", "olga"),
        ("otto", ""),
    ]


def test_a_workflow_that_is_not_there_cannot_be_suspended():
    with pytest.raises(WorkflowNotFound, match="nowhere"):
        suspend("nowhere", actor="olga")


# ---- everything -----------------------------------------------------------------------------------------------------


def test_while_everything_is_suspended_a_worker_claims_nothing_and_touches_no_job():
    job = submit(one())
    suspend("*", actor="olga")
    worker = JobWorker("default")
    worker.heartbeat.start = lambda: None
    assert worker.tick(0.1) == 0
    assert status(job) == ("NEW", "")
    assert Job.objects.get(pk=job.pk).fence == 0
    assert leases_left() == 0
    resume("*", actor="olga")
    assert worker.tick(0.1) == 1
    worker.close()
    assert status(job) == ("DONE", "")


def test_a_claim_that_was_made_before_everything_was_suspended_is_handed_back():
    job = submit(one())
    suspend("*", actor="olga")
    assert drain() == 0, "drain() claims whatever is suspended, as a worker that looked a moment ago"
    assert status(job) == ("NEW", "suspended:*")
    resume("*", actor="olga")
    assert drain() == 1
