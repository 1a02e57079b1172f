"""Real clusters for tests: `manage.py qcluster` in processes of its own, on the test's database."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from django.conf import settings
from django.db import connection

MANAGE = Path(settings.BASE_DIR) / "manage.py"


def database_url() -> str:
    """The URL of the database this test runs on."""
    found = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{found['NAME']}"
    password = f":{found['PASSWORD']}" if found["PASSWORD"] else ""
    return f"postgres://{found['USER']}{password}@{found['HOST']}:{found['PORT'] or 5432}/{found['NAME']}"


def children(pid: int) -> list[int]:
    """The processes that `pid` started, and theirs."""
    found: list[int] = []
    for child in Path("/proc").glob(f"{pid}/task/*/children"):
        for text in child.read_text().split():
            found += [int(text), *children(int(text))]
    return found


def alive(pid: int) -> bool:
    """True where the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(true: Callable[[], object], seconds: float = 30.0) -> bool:
    """Wait until `true()` holds, at most so long."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def cluster(**environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running cluster of two workers; whatever of it is left at the end is killed."""
    process = subprocess.Popen(
        [sys.executable, str(MANAGE), "qcluster"],
        env={
            **os.environ,
            "DATABASE_URL": database_url(),
            "WORKFLOW_PLUGIN_PACKAGES": "tests.execution",
            "WORKFLOW_LEASE_SECONDS": "3",
            "WORKFLOW_HEARTBEAT_SECONDS": "1",
            "WORKERS": "2",
            **environment,
        },
        cwd=settings.BASE_DIR,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for pid in [process.pid, *children(process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
