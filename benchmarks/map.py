"""How fast a map runs, and whether anything of it grows with the number of its items: `make bench-map`.

PostgreSQL as `make bench` finds it, one real cluster of two workers, maps of growing size. Prints a table; what must
not grow is told beside it: the rate, the memory of the workers, the work per item.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.test import postgresql

from .database import Unfit, fresh_database
from .run import _leave, say, set_up_django


@dataclass(slots=True)
class Run:
    """One map, from its start to its end."""

    items: int
    seconds: float
    tenths: list[float]
    """Items a second in each tenth of the items, in the order they ended."""
    memory: dict[int, list[int]] = field(default_factory=dict)
    """Resident memory of each worker, in kB, twice a second."""
    state_bytes: int = 0
    commits: int = 0

    @property
    def row(self) -> str:
        """The run as a row of the table."""
        ends = [sum(samples[place] for samples in self.memory.values() if samples) / 1024 for place in (0, -1)]
        peak = sum(max(samples) for samples in self.memory.values() if samples) / 1024
        return (
            f"{self.items:>8} {self.seconds:>9.1f} {self.items / self.seconds:>9.0f} {self.tenths[1]:>10.0f}"
            f" {self.tenths[-2]:>10.0f} {ends[0]:>10.0f} {peak:>9.0f} {ends[1]:>9.0f} {self.state_bytes / 1024:>10.0f}"
            f" {self.commits / self.items:>13.2f}"
        )


HEAD = (
    f"{'items':>8} {'seconds':>9} {'items/s':>9} {'2nd tenth':>10} {'9th tenth':>10} {'MB first':>10} {'MB peak':>9}"
    f" {'MB last':>9} {'state kB':>10} {'commits/item':>13}"
)


def main() -> int:
    """Measure and print; 1 where it could not be measured."""
    parser = argparse.ArgumentParser(prog="make bench-map", description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[1_000, 10_000], help="sizes, one run each")
    parser.add_argument("--max-concurrency", type=int, help="at most so many unfinished items")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    say(f"load average {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory(prefix="workflow-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with postgresql(folder) as url:
            if not url:
                print("There is no PostgreSQL at DATABASE_URL or 127.0.0.1:5432, and none could be started.")
                return 1
            try:
                with fresh_database(url) as server:
                    set_up_django(server, folder)
                    prepare(options.max_concurrency)
                    say(HEAD)
                    for items in options.items:
                        say(measure(server, items, folder / "cluster.log").row)
                    from django.db import connections

                    connections.close_all()
            except Unfit as error:
                print(error)
                return 1
    return 0


def prepare(max_concurrency: int | None) -> None:
    """Register the plugin and publish the workflow."""
    from workflows.intake import publishing
    from workflows.models import PluginRegistration

    PluginRegistration.objects.create(job_type="bench.double", module="benchmarks.plugin", class_name="Double")
    task: dict[str, Any] = {
        "type": "map",
        "items": "${input.items}",
        "task": {"type": "plugin", "plugin": "bench.double", "input": "${item}"},
    }
    if max_concurrency:
        task["max_concurrency"] = max_concurrency
    publishing.publish({"name": "bench-map", "tasks": {"m": task}})


def measure(server: Any, items: int, log: Path) -> Run:
    """Run one map and read what it took from the rows that the product itself keeps."""
    from django.db import connection

    from workflows.intake.submit import Submission, submit_job
    from workflows.models import Job, JobData, Worker

    from .product import cluster, wait_until

    Worker.objects.all().delete()
    connection.close()
    before = server.counters()
    job = submit_job(Submission("bench-map", {"items": list(range(items))}), submitted_by=None).job
    memory: dict[int, list[int]] = {}

    def ended() -> bool:
        for pid in Worker.objects.values_list("pid", flat=True):
            memory.setdefault(pid, []).append(resident(pid))
        return Job.objects.filter(pk=job.pk, status__in=("DONE", "FAIL")).exists()

    with cluster(log) as child:
        wait_until(ended, child, pause=0.5)
    data = JobData.objects.get(job=job)
    if data.output != [{"n": 2 * number} for number in range(items)]:
        raise RuntimeError(f"The result is wrong: {str(data.error or data.output)[:300]}")
    job.refresh_from_db()
    ends = list(Job.objects.filter(parent=job).order_by("finished_at").values_list("finished_at", flat=True))
    if len(ends) != items:
        raise RuntimeError(f"There are {len(ends)} children for {items} items.")
    size = max(items // 10, 1)
    marks = [job.started_at, *ends[size - 1 :: size]]
    tenths = [size / max((b - a).total_seconds(), 0.001) for a, b in itertools.pairwise(marks)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_column_size(state::text) FROM workflows_jobdata WHERE job_id = %s", [job.pk])
        state_bytes = cursor.fetchone()[0]
    connection.close()
    time.sleep(1.5)  # sessions report what they did when they end, or a second later
    commits = server.counters().commits - before.commits
    seconds = (job.finished_at - job.started_at).total_seconds()
    return Run(items, seconds, tenths, memory, state_bytes, commits)


def resident(pid: int) -> int:
    """Resident memory of a process, in kB; 0 where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


if __name__ == "__main__":
    sys.exit(main())
