"""DBOS: a job is a workflow of three `@DBOS.step`s; each step's result is durable before the next one begins."""

from __future__ import annotations

import os
import sys

sys.path.append(sys.path.pop(0))  # this file is named like the package it imports

import psycopg
from dbos import DBOS, DBOSClient, DBOSConfig
from protocol import PROCESSES, STEPS, begun, main, tell, wait_for_go, workers

CONCURRENCY = 100
"""Workflows that one process has under way at once."""
POLL_SECONDS = 0.01


def schema(url: str) -> str:
    return url.replace("postgres://", "postgresql://", 1)


def configure(url: str) -> None:
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": schema(url),
        "run_admin_server": False,
        "log_level": "WARNING",
        "executor_id": f"executor-{os.getpid()}",
        "application_version": "bench",
    }
    DBOS(config=config)


@DBOS.step()
def nothing() -> None:
    begun()


@DBOS.workflow()
def three_steps(number: int) -> None:
    nothing()
    nothing()
    nothing()


def peer(url: str, jobs: int) -> None:
    configure(url)
    DBOS.launch()
    DBOS.register_queue("bench", worker_concurrency=CONCURRENCY, polling_interval_sec=POLL_SECONDS)
    DBOS.destroy()
    tell(
        ready={
            "tuning": f"a queue with worker_concurrency={CONCURRENCY} and polling_interval_sec={POLL_SECONDS};"
            " workflows enqueued beforehand"
        }
    )
    wait_for_go()
    client = DBOSClient(system_database_url=schema(url))
    for number in range(jobs):
        client.enqueue(
            {"queue_name": "bench", "workflow_name": three_steps.__qualname__, "app_version": "bench"}, number
        )
    client.destroy()
    with workers() as mine, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        for _ in range(PROCESSES):
            mine.start_own()
        query = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'"
        mine.run(lambda: connection.execute(query).fetchone() == (jobs,), jobs * STEPS)
        stored = connection.execute("SELECT count(*) FROM dbos.operation_outputs").fetchone()
        assert stored == (jobs * STEPS,), stored


def worker(url: str, jobs: int) -> None:
    import threading

    configure(url)
    DBOS.launch()
    threading.Event().wait()


if __name__ == "__main__":
    main(peer, worker)
