"""Waking workers at once. A doorbell may be lost, doubled or late: a poll of at most a second finds all work anyway."""

from __future__ import annotations

import select
import threading
import time
from typing import Any, Protocol

import psycopg
from django.db import Error, connection

CHANNEL = "workflow_jobs"
POLL_SECONDS = 0.05
"""How often an idle worker looks where there is no doorbell (SQLite): a look is a read of an index's first entry."""


QUIET_SECONDS = 0.002
"""After a ring a process does not ring again for so long. Whoever heard it looks twice, the second time after that."""

_rang: dict[str, float] = {}
"""When this process rang for each queue, by its monotonic clock."""
_lock = threading.Lock()


class HasFileno(Protocol):
    """What can be waited for."""

    def fileno(self) -> int: ...


def readable(seconds: float, *sources: HasFileno) -> list[HasFileno]:
    """Wait at most so long until something can be read from one of the sources; those it can be read from."""
    poll = select.poll()  # select() knows no file descriptor above 1023
    by_number = {source.fileno(): source for source in sources}
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(seconds * 1000)]


def ring(queue: str = "default") -> None:
    """Tell idle workers that a queue has work. Call it after the commit (`transaction.on_commit`).

    The first ring goes out at once. Those of the next moments are left out: a worker that heard the first looks again
    when they are over, so it finds what was committed meanwhile. Never fails: the work is in the table, and will be
    found.
    """
    if connection.vendor != "postgresql" or not _may_ring(queue):
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, queue])
    except Error:
        # Nobody heard it, so nobody looks twice: the next one must ring.
        _rang.pop(queue, None)


def _may_ring(queue: str) -> bool:
    """Whether it is quiet. The moment is taken before the ring is sent, so it is heard after it, and the second look
    comes later than the last commit that is left out."""
    with _lock:
        now = time.monotonic()
        last = _rang.get(queue)
        if last is not None and now - last < QUIET_SECONDS:
            return False
        _rang[queue] = now
        return True


class Doorbell:
    """One worker's ear. On PostgreSQL a connection of its own that listens; elsewhere a short sleep."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self._listener: psycopg.Connection[Any] | None = None
        self._look_again_at: float | None = None

    def wait(self, seconds: float, other: HasFileno | None = None) -> bool:
        """Wait at most `seconds`; True as soon as the doorbell may have rung, or `other` can be read."""
        if seconds <= 0:
            return False
        if connection.vendor != "postgresql":
            readable(min(seconds, POLL_SECONDS), *([] if other is None else [other]))
            return True
        try:
            return self._listen(seconds, other)
        except (psycopg.Error, OSError):
            # The server is gone, or restarts. Poll meanwhile; the next wait connects again.
            self.close()
            time.sleep(min(seconds, 0.5))
            return True

    def open(self) -> None:
        """Begin to listen. Work that came before this is for the poll to find, so listen first and look then."""
        if connection.vendor == "postgresql" and self._listener is None:
            parameters = connection.get_connection_params()
            for own in ("context", "cursor_factory", "prepare_threshold"):
                parameters.pop(own, None)
            self._listener = psycopg.connect(**parameters, autocommit=True)
            self._listener.execute(f"LISTEN {CHANNEL}")
            # A ring just before this was not heard, and those that it stood for are left out.
            self._look_again_at = time.monotonic() + QUIET_SECONDS

    def _listen(self, seconds: float, other: HasFileno | None) -> bool:
        self.open()
        assert self._listener is not None  # noqa: S101  (open() made it, or raised)
        until = time.monotonic() + seconds
        while not self._has_rung():
            now, again = time.monotonic(), self._look_again_at
            if again is not None and now >= again:
                self._look_again_at = None
                return True
            if now >= until:
                return False
            left = (until if again is None else min(until, again)) - now
            sources = [self._listener] if other is None else [self._listener, other]
            if other in readable(left, *sources):
                return True
        self._look_again_at = time.monotonic() + QUIET_SECONDS
        return True

    def _has_rung(self) -> bool:
        assert self._listener is not None  # noqa: S101
        return any(notice.payload == self.queue for notice in list(self._listener.notifies(timeout=0)))

    def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
