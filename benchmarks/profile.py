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
from .database import HOUSEKEEPING, Server, Unfit, fresh_database
from .page import section
from .parts import ROOT, Table
from .run import say, set_up_django

PAGE = ROOT / "docs" / "profile.md"
RATE = 200
"""Samples per second and thread."""
SPY_PATIENCE_SECONDS = 30
MOST_WAL = 400_000_000
"""Bytes; reading it takes about as long as writing it."""
GROUPS = (
    ("waiting for work", ("execution/doorbell.py", "execution/broker.py", "JobPool.wait ", "django_q/")),
    ("heartbeat, committer, services", ("Heartbeat.", "Committer.", "execution/services.py")),
    ("the plugin", ("benchmarks/plugin.py",)),
    ("decide (engine)", ("workflows/engine/",)),
    ("claim", ("claim (", "JobWorker._more ", "execution/gates.py", "execution/slots.py")),
    ("write and wait for commits", ("models/statements/", "JobPool._send ", "JobPool._take_answer ")),
    (
        "plan commits: history, task runs, messages",
        ("execution/commit.py", "execution/letters.py", "execution/events.py"),
    ),
    ("submit", ("execution/births.py",)),
    ("the step: registry, context, time limit", ("execution/steps.py", "workflows/registry.py", "execution/limits.py")),
    ("the executor: state, signals", ("execution/executor.py", "execution/definitions.py")),
    ("the pool: what is next", ("execution/pool.py", "execution/worker.py", "execution/")),
)
"""From the innermost frame outwards, the first that fits says where a sample belongs. The server's share of the time is
in the groups that wait for it."""


def group(stack: str) -> str:
    """The group of one sample: `outer (file);inner (file)`."""
    json_frame = False
    for frame in reversed(stack.split(";")):
        json_frame = json_frame or "/json/" in frame
        for name, marks in GROUPS:
            if any(mark in frame for mark in marks):
                return f"{name}, of it JSON" if json_frame else name
    return "the rest"


def grouped(lines: Iterable[str]) -> Counter[str]:
    """Samples by group, of the thread that runs the jobs."""
    found: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rstrip().rpartition(" ")
        if "workflows/execution" in stack and "Thread._bootstrap" not in stack:
            found[group(stack)] += int(count)
    return found


def main() -> int:
    """Profile both modes, and write the page."""
    parser = argparse.ArgumentParser(prog="make profile", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=3000)
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

    reason = peer.install("py-spy")
    about = parts.about(server, load)
    product.prepare()
    product.measure(server, 100, "warm-up", folder / "cluster.log")
    lines = [
        "# Where the time goes",
        "",
        "Two workers run jobs of three steps that do nothing, while py-spy looks into them from outside. `make profile`"
        " wrote this page. Being watched costs time: the rates are in [benchmarks.md](benchmarks.md), here it is the"
        " shares that count.",
        "",
    ]
    for title, workflow in (("Commits shared", product.WORKFLOW), ("One commit a step", product.ALONE)):
        say(title)
        product.submit(options.jobs, f"profile-{workflow}", workflow)
        connections.close_all()
        server.checkpoint()
        part = parts.Part(workflow, title, f"make profile ARGS='--jobs {options.jobs}'", about=about)
        about = {}  # said once
        one_mode(server, part, options.jobs, f"profile-{workflow}", folder, reason)
        lines += section(part)
    connections.close_all()
    return "\n".join(lines)


