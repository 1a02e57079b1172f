"""Jobs claimed together: what may share a transaction does, what must not does not, and each is fenced by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.execution import plugin_doubles
from tests.execution.jobs import chain, publish, register, submit
from workflows.engine.contract import Plugin
from workflows.execution import batch as batches
from workflows.execution import executor
from workflows.execution.worker import drain
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

    assert commits == [4], "the second steps alone"
    assert Job.objects.filter(status="DONE").count() == 4


def test_no_finished_step_waits_for_a_neighbour_that_is_known_to_be_slow(commits):
    executor._seconds["slow"] = 1.0
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
    from workflows.execution.worker import JobWorker
    from workflows.models.statements import claim

    definition = publish(chain("two", "nothing", "nothing"))
    for _ in range(5):
        submit(definition, rank=timezone.now() - timedelta(hours=1))
    worker = JobWorker("default")
    worker.run(claim("default", worker.name, 10, 30), until=0.0)

    assert TaskRun.objects.count() == 1, "one step is always run, so that a short tick makes progress, too"
    assert not Job.objects.leased().exists()
    assert set(Job.objects.values_list("claims", flat=True)) == {0}
    assert drain() == 9


@pytest.mark.postgresql
def test_the_statements_of_a_batch_do_not_grow_with_its_jobs(settings, monkeypatch):
    settings.WORKFLOW_CLAIM_BATCH = 50
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
