"""Processes die, and the work goes on: real clusters, real signals."""

from __future__ import annotations

import os
import signal

import pytest

from tests.execution.jobs import chain, publish, register, submit
from tests.faults.clusters import alive, children, cluster, eventually
from workflows.models import History, Job, TaskRun, Worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]


def status_of(job: Job) -> str:
    return Job.objects.values_list("status", flat=True).get(pk=job.pk)


def test_a_killed_workers_job_goes_on_from_its_last_commit(tmp_path):
    notes = tmp_path / "notes"
    register("quick", "Slow", file=str(notes))
    register("slow", "Slow", file=str(notes), seconds=1.5)
    job = submit(publish(chain("killed", "quick", "slow", "quick")))
    with cluster():
        assert eventually(lambda: notes.exists() and "step2" in notes.read_text())
        victim = int(notes.read_text().splitlines()[-1].split()[1])
        os.kill(victim, signal.SIGKILL)
        assert eventually(lambda: status_of(job) == "DONE")

    runs = [line.split() for line in notes.read_text().splitlines()]
    assert [run[0] for run in runs] == ["step1", "step2", "step2", "step3"]
    (_, first_pid, first_key, first_fence), (_, second_pid, second_key, second_fence) = runs[1:3]
    assert first_pid != second_pid
    assert first_key == second_key == f"{job.pk}:step2:1", "an effect outside is recognised when it is repeated"
    assert int(second_fence) == int(first_fence) + 1
    assert TaskRun.objects.filter(job=job, status="done").count() == 3
    assert History.objects.filter(job=job, event="lease.expired").count() == 1


def test_a_plugin_that_ends_its_process_fails_its_own_job_and_no_other():
    register("deadly", "KillsProcess")
    register("nothing", "Nothing")
    deadly = submit(publish(chain("deadly", "deadly")))
    definition = publish(chain("harmless", "nothing", "nothing"))
    others = [submit(definition) for _ in range(20)]
    with cluster(WORKFLOW_MAX_CLAIMS="2"):
        assert eventually(lambda: status_of(deadly) == "FAIL")
        assert eventually(lambda: all(status_of(job) == "DONE" for job in others))
        late = submit(definition)
        assert eventually(lambda: status_of(late) == "DONE"), "the cluster lives on"

    deadly = Job.objects.select_related("data").get(pk=deadly.pk)
    assert deadly.data.error["name"] == "WorkerLost"
    assert "2 workers in a row" in deadly.data.error["cause"]


def test_a_step_that_no_signal_reaches_is_ended_with_its_process():
    register("deaf", "BlocksSignals")
    register("nothing", "Nothing")
    deaf = submit(publish(chain("deaf", "deaf")))
    with cluster(WORKFLOW_MAX_CLAIMS="1", WORKFLOW_STEP_SECONDS="1"):
        assert eventually(lambda: status_of(deaf) == "FAIL", 45)
        other = submit(publish(chain("harmless", "nothing")))
        assert eventually(lambda: status_of(other) == "DONE")


def test_a_killed_sentinel_leaves_no_orphan():
    with cluster() as main:
        assert eventually(lambda: Worker.objects.count() == 2)
        [sentinel, *_] = family = children(main.pid)
        assert len(family) == 5, "a sentinel, two workers, a pusher and a monitor"
        os.kill(sentinel, signal.SIGKILL)
        assert eventually(lambda: not any(alive(pid) for pid in family), 5)


def test_a_cluster_that_is_stopped_hands_its_jobs_back_and_leaves_no_process():
    register("nothing", "Nothing")
    definition = publish(chain("many", "nothing", "nothing", "nothing"))
    for _ in range(60):
        submit(definition)
    with cluster() as main:
        assert eventually(lambda: Job.objects.filter(status="DONE").exists())
        family = children(main.pid)
        main.send_signal(signal.SIGTERM)
        main.wait(20)
        assert not any(alive(pid) for pid in family)
    assert not Job.objects.leased().exists()
    assert not History.objects.filter(event="lease.expired").exists()


def test_two_clusters_share_the_work_and_do_nothing_twice(tmp_path):
    notes = tmp_path / "notes"
    register("noted", "Slow", file=str(notes), seconds=0.02)
    definition = publish(chain("shared", "noted", "noted"))
    with cluster(), cluster():
        assert eventually(lambda: Worker.objects.count() == 4), "both clusters are there"
        jobs = [submit(definition) for _ in range(120)]
        assert eventually(lambda: Job.objects.filter(status="DONE").count() == len(jobs))

    runs = [line.split() for line in notes.read_text().splitlines()]
    assert len(runs) == len({run[2] for run in runs}) == 240
    assert len({run[1] for run in runs}) > 2, "more than one cluster took part"
