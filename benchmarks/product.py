"""The product under load: jobs of three plugin tasks, submitted beforehand, run by a real cluster of two workers."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from django.db import connection
from django.db.models import Count, Max, Min, Sum

from scripts.processes import Child, stop
from workflows.intake import publishing
from workflows.intake.submit import MAX_BATCH, Submission, submit_job, submit_jobs
from workflows.models import History, Job, JobData, JobStatus, PluginRegistration, TaskRun, TaskRunStatus, Worker

from .database import Counters, Server

ROOT = Path(__file__).resolve().parent.parent
WORKERS = 2
TASKS = ("first", "second", "third")
PLUGIN = "bench.nothing"
WORKFLOW = "bench-three-steps"
ALONE = "bench-three-steps-alone"
"""The workflow whose steps must be committed one by one."""
PATIENCE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class ProductRound:
    """One measured run of the product."""

    jobs: int
    seconds: float
    cpu_seconds: float
    submit_seconds: float
    submitted: Counters
    """What submitting cost the server."""
    worked: Counters
    """What the cluster cost the server, its start and its end included."""
    whole: Counters
    """All of it: submitting, a VACUUM, and the cluster, as it is counted of other products."""
    whole_cpu_seconds: float
    """Processor time of all the cluster's processes, from when its first worker is there to the end of the work."""


def prepare() -> None:
    """Register the plugins and publish the workflows, unless an earlier part did."""
    if PluginRegistration.objects.filter(job_type=PLUGIN).exists():
        return
    for workflow, plugin, class_name in (
        (WORKFLOW, PLUGIN, "DoNothing"),
        (ALONE, f"{PLUGIN}.alone", "DoNothingOutside"),
    ):
        PluginRegistration.objects.create(job_type=plugin, module="benchmarks.plugin", class_name=class_name)
        document: dict[str, Any] = {
            "name": workflow,
            "tasks": {task: {"type": "plugin", "plugin": plugin} for task in TASKS},
            "transitions": [{"from": a, "to": b} for a, b in pairwise(TASKS)],
        }
        publishing.publish(document)


def submit(jobs: int, name: str, workflow: str, batch: int = MAX_BATCH) -> None:
    """Submit that many jobs through the front door: `batch` at once, or one by one where it is 1."""
    for first in range(0, jobs, batch):
        numbers = range(first, min(first + batch, jobs))
        submissions = [Submission(workflow, {"number": number}, correlation_id=name) for number in numbers]
        if batch == 1:
            submit_job(submissions[0], submitted_by=None)
        else:
            submit_jobs(submissions, submitted_by=None)


@contextmanager
def cluster(log: Path) -> Iterator[Child]:
    """A running `manage.py qcluster`, as it is deployed."""
    child = Child("The cluster", [sys.executable, "manage.py", "qcluster"], log, os.environ, ROOT)
    try:
        yield child
    finally:
        stop([child], 20, hurry=lambda: False)


def wait_until(true: Callable[[], bool], child: Child, pause: float = 0.1) -> int:
    """Ask until it is true; answer how often was asked. RuntimeError where the cluster ends, or it takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    asked = 1
    while not true():
        if child.has_ended:
            raise RuntimeError(f"The cluster ended by itself:\n{child.last_lines()}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"Not done after {PATIENCE_SECONDS} seconds:\n{child.last_lines()}")
        time.sleep(pause)
        asked += 1
    return asked


def measure(
    server: Server, jobs: int, name: str, log: Path, workflow: str = WORKFLOW, batch: int = MAX_BATCH
) -> ProductRound:
    """Submit jobs, `batch` at once, run them, and read what it took from the rows that the product itself keeps."""
    start = _counted(server)
    began = time.monotonic()
    submit(jobs, name, workflow, batch)
    submit_seconds = time.monotonic() - began
    submitted = _counted(server)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")
    before = _counted(server)
    Worker.objects.all().delete()
    mine = Job.objects.filter(correlation_id=name)
    unfinished = mine.exclude(status__in=(JobStatus.DONE, JobStatus.FAIL))
    with cluster(log) as child:
        asked = wait_until(Worker.objects.exists, child, 0.02)
        cluster_cpu = cpu_of_session(child.pid)
        asked += wait_until(lambda: not unfinished.exists(), child)
        cluster_cpu = cpu_of_session(child.pid) - cluster_cpu
        asked += wait_until(lambda: Worker.objects.count() == WORKERS, child)
        cpu = sum(cpu_of(pid) for pid in Worker.objects.values_list("pid", flat=True))
    after = _counted(server)
    _check(mine, jobs)
    times = mine.aggregate(first=Min("started_at"), last=Max("finished_at"))
    connection.close()  # whoever measures next waits until nobody is connected
    worked = after - before
    own = asked + 2  # the questions above, the deleting of the workers, and the reading of their numbers
    worked = Counters(worked.commits - own, worked.elsewhere, worked.wal)
    whole = after - start
    whole = Counters(whole.commits - own, whole.elsewhere, whole.wal)
    seconds = (times["last"] - times["first"]).total_seconds()
    return ProductRound(jobs, seconds, cpu, submit_seconds, submitted - start, worked, whole, cluster_cpu)


def measure_idle(server: Server, log: Path) -> Counters:
    """What a cluster that finds no work costs the server from its start to its end."""
    before = _counted(server)
    Worker.objects.all().delete()
    with cluster(log) as child:
        asked = wait_until(lambda: Worker.objects.count() == WORKERS, child)
    idle = _counted(server) - before
    return Counters(idle.commits - asked - 1, idle.elsewhere, idle.wal)


def _counted(server: Server) -> Counters:
    """The counters, once every session has reported."""
    connection.close()
    server.wait_for_sessions()
    return server.counters()


def _check(jobs: Any, expected: int) -> None:
    """RuntimeError unless every job was done in full, with its task runs and its history."""
    done = jobs.filter(status=JobStatus.DONE).count()
    runs = TaskRun.objects.filter(job__in=jobs, status=TaskRunStatus.DONE).count()
    rows = History.objects.filter(job__in=jobs).count()
    said = jobs.aggregate(rows=Sum("history_count"))["rows"]
    if (done, runs, rows) != (expected, expected * len(TASKS), said):
        raise RuntimeError(
            f"Of {expected} jobs {done} are done, with {runs} task runs and {rows} of {said} history rows."
        )


def history_rows_per_job(prefix: str) -> float:
    """How much history one job of these rounds leaves."""
    counted = Job.objects.filter(correlation_id__startswith=prefix).aggregate(
        rows=Sum("history_count"), jobs=Count("id")
    )
    return float(counted["rows"]) / counted["jobs"]


def a_state() -> Any:
    """The state of a job that was run, as it was stored."""
    return JobData.objects.filter(job__workflow=WORKFLOW, job__status=JobStatus.DONE).values_list("state", flat=True)[0]


def cpu_of(pid: int) -> float:
    """Processor time that a process has used since it was forked."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_of_session(session: int) -> float:
    """Processor time so far of all processes of a session, and of those that they have seen end."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == session:
                ticks += sum(int(one) for one in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")
