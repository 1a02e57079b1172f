"""How a peer is measured. Each peer is a program of its own with an environment of its own; it uses no more than this.

    python benchmarks/peers/<name>.py URL JOBS

The program makes its tables in the empty database at URL and prints `{"ready": {…}}`; when it is told `go` it has the
work done by two processes, and prints `{"result": {"steps": …, "seconds": …, "cpu": …}}`. What it cannot do it says as
`{"error": "…"}`. Everything it starts has ended when it ends.

`seconds` goes from the first step begun to the last result durable; `cpu` is the processor time, in that time, of all
processes that the program started (not of the database). A step says that it has begun by calling `begun`.

`python benchmarks/peers/<name>.py URL JOBS worker …` is how a program starts its own workers, where the peer has no
command for that.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

STEPS = 3
PROCESSES = 2
PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.02

_began = False


def begun() -> None:
    """Called by every step: leaves the moment when the first of this process began. Costs nothing afterwards."""
    global _began
    if not _began:
        _began = True
        path = Path(os.environ["PEER_FOLDER"]) / f"began-{os.getpid()}"
        path.write_text(repr(time.monotonic()), encoding="ascii")


def tell(**message: Any) -> None:
    """One line to the harness."""
    print(json.dumps(message), file=sys.__stdout__, flush=True)


def wait_for_go() -> None:
    """Until the harness says go."""
    if sys.stdin.readline().strip() != "go":
        sys.exit(1)


class Workers:
    """The processes that a peer's program has started, with all that they forked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "workers.log"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, command: Sequence[str], **environment: str) -> subprocess.Popen[bytes]:
        """Start one, in a session of its own; it is killed when this program dies."""
        parent = os.getpid()

        def last_words() -> None:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        with self.log.open("ab") as log:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
                preexec_fn=last_words,
            )
        self.processes.append(process)
        return process

    def start_own(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start this same program as a worker."""
        return self.start([sys.executable, *sys.argv[:3], "worker", *arguments])

    def run(self, done: Callable[[], bool], steps: int, may_end: bool = False) -> None:
        """Look until all is done, and tell the result. `may_end`: the workers end by themselves when they are done."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        cpu: float | None = None
        while not done():
            if cpu is None and any(self.folder.glob("began-*")):
                cpu = self.cpu_seconds()
            if time.monotonic() > deadline:
                raise RuntimeError(f"not done after {PATIENCE_SECONDS:.0f} seconds\n{self.last_lines()}")
            if not may_end and any(process.poll() is not None for process in self.processes):
                raise RuntimeError(f"a worker ended by itself\n{self.last_lines()}")
            if may_end and any(process.poll() for process in self.processes):
                raise RuntimeError(f"a worker failed\n{self.last_lines()}")
            time.sleep(LOOK_SECONDS)
        ended = time.monotonic()
        used = self.cpu_seconds() - (cpu or 0.0)
        starts = [float(path.read_text(encoding="ascii")) for path in self.folder.glob("began-*")]
        tell(result={"steps": steps, "seconds": ended - min(starts), "cpu": used})

    def cpu_seconds(self) -> float:
        """Processor time so far of all processes of the workers' sessions, and of those of them that have ended."""
        sessions = {process.pid for process in self.processes}
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                if int(fields[3]) in sessions:
                    ticks += sum(int(one) for one in fields[11:15])
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)  # those that have ended, and were asked about
        return ticks / os.sysconf("SC_CLK_TCK") + ended.ru_utime + ended.ru_stime

    def last_lines(self, count: int = 12) -> str:
        """The end of what the workers wrote."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])

    def stop(self, grace: float = 3.0) -> None:
        """Ask, wait, kill what is left."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + grace
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline - time.monotonic(), 0.05))
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def workers() -> Iterator[Workers]:
    """A folder and the workers in it; all of them have ended afterwards."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True) as name:
        os.environ["PEER_FOLDER"] = name
        mine = Workers(Path(name))
        try:
            yield mine
        finally:
            mine.stop()


def main(peer: Callable[[str, int], None], worker: Callable[..., None] | None = None) -> None:
    """Run the peer, or one of its workers, as the arguments say."""
    url, jobs, *rest = sys.argv[1:]
    if rest[:1] == ["worker"]:
        assert worker is not None
        worker(url, int(jobs), *rest[1:])
        return
    try:
        peer(url, int(jobs))
    except Exception as error:
        tell(error=f"{type(error).__name__}: {error}")
        sys.exit(1)
