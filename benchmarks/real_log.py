"""A real office's log, whole, with real processes: `make real-log LOG=DomesticDeclarations.xes.gz`.

A new database, a web server and a cluster are started; every case of the log is submitted over REST; each department
lists its open items and answers them as it did in the log; the history is exported as XES and compared with the log,
case by case. Exits with 1 on any difference.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scripts.processes import Child, stop
from scripts.test import postgresql
from tests.scenarios.domestic_declarations import model
from tests.scenarios.domestic_declarations.replay import ApiError, Diverged, Office, Replay

from .database import Unfit, fresh_database

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 60
PATIENCE_SECONDS = 120
IDLE_SECONDS = 60
PROGRESS_SECONDS = 15
SHOWN_DIFFERENCES = 20
ADMINISTRATOR, SUBMITTER = "administrator", "submitter"

SET_UP = """
import io, json
from django.contrib.auth import get_user_model
from django.core.management import call_command
tokens = {}
for name in NAMES:
    get_user_model().objects.create_user(name, is_superuser=name == "administrator")
    out = io.StringIO()
    call_command("issue_token", name, stdout=out)
    tokens[name] = out.getvalue().strip()
print(json.dumps(tokens))
"""


class Timings:
    """How long each kind of call took, seen from the client."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)

    def note(self, kind: str, seconds: float) -> None:
        self._seconds[kind].append(seconds)

    def lines(self) -> Iterator[str]:
        """One line a kind: how many, the median, the 95th percentile."""
        for kind, found in sorted(self._seconds.items()):
            p95 = statistics.quantiles(found, n=20)[-1] if len(found) > 1 else found[0]
            median = statistics.median(found)
            yield f"  {kind:<22} {len(found):>7,} calls   p50 {median * 1000:>6.1f} ms   p95 {p95 * 1000:>6.1f} ms"


class HttpClient:
    """One user of the API, over kept connections: one for each thread."""

    def __init__(self, address: str, token: str, timings: Timings) -> None:
        self.address = address
        self.timings = timings
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.kept = threading.local()

    def get(self, path: str) -> Any:
        """The JSON at a path, or at a link that the server gave."""
        parts = urlsplit(path)
        return json.loads(self._call("GET", f"{parts.path}?{parts.query}"))

    def download(self, path: str) -> bytes:
        """The bytes at a path."""
        return self._call("GET", path)

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        """Send JSON; the JSON of the answer."""
        return json.loads(self._call("POST", path, json.dumps(body).encode(), headers))

    def _call(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
        started = time.perf_counter()
        connection = self._connection(started)
        connection.request(method, path, body, {**self.headers, **(headers or {})})
        answer = connection.getresponse()
        content = answer.read()
        self.timings.note(_kind(method, path), time.perf_counter() - started)
        self.kept.used = time.perf_counter()
        if answer.status >= 300:
            raise ApiError(f"{method} {path}: {answer.status} {content.decode(errors='replace')[:1000]}")
        return content

    def _connection(self, now: float) -> http.client.HTTPConnection:
        """This thread's connection; a new one where the server may have closed it for having rested too long.

        Nothing is ever sent twice: a decision that was lost on its way back would be told to the second as a conflict.
        """
        if now - getattr(self.kept, "used", -IDLE_SECONDS) >= IDLE_SECONDS:
            if hasattr(self.kept, "connection"):
                self.kept.connection.close()
            self.kept.connection = http.client.HTTPConnection(self.address, timeout=300)
        connection: http.client.HTTPConnection = self.kept.connection
        return connection


def _kind(method: str, path: str) -> str:
    for part, kind in [("/batch/", "submit 500 jobs"), ("/complete/", "decide an item"), ("/response/", "respond")]:
        if part in path:
            return kind
    if "/reports/" in path:
        return "export"
    return "list open items" if "/work-items/" in path else f"{method} other"


def main() -> int:
    """Replay and compare; 0 where nothing differs."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    traces = model.read_log(options.log)[:: options.every]
    say(f"{options.log.name}: {len(traces):,} cases, {sum(len(trace.activities) for trace in traces):,} events")
    with tempfile.TemporaryDirectory(prefix="real-log-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        try:
            with database(folder, options.sqlite) as url, server(folder, url) as (address, tokens):
                return replay(traces, address, tokens, options.hands)
        except (Unfit, Diverged, ApiError, OSError, http.client.HTTPException, subprocess.SubprocessError) as error:
            say(f"FAILED: {type(error).__name__}: {error}")
            return 1


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="real_log", description=__doc__)
    parser.add_argument("log", type=Path, help="The log, plain or gzipped.")
    parser.add_argument("--sqlite", action="store_true", help="On SQLite, whatever DATABASE_URL says.")
    parser.add_argument("--hands", type=int, default=4, help="Answers under way at once.")
    parser.add_argument("--every", type=int, default=1, help="Only each n-th case, for a quick look.")
    return parser.parse_args()


@contextlib.contextmanager
def database(folder: Path, sqlite: bool) -> Iterator[str]:
    """The URL of a new database: on the PostgreSQL of DATABASE_URL, or a local one, or SQLite. Gone afterwards."""
    if sqlite or os.environ.get("DATABASE_URL", "").startswith("sqlite"):
        yield f"sqlite:///{folder / 'real_log.sqlite3'}"
        return
    with postgresql(folder) as url:
        if not url:
            raise Unfit("There is no PostgreSQL at DATABASE_URL or 127.0.0.1:5432, and none could be started.")
        with fresh_database(url) as found:
            yield found.database_url


@contextlib.contextmanager
def server(folder: Path, url: str) -> Iterator[tuple[str, dict[str, str]]]:
    """A web server and a cluster on this database: their address, and a token for each user."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKFLOW_")}
    environment |= {"DATABASE_URL": url, "DEFINITIONS_DATABASE_URL": "", "VAR_DIR": str(folder), "LOG_LEVEL": "WARNING"}
    manage = [sys.executable, "manage.py"]
    subprocess.run([*manage, "migrate", "--verbosity", "0"], cwd=ROOT, env=environment, check=True)
    names = [ADMINISTRATOR, SUBMITTER, *(member(task) for task in model.DEPARTMENTS)]
    script = f"NAMES = {names!r}\n{SET_UP}"
    made = subprocess.run(
        [*manage, "shell", "--no-imports", "-c", script], cwd=ROOT, env=environment, check=True, capture_output=True
    )
    web = f"-m gunicorn config.wsgi --bind {address} --worker-class gthread --workers 2 --threads 2 --keep-alive 300"
    children = [
        Child("web", [sys.executable, *web.split(), "--no-control-socket"], folder / "web.log", environment, ROOT),
        Child("cluster", [*manage, "qcluster"], folder / "cluster.log", environment, ROOT),
    ]
    try:
        wait_until_ready(address, children)
        yield address, json.loads(made.stdout.decode().strip().splitlines()[-1])
    except BaseException:
        for child in children:
            say(f"The end of the log of {child.name}:\n{child.last_lines()}")
        raise
    finally:
        stop(children, grace=20, hurry=lambda: False)


