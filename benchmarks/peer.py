"""The peers: what else one could install for the same work, each with an environment of its own under var/peers.

What a peer's program is told, and tells, stands in benchmarks/peers/protocol.py.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .database import Counters, Server, fresh_database

ROOT = Path(__file__).resolve().parent.parent
PEERS_FOLDER = Path(__file__).resolve().parent / "peers"
ENVIRONMENTS = ROOT / "var" / "peers"
PATIENCE_SECONDS = 400


class Failed(Exception):
    """This peer could not be measured; the message says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One line of the comparison."""

    title: str
    file: str
    """benchmarks/peers/<file>.py and .txt"""
    package: str
    jobs: int
    """Jobs of three steps in a round, for some five to ten seconds on two cores."""
    meaning: str
    """What a job of three durable steps is there."""
    variant: str = ""
    wanted_alone: float | None = None
    wanted_together: float | None = None


PEERS = (
    Peer("DBOS", "dbos", "dbos", 600, "a workflow of three steps; each result is a row", "", 10, 60),
    Peer("Procrastinate", "procrastinate", "procrastinate", 600, "three jobs, each defers the next", "", 8),
    Peer(
        "django-q2 ORM broker, tuned", "django_q", "django-q2", 300, "three tasks, each enqueues the next", "tuned", 5
    ),
    Peer("django-q2 ORM broker", "django_q", "django-q2", 40, "three tasks, each enqueues the next", "default", 100),
    Peer("Celery with Redis", "celery", "celery", 1000, "a chain of three tasks; each result is a row"),
    Peer("Viewflow", "viewflow", "django-viewflow", 300, "a process of three handles, a commit each", "handles"),
    Peer("Viewflow, one commit a job", "viewflow", "django-viewflow", 400, "a process of three functions", "functions"),
    Peer("SpiffWorkflow", "spiffworkflow", "spiffworkflow", 1500, "three script tasks, the state stored after each"),
)
LEFT_OUT = {
    "Prefect": "it needs a server of its own beside its workers, and no program that runs it has been written here.",
    "Airflow": "it needs a scheduler, a DAG processor and an API server, and no program that runs it has been written"
    " here.",
}
"""What one would look for on the page, and why it is not there."""


@dataclass(frozen=True, slots=True)
class PeerRound:
    """One measured run of a peer."""

    seconds: float
    cpu_seconds: float
    worked: Counters
    """What it cost the server from `go` to its end: enqueueing and the workers' start included."""
    tuning: str


def install(file: str) -> str:
    """Make its environment, unless it is there already; why that is not possible, or nothing."""
    environment = ENVIRONMENTS / file
    requirements = PEERS_FOLDER / f"{file}.txt"
    pins = requirements.read_text(encoding="utf-8")
    done = environment / ".installed"
    if done.exists() and done.read_text(encoding="utf-8") == pins:
        return ""
    shutil.rmtree(environment, ignore_errors=True)
    uv = [sys.executable, "-m", "uv"]
    for command in (
        [*uv, "venv", "--quiet", "--python", sys.executable, str(environment)],
        [*uv, "pip", "sync", "--quiet", "--python", str(python(file)), "--require-hashes", str(requirements)],
        [str(python(file)), "-m", "compileall", "-q", str(environment / "lib")],
    ):
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode and "compileall" not in command:
            return without_addresses(ran.stderr.strip())[-300:] or f"exit code {ran.returncode}"
    done.write_text(pins, encoding="utf-8")
    return ""


def missing(file: str) -> str:
    """Why a peer cannot be measured here, after trying to install it; empty where it can."""
    if reason := install(file):
        return f"it does not install: {reason}"
    return ""


def without_addresses(text: str) -> str:
    """Addresses of registries and folders of this machine do not belong on a page."""
    return re.sub(r"(https?://|/)\S+", "…", text).replace("\n", " ")


def python(file: str) -> Path:
    return ENVIRONMENTS / file / "bin" / "python"


def version(peer: Peer) -> str:
    """The pinned version."""
    pins = (PEERS_FOLDER / f"{peer.file}.txt").read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(peer.package)}==([^ ]+)", pins, re.MULTILINE)
    return found[1] if found else ""


def measure(server: Server, peer: Peer, jobs: int) -> PeerRound:
    """One round in a fresh database of the same server. Failed where it does not end well."""
    server.checkpoint()
    with fresh_database(server.url) as own:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "DATABASE_"))
        }
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
            process = subprocess.Popen(
                [python(peer.file), PEERS_FOLDER / f"{peer.file}.py", own.database_url, str(jobs)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**environment, "PEER_VARIANT": peer.variant},
                cwd=ENVIRONMENTS,
            )
            lines: queue.SimpleQueue[str] = queue.SimpleQueue()
            reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
            reader.start()
            try:
                return _converse(process, lines, own)
            except EOFError:
                errors.seek(0)
                raise Failed(f"its program ended: {_last(errors.read())}") from None
            finally:
                if process.poll() is None:
                    process.terminate()
                    try:
                        process.wait(15)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()
                reader.join(5)


def _read(process: subprocess.Popen[str], lines: queue.SimpleQueue[str]) -> None:
    """Hand over its lines, and an empty one at the end."""
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")


def _converse(process: subprocess.Popen[str], lines: queue.SimpleQueue[str], own: Server) -> PeerRound:
    assert process.stdin is not None
    tuning = str(_answer(lines, "ready").get("tuning", ""))
    before = own.counters()
    process.stdin.write("go\n")
    process.stdin.flush()
    result = _answer(lines, "result")
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        raise Failed("its program did not end") from None
    own.wait_for_sessions()
    return PeerRound(float(result["seconds"]), float(result["cpu"]), own.counters() - before, tuning)


def _answer(lines: queue.SimpleQueue[str], key: str) -> dict[str, Any]:
    """The next message, which has to be this one. What else a library prints is passed over."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            line = lines.get(timeout=max(deadline - time.monotonic(), 0.01))
        except queue.Empty:
            raise Failed(f"no answer in {PATIENCE_SECONDS} seconds") from None
        if not line:
            raise EOFError
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict) and key in message:
            return dict(message[key])
        if isinstance(message, dict) and "error" in message:
            raise Failed(_last(message["error"]))


def _last(text: str) -> str:
    """The first and the last line of what went wrong."""
    lines = [without_addresses(line.strip()) for line in text.splitlines() if line.strip()]
    return " … ".join(dict.fromkeys((*lines[:1], *lines[-1:])))[:400] or "it said nothing"