def one_mode(server: Server, part: parts.Part, jobs: int, name: str, folder: Path, reason: str) -> None:
    """Run the jobs that wait, and add to the part where it went."""
    from django.db import connections

    from workflows.models import Job, JobStatus, Worker

    from . import product

    Worker.objects.all().delete()
    statements = _reset_statements(server)
    before = server.counters()
    begin = server.connection.execute("SELECT pg_current_wal_lsn()::text").fetchone()
    unfinished = Job.objects.filter(correlation_id=name).exclude(status__in=(JobStatus.DONE, JobStatus.FAIL))
    raw: list[Path] = []
    spies: list[subprocess.Popen[bytes]] = []
    try:
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
                spy.send_signal(signal.SIGINT)  # it writes down what it has seen
            for spy in spies:
                with suppress(subprocess.TimeoutExpired):
                    spy.wait(SPY_PATIENCE_SECONDS)
    finally:
        for spy in spies:
            if spy.poll() is None:
                spy.kill()
                spy.wait()
    connections.close_all()
    steps = jobs * len(product.TASKS)
    written = server.counters() - before
    part.notes.append(
        f"{jobs:,} jobs in {seconds:.1f} s while watched: {seconds / steps * 1e6:,.0f} µs a step. Processor time of the"
        f" two workers: {cpu / steps * 1e6:,.0f} µs a step; of the server's sessions that were still there:"
        f" {backends / steps * 1e6:,.0f} µs."
    )
    samples = grouped(line for path in raw if path.exists() for line in path.read_text("utf-8").splitlines())
    if samples:
        total = samples.total()
        rows = [[key, f"{n / total:.1%}", f"{n / RATE / steps * 1e6:,.1f}"] for key, n in samples.most_common()]
        note = "Samples of the thread that runs the jobs, in both workers, waiting included."
        part.tables.append(Table(["the workers", "share", "µs a step"], rows, note))
    else:
        part.notes.append(f"**Not measured: the workers' functions.** {reason or 'py-spy could not look into them.'}")
    _statements(server, part, statements, steps)
    if written.elsewhere > HOUSEKEEPING:
        part.notes.append(
            f"**Disturbed:** other databases committed {written.elsewhere:,} transactions meanwhile; the length of"
            " the write-ahead log includes theirs, and so do the commits in it."
        )
    _wal(server, part, str(begin[0]) if begin else "0/0", written.wal, jobs)


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


def _statements(server: Server, part: parts.Part, reason: str, steps: int) -> None:
    """The server's time by statement."""
    if reason:
        part.notes.append(f"**Not measured: the server's time by statement.** {reason}.")
        return
    rows = server.connection.execute(
        "SELECT left(regexp_replace(query, '\\s+', ' ', 'g'), 90), calls, total_exec_time, wal_bytes"
        " FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = %s)"
        " ORDER BY total_exec_time DESC LIMIT 15",
        [server.database],
    ).fetchall()
    cells = []
    for text, calls, ms, wal in rows:
        shown = text.replace("|", "\\|").replace("`", "")
        cells.append([f"`{shown}`", f"{calls:,}", f"{float(ms) / steps * 1e3:,.1f}", f"{int(wal) / steps:,.0f}"])
    part.tables.append(Table(["statement", "calls", "µs a step", "bytes of WAL a step"], cells))


def _wal(server: Server, part: parts.Part, begin: str, written: int, jobs: int) -> None:
    """The write-ahead log by type of record, and by table, as pg_walinspect reads it."""
    part.notes.append(f"{written / jobs:,.0f} bytes of write-ahead log per job, the cluster's start included.")
    if written > MOST_WAL:
        part.notes.append("**Not measured: the log by record and table.** It is too long to be read in a short time.")
        return
    try:
        with psycopg.connect(server.database_url, autocommit=True) as connection:
            connection.execute("SET statement_timeout = '60s'")
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
            end = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
            assert end is not None
            connection.execute(
                "CREATE TEMP TABLE seen AS SELECT resource_manager || ' ' || record_type AS kind,"
                " record_length AS size,"
                " substring(block_ref FROM 'rel \\d+/\\d+/(\\d+)')::oid AS node"
                " FROM pg_get_wal_records_info(%s, %s)"
                " WHERE coalesce(block_ref, '') !~ 'rel \\d+/'"
                " OR block_ref ~ (SELECT 'rel \\d+/(0|' || oid || ')/'"
                " FROM pg_database WHERE datname = current_database())",
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
        part.notes.append(f"**Not measured: the log by record and table.** {str(error).splitlines()[0]}.")
        return
    for head, rows in (("record", kinds), ("table or index, of a record's first block", tables)):
        cells = [[str(kind), f"{count / jobs:,.2f}", f"{int(size) / jobs:,.0f}"] for kind, count, size in rows]
        part.tables.append(Table([head, "records per job", "bytes per job"], cells))


if __name__ == "__main__":
    sys.exit(main())
