"""What runs in processes that are about to fail: forked, with Django loaded, from a server that `lab` starts.

A child does what its scene asks for, as a worker, as a web server with its client, or both, until the fault has struck;
if it is alive then it goes on as the process that it is, and otherwise another child goes on in its place.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import django
from django.apps import apps

if not apps.ready:  # here begins the fork server: what it loads, its children have
    django.setup()

import psycopg
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from django.db import connection, connections
from django.db.models.functions import Now
from django.test import RequestFactory
from django.urls import get_resolver

from departments.models import WorkItem
from tests.faults.proxy import LossyProxy
from workflows.execution import services, worker
from workflows.models import Event, Job, Message
from workflows.models.failpoints import PRESENT, arm

GIVE_UP_SECONDS = 25.0
OPEN = ("NEW", "READY", "PEND")

fault_struck = threading.Event()
"""For a step that is to be hit by what goes on beside it."""

_application: WSGIHandler | None = None
if PRESENT:
    _application = get_wsgi_application()
    get_resolver().url_patterns  # noqa: B018  (loads every view, once for all children)
    gc.freeze()  # what is loaded stays; a child need not copy its pages to look at it


class Planted(Exception):
    """What a failpoint raises."""


@dataclass(frozen=True)
class Fault:
    """What happens at a failpoint: `kill`, `raise`, `cut`, `lose`, `stop`; nothing where there is no point.

    `lose` keeps the reply of the first commit after the failpoint `point`, or after the beginning for `start`.
    """

    kind: str = ""
    point: str = ""


@dataclass(frozen=True)
class Scene:
    """What there is to be done. `token` is the client's."""

    jobs: list[str] = field(default_factory=list)
    services: list[str] = field(default_factory=list)
    """Those that the doomed process runs; the others are not due in it."""
    token: str = ""
    uploads: str = ""
    """The content of a document that a client sends, and names in the job that it submits."""
    submits: dict[str, Any] | None = None
    """What a client submits, with the idempotency key `key`."""
    sends: dict[str, Any] | None = None
    """The event that a client sends."""
    decides: bool = False
    """Whether there is a member of a department, who approves what is open."""
    responds: bool = False
    """Whether there is a system that answers the step `one` while it waits."""
    heartbeat_seconds: float = 10.0


@dataclass
class Report:
    """What a child tells of itself: whether the fault struck, what the client was answered, what went wrong."""

    struck: bool = False
    answers: list[tuple[str, int]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)


class Actor:
    """One process: a worker, and the clients that it serves."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.report = Report()
        self.jobs = [uuid.UUID(job) for job in scene.jobs]
        self.document = ""
        self.submitted = self.sent = False

    # ---- what it does --------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Once round: the clients ask what they have no answer to yet, and the worker has a tick."""
        self._clients()
        if self.jobs:
            try:
                worker.run_tick()
            except Exception as error:  # what django-q2's worker does: it notes the failure, and runs the next tick
                self.report.errors.append(f"{type(error).__name__}: {error}")

    def until(self, holds: Callable[[], bool]) -> None:
        """Turn after turn until it holds, or for so long that it never will."""
        late = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < late:
            try:
                if holds():
                    return
            except django.db.Error:  # the connection of the one who looks was cut with the others
                connection.close()
                continue
            self.turn()
        raise TimeoutError(f"It does not come to an end: {self.report}")

    def over(self) -> bool:
        """True where nobody waits for anything any more."""
        scene = self.scene
        if (scene.submits and not self.submitted) or (scene.sends and not self.sent):
            return False
        jobs = Job.objects.filter(pk__in=self.jobs)
        return not (
            jobs.filter(status__in=OPEN).exists()
            or Message.objects.filter(job__in=jobs, published_at__isnull=True).exists()
            or Event.objects.filter(handled_at__isnull=True).exists()
        )

    def _clients(self) -> None:
        scene = self.scene
        if scene.uploads and not self.document:
            file = SimpleUploadedFile("letter.txt", scene.uploads.encode(), "text/plain")
            status, answer = self._request("documents/", {"file": file})
            self.document = answer.get("id", "") if status == 201 else ""
        if scene.submits and not self.submitted and (self.document or not scene.uploads):
            body = {name: value for name, value in scene.submits.items() if name != "key"}
            if self.document:
                body["documents"] = [self.document]
            status, answer = self._request("jobs/", body, HTTP_IDEMPOTENCY_KEY=scene.submits["key"])
            self.submitted = status in (200, 201)
            if self.submitted:
                self.jobs.append(uuid.UUID(answer["id"]))
        if scene.sends and not self.sent and self._all_begun():
            status, _ = self._request("events/", scene.sends)
            self.sent = status in (200, 201, 202)
        if scene.decides:
            items = WorkItem.objects.filter(job__in=self.jobs, status__in=("open", "claimed"))
            for item in self._look(items.values_list("pk", flat=True)):
                self._request(f"work-items/{item}/complete/", {"outcome": "approve"})

        if scene.responds:
            for job in self._look(Job.objects.filter(pk__in=self.jobs, status="PEND")):
                self._request(f"jobs/{job.pk}/tasks/one/response/", {"status": "done"})

    def _all_begun(self) -> bool:
        return not self._look(Job.objects.filter(pk__in=self.jobs, status="NEW")) and bool(self.jobs)

    def _look(self, rows: Iterable[Any]) -> list[Any]:
        """What there is; nothing where the connection of the one who looks was cut with the others."""
        try:
            return list(rows)
        except django.db.Error:
            connection.close()
            return []

    def _request(self, path: str, body: dict[str, Any], **headers: str) -> tuple[int, dict[str, Any]]:
        """One request through the whole application, as a web server hands it over; (0, {}) where it broke."""
        headers |= {"HTTP_AUTHORIZATION": f"Bearer {self.scene.token}", "HTTP_HOST": "localhost"}
        files = any(isinstance(value, SimpleUploadedFile) for value in body.values())
        url, made = f"/api/v1/{path}", RequestFactory()
        if files:
            environ = made.post(url, body, **headers).environ
        else:
            media_type = "application/cloudevents+json" if path == "events/" else "application/json"
            environ = made.generic("POST", url, json.dumps(body), media_type, **headers).environ
        status: list[int] = []
        assert _application is not None
        response = _application(environ, lambda line, _: status.append(int(line.split()[0])))
        text = b"".join(response)
        response.close()
        self.report.answers.append((path, status[0]))
        # 409: it was done before, and nobody told this client.
        assert status[0] < 400 or status[0] == 409 or status[0] >= 500, f"{path} is refused: {text!r}"
        return status[0], json.loads(text) if text else {}


