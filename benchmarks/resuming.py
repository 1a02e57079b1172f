"""How soon a job goes on when it is submitted, or answered, on an idle system; and what a parked job costs.

    python -m benchmarks.resuming [--samples 200] [--answered 2000] [--parked 100000] [--idle-seconds 20] [--rounds 5]

The product and the hand-written loop with NOTIFY (benchmarks/waking_loop.py) run side by side, idle, and are asked in
turns. A sample ends when another connection reads that the last step is committed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .asking import DEPARTMENT, QUESTION
from .database import Server
from .figures import Figure, amount, compare
from .filling import fill, other_database, use
from .measures import percentile, run
from .run import say
from .waking_loop import ANSWER, DONE, PARK, SUBMIT, waking_loop

PATIENCE_SECONDS = 30
LOOK_SECONDS = 0.0005
CHANCE = random.Random(1)  # noqa: S311  (when to ask, not a secret)
INPUT = {"number": 1}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--samples", type=int, default=200, help="samples of each latency in a round")
    parser.add_argument("--answered", type=int, default=2_000, help="answered jobs that are resumed in a round")
    parser.add_argument("--parked", type=int, default=100_000, help="parked jobs beside idle workers")
    parser.add_argument("--idle-seconds", type=int, default=20, help="how long idle workers are watched")


def measure(server: Server, options: argparse.Namespace, folder: Path) -> list[Figure]:
    """All latencies, the rate of resuming, and the cost of parked jobs."""
    from django.contrib.auth import get_user_model

    from departments.configuration import create_department
    from workflows.intake import publishing

    from . import product

    user = get_user_model().objects.create_user("bench", password=None)
    create_department(DEPARTMENT, "Benchmark", [{"username": "bench", "role": "member"}])
    product.prepare()
    publishing.publish(QUESTION)
    product.measure(server, 100, "warm-up", folder / "cluster.log")
    figures = latencies(server, options, folder, user, product.a_state())
    figures.append(resumed(server, options, folder, user, product.a_state()))
    return [*figures, *parked(server, options, folder)]


# ---- latency --------------------------------------------------------------------------------------------------------


def latencies(server: Server, options: argparse.Namespace, folder: Path, user: Any, state: Any) -> list[Figure]:
    """Submit to the third step durable, and answer to finished, of both, in turns."""
    import psycopg

    from workflows.models import Worker

    from .product import WORKERS, cluster, wait_until

    Worker.objects.all().delete()
    rounds: dict[str, list[list[float]]] = defaultdict(list)
    with (
        cluster(folder / "cluster.log") as child,
        waking_loop(server.database_url, state) as loop,
        psycopg.connect(server.database_url, autocommit=True) as looking,
    ):
        wait_until(lambda: Worker.objects.count() == WORKERS, child)
        numbers = itertools.count(1)
        acts: dict[str, Callable[[], float]] = {
            "submit": lambda: submit_ours(looking),
            "submit loop": lambda: submit_loop(loop, looking, next(numbers)),
            "answer": lambda: answer_ours(looking, user),
            "answer loop": lambda: answer_loop(loop, looking, next(numbers), state),
        }
        for act in acts.values():
            for _ in range(5):  # the first of each loads code
                act()
        for number in range(1, options.rounds + 1):
            taken: dict[str, list[float]] = defaultdict(list)
            for _ in range(options.samples):
                for name, act in acts.items():
                    # At any moment of the workers' ticks, not always at the same one.
                    time.sleep(CHANCE.uniform(0.01, 0.08))
                    taken[name].append(act() * 1000)
            for name, values in taken.items():
                rounds[name].append(values)
            say(f"round {number}: " + ", ".join(f"{n} {percentile(v, 0.5):.1f} ms" for n, v in taken.items()))
        if child.has_ended:
            raise RuntimeError(f"The cluster ended by itself:\n{child.last_lines()}")
    figures = []
    for what, name, share, wanted in (
        ("submit to third step durable, p50", "submit", 0.5, 1.5),
        ("submit to third step durable, p99", "submit", 0.99, 4.0),
        ("answer to job finished, p50", "answer", 0.5, 1.7),
        ("answer to job finished, p95", "answer", 0.95, 3.0),
    ):
        ours, theirs = ([percentile(one, share) for one in rounds[kind]] for kind in (name, f"{name} loop"))
        figures.append(compare(what, ours, "loop with NOTIFY", theirs, "ms", wanted, "less"))
    return figures


def look(looking: Any, query: str, key: Any) -> None:
    """Until the query finds the job. RuntimeError where it does not."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while looking.execute(query, [key], prepare=True).fetchone() is None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"Nothing happened for {PATIENCE_SECONDS} seconds.")
        time.sleep(LOOK_SECONDS)


FINISHED = "SELECT 1 FROM workflows_job WHERE id = %s AND status = 'DONE'"
PARKED = "SELECT 1 FROM workflows_job WHERE id = %s AND status = 'PEND'"


def submit_ours(looking: Any) -> float:
    """Seconds from before the submission to the moment when another connection reads that the job is done."""
    from workflows.intake.submit import Submission, submit_job

    from .product import WORKFLOW

    began = time.perf_counter()
    job = submit_job(Submission(WORKFLOW, INPUT), submitted_by=None).job.pk
    look(looking, FINISHED, job)
    return time.perf_counter() - began


def submit_loop(loop: Any, looking: Any, number: int) -> float:
    """The same of the loop."""
    began = time.perf_counter()
    loop.execute(SUBMIT, [number, json.dumps(INPUT)], prepare=True)
    look(looking, DONE, number)
    return time.perf_counter() - began


