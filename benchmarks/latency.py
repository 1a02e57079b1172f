"""How long one job, and one answer, takes on a system that has nothing else to do."""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import random
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connection

from departments import actions
from departments.configuration import create_department
from departments.models import WorkItem
from scripts.processes import Child, stop
from workflows.intake import publishing
from workflows.intake.submit import Submission, submit_job
from workflows.models import ApiToken, Job, JobStatus, TaskRun

from . import notified_loop
from .database import Server
from .figures import compare
from .parts import Part, Table
from .product import PLUGIN, ROOT, WORKFLOW, cluster, prepare, wait_until

DEPARTMENT = "bench"
ASKING = "bench-question"
QUESTION: dict[str, Any] = {
    "name": ASKING,
    "tasks": {
        "decide": {"type": "human", "department": DEPARTMENT, "title": "Decide"},
        "go-on": {"type": "plugin", "plugin": PLUGIN},
    },
    "transitions": [{"from": "decide", "to": "go-on"}],
}
PATIENCE_SECONDS = 30
LOOK_SECONDS = 0.0005
CHANCE = random.Random(1)  # noqa: S311  (when to ask, not a secret)


class Http:
    """The product's door for programs: a kept connection and a token."""

    def __init__(self, port: int, token: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def post(self, path: str, body: Any, **headers: str) -> Any:
        """The answer to a POST. RuntimeError where it was refused."""
        self.connection.request("POST", path, json.dumps(body), {**self.headers, **headers})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status not in (200, 201):
            raise RuntimeError(f"POST {path}: {answer.status} {content[:500].decode(errors='replace')}")
        return json.loads(content)


SUBMIT = "submit to done, in the process"
ANSWER = "answer to job finished, in the process"
LOOP_SUBMIT = "loop with NOTIFY, submit to third step"
LOOP_ANSWER = "loop with NOTIFY, answer to its last step"


def part(server: Server, options: argparse.Namespace, folder: Path) -> Part:
    """The latencies, and their ratios to those of the loop."""
    seconds = measure(server, options.samples, folder)
    found = Part("latency", "Latencies", f"make bench PARTS=latency ARGS='--samples {options.samples}'")
    for name, ours, theirs, bounds in (
        ("Submit to third step durable", SUBMIT, LOOP_SUBMIT, ((0.5, 1.5), (0.99, 4.0))),
        ("Answer to job finished", ANSWER, LOOP_ANSWER, ((0.5, 1.7), (0.95, 3.0))),
    ):
        for share, wanted in bounds:
            mine, reference = (
                [percentile(one, share) * 1000 for one in rounds(seconds[which], options.rounds)]
                for which in (ours, theirs)
            )
            found.figures.append(
                compare(f"{name}, p{share * 100:.0f}", mine, "loop with NOTIFY", reference, "ms", wanted, "less")
            )
    found.tables.append(
        Table(
            ["on an idle system, milliseconds", "p50", "p95", "p99", "samples"],
            [
                [name, *(f"{percentile(values, share) * 1000:.1f}" for share in (0.5, 0.95, 0.99)), str(len(values))]
                for name, values in seconds.items()
            ],
            f"The table is of all samples; a ratio above is of {options.rounds} rounds of them, each with its own"
            " percentiles.",
        )
    )
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def rounds(values: Sequence[float], number: int) -> list[Sequence[float]]:
    """The samples in the order they were taken, as so many rounds."""
    size = max(len(values) // number, 1)
    return [values[first : first + size] for first in range(0, size * min(number, len(values)), size)]


def measure(server: Server, samples: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of every sample, by what was measured."""
    prepare()
    user, token = _person()
    publishing.publish(QUESTION)
    port = _free_port()
    with (
        cluster(folder / "latency.log") as workers,
        _web(port, folder / "web.log") as web,
        notified_loop.running(server.database_url, folder / "loop.log") as loop,
    ):
        wait_until(lambda: _listens(port), web)
        api = Http(port, token)
        doors: dict[str, Callable[[], float]] = {
            "submit to done, over HTTP": lambda: submit_to_done(lambda: _submit_http(api, WORKFLOW)),
            SUBMIT: lambda: submit_to_done(lambda: _submit(WORKFLOW)),
            LOOP_SUBMIT: loop.submit_to_done,
            "answer to next step, over HTTP": lambda: answer_to_step(lambda item: _answer_http(api, item)),
            "answer to next step, in the process": lambda: answer_to_step(
                lambda item: actions.complete(item, user, "approve")
            ),
            ANSWER: lambda: answer_to_done(lambda item: actions.complete(item, user, "approve")),
            LOOP_ANSWER: loop.answer_to_done,
        }
        for door in doors.values():
            for _ in range(5):  # the first of each loads code
                door()
        seconds: dict[str, list[float]] = {name: [] for name in doors}
        for _ in range(samples):
            for name, door in doors.items():
                # At any moment of the workers' ticks, not always at the same one.
                time.sleep(CHANCE.uniform(0.01, 0.08))
                seconds[name].append(door())
        if workers.has_ended:
            raise RuntimeError(f"The cluster ended by itself:\n{workers.last_lines()}")
    return seconds


def submit_to_done(submit: Callable[[], UUID]) -> float:
    """From before the request to the moment when its client can read that the job is done."""
    began = time.perf_counter()
    job = submit()
    _look(lambda: Job.objects.filter(pk=job, status=JobStatus.DONE).exists())
    return time.perf_counter() - began


def answer_to_step(answer: Callable[[UUID], Any]) -> float:
    """From before a department's answer to the start of the next task, both by the database's clock."""
    job = _submit(ASKING)
    items = WorkItem.objects.filter(job=job)
    _look(items.exists)
    # A moment for the worker to go back to listening, as it does while a person thinks.
    time.sleep(CHANCE.uniform(0.02, 0.06))
    item = items.get()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        began = cursor.fetchone()[0]
    answer(item.pk)
    runs = TaskRun.objects.filter(job=job, task="go-on")
    _look(runs.exists)
    return float((runs.get().started_at - began).total_seconds())


def answer_to_done(answer: Callable[[UUID], Any]) -> float:
    """From before a department's answer to the moment when its client can read that the job is done."""
    job = _submit(ASKING)
    items = WorkItem.objects.filter(job=job)
    _look(items.exists)
    time.sleep(CHANCE.uniform(0.02, 0.06))
    item = items.get().pk
    began = time.perf_counter()
    answer(item)
    _look(lambda: Job.objects.filter(pk=job, status=JobStatus.DONE).exists())
    return time.perf_counter() - began


def _look(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"Nothing happened for {PATIENCE_SECONDS} seconds.")
        time.sleep(LOOK_SECONDS)


def _submit(workflow: str) -> UUID:
    return submit_job(Submission(workflow, {"number": 1}), submitted_by=None).job.pk


def _submit_http(api: Http, workflow: str) -> UUID:
    return UUID(api.post("/api/v1/jobs/", {"workflow": workflow, "input": {"number": 1}})["id"])


def _answer_http(api: Http, item: UUID) -> Any:
    return api.post(f"/api/v1/work-items/{item}/complete/", {"outcome": "approve"}, **{"If-Match": '"1"'})


def _person() -> tuple[Any, str]:
    """A member of the department that is asked, and a token for them."""
    user = get_user_model().objects.create_user("bench", password=None)
    create_department(DEPARTMENT, "Benchmark", [{"username": "bench", "role": "member"}])
    return user, ApiToken.objects.create(user=user)[1]


@contextmanager
def _web(port: int, log: Path) -> Iterator[Child]:
    """A running web server, as `make run` starts it."""
    command = [sys.executable, "-m", "gunicorn", "config.wsgi", "--bind", f"127.0.0.1:{port}"]
    command += ["--worker-class", "gthread", "--threads", "8", "--workers", "1", "--graceful-timeout", "5"]
    child = Child("The web server", command, log, os.environ, ROOT)
    try:
        yield child
    finally:
        stop([child], 10, hurry=lambda: False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
