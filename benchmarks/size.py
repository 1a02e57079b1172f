"""Is it as fast with a million finished jobs as with none? Two databases, one empty and one full, measured in turns.

    python -m benchmarks.size [--rows 1000000] [--parked 100000] [--jobs 2000] [--samples 200] [--rounds 5]

All finished jobs lie in the live table, which is the worst case.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .database import Server
from .figures import Figure, amount, compare
from .filling import fill, other_database, use
from .measures import run
from .run import say

WANTED = 0.9
PAGEFUL = 100
"""Jobs of each kind in the empty database: its pages show as many rows as those of the full one."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=1_000_000, help="finished jobs in the full database")
    parser.add_argument("--parked", type=int, default=100_000, help="parked jobs in the full database")
    parser.add_argument("--jobs", type=int, default=2_000, help="jobs that are run in a round, in each mode")
    parser.add_argument("--samples", type=int, default=200, help="submissions, claims, pages and answers in a round")


def measure(server: Server, options: argparse.Namespace, folder: Path) -> list[Figure]:
    """The rates of the full database, each beside that of the empty one in the same round."""
    from django.contrib.auth import get_user_model

    from departments.configuration import create_department
    from workflows.intake import publishing

    from . import product
    from .asking import DEPARTMENT, QUESTION

    user = get_user_model().objects.create_superuser("bench", password=None)
    create_department(DEPARTMENT, "Benchmark", [{"username": "bench", "role": "member"}])
    product.prepare()
    publishing.publish(QUESTION)
    log = folder / "cluster.log"
    product.measure(server, 100, "warm-up", log)
    a_job(QUESTION["name"], PAGEFUL)
    empty, full = server.database, f"{server.database}_full"
    found: dict[str, dict[str, list[float]]] = {empty: defaultdict(list), full: defaultdict(list)}
    with other_database(server, full):
        use(server, full)
        finished = fill(server, a_job(product.WORKFLOW, 2), options.rows, "finished")
        parked = fill(server, a_job(QUESTION["name"], 1), options.parked, "parked")
        look_right(options)
        try:
            for number in range(1, options.rounds + 1):
                for name in (empty, full) if number % 2 else (full, empty):
                    use(server, name)
                    server.checkpoint()
                    for what, rate in one_round(server, options, user, f"{number}", log).items():
                        found[name][what].append(rate)
                lines = [f"{what} {found[full][what][-1] / found[empty][what][-1]:.2f}" for what in found[full]]
                say(f"round {number}: " + ", ".join(lines))
        finally:
            use(server, empty)
    wanted = WANTED if options.rows <= 1_000_000 else None
    sizes = f"with {options.rows:,} finished and {options.parked:,} parked jobs"
    figures = [
        compare(f"{what}, {sizes}", found[full][what], "empty", found[empty][what], unit(what), wanted)
        for what in found[full]
    ]
    figures.append(amount("disk of a finished job of three steps", [finished / options.rows], "bytes"))
    figures.append(amount("disk of a parked job with its work item", [parked / options.parked], "bytes"))
    return figures


def unit(what: str) -> str:
    return "steps/s" if what.startswith("steps") else "pages/s" if "page" in what else "jobs/s"


def a_job(workflow: str, jobs: int) -> Any:
    """Run some jobs as far as they go, and answer the last: a pattern to copy."""
    from workflows.execution.worker import drain
    from workflows.intake.submit import Submission, submit_jobs

    made = submit_jobs(
        [Submission(workflow, {"number": number}, correlation_id="pattern") for number in range(jobs)],
        submitted_by=None,
    )
    drain()
    return made[-1].pk


def look_right(options: argparse.Namespace) -> None:
    """Of a small database, what `manage.py verify` says of the copies. RuntimeError where it finds something."""
    from django.core.management import call_command

    if options.rows + options.parked <= 20_000:
        try:
            call_command("verify")
        except SystemExit:
            raise RuntimeError("The copies are not what the product writes: see above.") from None


