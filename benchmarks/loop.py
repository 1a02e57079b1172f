"""What the product is compared with: the queue that one would write by hand.

Two processes. Each step is one statement, prepared by the server, and one commit: it takes the next job that nobody
else has (`FOR UPDATE SKIP LOCKED`) and writes its next checkpoint, which is a state of the product's own. No history,
no leases, no retries, no waking: nothing but what a loop of this kind needs to lose no step.

`python -m benchmarks.loop URL` is one of the processes: it says that it is ready, waits for a line with the state to
write, works until every job is done, and says what it did.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import psycopg

from .database import Counters, Server

STEPS = 3
PROCESSES = 2

TABLE = """
DROP TABLE IF EXISTS loop_job;
CREATE TABLE loop_job (
    id bigint PRIMARY KEY, ready bool NOT NULL DEFAULT true, step smallint NOT NULL DEFAULT 0,
    input jsonb NOT NULL, state jsonb
) WITH (fillfactor = 50);
CREATE INDEX loop_job_ready ON loop_job (id) WHERE ready;
"""

FILL = """INSERT INTO loop_job (id, input)
SELECT n, jsonb_build_object('number', n) FROM generate_series(1, %s) AS n"""

STEP = f"""
UPDATE loop_job SET step = step + 1, ready = step + 1 < {STEPS}, state = %s::jsonb
WHERE id = (SELECT id FROM loop_job WHERE ready ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, step, input
"""


@dataclass(frozen=True, slots=True)
class LoopRound:
    """One measured run of the loop."""

    jobs: int
    seconds: float
    cpu_seconds: float
    worked: Counters
    """What the two processes cost the server."""


def measure(server: Server, jobs: int, state: Any, module: str = "benchmarks.loop") -> LoopRound:
    """Fill the table with jobs and let two processes run them; the clock starts when both are connected. `module` is
    the program that they run."""
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        connection.execute(TABLE)
        connection.execute(FILL, [jobs])
        connection.execute("VACUUM (ANALYZE) loop_job")
    server.wait_for_sessions()
    before = server.counters()
    command = [sys.executable, "-m", module, server.database_url]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
    began = time.monotonic()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(json.dumps(state) + "\n")
        process.stdin.flush()
    results = [json.loads(process.communicate(timeout=600)[0]) for process in processes]
    done = sum(result["steps"] for result in results)
    if done != jobs * STEPS:
        raise RuntimeError(f"The loop ran {done} steps instead of {jobs * STEPS}.")
    server.wait_for_sessions()
    seconds = max(result["ended"] for result in results) - began
    return LoopRound(jobs, seconds, sum(result["cpu"] for result in results), server.counters() - before)


def main(url: str) -> None:
    """One process of the loop."""
    steps = 0
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1", prepare=True)
        print("ready", flush=True)
        state = json.loads(sys.stdin.readline())
        before = cpu_seconds()
        while True:
            # The work of the step would be here; its result would be in the state.
            row = cursor.execute(STEP, [json.dumps(state)], prepare=True).fetchone()
            if row is not None:
                steps += 1
            elif cursor.execute("SELECT 1 FROM loop_job WHERE ready LIMIT 1").fetchone() is None:
                break
        ended = time.monotonic()
        print(json.dumps({"steps": steps, "cpu": cpu_seconds() - before, "ended": ended}), flush=True)


def cpu_seconds() -> float:
    """Processor time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(sys.argv[1])
