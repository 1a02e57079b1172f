"""Priority without starvation, with 100,000 jobs of mixed priority: `make bench-priority`.

Jobs are claimed with the statement that workers use, from a table that is filled as `submit` fills it. The clock of the
arrivals is one of the benchmark's own, so that hours pass in seconds: a job's rank is a time of that clock.

First all jobs are there at once: who is claimed when? Then the lowest wait while urgent ones keep arriving, exactly as
fast as jobs are claimed: how long until the last of the lowest is claimed, against the bound that ageing promises?
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from scripts.test import postgresql

from .database import Server, Unfit, fresh_database
from .run import set_up_django

PRIORITIES = (0, 25, 50, 75, 100)
START = datetime(2026, 1, 1, tzinfo=UTC)
A_SECOND = 10
"""Jobs that are claimed, and urgent ones that arrive, in one second of the benchmark's clock."""
LOW = 1_000
"""Jobs of the lowest priority that wait while urgent ones arrive."""


def main() -> int:
    """Measure and print; 1 where it could not be measured, or the order was not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=100_000)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="workflow-bench-", ignore_cleanup_errors=True) as name,
        postgresql(Path(name)) as url,
    ):
        if not url:
            print("There is no PostgreSQL at DATABASE_URL or 127.0.0.1:5432, and none could be started.")
            return 1
        try:
            with fresh_database(url) as server:
                return measure(server, options.jobs, Path(name))
        except Unfit as error:
            print(error)
            return 1


def measure(server: Server, jobs: int, folder: Path) -> int:
    """Both parts; 0 where the order is as promised."""
    set_up_django(server, folder)
    from django.db import connections

    print(f"PostgreSQL {server.setting('server_version').split()[0]}, load average {os.getloadavg()[0]:.2f}")
    kept = at_once(jobs)
    kept = while_urgent_ones_arrive(jobs) and kept
    connections.close_all()
    print("The order was kept." if kept else "THE ORDER WAS NOT KEPT.")
    return 0 if kept else 1


def at_once(jobs: int) -> bool:
    """All are claimable in the same minute. The places at which each priority is claimed."""
    _empty()
    _fill([(START + timedelta(seconds=60 * n / jobs), PRIORITIES[n * 7919 % len(PRIORITIES)]) for n in range(jobs)])
    places: dict[int, list[int]] = {priority: [] for priority in PRIORITIES}
    began = time.monotonic()
    for place, priority in enumerate(_claimed(100)):
        places[priority].append(place)
    seconds = time.monotonic() - began
    print(f"\n{jobs} jobs of {len(PRIORITIES)} priorities at once, claimed in {seconds:.1f} s by one worker")
    print("priority     jobs    first   median     last")
    for priority in reversed(PRIORITIES):
        found = places[priority]
        print(f"{priority:8} {len(found):8} {found[0]:8} {statistics.median(found):8.0f} {found[-1]:8}")
    urgent_first = all(places[high][-1] < places[low][0] for low, high in pairwise(PRIORITIES))
    return urgent_first and sum(map(len, places.values())) == jobs


def while_urgent_ones_arrive(jobs: int) -> bool:
    """The lowest wait, and as many urgent ones arrive as are claimed, for as long as the jobs last."""
    from django.conf import settings

    _empty()
    bound = 100 * settings.WORKFLOW_PRIORITY_SECONDS
    _fill([(START, 0)] * LOW)
    seconds = (jobs - LOW) // A_SECOND
    waits: list[int] = []
    urgent: list[int] = []
    claiming = 0.0
    for second in range(seconds):
        now = START + timedelta(seconds=second)
        if second % 100 == 0:  # a hundred seconds of arrivals at a time, each with its own rank
            ahead = min(100, seconds - second)
            _fill([(now + timedelta(seconds=later), 100) for later in range(ahead) for _ in range(A_SECOND)])
        began = time.monotonic()
        for priority, claimable_at in _claim(A_SECOND):
            waited = int((now - claimable_at).total_seconds())
            (waits if priority == 0 else urgent).append(waited)
        claiming += time.monotonic() - began
    print(f"\n{LOW} jobs of priority 0 wait; {A_SECOND} of priority 100 arrive in every second, as many as are claimed")
    each = claiming / seconds * 1000
    print(f"claimed: {len(waits)} of the lowest, {len(urgent)} urgent; a claim of {A_SECOND} took {each:.2f} ms")
    if waits:
        print(f"the lowest waited {min(waits)} to {max(waits)} s, behind at most {max(waits) * A_SECOND} others;")
    print(f"ageing promises their turn after {bound} s (100 points, {settings.WORKFLOW_PRIORITY_SECONDS} s each),")
    print(f"and the urgent waited at most {max(urgent)} s while they were served")
    return len(waits) == LOW and max(waits) <= bound + LOW / A_SECOND + 1


# ---- the table ------------------------------------------------------------------------------------------------------


def _empty() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE workflows_job CASCADE")


def _fill(rows: Sequence[tuple[datetime, int]]) -> None:
    """Jobs by when they became claimable, and their priority."""
    from workflows.execution.ranks import rank_at
    from workflows.models import Job, JobData

    for first in range(0, len(rows), 5_000):
        portion = [
            Job(workflow="bench", version=0, priority=priority, run_at=at, created_at=at, rank=rank_at(at, priority))
            for at, priority in rows[first : first + 5_000]
        ]
        Job.objects.bulk_create(portion)
        JobData.objects.bulk_create(JobData(job=job, input={}) for job in portion)
    from django.db import connection

    if len(rows) > 10_000:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE workflows_job")


def _claimed(batch: int) -> Iterator[int]:
    """The priorities of all jobs in the order they are claimed."""
    from workflows.models.statements import claim

    while jobs := claim("default", "bench", batch, 3600):
        yield from (job.priority for job in jobs)


def _claim(count: int) -> list[tuple[int, datetime]]:
    """Claim, and answer priority and arrival of each. Nobody is claimed before they arrive: the arrivals of later
    seconds are in the table a hundred seconds ahead at most, and rank behind those of this second."""
    from workflows.models.statements import claim

    return [(job.priority, job.created_at) for job in claim("default", "bench", count, 3600)]


if __name__ == "__main__":
    raise SystemExit(main())
