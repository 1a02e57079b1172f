"""Limits: never more than so many at once, never more than so many in a time, and nobody is forgotten."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from departments.models import Department, WorkItem
from tests.execution.jobs import chain, publish, register, submit
from workflows.engine.contract import Completed, Plugin
from workflows.engine.parsing import parse
from workflows.execution import gates
from workflows.execution.executor import JobRun
from workflows.execution.holds import holds
from workflows.execution.rescue import Rescuer
from workflows.execution.slots import Limits, go_on
from workflows.execution.timers import Timers
from workflows.execution.worker import JobWorker, drain
from workflows.models import Job, Limit, Slot
from workflows.models.statements import claim
from workflows.operations import cancel_job, resume_job, retry_job, suspend_job

pytestmark = pytest.mark.django_db(transaction=True)


class Counting(Plugin):
    """Counts how many of it run at this moment, and how many ran at once at most."""

    lock = threading.Lock()
    now = most = 0
    starts: list[float] = []
    seconds = 0.0
    meddle = staticmethod(lambda context: None)

    def run(self, context):
        kind = Counting
        with kind.lock:
            kind.now += 1
            kind.most = max(kind.most, kind.now)
            kind.starts.append(time.monotonic())
        try:
            time.sleep(kind.seconds)
            kind.meddle(context)
        finally:
            with kind.lock:
                kind.now -= 1
        return Completed({})


@pytest.fixture(autouse=True)
def _plugins(settings, db, monkeypatch):
    from tests.execution import plugin_doubles

    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    monkeypatch.setattr(plugin_doubles, "Counting", Counting, raising=False)
    Counting.__module__ = "tests.execution.plugin_doubles"
    Counting.now = Counting.most = 0
    Counting.starts = []
    Counting.seconds = 0.0
    Counting.meddle = staticmethod(lambda context: None)
    register("count", "Counting")
    register("echo", "Echo")
    register("raises", "Raises")
    gates.forget()


def limited(name="limited", plugin="count", resource="bank"):
    document = chain(name, plugin)
    document["tasks"]["step1"]["resource"] = resource
    return publish(document)


def limit(code="resource:bank", **values):
    return Limit.objects.create(code=code, **values)


def states():
    return set(Job.objects.values_list("status", "hold").order_by().distinct())


def fill(row, count):
    """Somebody else has that many slots of a limit, and keeps them."""
    others = publish(chain("others", "echo"))
    for _ in range(count):
        job = submit(others, queue="elsewhere")
        Job.objects.filter(pk=job.pk).update(
            claimed_by="other", claimed_until=timezone.now() + timedelta(hours=1), fence=7
        )
        Slot.objects.create(limit=row, job=job, task="step1", fence=7)


def work(workers, until, seconds=30.0):
    """That many workers side by side, each with a connection of its own, until `until()`."""
    over = threading.Event()
    errors = []

    def live():
        worker = JobWorker("default")
        worker.heartbeat.start = lambda: None
        try:
            while not over.is_set():
                worker.tick(0.05)
        except Exception as error:
            errors.append(error)
        finally:
            worker.close()

    threads = [threading.Thread(target=live) for _ in range(workers)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    while not until() and time.monotonic() < deadline and not errors:
        time.sleep(0.05)
    over.set()
    for thread in threads:
        thread.join()
    assert not errors


# ---- how many at once -----------------------------------------------------------------------------------------------


def test_a_step_without_a_free_slot_is_not_begun_and_its_job_costs_nothing_while_it_waits():
    fill(limit(max_concurrency=1), 1)
    job = submit(limited())
    assert drain() == 0
    assert Job.objects.values_list("status", "hold", "claims", "claimed_by").get(pk=job.pk) == (
        *("READY", "resource:bank"),
        *(0, None),
    )
    assert not claim("default", "worker", 10, 30), "it is not claimed again and again"


def test_who_gives_a_slot_back_lets_the_next_in_rank_go_on():
    row = limit(max_concurrency=1)
    definition = limited()
    fill(row, 1)
    late, early = submit(definition, priority=1), submit(definition, priority=99)
    Job.objects.filter(pk=late.pk).update(rank=timezone.now() + timedelta(hours=1))
    drain()
    assert list(holds()) == ["resource:bank"]
    Slot.objects.all().delete()
    assert go_on("resource:bank", 1) == 1
    assert Job.objects.get(pk=early.pk).hold == ""
    assert Job.objects.get(pk=late.pk).hold == "resource:bank"
    assert drain() == 2, "when the early one has ended, the late one goes on by itself"
    assert not Slot.objects.exists()


def test_never_more_run_at_once_than_the_limit_and_all_finish(on_postgresql):
    limit(max_concurrency=2)
    definition = limited()
    for _ in range(30):
        submit(definition)
    Counting.seconds = 0.01
    unfinished = Job.objects.exclude(status="DONE")
    work(5 if on_postgresql else 3, lambda: not unfinished.exists())
    assert states() == {("DONE", "")}
    assert 1 <= Counting.most <= 2
    assert len(Counting.starts) == 30
    assert not Slot.objects.exists()


def test_two_that_ask_for_the_last_slot_at_once_get_it_once():
    row = limit(max_concurrency=3)
    fill(row, 2)
    definition = limited()
    for _ in range(2):
        submit(definition)
    seen = []
    Counting.meddle = staticmethod(lambda context: seen.append(Slot.objects.filter(limit=row).count()))
    Counting.seconds = 0.05
    work(2, lambda: len(seen) == 2)
    assert seen == [3, 3]


def test_slots_of_a_worker_that_died_come_back_by_themselves():
    limit(max_concurrency=1)
    definition = limited()
    first, second = submit(definition), submit(definition)
    [job] = claim("default", "worker-that-dies", 1, 30)
    task = parse(definition.document).task("step1")
    assert gates.enter_step("worker-that-dies", job, task, hold=True)
    drain()
    assert Job.objects.get(pk=second.pk).hold == "resource:bank"
    assert Limits().run_once() == {"freed": 0, "lifted": 0}, "its lease still holds"
    Job.objects.filter(pk=first.pk).update(claimed_until=timezone.now() - timedelta(seconds=1))
    Rescuer().run_once()
    assert Limits().run_once() == {"freed": 1, "lifted": 1}
    drain()
    assert states() == {("DONE", "")}


def test_a_job_whose_worker_died_takes_its_own_slot_over_and_needs_no_second_one():
    limit(max_concurrency=1)
    definition = limited()
    submit(definition)
    [job] = claim("default", "worker-that-dies", 1, 30)
    assert gates.enter_step("worker-that-dies", job, parse(definition.document).task("step1"), hold=True)
    Job.objects.update(claimed_by=None, claimed_until=None)
    assert drain() == 1
    assert states() == {("DONE", "")}
    assert not Slot.objects.exists()


def test_a_step_that_fails_gives_its_slot_back():
    limit(max_concurrency=1)
    submit(limited(plugin="raises"))
    drain()
    assert states() == {("FAIL", "")}
    assert not Slot.objects.exists()


def test_a_job_that_is_cancelled_while_it_waits_for_a_slot_keeps_no_hold_and_takes_nobodys_turn():
    row = limit(max_concurrency=1)
    definition = limited()
    fill(row, 1)
    first, second = submit(definition), submit(definition)
    drain()
    cancel_job(first.pk, actor="olga")
    Slot.objects.all().delete()
    assert go_on("resource:bank", 1) == 1
    assert Job.objects.get(pk=second.pk).hold == ""
    assert Job.objects.get(pk=first.pk).hold == ""


def test_another_branch_does_not_wait_for_the_slot():
    fill(limit(max_concurrency=1), 1)
    Department.objects.create(code="verification", name="Verification")
    tasks = {
        "limited": {"type": "plugin", "plugin": "count", "resource": "bank"},
        "ask": {"type": "human", "department": "verification"},
        "free": {"type": "plugin", "plugin": "echo"},
    }
    job = submit(publish({"name": "branches", "tasks": tasks, "transitions": []}))
    assert drain() == 1, "the step without a limit runs"
    assert WorkItem.objects.filter(job=job, status="open").count() == 1
    assert Job.objects.get(pk=job.pk).hold == "resource:bank"


def test_a_resource_nobody_has_heard_of_limits_nothing_and_is_there_for_operators():
    submit(limited(resource="unheard"))
    assert drain() == 1
    row = Limit.objects.get(code="resource:unheard")
    assert (row.max_concurrency, row.rate_limit) == (None, None)
    assert not Slot.objects.exists()


def test_a_job_that_waits_costs_the_service_nothing_more_whatever_the_number(on_postgresql):
    fill(limit(max_concurrency=1), 1)
    definition = limited()

    def queries():
        drain()
        with CaptureQueriesContext(connection) as captured:
            assert Limits().run_once() == {"freed": 0, "lifted": 0}
        return len(captured)

    submit(definition)
    few = queries()
    for _ in range(40):
        submit(definition)
    assert queries() == few


# ---- how many in a time ---------------------------------------------------------------------------------------------


def test_a_rate_is_kept_and_all_finish(on_postgresql):
    limit(rate_limit=10, rate_per=1)
    definition = limited()
    for _ in range(25):
        submit(definition)
    unfinished = Job.objects.exclude(status="DONE")
    work(3, lambda: not unfinished.exists())
    assert states() == {("DONE", "")}
    starts = sorted(Counting.starts)
    # What a start takes from its grant to the step may differ from one to the other: so much room.
    windows = [sum(first <= other < first + 0.9 for other in starts) for first in starts]
    assert max(windows) <= 10
    assert max(windows) >= 3, "it is a rate, and no queue of one"


def test_a_rate_counts_every_start_and_a_slot_every_run():
    row = limit(rate_limit=1, rate_per=3600, max_concurrency=5)
    definition = limited()
    for _ in range(3):
        submit(definition)
    assert drain() == 1
    assert Limits().run_once()["lifted"] == 0, "the next one may start in an hour"
    assert Job.objects.filter(hold="resource:bank").count() == 2
    Limit.objects.filter(pk=row.pk).update(tokens_at=timezone.now() - timedelta(hours=1))
    assert Limits().run_once()["lifted"] == 1
    assert drain() == 1


# ---- a workflow's own limits ----------------------------------------------------------------------------------------

TWO_AT_ONCE = {
    "name": "two-at-once",
    "max_concurrency": 2,
    "tasks": {"ask": {"type": "human", "department": "verification", "outcomes": ["ok"]}},
    "transitions": [],
}


def test_no_more_jobs_of_a_workflow_are_under_way_than_it_says_waiting_ones_included():
    Department.objects.create(code="verification", name="Verification")
    definition = publish(TWO_AT_ONCE)
    jobs = [submit(definition) for _ in range(5)]
    drain()
    standing = list(Job.objects.order_by("id").values_list("status", "hold"))
    assert standing == [("PEND", "")] * 2 + [("NEW", "workflow:two-at-once")] * 3
    cancel_job(jobs[0].pk, actor="olga")
    drain()
    assert list(Job.objects.order_by("id").values_list("status", flat=True)) == ["CANC", "PEND", "PEND", "NEW", "NEW"]
    assert Job.objects.get(pk=jobs[3].pk).started_at is None, "it has not begun"


def test_a_failed_job_gives_its_place_up_and_waits_for_one_when_it_is_retried():
    definition = publish({**chain("one-at-once", "raises"), "max_concurrency": 1})
    first = submit(definition)
    drain()
    assert Job.objects.get(pk=first.pk).status == "FAIL"
    assert not Slot.objects.exists()
    fill(Limit.objects.get(code="workflow:one-at-once"), 0)
    other = submit(definition, queue="elsewhere")
    Slot.objects.create(limit=Limit.objects.get(code="workflow:one-at-once"), job=other)
    retry_job(first.pk, actor="olga")
    assert drain() == 0
    assert Job.objects.values_list("status", "hold").get(pk=first.pk) == ("READY", "workflow:one-at-once")


def test_jobs_start_no_faster_than_their_workflow_says_and_a_claim_that_began_nothing_uses_no_start_up():
    definition = publish({**chain("rated", "echo"), "rate_limit": {"limit": 1, "per": "PT1H"}})
    for _ in range(2):
        submit(definition)
    [job, *_] = admitted = gates.admit("worker", claim("default", "worker", 10, 30))
    assert len(admitted) == 1
    Job.objects.filter(claimed_by="worker").update(claimed_by=None, claimed_until=None)
    assert drain() == 1
    assert Job.objects.get(pk=job.id).status == "DONE"
    assert Job.objects.filter(status="NEW", hold="workflow:rated").count() == 1
    assert Limits().run_once()["freed"] == 1, "a start is over when it is made"


def test_a_workflow_without_limits_is_admitted_with_one_query():
    definition = publish(chain("free", "echo"))
    for _ in range(5):
        submit(definition)
    jobs = claim("default", "worker", 10, 30)
    gates.admit("worker", jobs)  # compiles the definition
    with CaptureQueriesContext(connection) as queries:
        assert gates.admit("worker", jobs) == jobs
    assert len(queries) == 1


def test_limited_jobs_are_admitted_with_as_many_queries_whatever_their_number():
    definition = publish({**chain("many", "echo"), "max_concurrency": 3})

    def queries(count):
        for _ in range(count):
            submit(definition, queue=f"queue-of-{count}")
        jobs = claim(f"queue-of-{count}", "worker", 50, 30)
        with CaptureQueriesContext(connection) as captured:
            gates.admit("worker", jobs)
        return len(captured)

    queries(4)
    assert queries(5) == queries(30)


# ---- timers of a job that waits for a limit --------------------------------------------------------------------------


def test_the_time_of_a_job_that_waits_for_a_slot_runs_out_all_the_same():
    fill(limit(max_concurrency=1), 1)
    document = chain("timed", "count")
    document["tasks"]["step1"]["resource"] = "bank"
    job = submit(publish({**document, "timeout": "PT1H"}))
    drain()
    held = Job.objects.get(pk=job.pk)
    assert (held.status, held.hold) == ("READY", "resource:bank")
    assert held.wake_at > timezone.now() + timedelta(minutes=50)
    assert Timers().run_once() == {"woken": 0}
    Job.objects.filter(pk=job.pk).update(wake_at=timezone.now() - timedelta(seconds=1))
    assert Timers().run_once() == {"woken": 1}
    woken = Job.objects.get(pk=job.pk)
    assert (woken.hold, woken.wake_at) == ("", None)
    drain()
    assert Job.objects.get(pk=job.pk).hold == "resource:bank", "its time is not over yet: it is held anew"
    JobRun.clock, clock = lambda run: clock(run) + timedelta(hours=2), JobRun.clock
    try:
        Job.objects.filter(pk=job.pk).update(hold="", wake_at=None)
        drain()
    finally:
        JobRun.clock = clock
    assert Job.objects.get(pk=job.pk).status == "FAIL"


@pytest.mark.parametrize("act", ["slot", "suspend"])
def test_a_lifted_hold_takes_its_timer_with_it(act):
    fill(limit(max_concurrency=1), 1)
    document = chain("timed", "count")
    document["tasks"]["step1"]["resource"] = "bank"
    job = submit(publish({**document, "timeout": "PT1H"}))
    drain()
    if act == "slot":
        Slot.objects.all().delete()
        assert go_on("resource:bank", 1) == 1
    else:
        suspend_job(job.pk, actor="olga")
        Job.objects.filter(pk=job.pk).update(wake_at=timezone.now() - timedelta(seconds=1))
        assert Timers().run_once() == {"woken": 0}, "a suspended job is not woken"
        resume_job(job.pk, actor="olga")
    assert Job.objects.values_list("hold", "wake_at").get(pk=job.pk) == ("", None)
