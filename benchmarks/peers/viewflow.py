"""Viewflow: a job is a process of three nodes. Viewflow runs them where its caller is: two processes call it.

Two variants: three Function nodes, which Viewflow runs in the transaction of the start, so that one commit holds the
whole job; and three Handle nodes, each run by a call and a commit of its own, so that each step is durable by itself.
"""

from __future__ import annotations

import os
import sys

sys.path.append(sys.path.pop(0))  # this file is named like the package it imports

from urllib.parse import urlsplit

from protocol import PROCESSES, STEPS, main, tell, wait_for_go, workers

VARIANT = os.environ.get("PEER_VARIANT", "handles")


def set_up(url: str) -> None:
    import django
    from django.conf import settings

    parts = urlsplit(url)
    settings.configure(
        SECRET_KEY="bench",
        USE_TZ=True,
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "viewflow",
            "viewflow.workflow",
            "viewflow_app",
        ],
        SILENCED_SYSTEM_CHECKS=["*"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": parts.path.lstrip("/"),
                "USER": parts.username or "",
                "PASSWORD": parts.password or "",
                "HOST": parts.hostname or "",
                "PORT": str(parts.port or ""),
                "CONN_MAX_AGE": None,
            }
        },
    )
    django.setup()


def peer(url: str, jobs: int) -> None:
    set_up(url)
    from django.core.management import call_command
    from django.db import connection
    from viewflow.workflow.models import Process, Task
    from viewflow.workflow.status import PROCESS

    call_command("migrate", verbosity=0)
    connection.close()
    said = {"handles": "a call and a commit per step", "functions": "all three steps in the one commit of the start"}
    tell(ready={"tuning": f"{said[VARIANT]}; no queue: two processes start and run half of the jobs each"})
    wait_for_go()
    with workers() as mine:
        for _ in range(PROCESSES):
            mine.start_own()
        done = Process.objects.filter(status=PROCESS.DONE)
        mine.run(lambda: done.count() == jobs // PROCESSES * PROCESSES, jobs // PROCESSES * PROCESSES * STEPS, True)
        assert Task.objects.filter(flow_task_type__in=("FUNCTION", "HANDLE")).count() >= jobs // PROCESSES * STEPS


def worker(url: str, jobs: int) -> None:
    set_up(url)
    from viewflow.workflow.models import Task
    from viewflow_app.flows import Functions, Handles

    for _ in range(jobs // PROCESSES):
        if VARIANT == "functions":
            Functions.start.run()
        else:
            process = Handles.start.run()
            for node in (Handles.first, Handles.second, Handles.third):
                node.run(Task.objects.get(process=process, flow_task=node))


if __name__ == "__main__":
    main(peer, worker)