# ---- time ----------------------------------------------------------------------------------------------------------


def pass_time() -> None:
    """Put the clocks of what waits for time back, instead of waiting: leases have passed, and what a crash has left is
    so old that the services look at it."""
    long_ago = Now() - timedelta(minutes=1)
    Job.objects.filter(claimed_by__isnull=False).update(claimed_until=long_ago)
    Event.objects.filter(handled_at__isnull=True).update(received_at=long_ago)


# ---- faults --------------------------------------------------------------------------------------------------------


def _parameters() -> dict[str, Any]:
    parameters = dict(connection.get_connection_params())
    for own in ("context", "cursor_factory", "prepare_threshold"):
        parameters.pop(own, None)
    return parameters


def cut_sessions(name: str) -> None:
    """End every session of a process in the server, which rolls back what they have open, and wait until they are
    gone. The process finds out when it asks for something."""
    with psycopg.connect(**{**_parameters(), "application_name": "scissors"}, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s", [name]
        )


def _strike(kind: str, name: str, struck: Callable[[], None]) -> None:
    struck()
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if kind == "raise":
        raise Planted("a failpoint")
    if kind == "cut":
        cut_sessions(name)


def _prepare(fault: Fault, report: Report) -> None:
    """Let the fault strike where and when it is wanted."""

    def struck() -> None:
        report.struck = True
        fault_struck.set()

    name = f"doomed-{os.getpid()}"
    if connection.vendor == "postgresql":
        connections.settings["default"]["OPTIONS"]["application_name"] = name
    if fault.kind != "lose":
        arm(fault.point, lambda: _strike(fault.kind, name, struck))
        return
    parameters = _parameters()
    host, port = parameters.get("host") or "127.0.0.1", int(parameters.get("port") or 5432)
    proxy = LossyProxy(f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port), struck)
    at = connections.settings["default"]
    at.update(HOST="127.0.0.1", PORT=str(proxy.port))
    at["OPTIONS"] = {**at["OPTIONS"], "sslmode": "disable", "gssencmode": "disable"}
    at["OPTIONS"].pop("host", None)
    if fault.point == "start":
        proxy.lose_next_commit()
    else:
        arm(fault.point, proxy.lose_next_commit)


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


# ---- the two kinds of children -------------------------------------------------------------------------------------


def _begin(scene: Scene) -> Actor:
    settings.TICK_SECONDS = 0.05
    worker.BREATHER_SECONDS = 0.0
    settings.WORKFLOW_HEARTBEAT_SECONDS = scene.heartbeat_seconds
    actor = Actor(scene)
    logging.getLogger("workflows").addHandler(_Lines(actor.report.logged))
    return actor


def _go_on(actor: Actor) -> None:
    def hurried() -> bool:
        pass_time()
        for service in services.EVERYWHERE:
            services.hurry(service.name)
        return actor.over()

    actor.until(hurried)


def fail(scene: Scene, fault: Fault, answer: Connection) -> None:
    """The child in which the fault strikes. It goes on afterwards, where it can."""
    actor = _begin(scene)
    every, once = list(services.EVERYWHERE), list(services.ONCE)
    services.EVERYWHERE[:] = [service for service in every if service.name in scene.services]
    services.ONCE[:] = []
    _prepare(fault, actor.report)
    actor.until(fault_struck.is_set)
    if fault.kind == "stop":
        # It was stopped, and is awake again: it ends the turn that it was in. What it could do later is not its own.
        answer.send(actor.report)
        return
    services.EVERYWHERE[:], services.ONCE[:] = every, once
    _go_on(actor)
    answer.send(actor.report)


def go_on(scene: Scene, answer: Connection) -> None:
    """The child that goes on where another one was killed, or stands still."""
    actor = _begin(scene)
    fault_struck.set()
    _go_on(actor)
    answer.send(actor.report)
