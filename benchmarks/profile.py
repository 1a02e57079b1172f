"""Where a worker's time, the server's time and the write-ahead log go: `make profile` writes docs/profile.md.

Two workers run jobs of three steps that do nothing, once with commits shared and once with one commit a step, while
py-spy (in an environment of its own under var/peers) samples them from outside. What this server does not let itself
be asked is named on the page.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psycopg

from scripts.test import postgresql

from . import parts, peer
from .database import Server, Unfit, fresh_database
from .page import markdown
from .parts import ROOT, Table
from .run import say, set_up_django

PAGE = ROOT / "docs" / "profile.md"
RATE = 200
"""Samples per second and thread."""
GROUPS = (
    ("waiting for work", ("execution/doorbell.py", "execution/broker.py", "django_q/")),
    (
        "heartbeat and services",
        ("execution/services.py", "(workflows/execution/worker.py:Heartbeat", "execution/limits.py"),
    ),
    ("the plugin", ("benchmarks/plugin.py",)),
    ("decide (engine)", ("workflows/engine/",)),
    ("claim", ("statements/claim", "execution/gates.py")),
    ("plan and commit", ("execution/commit.py", "workflows/models/", "execution/letters.py", "execution/events.py")),
    ("step: registry, context, limits", ("execution/steps.py", "workflows/registry.py")),
    ("batch and executor", ("execution/batch.py", "execution/executor.py", "execution/")),
)
"""From the innermost frame outwards, the first that fits says where a sample belongs."""


def group(stack: str) -> str:
    """The group of one sample: `outer (file);inner (file)`."""
    frames = stack.split(";")
    library = ""
    for frame in reversed(frames):
        if not library and "psycopg" in frame:
            library = "database: waiting, and psycopg"
        elif not library and ("/json/" in frame or "(json" in frame):
            library = "JSON"
        for name, files in GROUPS:
            if any(file in frame for file in files):
                return name if name == "waiting for work" else library or name
    return library or "Django, Python and the rest"


def grouped(lines: Iterable[str]) -> Counter[str]:
    """Samples by group, of the threads that work: those in which a frame of the workflows' execution is."""
    found: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rstrip().rpartition(" ")
        if (
            "workflows/execution" in stack
            and "Heartbeat" not in stack
            and "_bootstrap_inner" not in stack.split(";")[0]
        ):
            found[group(stack)] += int(count)
    return found


def main() -> int:
    """Profile both modes, and write the page."""
    parser = argparse.ArgumentParser(prog="make profile", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--no-page", action="store_true", help="print only")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # what it started ends with it
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="workflow-profile-", ignore_cleanup_errors=True) as name,
        postgresql(Path(name)) as url,
    ):
        if not url:
            print("There is no PostgreSQL at DATABASE_URL or 127.0.0.1:5432, and none could be started.")
            return 1
        try:
            with fresh_database(url) as server:
                text = profile(server, options, load, Path(name))
        except Unfit as error:
            print(error)
            return 1
    print(text)
    if not options.no_page:
        PAGE.write_text(text, encoding="utf-8")
    return 0


def profile(server: Server, options: argparse.Namespace, load: float, folder: Path) -> str:
    """The page."""
    set_up_django(server, folder)
    from django.db import connections

    from . import product

    about = parts.about(server, load)
    lines = [
        "# Where the time goes",
        "",
        f"`make profile ARGS='--jobs {options.jobs}'`, {about['date']}, commit {about['commit']}. {about['machine']}."
        f" PostgreSQL {about['postgresql']}. Load average at the start: {about['load']}.",
        "",
        *(f"**Disturbed:** {sentence}\n" for sentence in about["disturbed"]),
    ]
    reason = peer.install("py-spy")
    product.prepare()
    product.measure(server, 100, "warm-up", folder / "cluster.log")
    for title, workflow in (("Commits shared", product.WORKFLOW), ("One commit a step", product.ALONE)):
        say(title)
        lines += [f"## {title}", ""]
        product.submit(options.jobs, f"profile-{workflow}", workflow)
        connections.close_all()
        server.checkpoint()
        lines += one_mode(server, options.jobs, f"profile-{workflow}", folder, reason)
    connections.close_all()
    return "\n".join(lines)


