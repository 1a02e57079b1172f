"""Celery with a Redis broker, and results in the same PostgreSQL: a job is a chain of three tasks.

The Redis server is started here, and writes its file at every change (`appendfsync always`), so that an acknowledged
task is as durable as elsewhere on this page. Tasks are acknowledged when they are done (`acks_late`).
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time

sys.path.append(sys.path.pop(0))  # this file is named like the package it imports

import psycopg
from celery import Celery, chain
from protocol import PROCESSES, STEPS, Workers, begun, main, tell, wait_for_go, workers


def make_app(url: str) -> Celery:
    """The application, once it is known where Redis is; its one task is `bench.step`."""
    app = Celery("bench", set_as_current=True)
    app.conf.update(
        broker_url=f"redis://127.0.0.1:{os.environ['PEER_REDIS']}/0",
        result_backend="db+postgresql+psycopg://" + url.split("://", 1)[1],
        task_acks_late=True,
        worker_prefetch_multiplier=16,
        broker_connection_retry_on_startup=True,
    )
    app.task(begun, name="bench.step", ignore_result=False)
    return app


def peer(url: str, jobs: int) -> None:
    redis = shutil.which("redis-server")
    if redis is None:
        raise RuntimeError("there is no redis-server on this machine")
    with workers() as mine, psycopg.connect(url, autocommit=True) as connection:
        start_redis(mine, redis)
        app = make_app(url)
        app.backend.ResultSession().close()  # connects, and makes the tables
        tell(
            ready={
                "tuning": "acks_late, worker_prefetch_multiplier=16, Redis with appendfsync always, results kept in"
                " PostgreSQL"
            }
        )
        wait_for_go()
        step = app.tasks["bench.step"]
        for _ in range(jobs):
            # A chain of its own each time: one that is sent again gives its last task the same id, and so one result.
            chain(*(step.si() for _ in range(STEPS))).apply_async()
        connection.execute("VACUUM (ANALYZE)")
        mine.start_own()
        query = "SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS'"
        mine.run(lambda: connection.execute(query).fetchone() == (jobs * STEPS,), jobs * STEPS)


def start_redis(mine: Workers, redis: str) -> None:
    """A Redis server that listens; it is one of the processes whose processor time is counted."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]
    mine.start([redis, "--port", str(port), "--dir", str(mine.folder), *options])
    os.environ["PEER_REDIS"] = str(port)
    deadline = time.monotonic() + 10
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > deadline:
            raise RuntimeError("the Redis server did not start")
        time.sleep(0.05)


def worker(url: str, jobs: int) -> None:
    options = ["--pool=prefork", f"--concurrency={PROCESSES}", "--loglevel=WARNING", "--without-gossip"]
    make_app(url).worker_main(["worker", *options])


if __name__ == "__main__":
    main(peer, worker)
