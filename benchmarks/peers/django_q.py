"""django-q2 with its own ORM broker: a job is three django-q2 tasks, each of which enqueues the next one.

Two variants: its defaults, and tuned. Both run one cluster of two workers and keep every result.
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
    "tuned": {"poll": 0.01, "bulk": 50, "queue_limit": 200, "log_level": "WARNING"},
}
VARIANT = os.environ.get("PEER_VARIANT", "tuned")


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
                "CONN_MAX_AGE": None,
            }
        },
        Q_CLUSTER={
            "name": "bench",
            "orm": "default",
            "workers": PROCESSES,
            "timeout": 60,
            "retry": 120,
            "save_limit": 0,  # keep every result: what the others keep too
            **VARIANTS[VARIANT],
        },
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
    said = ", ".join(f"{name}={value}" for name, value in VARIANTS[VARIANT].items())
    tell(ready={"tuning": f"{said or 'its defaults'}; save_limit=0 keeps all results"})
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
