"""The batch loop: the hand-written loop with 50 jobs per statement, which is what group commit is measured against.

The same table, the same two processes. Each statement takes the next 50 jobs that nobody else has, writes the next
checkpoint of each (a state of the product's own, sent 50 times), and is one commit. Nothing of a job's result waits for
its neighbours here, because no step takes any time: it is the most that this database gives to results in batches.

`python -m benchmarks.batch_loop URL` is one of the processes.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import psycopg

from .database import Server
from .loop import STEPS, LoopRound, cpu_seconds
from .loop import measure as measure_with

BATCH = 50

STEP = f"""
WITH mine AS MATERIALIZED (
    SELECT id, row_number() OVER () AS n FROM (
        SELECT id FROM loop_job WHERE ready ORDER BY id LIMIT {BATCH} FOR UPDATE SKIP LOCKED
    ) AS free
)
UPDATE loop_job AS job SET step = job.step + 1, ready = job.step + 1 < {STEPS}, state = given.state::jsonb
FROM mine JOIN unnest(%s::text[]) WITH ORDINALITY AS given (state, n) USING (n)
WHERE job.id = mine.id
RETURNING job.id, job.step, job.input
"""


def measure(server: Server, jobs: int, state: Any) -> LoopRound:
    """One round, as the loop has it."""
    return measure_with(server, jobs, state, "benchmarks.batch_loop")


def main(url: str) -> None:
    """One process of the batch loop."""
    steps = 0
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1", prepare=True)
        print("ready", flush=True)
        state = json.loads(sys.stdin.readline())
        before = cpu_seconds()
        while True:
            # The work of the steps would be here; their results would be in the states.
            states = [json.dumps(state) for _ in range(BATCH)]
            rows = cursor.execute(STEP, [states], prepare=True).fetchall()
            steps += len(rows)
            if not rows and cursor.execute("SELECT 1 FROM loop_job WHERE ready LIMIT 1").fetchone() is None:
                break
        ended = time.monotonic()
        print(json.dumps({"steps": steps, "cpu": cpu_seconds() - before, "ended": ended}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
