"""A step's time: it is stopped from inside where that works, and with its process where it does not."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

GRACE_SECONDS = 5.0
"""How long after its limit a step may resist before its process is ended."""


class StepTimeout(BaseException):
    """The step took longer than it may. Not an Exception, so that a plugin's own `except Exception` lets it pass."""


class Watch:
    """What this process is doing, for the heartbeat's thread to look at: since when, and until when, a step runs."""

    def __init__(self) -> None:
        self.until: float | None = None

    def overdue(self) -> bool:
        """True where a step has outlived its limit and the grace: code that no exception reaches."""
        until = self.until
        return until is not None and time.monotonic() > until + GRACE_SECONDS


watch = Watch()

LOOK_SECONDS = 0.25
"""How often the timer looks whether a step is late; so much later than its limit it may be stopped."""
_armed = False


def _look(signum: int, frame: FrameType | None) -> None:
    if watch.until is not None and time.monotonic() >= watch.until:
        raise StepTimeout


@contextlib.contextmanager
def armed() -> Iterator[None]:
    """Let the process's one interval timer look after every step of the body, and give back what was left of an outer
    one: django-q2 has its own around each tick. Made once for many steps, for system calls are dear beside a step that
    does nothing. In a thread there is no such timer."""
    global _armed
    if _armed or threading.current_thread() is not threading.main_thread():
        yield
        return
    began = time.monotonic()
    outer_handler = signal.signal(signal.SIGALRM, _look)
    outer_left, _ = signal.setitimer(signal.ITIMER_REAL, LOOK_SECONDS, LOOK_SECONDS)
    _armed = True
    try:
        yield
    finally:
        _armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, outer_handler)
        if outer_left:
            signal.setitimer(signal.ITIMER_REAL, max(outer_left - (time.monotonic() - began), 0.001))


class time_limit:
    """Raise StepTimeout in the body after `seconds`, and again and again while it is caught and ignored. In a thread
    only the watch is set. (A class, for a generator costs more than a step that does nothing.)"""

    __slots__ = ("_armed", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._armed: contextlib.AbstractContextManager[None] | None = None

    def __enter__(self) -> None:
        if not _armed:
            self._armed = armed()
            self._armed.__enter__()
        watch.until = time.monotonic() + self.seconds

    def __exit__(self, *error: object) -> None:
        watch.until = None
        if self._armed is not None:
            self._armed.__exit__(None, None, None)