def one_mode(server: Server, jobs: int, name: str, folder: Path, reason: str) -> list[str]:
    """Run the jobs that wait, and say where it went."""
    from django.db import connections

    from workflows.models import Job, JobStatus, Worker

    from . import product

    Worker.objects.all().delete()
    statements = _reset_statements(server)
    before = server.counters().wal
    begin = server.connection.execute("SELECT pg_current_wal_lsn()::text").fetchone()
    unfinished = Job.objects.filter(correlation_id=name).exclude(status__in=(JobStatus.DONE, JobStatus.FAIL))
    raw: list[Path] = []
    spies: list[subprocess.Popen[bytes]] = []
    with product.cluster(folder / "cluster.log") as child:
        product.wait_until(lambda: Worker.objects.count() == product.WORKERS, child, 0.02)
        began = time.monotonic()
        for pid in () if reason else Worker.objects.values_list("pid", flat=True):
            raw.append(folder / f"{name}-{pid}.raw")
            spies.append(_spy(pid, raw[-1]))
        product.wait_until(lambda: not unfinished.exists(), child, 0.05)
        seconds = time.monotonic() - began
        cpu = sum(product.cpu_of(pid) for pid in Worker.objects.values_list("pid", flat=True))
        backends = _backend_cpu(server)
    for spy in spies:
        with suppress(subprocess.TimeoutExpired):
            spy.wait(15)
        if spy.poll() is None:
            spy.kill()
            spy.wait()
    connections.close_all()
    steps = jobs * len(product.TASKS)
    lines = [
        f"{jobs:,} jobs in {seconds:.1f} s while watched: {seconds / steps * 1e6:,.0f} µs a step. Processor time of the"
        f" two workers: {cpu / steps * 1e6:,.0f} µs a step; of the server's sessions that were still there:"
        f" {backends / steps * 1e6:,.0f} µs.",
        "",
    ]
    samples = grouped(line for path in raw if path.exists() for line in path.read_text("utf-8").splitlines())
    if samples:
        total = samples.total()
        rows = [[key, f"{n / total:.1%}", f"{n / RATE / steps * 1e6:,.1f}"] for key, n in samples.most_common()]
        lines += markdown(
            Table(["the workers", "share", "µs a step"], rows, "Samples of both workers' threads, waiting included.")
        )
    else:
        lines += [
            f"**Not measured: the workers' functions.** {reason or 'py-spy could not look into the workers.'}",
            "",
        ]
    lines += _statements(server, statements, steps)
    lines += _wal(server, str(begin[0]) if begin else "0/0", server.counters().wal - before, jobs)
    return lines


def _spy(pid: int, target: Path) -> subprocess.Popen[bytes]:
    command = [str(peer.ENVIRONMENTS / "py-spy" / "bin" / "py-spy"), "record", "--pid", str(pid), "--format", "raw"]
    command += [
        "--rate",
        str(RATE),
        "--idle",
        "--nolineno",
        "--full-filenames",
        "--nonblocking",
        "--output",
        str(target),
    ]
    with (target.with_suffix(".log")).open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _backend_cpu(server: Server) -> float:
    """Processor seconds of the sessions in the benchmark's database; 0 where the server is elsewhere."""
    from .product import cpu_of

    query = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
    used = 0.0
    for (pid,) in server.connection.execute(query, [server.database]).fetchall():
        with suppress(OSError):
            used += cpu_of(pid)
    return used


def _reset_statements(server: Server) -> str:
    """Begin to count statements; why that is not possible, or nothing."""
    try:
        server.connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        server.connection.execute("SELECT pg_stat_statements_reset()")
    except psycopg.Error as error:
        return str(error).splitlines()[0]
    return ""


def _statements(server: Server, reason: str, steps: int) -> list[str]:
    """The server's time by statement."""
    if reason:
        return [f"**Not measured: the server's time by statement.** {reason}.", ""]
    rows = server.connection.execute(
        "SELECT left(regexp_replace(query, '\\s+', ' ', 'g'), 90), calls, total_exec_time, wal_bytes"
        " FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = %s)"
        " ORDER BY total_exec_time DESC LIMIT 15",
        [server.database],
    ).fetchall()
    cells = [
        [
            "`" + text.replace("|", "\\|").replace("`", "") + "`",
            f"{calls:,}",
            f"{float(ms) / steps * 1e3:,.1f}",
            f"{int(wal) / steps:,.0f}",
        ]
        for text, calls, ms, wal in rows
    ]
    return markdown(Table(["statement", "calls", "µs a step", "bytes of WAL a step"], cells))


def _wal(server: Server, begin: str, written: int, jobs: int) -> list[str]:
    """The write-ahead log by type of record, and by table, as pg_walinspect reads it."""
    lines = [f"{written / jobs:,.0f} bytes of write-ahead log per job, the cluster's start included.", ""]
    try:
        with psycopg.connect(server.database_url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
            end = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
            assert end is not None
            connection.execute(
                "CREATE TEMP TABLE seen AS SELECT resource_manager || ' ' || record_type AS kind,"
                " record_length AS size,"
                " substring(block_ref FROM 'rel \\d+/\\d+/(\\d+)')::oid AS node"
                " FROM pg_get_wal_records_info(%s, %s)",
                [begin, end[0]],
            )
            kinds = connection.execute(
                "SELECT kind, count(*), sum(size) FROM seen GROUP BY 1 ORDER BY 3 DESC LIMIT 15"
            ).fetchall()
            tables = connection.execute(
                "SELECT coalesce(c.relname, CASE WHEN seen.node IS NULL THEN 'none (commits)' ELSE 'elsewhere' END),"
                " count(*), sum(size) FROM seen LEFT JOIN pg_class c ON c.relfilenode = seen.node"
                " GROUP BY 1 ORDER BY 3 DESC LIMIT 20"
            ).fetchall()
    except psycopg.Error as error:
        return [*lines, f"**Not measured: the log by record and table.** {str(error).splitlines()[0]}.", ""]
    for head, rows in (("record", kinds), ("table or index, of a record's first block", tables)):
        cells = [[str(kind), f"{count / jobs:,.2f}", f"{int(size) / jobs:,.0f}"] for kind, count, size in rows]
        lines += markdown(Table([head, "records per job", "bytes per job"], cells))
    return lines


if __name__ == "__main__":
    sys.exit(main())
