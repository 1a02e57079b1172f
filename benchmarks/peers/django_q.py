"""django-q2 with its own ORM broker: a job is three django-q2 tasks, each of which enqueues the next one.

Two variants, both one cluster of two workers. The default one is told no more than which database its broker is and
how many workers to start; by its defaults it keeps 250 results, so a round of it has no more of them. The tuned one
keeps all results, and its connections.
"""

from __future__ import annotations

import os
import sys

sys.path.append(sys.path.pop(0))  # this file is named like the package it imports

from typing import Any
from urllib.parse import urlsplit

from protocol import PROCESSES, STEPS, begun, main, tell, wait_for_go, workers

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "tuned": {
        "poll": 0.01,
        "bulk": 50,
        "queue_limit": 200,
        "save_limit": 0,  # keep every result: what the others keep too
        "timeout": 60,
        "retry": 120,
        "log_level": "WARNING",
    },
}
VARIANT = os.environ.get("PEER_VARIANT", "tuned")
CONNECTION = {"CONN_MAX_AGE": None} if VARIANT == "tuned" else {}
KEPT = 250
"""Results that are kept by default."""


def set_up(url: str) -> None:
    import django
    from django.conf import settings

    parts = urlsplit(url)
    settings.configure(
        SECRET_KEY="bench",
        USE_TZ=True,
        INSTALLED_APPS=["django.contrib.contenttypes", "django_q"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": parts.path.lstrip("/"),
                "USER": parts.username or "",
                "PASSWORD": parts.password or "",
                "HOST": parts.hostname or "",
                "PORT": str(parts.port or ""),
                **CONNECTION,
            }
        },
        Q_CLUSTER={"orm": "default", "workers": PROCESSES, **VARIANTS[VARIANT]},
    )
    django.setup()


def step(number: int) -> None:
    begun()
    if number < STEPS:
        from django_q.tasks import async_task

        async_task("django_q_steps.step", number + 1)


def peer(url: str, jobs: int) -> None:
    set_up(url)
    from django.core.management import call_command
    from django.db import connection
    from django_q.models import Success
    from django_q.tasks import async_task

    call_command("migrate", verbosity=0)
    connection.close()
    if VARIANT == "default" and jobs * STEPS > KEPT:
        raise ValueError(
            f"django-q2 keeps {KEPT} results by default: no more than {KEPT // STEPS} jobs can be counted."
        )
    said = ", ".join(f"{name}={value}" for name, value in {**VARIANTS[VARIANT], **CONNECTION}.items())
    tell(ready={"tuning": said or f"none: only orm='default' and workers={PROCESSES} are set"})
    wait_for_go()
    for _ in range(jobs):
        async_task("django_q_steps.step", 1)
    with workers() as mine:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE)")
        mine.start_own()
        mine.run(lambda: Success.objects.count() == jobs * STEPS, jobs * STEPS)


def worker(url: str, jobs: int) -> None:
    set_up(url)
    from django.core.management import call_command

    call_command("qcluster")


if __name__ == "__main__":
    sys.modules["django_q_steps"] = sys.modules["__main__"]  # forked workers find `step` by this name
    main(peer, worker)
