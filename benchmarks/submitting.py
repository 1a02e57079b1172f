"""What a submission costs: the library against a bare INSERT, HTTP against a bare view, with and without a wake-up.

    python -m benchmarks.submitting [--singles 500] [--batches 5] [--requests 400] [--clients 4] [--rounds 5]

All that is compared alternates within a round. Nothing runs the jobs: their time to run is a year ahead.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .database import Server
from .figures import Figure, compare
from .listener import listening
from .measures import run
from .run import say
from .web import post, web_server

BATCH = 1_000
PER_REQUEST = 100
INPUT = {"number": 1, "customer": "C-1042", "amount": 1250.5, "reason": "water damage on the ground floor"}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--singles", type=int, default=500, help="submissions one by one, of each kind, in a round")
    parser.add_argument("--batches", type=int, default=5, help="batches of 1,000 in a round")
    parser.add_argument("--requests", type=int, default=400, help="HTTP requests in a round")
    parser.add_argument("--clients", type=int, default=4, help="connections that send them side by side")


def measure(server: Server, options: argparse.Namespace, folder: Path) -> list[Figure]:
    """All rates, in rows per second."""
    from django.contrib.auth import get_user_model
    from django.db import connection

    from workflows.execution.doorbell import CHANNEL
    from workflows.models import ApiToken

    from . import bare, product

    product.prepare()
    with connection.cursor() as cursor:
        cursor.execute(bare.TABLE)
    user = get_user_model().objects.create_user("bench", password=None)
    headers = {"Authorization": f"Bearer {ApiToken.objects.create(user=user)[1]}"}
    rates: dict[str, list[float]] = defaultdict(list)
    with (
        web_server(folder / "web.log") as ours,
        web_server(folder / "bare.log", DJANGO_SETTINGS_MODULE="benchmarks.bare_settings") as theirs,
    ):
        later = f"{datetime.now(UTC) + timedelta(days=365):%Y-%m-%dT%H:%M:%SZ}"
        body = {"workflow": product.WORKFLOW, "input": INPUT, "run_at": later}

        def over_http(port: int, path: str, sent: Any, requests: int, rows: int) -> Callable[[], float]:
            return lambda: requests * rows / post(port, path, sent, headers, requests, options.clients)

        bulk = max(options.requests // 10, options.clients)
        acts: dict[str, Callable[[], float]] = {
            "bare": lambda: timed(lambda: bare.insert(INPUT), options.singles),
            "single": lambda: timed(lambda: _submit(1), options.singles),
            "batch": lambda: BATCH * timed(lambda: _submit(BATCH), options.batches),
            "bare view": over_http(theirs, "/requests/", body, options.requests, 1),
            "http": over_http(ours, "/api/v1/jobs/", body, options.requests, 1),
            "http batch": over_http(ours, "/api/v1/jobs/batch/", {"jobs": [body] * PER_REQUEST}, bulk, PER_REQUEST),
            "waking": lambda: with_listeners(server, CHANNEL, options.singles, wake=True),
            "silent": lambda: with_listeners(server, CHANNEL, options.singles, wake=False),
        }
        for act in acts.values():  # the first of each loads code
            act()
        for number in range(1, options.rounds + 1):
            server.checkpoint()
            for name, act in acts.items():
                rates[name].append(act())
            say(f"round {number}: " + ", ".join(f"{name} {rates[name][-1]:,.0f}/s" for name in acts))
    unit = "rows/s"
    return [
        compare("submit in the library, one by one", rates["single"], "bare INSERT", rates["bare"], unit, 0.9),
        compare("submit in the library, 1,000 at once", rates["batch"], "one by one", rates["single"], unit, 20),
        compare("submit over HTTP", rates["http"], "bare view with one INSERT", rates["bare view"], unit, 0.8),
        compare("submit over HTTP, 100 a request", rates["http batch"], "library, 1,000", rates["batch"], unit, 0.5),
        compare("submit with a wake-up, two listeners", rates["waking"], "without", rates["silent"], unit, 0.9),
    ]


def timed(act: Callable[[], Any], times: int) -> float:
    """How often a second."""
    began = time.perf_counter()
    for _ in range(times):
        act()
    return times / (time.perf_counter() - began)


def with_listeners(server: Server, channel: str, singles: int, *, wake: bool) -> float:
    """Jobs that can run now, one by one, while two connections listen; without a wake-up, nothing is notified.

    RuntimeError where the listeners heard nothing though they should, or something though they should not.
    """
    from workflows.execution import doorbell

    ring = doorbell.ring
    if not wake:
        doorbell.ring = lambda queue="default": None
    try:
        with listening(server.database_url, channel) as came:
            rate = timed(lambda: _submit(1, later=False), singles)
    finally:
        doorbell.ring = ring
    if bool(came[0]) != wake:
        raise RuntimeError(f"The listeners heard {came[0]} notifications.")
    return rate


def _submit(jobs: int, *, later: bool = True) -> None:
    from workflows.intake.submit import Submission, submit_job, submit_jobs

    from .product import WORKFLOW

    at = datetime.now(UTC) + timedelta(days=365) if later else None
    if jobs == 1:
        submit_job(Submission(WORKFLOW, INPUT, run_at=at), submitted_by=None)
    else:
        submit_jobs([Submission(WORKFLOW, INPUT, run_at=at)] * jobs, submitted_by=None)


if __name__ == "__main__":
    sys.exit(run("submitting", "Submissions", 5, add_options, measure))