def member(task: str) -> str:
    """The username of the one member of a task's department."""
    return f"member-of-{model.DEPARTMENTS[task]}"


def wait_until_ready(address: str, children: list[Child]) -> None:
    """Until the web server answers. Unfit where it does not, or a process has ended."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        ended = [child.name for child in children if child.has_ended]
        if ended:
            raise Unfit(f"{' and '.join(ended)} ended at once.")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}/livez", timeout=5):
            return
        time.sleep(0.2)
    raise Unfit(f"The web server did not answer within {READY_SECONDS} seconds.")


def replay(traces: list[model.Trace], address: str, tokens: dict[str, str], hands: int) -> int:
    """Set up the office, work through the log, compare, and print what was found."""
    timings = Timings()
    clients = {name: HttpClient(address, token, timings) for name, token in tokens.items()}
    set_up_office(clients[ADMINISTRATOR])
    office = Replay(traces, clients[SUBMITTER], {task: clients[member(task)] for task in model.DEPARTMENTS})
    started = time.perf_counter()
    office.submit()
    submitted = time.perf_counter() - started
    say(f"submitted {len(traces):,} cases in {submitted:.1f} s")
    with progress(office):
        Office(office, hands).work(patience=PATIENCE_SECONDS)
    worked = time.perf_counter() - started
    content = clients[SUBMITTER].download(f"/api/v1/reports/history.xes?workflow={model.WORKFLOW}")
    exported = time.perf_counter() - started - worked
    result = model.compare(traces, model.read_export(io.BytesIO(content)))
    say(f"worked through {office.steps:,} steps in {worked:.1f} s: {office.steps / worked:.0f} steps/s")
    say(f"exported {len(content) / 2**20:.1f} MiB in {exported:.1f} s")
    for line in timings.lines():
        say(line)
    say(f"cases    {result.matching_cases:,} of {result.cases:,}")
    say(f"variants {result.matching_variants:,} of {result.variants:,}")
    for difference in result.differences[:SHOWN_DIFFERENCES]:
        say(f"DIFFERS: {difference}")
    if len(result.differences) > SHOWN_DIFFERENCES:
        say(f"… and {len(result.differences) - SHOWN_DIFFERENCES:,} more")
    return 0 if result.equal else 1


def set_up_office(administrator: HttpClient) -> None:
    """The departments with their members, and the definition, over the API."""
    for task, code in model.DEPARTMENTS.items():
        body = {"code": code, "name": code.replace("-", " ").title()}
        administrator.post("/api/v1/departments/", {**body, "members": [{"username": member(task), "role": "member"}]})
    administrator.post("/api/v1/definitions/", model.DEFINITION)


@contextlib.contextmanager
def progress(office: Replay) -> Iterator[None]:
    """Say now and then how far it is."""
    done = threading.Event()

    def tell() -> None:
        total = sum(len(case.answers) for case in office.cases.values())
        before = 0
        while not done.wait(PROGRESS_SECONDS):
            steps = office.steps
            say(f"  {steps:,} of {total:,} steps, {(steps - before) / PROGRESS_SECONDS:.0f}/s")
            before = steps

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def say(line: str) -> None:
    """Print at once, so that a pipe shows it too."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
