"""The whole product as it is run: `scripts/run.py` with a database, a folder and a port of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
from django.conf import settings
from psycopg import sql

ROOT = Path(__file__).resolve().parents[1]
READY_WITHIN = 240.0
GONE_WITHIN = 60.0


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def own_database() -> Iterator[str]:
    """The URL of an empty database of this run's kind; empty for SQLite, which lies in the run's own folder."""
    if not settings.DATABASE_URL.startswith("postgres"):
        yield ""
        return
    name = f"workflow_run_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    base, question, query = settings.DATABASE_URL.partition("?")
    try:
        yield f"{base.rpartition('/')[0]}/{name}{question}{query}"
    finally:
        with psycopg.connect(settings.DATABASE_URL, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


class Running:
    """One run. Its processes are known by their VAR_DIR, which all of them inherit and nobody else has."""

    def __init__(self, var: Path, database_url: str, *arguments: str, port: int | None = None) -> None:
        self.var = var
        self.port = port or free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **os.environ,
            "VAR_DIR": str(var),
            "DATABASE_URL": database_url,
            "PORT": str(self.port),
            "WORKERS": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "scripts/run.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for_line(self, wanted: Callable[[str], bool]) -> str:
        """The first line that is wanted; fails, with all of them, where the run ends or stays silent."""
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if wanted(line):
                    return line
            if self.process.poll() is not None and not self._reader.is_alive():
                break
            time.sleep(0.1)
        raise AssertionError(f"The line never came. Exit code {self.process.poll()}, and it said:\n{self.output}")

    def wait_until_ready(self) -> None:
        self.wait_for_line(lambda line: line.startswith("Ready: "))

    def press_ctrl_c(self) -> None:
        """What a terminal does: the signal goes to the whole foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def exit_code(self) -> int:
        return self.process.wait(timeout=GONE_WITHIN)

    def processes(self) -> dict[int, str]:
        """Every process of this run that is alive, by number, with its command."""
        found = {}
        wanted = f"VAR_DIR={self.var}".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def wait_until_gone(self) -> dict[int, str]:
        """What is left of it after a while; empty is what is wanted."""
        deadline = time.monotonic() + GONE_WITHIN
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.processes()

    def close(self) -> None:
        """Leave nothing behind, whatever the test did."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(timeout=GONE_WITHIN)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def running(var: Path, *arguments: str) -> Iterator[Running]:
    """A run with a database of its own, ready to be used."""
    with own_database() as database_url:
        run = Running(var, database_url, *arguments)
        try:
            run.wait_until_ready()
            yield run
        finally:
            run.close()
