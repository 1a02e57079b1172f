"""The hand-written loop of an idle system: two processes that LISTEN, and claim, step by step, what they are woken for.

Each step is the statement of benchmarks/loop.py and one commit. A submission is one statement that inserts the job and
notifies; an answer is one that makes a parked job ready and notifies.

`python -m benchmarks.waking_loop URL` is one of the processes; it ends with its input.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from .loop import PROCESSES, STEP, TABLE

CHANNEL = "loop_jobs"
POLL_SECONDS = 1.0

SUBMIT = f"""
WITH made AS (INSERT INTO loop_job (id, input) VALUES (%s, %s::jsonb) RETURNING id)
SELECT pg_notify('{CHANNEL}', '') FROM made
"""
PARK = "INSERT INTO loop_job (id, ready, step, input) VALUES (%s, false, 2, %s::jsonb)"
ANSWER = f"""
WITH answered AS (UPDATE loop_job SET ready = true, state = %s::jsonb WHERE id = %s AND NOT ready RETURNING id)
SELECT pg_notify('{CHANNEL}', '') FROM answered
"""
DONE = "SELECT 1 FROM loop_job WHERE id = %s AND NOT ready AND step = 3"


@contextmanager
def waking_loop(url: str, state: Any) -> Iterator[psycopg.Connection[Any]]:
    """Both processes, listening on an empty table; a connection to submit and to answer with."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE)
        command = [sys.executable, "-m", "benchmarks.waking_loop", url]
        processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(PROCESSES)
        ]
        try:
            for process in processes:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(json.dumps(state) + "\n")
                process.stdin.flush()
                assert process.stdout.readline().strip() == "ready"
            yield connection
        finally:
            for process in processes:
                process.kill()
                process.wait()


def main(url: str) -> None:
    """One process of the loop."""
    state = sys.stdin.readline()
    ended = threading.Event()
    threading.Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
    with (
        psycopg.connect(url, autocommit=True) as listener,
        psycopg.connect(url, autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        listener.execute(f"LISTEN {CHANNEL}")
        cursor.execute(STEP, [state], prepare=True)
        print("ready", flush=True)
        while not ended.is_set():
            while cursor.execute(STEP, [state], prepare=True).fetchone() is not None:
                pass
            for _ in listener.notifies(timeout=POLL_SECONDS, stop_after=1):
                pass


def _wait_for_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


if __name__ == "__main__":
    main(sys.argv[1])
