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


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise StepTimeout in the body after `seconds`, and again each second while it is caught and ignored.

    Uses the process's one interval timer, and gives back what was left of an outer one: django-q2 has its own around
    each tick. In a thread there is no such timer; then only the watch is set.
    """
    watch.until = time.monotonic() + seconds
    if threading.current_thread() is not threading.main_thread():
        try:
            yield
        finally:
            watch.until = None
        return

    def strike(signum: int, frame: FrameType | None) -> None:
        raise StepTimeout

    began = time.monotonic()
    outer_handler = signal.signal(signal.SIGALRM, strike)
    outer_left, _ = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, outer_handler)
        watch.until = None
        if outer_left:
            signal.setitimer(signal.ITIMER_REAL, max(outer_left - (time.monotonic() - began), 0.001))