def one_round(server: Server, options: argparse.Namespace, user: Any, name: str, log: Path) -> dict[str, float]:
    """Everything that is measured, once: how often a second."""
    from django.db import connection

    from . import product

    steps = len(product.TASKS) * options.jobs
    together = product.measure(server, options.jobs, f"size-{name}", log)
    alone = product.measure(server, options.jobs, f"alone-{name}", log, product.ALONE)
    found = {
        "steps, commits shared": steps / together.seconds,
        "steps, one commit each": steps / alone.seconds,
        "submit in batches": options.jobs / together.submit_seconds,
        "submit one by one": each(options.samples, submit_one),
        "claim": claims(options.samples),
        "answer": answers(options.samples, user),
    }
    found |= {name: each(options.samples, act) for name, act in pages(user).items()}
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    connection.close()
    return found


def each(times: int, act: Callable[[], Any]) -> float:
    """How often a second, after one time that is not counted."""
    act()
    began = time.perf_counter()
    for _ in range(times):
        act()
    return times / (time.perf_counter() - began)


def submit_one() -> None:
    """A job that nobody runs before a year is over."""
    from workflows.intake.submit import Submission, submit_job

    from .product import WORKFLOW

    later = datetime.now(UTC) + timedelta(days=365)
    submit_job(Submission(WORKFLOW, {"number": 1}, run_at=later), submitted_by=None)


def claims(samples: int) -> float:
    """Jobs claimed a second, in claims of ten as a worker makes them. Jobs and claims are rolled back together."""
    from django.db import transaction

    from workflows.intake.submit import Submission, submit_jobs
    from workflows.models.statements import claim

    from .product import WORKFLOW

    with transaction.atomic():
        submit_jobs([Submission(WORKFLOW, {"number": 1})] * min(10 * (samples + 1), 1_000), submitted_by=None)
        claim("default", "bench", 10, 30)
        claimed = 0
        began = time.perf_counter()
        while jobs := claim("default", "bench", 10, 30):
            claimed += len(jobs)
        rate = claimed / (time.perf_counter() - began)
        transaction.set_rollback(True)
    return rate


def answers(samples: int, user: Any) -> float:
    """Decisions a second through `departments.actions`, of jobs that are parked; then the jobs are run to their end."""
    from departments import actions
    from departments.models import WorkItem
    from workflows.execution.worker import drain
    from workflows.intake.submit import Submission, submit_jobs

    from .asking import QUESTION

    asked = submit_jobs([Submission(QUESTION["name"], {"number": 1})] * min(samples + 1, 1_000), submitted_by=None)
    drain()
    items = list(WorkItem.objects.filter(job__in=[job.pk for job in asked]).values_list("pk", flat=True))
    if len(items) != len(asked):
        raise RuntimeError(f"{len(items)} of {len(asked)} jobs have asked.")
    left = iter(items)
    rate = each(len(items) - 1, lambda: actions.complete(next(left), user, "approve"))
    drain()
    return rate


def pages(user: Any) -> dict[str, Callable[[], Any]]:
    """Pages over the product's own views, without a server between."""
    from django.test import Client

    from workflows.models import Job

    from .asking import QUESTION
    from .product import WORKFLOW

    client = Client()
    client.force_login(user)
    job = Job.objects.filter(workflow=WORKFLOW, status="DONE").latest("id").pk

    def get(path: str) -> Callable[[], Any]:
        def act() -> None:
            answer = client.get(path, headers={"host": "localhost"})
            assert answer.status_code == 200, (path, answer.status_code, answer.content[:300])

        return act

    return {
        "list page of jobs": get("/api/v1/jobs/"),
        "list page of finished jobs": get("/api/v1/jobs/?status=DONE"),
        "list page of one workflow": get(f"/api/v1/jobs/?workflow={QUESTION['name']}"),
        "page of a job": get(f"/api/v1/jobs/{job}/"),
        "history page": get(f"/api/v1/jobs/{job}/history/"),
        "inbox page": get("/inbox/"),
    }


if __name__ == "__main__":
    sys.exit(run("size", "As fast with very many jobs as with none", 5, add_options, measure))
