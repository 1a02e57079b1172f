"""The hand-written loop with NOTIFY, on an idle system: what waking at once costs at least.

One process listens; woken, it runs the loop's statement until no job is ready. A client inserts a job and notifies in
one transaction, or marks a job that waits for its last step as ready, and looks until the third step is written.

`python -m benchmarks.notified_loop URL` is the process.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from scripts.processes import Child, stop

from .loop import STEP, STEPS, TABLE

CHANNEL = "loop_job"
STATE = '{"tasks": {}, "marks": []}'
ROOT = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS = 30
LOOK_SECONDS = 0.0005


class Client:
    """Who submits and answers."""

    def __init__(self, connection: psycopg.Connection[tuple[int]]) -> None:
        self.connection = connection
        self.number = 0

    def submit_to_done(self) -> float:
        """Seconds from before the INSERT to the moment when the third step can be read."""
        self.number += 1
        began = time.perf_counter()
        with self.connection.transaction():
            self.connection.execute("INSERT INTO loop_job (id, input) VALUES (%s, '{}')", [self.number])
            self.connection.execute(f"NOTIFY {CHANNEL}")
        self._look()
        return time.perf_counter() - began

    def answer_to_done(self) -> float:
        """Seconds from before the answer, which makes a waiting job ready, to the moment when its last step is read."""
        self.number += 1
        self.connection.execute(
            "INSERT INTO loop_job (id, input, step, ready) VALUES (%s, '{}', %s, false)", [self.number, STEPS - 1]
        )
        began = time.perf_counter()
        with self.connection.transaction():
            self.connection.execute(
                "UPDATE loop_job SET ready = true, input = '{\"a\": 1}' WHERE id = %s", [self.number]
            )
            self.connection.execute(f"NOTIFY {CHANNEL}")
        self._look()
        return time.perf_counter() - began

    def _look(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        query = "SELECT step FROM loop_job WHERE id = %s"
        while self.connection.execute(query, [self.number]).fetchone() != (STEPS,):
            if time.monotonic() > deadline:
                raise RuntimeError(f"Nothing happened for {PATIENCE_SECONDS} seconds.")
            time.sleep(LOOK_SECONDS)


@contextmanager
def running(url: str, log: Path) -> Iterator[Client]:
    """The listening process, and a client of it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE)
        child = Child("The loop", [sys.executable, "-m", "benchmarks.notified_loop", url], log, os.environ, ROOT)
        try:
            yield Client(connection)
        finally:
            stop([child], 2, hurry=lambda: False)


def main(url: str) -> None:
    """Listen, and work whenever something may have come; look once at the start."""
    with psycopg.connect(url, autocommit=True) as connection, psycopg.connect(url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        while True:
            while connection.execute(STEP, [STATE], prepare=True).fetchone() is not None:
                pass
            for _ in listener.notifies(timeout=1, stop_after=1):
                pass


if __name__ == "__main__":
    main(sys.argv[1])
