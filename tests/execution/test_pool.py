"""Jobs claimed together: what may share a transaction does, what must not does not, and each is fenced by itself."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.utils import timezone

from tests.execution import plugin_doubles
from tests.execution.jobs import chain, publish, register, submit
from workflows.engine.contract import Plugin
from workflows.execution import executor
from workflows.execution import pool as batches
from workflows.execution.worker import JobWorker, drain
from workflows.models import Job, TaskRun

pytestmark = pytest.mark.django_db(transaction=True)


class Harmless(Plugin):
    """Has no effect outside, and says so; `before` is what the test wants to happen in it."""

    idempotent = True
    before = staticmethod(lambda context: None)

    def run(self, context):
        type(self).before(context)
        return {"ran": True}


@pytest.fixture(autouse=True)
def _plugins(settings, monkeypatch):
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    monkeypatch.setattr(plugin_doubles, "Harmless", Harmless, raising=False)
    monkeypatch.setattr(Harmless, "__module__", "tests.execution.plugin_doubles")
    monkeypatch.setattr(Harmless, "before", staticmethod(lambda context: None))
    monkeypatch.setattr(executor, "QUICK_SECONDS", 60.0)  # however busy the machine is
    monkeypatch.setattr(executor, "_seconds", {"harmless": 0.0})
    register("harmless", "Harmless")
    register("nothing", "Nothing")


@pytest.fixture
def commits(monkeypatch):
    """The sizes of the transactions that the batch shared."""
    sizes = []
    original = batches.checkpoint

    def counted(owner, steps):
        sizes.append(len(steps))
        return original(owner, steps)

    monkeypatch.setattr(batches, "checkpoint", counted)
    return sizes


def test_the_steps_of_a_backlog_are_committed_together(commits):
    definition = publish(chain("three", "harmless", "harmless", "harmless"))
    jobs = [submit(definition) for _ in range(8)]
    assert drain() == 24

    assert commits == [8, 8, 8]
    assert Job.objects.filter(pk__in=[job.pk for job in jobs], status="DONE").count() == 8
    assert TaskRun.objects.filter(status="done").count() == 24


def test_a_step_that_may_have_an_effect_outside_is_committed_by_itself(commits):
    definition = publish(chain("three", "nothing", "harmless"))
    for _ in range(4):
        submit(definition)
    drain()

    assert commits == [1, 1, 1, 1, 4], "the second steps together"
    assert Job.objects.filter(status="DONE").count() == 4


def test_no_finished_step_waits_for_a_neighbour_that_is_known_to_be_slow(commits):
    executor._seconds["slow"] = 1000.0
    register("slow", "Harmless")
    quick, slow = publish(chain("quick", "harmless")), publish(chain("slow", "slow"))
    first, second = submit(quick), submit(slow)
    done_when_slow_began = []
    Harmless.before = staticmethod(
        lambda context: (
            done_when_slow_began.append(Job.objects.get(pk=first.pk).status) if context.workflow == "slow" else None
        )
    )
    drain()

    assert done_when_slow_began == ["DONE"]
    assert Job.objects.get(pk=second.pk).status == "DONE"


def test_of_a_shared_commit_a_job_that_lost_its_lease_is_left_out_alone():
    definition = publish(chain("one", "harmless"))
    jobs = [submit(definition) for _ in range(3)]

    def lose(context):
        if context.job_id == str(jobs[1].pk) and context.fence == 1:
            Job.objects.filter(pk=jobs[1].pk).update(claimed_by=None, claimed_until=None)

    Harmless.before = staticmethod(lose)
    drain()

    runs = dict(TaskRun.objects.filter(status="done").values_list("job_id", "job__fence"))
    assert runs == {jobs[0].pk: 1, jobs[1].pk: 2, jobs[2].pk: 1}, "the lost one was claimed and run once more"


def test_a_batch_whose_time_is_up_hands_back_what_it_has_not_begun(settings):
    from workflows.models.statements import claim

    definition = publish(chain("two", "nothing", "nothing"))
    for _ in range(5):
        submit(definition, rank=timezone.now() - timedelta(hours=1))
    worker = JobWorker("default", alone=True)
    worker.run(claim("default", worker.name, 10, 30), until=0.0)

    assert TaskRun.objects.count() == 1, "one step is always run, so that a short tick makes progress, too"
    assert not Job.objects.leased().exists()
    assert set(Job.objects.values_list("claims", flat=True)) == {0}
    assert drain() == 9


@pytest.mark.postgresql
def test_the_statements_of_a_batch_do_not_grow_with_its_jobs(monkeypatch):
    monkeypatch.setattr("workflows.execution.worker.FIRST_CLAIM", 50)
    definition = publish(chain("three", "harmless", "harmless", "harmless"))
    counts = []
    from workflows.models.statements import postgresql

    original = postgresql._execute

    def counted(sql, parameters):
        counts[-1] += 1
        return original(sql, parameters)

    monkeypatch.setattr(postgresql, "_execute", counted)
    for size in (1, 50):
        for _ in range(size):
            submit(definition)
        counts.append(0)
        drain()
    assert counts[0] == counts[1] == 5, "a claim, three commits, and the claim that finds nothing"


# ---- a worker with connections of its own ---------------------------------------------------------------------------

PATIENCE = 30.0


@pytest.fixture
def worker():
    """A worker as a cluster has it, without its process."""
    found = JobWorker("default")
    yield found
    found.close()


def work(worker):
    """Let it work until nothing is left that could run now."""
    while (jobs := worker.claim()) is not None or worker._waiting:
        worker.run(jobs or (), float("inf"))
        if jobs is None and worker.pool.apart:
            worker.pool.wait(PATIENCE)


def eventually(true):
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.01)


@pytest.mark.postgresql
def test_one_half_of_the_jobs_is_worked_on_while_the_other_is_written(worker, monkeypatch):
    sizes = []
    original = batches.send

    def counted(line, owner, steps):
        sizes.append(len(steps))
        original(line, owner, steps)

    monkeypatch.setattr(batches, "send", counted)
    definition = publish(chain("three", "harmless", "harmless", "harmless"))
    jobs = [submit(definition) for _ in range(8)]
    work(worker)

    assert sum(sizes) == 24
    assert sizes[:4] == [4, 4, 4, 4]
    assert Job.objects.filter(pk__in=[job.pk for job in jobs], status="DONE").count() == 8
    assert not Job.objects.leased().exists()


@pytest.mark.postgresql
def test_what_was_sent_without_waiting_is_fenced_job_by_job(worker):
    definition = publish(chain("one", "harmless"))
    jobs = [submit(definition) for _ in range(3)]

    def lose(context):
        if context.job_id == str(jobs[1].pk) and context.fence == 1:
            Job.objects.filter(pk=jobs[1].pk).update(claimed_by=None, claimed_until=None)

    Harmless.before = staticmethod(lose)
    work(worker)

    runs = dict(TaskRun.objects.filter(status="done").values_list("job_id", "job__fence"))
    assert runs == {jobs[0].pk: 1, jobs[1].pk: 2, jobs[2].pk: 1}


@pytest.mark.postgresql
def test_a_value_that_the_database_cannot_keep_fails_its_own_job_alone(worker, monkeypatch):
    monkeypatch.setattr("workflows.execution.steps.check_json", lambda *args, **kwargs: [])
    definition = publish(chain("one", "harmless"))
    jobs = [submit(definition) for _ in range(3)]
    monkeypatch.setattr(
        Harmless,
        "run",
        lambda self, context: {"text": "\0" if context.job_id == str(jobs[1].pk) else "fine"},
    )
    work(worker)

    assert [Job.objects.get(pk=job.pk).status for job in jobs] == ["DONE", "FAIL", "DONE"]


def test_a_step_that_turns_out_slow_keeps_no_finished_neighbour_and_no_waiting_one(worker):
    definition, stuck = publish(chain("one", "harmless")), publish(chain("stuck", "harmless"))
    finished, slow, waiting = submit(definition), submit(stuck), submit(definition)
    seen = []

    def look(context):
        if context.workflow != "stuck":
            return

        def others():
            found = dict(Job.objects.filter(pk__in=[finished.pk, waiting.pk]).values_list("pk", "claimed_by"))
            return not any(found.values())

        eventually(others)
        seen.append(Job.objects.get(pk=finished.pk).status)
        seen.append(Job.objects.get(pk=waiting.pk).status)

    Harmless.before = staticmethod(look)
    worker.run(worker.claim(), float("inf"))

    assert seen == ["DONE", "NEW"], "written and handed back while the step was still running"
    assert Job.objects.get(pk=waiting.pk).claims == 0, "it had not begun"
    assert Job.objects.get(pk=slow.pk).status == "DONE"
    assert TaskRun.objects.filter(job=finished).count() == 1
    work(worker)
    assert Job.objects.get(pk=waiting.pk).status == "DONE"


# ---- side by side ---------------------------------------------------------------------------------------------------


class Waiter(Plugin):
    """Waits for the network, so to speak."""

    concurrent = True
    meet = staticmethod(lambda context: None)

    def run(self, context):
        type(self).meet(context)
        return {"waited": True}


@pytest.fixture
def waiter(monkeypatch):
    monkeypatch.setattr(plugin_doubles, "Waiter", Waiter, raising=False)
    monkeypatch.setattr(Waiter, "__module__", "tests.execution.plugin_doubles")
    monkeypatch.setattr(Waiter, "meet", staticmethod(lambda context: None))
    register("waiter", "Waiter")
    return Waiter


def test_steps_that_wait_for_the_network_run_side_by_side_without_a_connection_each(worker, waiter):
    many = 60
    definition = publish(chain("two", "waiter", "harmless"))
    jobs = [submit(definition) for _ in range(many)]
    barrier = threading.Barrier(many, timeout=PATIENCE)
    sessions = []

    def meet(context):
        if barrier.wait() == 0 and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
                sessions.append(cursor.fetchone()[0])

    waiter.meet = staticmethod(meet)
    work(worker)

    assert Job.objects.filter(pk__in=[job.pk for job in jobs], status="DONE").count() == many
    assert all(count < 10 for count in sessions)
    assert not Job.objects.leased().exists()


def test_a_step_that_runs_apart_keeps_nobody_waiting(worker, waiter):
    free = threading.Event()
    waiter.meet = staticmethod(lambda context: free.wait(PATIENCE))
    slow = submit(publish(chain("slow", "waiter")))
    quick = submit(publish(chain("quick", "harmless")))
    worker.run(worker.claim(), float("inf"))

    assert Job.objects.get(pk=quick.pk).status == "DONE"
    assert (worker.pool.apart, Job.objects.get(pk=slow.pk).claimed_by) == (1, worker.name)
    free.set()
    work(worker)
    assert Job.objects.get(pk=slow.pk).status == "DONE"


def test_a_step_that_runs_apart_and_is_late_fails_and_its_answer_counts_no_more(worker, waiter):
    free = threading.Event()
    waiter.meet = staticmethod(lambda context: free.wait(PATIENCE))
    late = chain("slow", "waiter")
    late["tasks"]["step1"]["timeout"] = "PT1S"
    job = submit(publish(late))
    worker.run(worker.claim(), float("inf"))
    eventually(lambda: worker.run([], float("inf")) or not worker.pool.apart)

    job.refresh_from_db()
    assert (job.status, job.data.error["name"]) == ("FAIL", "Timeout")
    free.set()
    work(worker)
    assert TaskRun.objects.get(job=job).status == "failed"


def test_a_worker_that_stops_waits_for_its_steps_in_threads_and_writes_them(waiter):
    worker = JobWorker("default")
    free = threading.Event()
    waiter.meet = staticmethod(lambda context: free.wait(PATIENCE))
    job = submit(publish(chain("slow", "waiter")))
    worker.run(worker.claim(), float("inf"))
    threading.Timer(0.1, free.set).start()
    worker.close()
    connections.close_all()

    job.refresh_from_db()
    assert (job.status, job.claimed_by) == ("DONE", None)