def answer_ours(looking: Any, user: Any) -> float:
    """Seconds from before a person's decision to the moment when another connection reads that the job is done."""
    from departments import actions
    from departments.models import WorkItem
    from workflows.intake.submit import Submission, submit_job

    job = submit_job(Submission(QUESTION["name"], INPUT), submitted_by=None).job.pk
    look(looking, PARKED, job)
    # A moment for the worker to go back to listening, as it does while a person thinks.
    time.sleep(CHANCE.uniform(0.02, 0.06))
    item = WorkItem.objects.values_list("pk", flat=True).get(job=job)
    began = time.perf_counter()
    actions.complete(item, user, "approve")
    look(looking, FINISHED, job)
    return time.perf_counter() - began


def answer_loop(loop: Any, looking: Any, number: int, state: Any) -> float:
    """The same of the loop, which has one step left."""
    loop.execute(PARK, [number, json.dumps(INPUT)])
    time.sleep(CHANCE.uniform(0.02, 0.06))
    began = time.perf_counter()
    loop.execute(ANSWER, [json.dumps(state), number], prepare=True)
    look(looking, DONE, number)
    return time.perf_counter() - began


# ---- many answers ---------------------------------------------------------------------------------------------------


def resumed(server: Server, options: argparse.Namespace, folder: Path, user: Any, state: Any) -> Figure:
    """Answered jobs run to their end per second, against the loop's steps: an answered job has one step left."""
    from django.db import connection

    from . import loop

    ours, theirs = [], []
    for number in range(1, options.rounds + 1):
        server.checkpoint()
        ours.append(resume_once(options.answered, folder, user, f"resumed-{number}"))
        connection.close()
        server.checkpoint()
        one = loop.measure(server, max(options.answered // loop.STEPS, 1), state)
        theirs.append(one.jobs * loop.STEPS / one.seconds)
        say(f"round {number}: {ours[-1]:,.0f} resumed/s, loop {theirs[-1]:,.0f} steps/s")
    name = f"{options.answered:,} answered jobs resumed"
    return compare(name, ours, "loop, steps", theirs, "jobs/s", 0.6)


def resume_once(jobs: int, folder: Path, user: Any, name: str) -> float:
    """Park jobs, answer all of them, then let a cluster run them. Jobs a second, from the first step to the last."""
    from django.db import connection
    from django.db.models import Max, Min

    from departments import actions
    from departments.models import WorkItem
    from workflows.execution.worker import drain
    from workflows.intake.submit import MAX_BATCH, Submission, submit_jobs
    from workflows.models import Job, JobStatus, TaskRun

    from .product import cluster, wait_until

    for first in range(0, jobs, MAX_BATCH):
        count = min(MAX_BATCH, jobs - first)
        submit_jobs([Submission(QUESTION["name"], INPUT, correlation_id=name)] * count, submitted_by=None)
    drain()
    for item in WorkItem.objects.filter(reference=name).values_list("pk", flat=True):
        actions.complete(item, user, "approve")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")
    mine = Job.objects.filter(correlation_id=name)
    with cluster(folder / "cluster.log") as child:
        wait_until(lambda: not mine.exclude(status__in=(JobStatus.DONE, JobStatus.FAIL)).exists(), child)
    done = mine.filter(status=JobStatus.DONE).count()
    if done != jobs:
        raise RuntimeError(f"Of {jobs} answered jobs {done} are done.")
    first_step = TaskRun.objects.filter(job__in=mine, task="go-on").aggregate(at=Min("started_at"))["at"]
    last = mine.aggregate(at=Max("finished_at"))["at"]
    return jobs / max(float((last - first_step).total_seconds()), 0.001)


# ---- parked jobs ----------------------------------------------------------------------------------------------------


def parked(server: Server, options: argparse.Namespace, folder: Path) -> list[Figure]:
    """What idle workers do beside very many parked jobs and beside none, and the disk that a parked job takes."""
    from .size import a_job

    empty, full = server.database, f"{server.database}_full"
    work: dict[str, dict[str, float]] = {}
    with other_database(server, full):
        use(server, full)
        try:
            taken = fill(server, a_job(QUESTION["name"], 1), options.parked, "parked")
            for name in (empty, full):
                use(server, name)
                work[name] = idle(server, options.idle_seconds, folder / "idle.log")
        finally:
            use(server, empty)
    beside = f"idle workers beside {options.parked:,} parked jobs"
    return [
        compare(f"{beside}: {what}", [work[full][what]], "beside none", [work[empty][what]], "per second", 1.1, "less")
        for what in ("transactions", "rows read")
    ] + [amount("disk of a parked job with its work item and history", [taken / options.parked], "bytes")]


def idle(server: Server, seconds: int, log: Path) -> dict[str, float]:
    """What the server does a second for a cluster that finds no work, once it has settled."""
    from django.db import connection

    from workflows.models import Worker

    from .product import WORKERS, cluster, wait_until

    Worker.objects.all().delete()
    with cluster(log) as child:
        wait_until(lambda: Worker.objects.count() == WORKERS, child)
        connection.close()
        time.sleep(2)  # what is done once, at the start
        before = counted(server)
        time.sleep(seconds)
        after = counted(server)
    connection.close()
    server.wait_for_sessions()
    return {name: (after[name] - before[name]) / seconds for name in before}


def counted(server: Server) -> dict[str, int]:
    """Transactions and rows that were read, in the database that is measured."""
    row = server.connection.execute(
        "SELECT xact_commit, tup_returned + tup_fetched FROM pg_stat_database WHERE datname = %s", [server.database]
    ).fetchone()
    assert row is not None
    return {"transactions": int(row[0]), "rows read": int(row[1])}


if __name__ == "__main__":
    sys.exit(run("resuming", "Waking and resuming", 5, add_options, measure))
