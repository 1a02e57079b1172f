"""Children survive the death of whoever looks after them, and a queue has clusters of its own: real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from tests.execution.jobs import publish, register, submit
from tests.faults.clusters import children, cluster, database_url, eventually
from workflows.models import ChildGroup, Job, TaskRun, Worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

DIES = """
import os, signal
import django
django.setup()
from workflows.execution import settling
from workflows.execution.worker import drain

settle, left = settling.settle_groups, [{lives}]

def settle_or_die(group_ids):
    if group_ids:
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
    return settle(group_ids)

settling.settle_groups = settle_or_die
drain()
"""
"""A worker that is killed in the moment when it is about to settle a group, after `lives` groups."""


def worker_that_dies(lives: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DIES.replace("{lives}", str(lives))],
        env={
            **os.environ,
            "DATABASE_URL": database_url(),
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "WORKFLOW_PLUGIN_PACKAGES": "tests.execution",
            "WORKFLOW_LEASE_SECONDS": "3",
            "WORKFLOW_CLAIM_BATCH": "2",
        },
        cwd=settings.BASE_DIR,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL


def status_of(job: Job) -> str:
    return Job.objects.values_list("status", flat=True).get(pk=job.pk)


def a_noted_map(notes: Path, items: int, seconds: float = 0.0) -> Job:
    register("noted", "Slow", file=str(notes), seconds=seconds)
    task = {"type": "map", "items": list(range(items)), "task": {"type": "plugin", "plugin": "noted"}}
    return submit(publish({"name": "noted", "tasks": {"m": task}}))


def assert_nothing_twice(job: Job, notes: Path, items: int, *, killed: int = 0) -> None:
    """Each item was committed once, and run once more at most for each worker that was killed at it."""
    keys = [line.split()[2] for line in notes.read_text().splitlines()]
    assert len(set(keys)) == items
    assert len(keys) <= items + killed
    assert Job.objects.filter(parent=job).count() == items
    assert TaskRun.objects.filter(job__parent=job, status="done").count() == items
    assert TaskRun.objects.filter(job=job, status="done").count() == 1
    assert ChildGroup.objects.get(job=job).closed_at is not None


@pytest.mark.parametrize(
    ("lives", "children_made"),
    [(0, 0), (1, 5)],
    ids=["between the parent's commit and its children", "between a child's end and its settling"],
)
def test_a_worker_killed_before_it_settles_leaves_nothing_undone(tmp_path, lives, children_made):
    notes = tmp_path / "notes"
    job = a_noted_map(notes, 5)
    worker_that_dies(lives)
    assert Job.objects.filter(parent=job).count() == children_made
    assert status_of(job) == "PEND"
    with cluster():
        assert eventually(lambda: status_of(job) == "DONE")
    assert_nothing_twice(job, notes, 5, killed=2)


def test_a_worker_killed_when_the_last_child_has_ended_leaves_nothing_undone(tmp_path):
    notes = tmp_path / "notes"
    job = a_noted_map(notes, 1)
    worker_that_dies(1)
    assert status_of(Job.objects.get(parent=job)) == "DONE", "the child has ended, and nobody was told"
    assert status_of(job) == "PEND"
    with cluster():
        assert eventually(lambda: status_of(job) == "DONE")
    assert_nothing_twice(job, notes, 1)


def test_a_map_outlives_the_workers_that_are_killed_while_it_runs(tmp_path):
    notes = tmp_path / "notes"
    job = a_noted_map(notes, 60, seconds=0.05)
    killed = 0
    with cluster() as main:
        for _ in range(4):
            seen = len(notes.read_text().splitlines()) if notes.exists() else 0
            assert eventually(lambda seen=seen: notes.exists() and len(notes.read_text().splitlines()) > seen + 3)
            victim = int(notes.read_text().splitlines()[-1].split()[1])
            if victim in children(main.pid):
                os.kill(victim, signal.SIGKILL)
                killed += 1
        assert eventually(lambda: status_of(job) == "DONE", 60)
    assert killed
    assert_nothing_twice(job, notes, 60, killed=killed)


def test_a_queue_is_served_by_the_cluster_of_its_name_and_by_no_other(tmp_path):
    notes = tmp_path / "notes"
    register("noted", "Slow", file=str(notes))
    document = {
        "name": "routed",
        "tasks": {
            "here": {"type": "plugin", "plugin": "noted"},
            "there": {"type": "plugin", "plugin": "noted", "queue": "partners"},
            "back": {"type": "plugin", "plugin": "noted"},
        },
        "transitions": [{"from": "here", "to": "there"}, {"from": "there", "to": "back"}],
    }
    job = submit(publish(document))
    with cluster(WORKERS="1"):
        assert eventually(lambda: Job.objects.filter(parent=job, queue="partners").exists())
        assert status_of(job) == "PEND", "nobody serves the queue yet"
        with cluster(Q_CLUSTER_NAME="partners", WORKERS="1"):
            assert eventually(lambda: status_of(job) == "DONE")
            assert eventually(lambda: {worker.queue for worker in Worker.objects.all()} == {"default", "partners"})
            queues = dict(Worker.objects.values_list("pid", "queue"))
    runs = {line.split()[0]: line.split() for line in notes.read_text().splitlines()}
    assert {task: queues[int(run[1])] for task, run in runs.items()} == {
        "here": "default",
        "there": "partners",
        "back": "default",
    }
    assert runs["there"][2] == f"{job.pk}:there:1"
    assert int(runs["here"][3]) < int(runs["there"][3]) <= int(runs["back"][3])
