"""Procrastinate: a job of three steps is three Procrastinate jobs, each of which defers the next one."""

from __future__ import annotations

import asyncio
import sys

sys.path.append(sys.path.pop(0))  # this file is named like the package it imports

import psycopg
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from protocol import PROCESSES, STEPS, begun, main, tell, wait_for_go, workers

CONCURRENCY = 10
"""Steps that one process has under way at once. The default is 1."""

app = App(connector=SyncPsycopgConnector())


@app.task(name="step")
async def step(number: int) -> None:
    begun()
    if number < STEPS:
        await step.defer_async(number=number + 1)


def peer(url: str, jobs: int) -> None:
    with app.replace_connector(SyncPsycopgConnector(conninfo=url)) as mine, mine.open():
        mine.schema_manager.apply_schema()
    tell(ready={"tuning": f"concurrency={CONCURRENCY}, LISTEN/NOTIFY on; jobs deferred 1,000 at a time"})
    wait_for_go()
    with app.replace_connector(SyncPsycopgConnector(conninfo=url)) as mine, mine.open():
        for first in range(0, jobs, 1000):
            mine.tasks["step"].batch_defer(*({"number": 1} for _ in range(min(1000, jobs - first))))
    with workers() as mine, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        for _ in range(PROCESSES):
            mine.start_own()
        query = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"
        mine.run(lambda: connection.execute(query).fetchone() == (jobs * STEPS,), jobs * STEPS)


def worker(url: str, jobs: int) -> None:
    async def work() -> None:
        with app.replace_connector(PsycopgConnector(conninfo=url, max_size=CONCURRENCY)) as mine:
            async with mine.open_async():
                await mine.run_worker_async(concurrency=CONCURRENCY)

    asyncio.run(work())


if __name__ == "__main__":
    main(peer, worker)
