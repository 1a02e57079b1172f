"""Processes that a supervisor starts, and that are gone when it is: whichever way either of them ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, number: int) -> None:
    """Ask the kernel for this signal when the parent dies, and look once whether it already has. Linux only."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


class Child:
    """One process of the server, with everything it forks.

    It leads a session of its own: Ctrl-C in the terminal and signals to our group do not reach it, because a cluster
    whose workers are signalled together with it never ends. It is stopped by a signal to itself alone.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str], cwd: Path) -> None:
        self.name = name
        self.log = log
        parent = os.getpid()

        def last_words() -> None:
            die_with_parent(parent, signal.SIGKILL)

        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=last_words,
            )

    @property
    def pid(self) -> int:
        """Its number, which is that of its session too."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """True once the process is over. It is not reaped: until then, nobody else can be given its number."""
        if self._process.returncode is not None:
            return True
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def ask_to_stop(self) -> None:
        """Let it finish what it is doing."""
        if not self.has_ended:
            self._process.send_signal(signal.SIGTERM)

    def end(self) -> int:
        """Kill what is left of it and of everything it forked; its exit code."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()

    def last_lines(self, count: int = 15) -> str:
        """The end of its log."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 20_000))
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-count:])


def stop(children: Sequence[Child], grace: float, hurry: Callable[[], bool]) -> None:
    """Stop all of them together: ask, wait at most `grace` seconds or until `hurry` says so, then kill what is left."""
    for child in children:
        child.ask_to_stop()
    deadline = time.monotonic() + grace
    while not all(child.has_ended for child in children) and time.monotonic() < deadline and not hurry():
        time.sleep(0.05)
    for child in children:
        child.end()
