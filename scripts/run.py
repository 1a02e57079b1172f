"""The server with its examples on this machine: `make run`. Ctrl-C stops all of it, and no process is left.

Uses nothing but the standard library and `manage.py`. Environment: PORT, HOST, VAR_DIR, DATABASE_URL, and every other
variable of docs/configuration.md, which the processes inherit.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType

from api import Api
from processes import Child, die_with_parent, stop
from progress import Progress
from submit_examples import missing_examples, submit_all

ROOT = Path(__file__).resolve().parent.parent
NOT_A_DEMONSTRATION = 3
READY_SECONDS = 120
GRACE_SECONDS = 20
LOGINS = (
    ("verifier", "decides claims"),
    ("clerk", "completes claims, clarifies orders"),
    ("operator", "sees every job, repairs what failed (in the admin)"),
    ("admin", "may do everything"),
)


class Refused(Exception):
    """The server cannot be started here and now; the message says why, and what to do."""


class Server:
    """One run of the server, from preparing the database to the last process gone."""

    def __init__(self, *, host: str, port: int, examples: bool) -> None:
        self.host, self.port = host, port
        self.examples = examples
        self.address = f"http://{'127.0.0.1' if host in ('0.0.0.0', '') else host}:{port}"  # noqa: S104
        self.var = Path(os.environ.get("VAR_DIR") or ROOT / "var").resolve()
        self.environment = {**os.environ, "VAR_DIR": str(self.var), "PYTHONUNBUFFERED": "1"}
        self.environment.setdefault("STATIC_ROOT", str(self.var / "static"))
        self.children: list[Child] = []
        self.signals = 0

    def run(self) -> int:
        """Everything, in order; the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._asked_to_stop)
        try:
            self.check_port()
            with self.lock():
                self.prepare()
                try:
                    self.start()
                    self.watch()
                finally:
                    self.stop()
        except Refused as refusal:
            say(str(refusal))
            return 1
        say("Stopped. No process is left.")
        return 0

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1

    # ---- before ----

    def check_port(self) -> None:
        """Raises Refused where somebody listens there already."""
        with socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError as error:
                hint = f"Stop what uses it, or choose another: PORT={self.port + 1} make run"
                raise Refused(f"Port {self.port} of {self.host} cannot be used ({error.strerror}). {hint}") from None

    def lock(self) -> Lock:
        self.var.mkdir(parents=True, exist_ok=True)
        return Lock(self.var / "run.lock")

    def prepare(self) -> None:
        """Make or update the database, and load the examples. Raises Refused with what went wrong."""
        say("Preparing the database")
        self.manage("migrate", "--verbosity", "0")
        if self.environment.get("DEFINITIONS_DATABASE_URL"):
            self.manage("migrate", "--verbosity", "0", "--database", "definitions")
        if not self.examples:
            return
        done = self.manage("load_examples", "--demo-users", allowed=(0, NOT_A_DEMONSTRATION))
        loaded = done.stdout.splitlines()
        if loaded:
            say(f"Loaded the examples: {len(loaded)} things, from plugins to accounts")
        if done.returncode == NOT_A_DEMONSTRATION:
            say(done.stderr.strip().splitlines()[-1])
            say("The server starts without example jobs.")
            self.examples = False

    def manage(self, *arguments: str, allowed: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        """Run one management command; its output. Raises Refused with the end of its errors where it fails."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=self.environment, text=True, capture_output=True
        )
        if self.signals:
            raise Refused("Stopped while it was starting. No process is left.")
        if done.returncode not in allowed:
            errors = "\n".join(f"    {line}" for line in (done.stdout + done.stderr).strip().splitlines()[-8:])
            raise Refused(f"`manage.py {' '.join(arguments)}` failed:\n{errors}")
        return done

    # ---- the processes ----

    def start(self) -> None:
        """Start the web server and the cluster, and wait until both do their work."""
        logs = self.var / "log"
        logs.mkdir(exist_ok=True)
        Path(self.environment["STATIC_ROOT"]).mkdir(parents=True, exist_ok=True)
        bind = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        web = f"-m gunicorn config.wsgi --bind {bind} --worker-class gthread --threads 8".split()
        web = [sys.executable, *web, "--graceful-timeout", "5", "--no-control-socket"]
        cluster = [sys.executable, "manage.py", "qcluster"]
        say(f"Starting the web server and the cluster (logs in {self.shown(logs)})")
        self.children = [
            Child("The web server", web, logs / "web.log", self.environment, ROOT),
            Child("The cluster", cluster, logs / "cluster.log", self.environment, ROOT),
        ]
        deadline = time.monotonic() + READY_SECONDS
        while not self.is_ready():
            self.look_after_children()
            if self.signals:
                return
            if time.monotonic() > deadline:
                raise Refused(f"It was not ready after {READY_SECONDS} seconds.\n{self.children[0].last_lines()}")
            time.sleep(0.2)

    def is_ready(self) -> bool:
        """Whether /readyz says that database and worker are there."""
        try:
            with urllib.request.urlopen(f"{self.address}/readyz", timeout=3) as answer:  # noqa: S310  (the address is our own)
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def look_after_children(self) -> None:
        """Raises Refused where one of them has ended by itself."""
        for child in self.children:
            if child.has_ended and not self.signals:
                raise Refused(f"{child.name} ended by itself. The end of its log:\n{child.last_lines()}")

    def stop(self) -> None:
        """Stop both; a second Ctrl-C does not wait for the steps that still run."""
        if not self.children:
            return
        say("Stopping: the steps that run are finished first (Ctrl-C again to stop at once)")
        seen = self.signals
        stop(self.children, GRACE_SECONDS, hurry=lambda: self.signals > seen)

    # ---- while it runs ----

    def watch(self) -> None:
        """Submit the examples, say what there is, and show what happens until asked to stop."""
        if self.signals:
            return
        progress = None
        if self.examples:
            operator = self.api("operator", "read")
            missing = missing_examples(operator)
            if missing:
                submit_all(self.api("upstream", "read", "submit"), missing)
                say(f"Submitted {len(missing)} example jobs over REST")
            progress = Progress(operator, say)
        self.say_where()
        while not self.signals:
            self.look_after_children()
            if progress is not None:
                progress.show()
            for _ in range(10):
                if not self.signals:
                    time.sleep(0.1)

    def api(self, username: str, *scopes: str) -> Api:
        """The API as a demo account, with a token for this run."""
        narrowed = [argument for scope in scopes for argument in ("--scope", scope)]
        done = self.manage("issue_token", username, *narrowed, "--days", "30", "--note", "make run")
        return Api(self.address, done.stdout.strip())

    def say_where(self) -> None:
        say("")
        say(f"Ready: {self.address}/")
        if self.examples:
            say("  Log in as (the password of all is `demo`):")
            for username, does in LOGINS:
                say(f"    {username:10} {does}")
            say(f"  API: {self.address}/api/docs/   Admin: {self.address}/admin/")
            say("  Try it with curl: docs/examples/insurance-claim.md, docs/examples/order.md")
            if self.host not in ("127.0.0.1", "localhost", "::1"):
                say("  !! Other machines can reach this address, and the password of the demo accounts is public.")
        say("  Ctrl-C stops it.")
        say("")

    def shown(self, path: Path) -> str:
        return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


class Lock:
    """One run for each folder of data. The kernel lets go of it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        self._file = self.path.open("a+", encoding="ascii")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise Refused(
                f"Another `make run` (process {holder}) uses {self.path.parent}. Stop it with Ctrl-C, or give this one "
                "a folder and a port of its own: VAR_DIR=/some/folder PORT=8001 make run"
            ) from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def __exit__(self, *error: object) -> None:
        self._file.close()


def say(line: str) -> None:
    """One line for whoever watches. A terminal that is gone is no reason to leave processes behind."""
    try:
        print(line, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w", encoding="ascii")  # noqa: SIM115


def port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"PORT must be a number between 1 and 65535, not {text!r}")
    return int(text)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the server with its examples on this machine.")
    parser.add_argument("--host", default=os.environ.get("HOST") or "127.0.0.1")
    parser.add_argument("--port", type=port, default=os.environ.get("PORT") or "8000")
    parser.add_argument("--no-examples", action="store_true", help="load nothing, submit nothing")
    parser.add_argument("--with-parent", action="store_true", help="stop when the process that started this one ends")
    options = parser.parse_args()
    if options.with_parent:
        die_with_parent(os.getppid(), signal.SIGTERM)
    return Server(host=options.host, port=options.port, examples=not options.no_examples).run()


if __name__ == "__main__":
    sys.exit(main())
