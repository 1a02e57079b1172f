"""SQLite has one writer at a time. Nobody is told so: who wants to write waits for their turn, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from django.conf import settings
from django.db import connection
from django.test import Client

from tests.departments.makers import member
from tests.execution.jobs import publish, register
from tests.factories import DepartmentFactory, UserFactory
from tests.faults.clusters import children, cluster, database_url, eventually
from tests.running import free_port
from workflows.models import ApiToken, Job

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.processes,
    pytest.mark.skipif(not settings.DATABASE_URL.startswith("sqlite"), reason="SQLite's one writer"),
]
DOCUMENT = {
    "name": "asked",
    "tasks": {
        "before": {"type": "plugin", "plugin": "nothing"},
        "verify": {"type": "human", "department": "verification", "outcomes": ["approve"]},
        "after": {"type": "plugin", "plugin": "nothing"},
    },
    "transitions": [{"from": "before", "to": "verify"}, {"from": "verify", "to": "after"}],
}
COPIES = 5


@contextlib.contextmanager
def web_server(log: Path) -> Iterator[tuple[str, int]]:
    """The web server with its threads, on the test's database: its address and its process."""
    port = free_port()
    command = f"-m gunicorn config.wsgi --bind 127.0.0.1:{port} --worker-class gthread --threads 8 --no-control-socket"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command.split()],
            env={**os.environ, "DATABASE_URL": database_url(), "WORKFLOW_PLUGIN_PACKAGES": "tests.execution"},
            cwd=settings.BASE_DIR,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{address}/livez", timeout=5).ok
        return False

    try:
        assert eventually(answers, 60), log.read_text()
        yield address, process.pid
    finally:
        process.terminate()
        process.wait(30)


class Load:
    """Users who do one thing over and over, each in a thread of their own, until told to stop."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.answers: list[tuple[str, int, str]] = []
        self.acknowledged: list[str] = []
        self.errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def start(self, act: Callable[[], requests.Response]) -> None:
        def run() -> None:
            while not self.stopped.is_set():
                try:
                    answer = act()
                except requests.RequestException as error:
                    self.errors.append(error)
                    return
                self.answers.append((answer.url, answer.status_code, answer.text if answer.status_code >= 400 else ""))

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def stop(self) -> None:
        self.stopped.set()
        for thread in self._threads:
            thread.join()


def session_of(user: Any) -> requests.Session:
    """A caller of the API as this user, who is also signed in at the pages."""
    _, token = ApiToken.objects.create(user=user, scopes=[])
    browser = Client()
    browser.force_login(user)
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    session.cookies.set(settings.SESSION_COOKIE_NAME, browser.cookies[settings.SESSION_COOKIE_NAME].value)
    return session


def submitter(load: Load, address: str, session: requests.Session) -> Callable[[], requests.Response]:
    def act() -> requests.Response:
        answer = session.post(f"{address}/api/v1/jobs/", json={"workflow": "asked", "input": {}}, timeout=60)
        if answer.ok:
            load.acknowledged.append(answer.json()["id"])
        return answer

    return act


def batch_submitter(load: Load, address: str, session: requests.Session) -> Callable[[], requests.Response]:
    jobs = [{"workflow": "asked", "input": {}}] * 1000

    def act() -> requests.Response:
        answer = session.post(f"{address}/api/v1/jobs/batch/", json={"jobs": jobs}, timeout=60)
        load.stopped.wait(1)
        return answer

    return act


def decider(address: str, session: requests.Session) -> Callable[[], requests.Response]:
    items: list[dict[str, Any]] = []

    def act() -> requests.Response:
        if not items:
            answer = session.get(f"{address}/api/v1/work-items/?status=open", timeout=60)
            items.extend(answer.json()["results"] if answer.ok else [])
            return answer
        item = items.pop()
        tag = {"If-Match": f'"{item["version"]}"'}
        path = f"{address}/api/v1/work-items/{item['id']}/complete/"
        return session.post(path, json={"outcome": "approve"}, headers=tag, timeout=60)

    return act


def reader(session: requests.Session, *addresses: str) -> Callable[[], requests.Response]:
    turns = iter(addresses * 10_000)
    return lambda: session.get(next(turns), timeout=60)


def copy_as_it_is(folder: Path, pids: list[int]) -> None:
    """The database's files as a power cut at this moment would leave them, but for what a disk loses: all who write
    are stopped while they are copied, wherever they are."""
    folder.mkdir()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        name = Path(connection.settings_dict["NAME"])
        for path in (name, name.with_name(f"{name.name}-wal")):
            shutil.copy(path, folder)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_everybody_at_once_is_answered_and_every_moment_of_it_survives_a_power_cut(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    register("nothing", "Nothing")
    publish(DOCUMENT)
    clerk = session_of(member(DepartmentFactory(code="verification", name="Verification")))
    boss = session_of(UserFactory(is_superuser=True))
    known: list[set[str]] = []
    load = Load()
    with web_server(tmp_path / "web.log") as (address, web), cluster() as main:
        assert eventually(lambda: len(children(main.pid)) == 5)
        for _ in range(2):
            load.start(submitter(load, address, boss))
        load.start(batch_submitter(load, address, boss))
        load.start(decider(address, clerk))
        load.start(reader(clerk, f"{address}/inbox/", f"{address}/api/v1/jobs/"))
        load.start(reader(boss, f"{address}/api/v1/reports/history.xes?workflow=asked"))
        try:
            for number in range(COPIES):
                enough = len(load.answers) + 40
                assert eventually(lambda enough=enough: len(load.answers) > enough or load.errors)
                known.append(set(load.acknowledged))
                pids = [web, *children(web), main.pid, *children(main.pid)]
                copy_as_it_is(tmp_path / str(number), pids)
        finally:
            load.stop()
        assert load.errors == []
        assert eventually(lambda: Job.objects.filter(status="DONE").exists())

    refused = [answer for answer in load.answers if answer[1] >= 400]
    assert refused == []
    paths = {address.rpartition("/")[0].partition("/api/v1")[2] for address, _, _ in load.answers}
    assert {"/jobs", "/jobs/batch", "/work-items"} <= paths
    said = (tmp_path / "web.log").read_text() + "".join(capfd.readouterr())
    assert "locked" not in said
    assert "lost the database" not in said
    assert "cannot reach the database" not in said
    for number, acknowledged in enumerate(known):
        copy = tmp_path / str(number) / Path(connection.settings_dict["NAME"]).name
        with contextlib.closing(sqlite3.connect(copy)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert database.execute("PRAGMA foreign_key_check").fetchall() == []
            kept = {row[0] for row in database.execute("SELECT id FROM workflows_job")}
        assert {job.replace("-", "") for job in acknowledged} <= kept
    assert known[-1], "somebody was told that their job is kept"
