"""What a large export costs: the history of a million events, and a report of a million jobs, as the API gives them.

    python -m benchmarks.exports [--rows 1000000] [--files history.csv history.xes jobs.csv jobs.xlsx]

Each file is asked for in a process of its own, through the product's own view, and read piece by piece as a client
would; its peak memory is that of the whole process, Django included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .database import Server
from .figures import Figure, amount
from .filling import fill
from .measures import run
from .run import say

ROOT = Path(__file__).resolve().parent.parent
FILES = ("history.csv", "history.xes", "jobs.csv", "jobs.xlsx")
MOST_MEGABYTES = 200
EVENTS_A_JOB = 3
"""Finished task runs of a copied job: the events of an XES log. Its history has more rows."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=1_000_000, help="events of the log, and rows of the report")
    parser.add_argument("--files", nargs="+", choices=FILES, default=list(FILES))


def measure(server: Server, options: argparse.Namespace, folder: Path) -> list[Figure]:
    """Rate and peak memory of each file. RuntimeError where one has not all of its rows."""
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.db.models import Sum

    from workflows.models import Job, TaskRun

    from . import product
    from .size import a_job

    get_user_model().objects.create_superuser("bench", password=None)
    product.prepare()
    pattern = a_job(product.WORKFLOW, 2)
    whole = options.rows // EVENTS_A_JOB + 1
    fill(server, pattern, whole, "whole")
    fill(server, pattern, max(options.rows - whole, 1), "thin", bare=True)
    jobs = Job.objects.count()
    # The thin ones say that they have a history, as the pattern does, and have none.
    history = Job.objects.exclude(correlation_id__startswith="thin").aggregate(rows=Sum("history_count"))["rows"]
    rows = {"history.csv": history, "history.xes": TaskRun.objects.filter(status="done").count()}
    connection.close()
    figures: list[Figure] = []
    for name in options.files:
        expected = rows.get(name, jobs)
        taken = []
        for _ in range(options.rounds):
            one = ask(name)
            if one["rows"] not in (expected, None):
                raise RuntimeError(f"{name} has {one['rows']} of {expected} rows.")
            taken.append(one)
            megabytes = one["bytes"] / 1e6
            say(f"{name}: {expected:,} rows, {megabytes:,.1f} MB, {one['seconds']:.1f} s, peak {one['peak']:.0f} MB")
        at = f"{name}, {expected:,} rows"
        figures.append(amount(f"{at}: rate", [expected / one["seconds"] for one in taken], "rows/s", None, "more"))
        figures.append(amount(f"{at}: to the first byte", [one["first"] for one in taken], "s"))
        figures.append(amount(f"{at}: peak memory", [one["peak"] for one in taken], "MB", MOST_MEGABYTES))
    return figures


def ask(name: str) -> dict[str, Any]:
    """Read one file in a process of its own."""
    said = subprocess.run(
        [sys.executable, "-m", "benchmarks.exports", "--read", name], cwd=ROOT, capture_output=True, text=True
    )
    if said.returncode:
        raise RuntimeError(f"{name}: {said.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
    return found


def read(name: str) -> None:
    """The process of one file: rows (None of a workbook, which is not unpacked), bytes, seconds and peak memory."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client()
    client.force_login(get_user_model().objects.get(username="bench"))
    began = time.perf_counter()
    answer: Any = client.get(f"/api/v1/reports/{name}", headers={"host": "localhost"})
    if answer.status_code != 200:
        raise RuntimeError(f"{answer.status_code}: {answer.content[:500]!r}")
    mark = b"<event>" if name.endswith(".xes") else b"\r\n"
    size = marks = 0
    first = 0.0
    rest = b""
    for piece in answer.streaming_content:
        first = first or time.perf_counter() - began
        size += len(piece)
        text = rest + piece
        marks += text.count(mark)
        rest = text[-len(mark) + 1 :]
    seconds = time.perf_counter() - began
    rows = None if name.endswith(".xlsx") else marks if name.endswith(".xes") else marks - 1
    # Not ru_maxrss: that begins with what the process that started this one had.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * 1024 / 1e6
    print(json.dumps({"rows": rows, "bytes": size, "seconds": seconds, "first": first, "peak": peak}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        read(sys.argv[2])
    else:
        sys.exit(run("exports", "Large exports", 3, add_options, measure))
