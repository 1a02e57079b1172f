"""Where faults are tried: a server that has loaded Django once and forks a process for each, and what they work on."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest import mock

from django.core.management import call_command
from django.db import connection

from departments.models import Department, Membership
from tests.factories import UserFactory
from tests.faults import doomed
from tests.faults.clusters import database_url
from tests.faults.doomed import Fault, Report, Scene
from workflows import registry
from workflows.execution.definitions import get_definition
from workflows.intake.publishing import publish
from workflows.intake.registering import register
from workflows.intake.submit import Submission, submit_job
from workflows.models import ApiToken, Job

_FORKS = multiprocessing.get_context("forkserver")
PATIENCE_SECONDS = 60.0


def plugin(name: str, **fields: Any) -> dict[str, Any]:
    """A task that runs a plugin which keeps the ledger."""
    return {"type": "plugin", "plugin": name, "input": {"ledger": "${input.ledger}"}, **fields}


def in_a_row(name: str, tasks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A definition whose tasks run one after the other."""
    names = list(tasks)
    edges = [{"from": source, "to": target} for source, target in itertools.pairwise(names)]
    return {"name": name, "tasks": tasks, "transitions": edges, **fields}


DEFINITIONS = [
    in_a_row("alone", {name: plugin("ledger.applies") for name in ("one", "two", "three")}),
    in_a_row("shared", {name: plugin("ledger.again") for name in ("one", "two", "three")}),
    in_a_row("long", {"one": plugin("ledger.long"), "two": plugin("ledger.applies")}),
    in_a_row("letters", {"one": plugin("ledger.document"), "two": plugin("ledger.applies")}),
    in_a_row("answered", {"one": plugin("ledger.parks"), "two": plugin("ledger.applies")}),
    in_a_row(
        "asking",
        {
            "one": plugin("ledger.applies"),
            "ask": {"type": "human", "department": "desk", "title": "May it?"},
            "two": plugin("ledger.applies"),
        },
    ),
    in_a_row(
        "undoing",
        {
            "one": plugin("ledger.applies", compensate="ledger.applies"),
            "two": plugin("ledger.applies", compensate="ledger.applies"),
            "last": plugin("ledger.refuses"),
        },
        on_failure="compensate",
    ),
    in_a_row(
        "telling",
        {"one": plugin("ledger.applies"), "tell": {"type": "emit", "event": "paid", "data": {"amount": 7}}},
    ),
    in_a_row("listening", {"hear": {"type": "event", "event": "paid"}, "two": plugin("ledger.applies")}),
]

PLUGINS: dict[str, tuple[str, dict[str, Any]]] = {
    "ledger.applies": ("Applies", {}),
    "ledger.again": ("AppliesAgain", {}),
    "ledger.long": ("AppliesLong", {}),
    "ledger.document": ("Applies", {"document": "Dear reader"}),
    "ledger.parks": ("Applies", {"parks": True}),
    "ledger.refuses": ("Applies", {"refuses": True}),
}


class Lab:
    """The definitions, a department with one member whose token the clients use, and a folder for the ledgers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.documents = folder / "documents"
        self._count = 0
        self._furnished = self._soiled = False

    # ---- what is worked on -------------------------------------------------------------------------------------------

    def furnish(self) -> None:
        """Make everything, anew where it was made before."""
        if self._furnished:
            _empty()
        self._furnished = True
        registry.forget()
        get_definition.cache_clear()
        register(
            [
                {"job_type": name, "module": "tests.faults.ledger", "class_name": class_name, "configuration": fields}
                for name, (class_name, fields) in PLUGINS.items()
            ]
        )
        desk = Department.objects.create(code="desk", name="Desk")
        self.member = UserFactory(username="member", is_superuser=True)
        Membership.objects.create(department=desk, user=self.member)
        _, self.token = ApiToken.objects.create(user=self.member, scopes=[])
        for document in DEFINITIONS:
            publish(document)

    @contextmanager
    def case(self) -> Iterator[Path]:
        """The ledger of one case. Where the case before has failed, everything is made anew."""
        if self._soiled or not self._furnished:
            self.furnish()
        self._soiled = True
        self._count += 1
        yield self.folder / f"ledger-{self._count}"
        self._soiled = False

    def submit(self, workflow: str, ledger: Path, *, reference: str = "") -> Job:
        """A job, as a program submits it."""
        submission = Submission(workflow, {"ledger": str(ledger)}, correlation_id=reference)
        return submit_job(submission, submitted_by=self.member).job

    # ---- processes ---------------------------------------------------------------------------------------------------

    def fail(self, scene: Scene, fault: Fault) -> Report:
        """Let a process fail, and go on: itself where it lives, another one where it does not. The report of whoever
        brought it to its end."""
        with self.child("fail", scene, fault) as (process, answers):
            report = self.report_of(process, answers)
        if fault.kind != "kill":
            assert report is not None, "the process is to live"
            return report
        assert (report, process.exitcode) == (None, -signal.SIGKILL), "the failpoint was not reached"
        return self.go_on(scene)

    def go_on(self, scene: Scene) -> Report:
        """Let a process without a fault work until everything is done."""
        with self.child("go_on", scene) as (process, answers):
            report = self.report_of(process, answers)
        assert report is not None, "a process without a fault has died"
        return report

    @contextmanager
    def child(self, does: str, *arguments: Any) -> Iterator[tuple[BaseProcess, Any]]:
        """A process that does one of the functions of `doomed`, with the pipe that its report comes through."""
        answers, far_end = _FORKS.Pipe(duplex=False)
        process = _FORKS.Process(target=getattr(doomed, does), args=(*arguments, far_end), daemon=True)
        process.start()
        far_end.close()
        try:
            yield process, answers
        finally:
            process.kill()
            process.join()
            answers.close()

    @staticmethod
    def report_of(process: BaseProcess, answers: Any) -> Report | None:
        """What a child says at its end; None where it cannot say anything any more."""
        assert answers.poll(PATIENCE_SECONDS), "the process says nothing"
        try:
            report = answers.recv()
        except EOFError:
            report = None
        process.join(PATIENCE_SECONDS)
        return report if isinstance(report, Report) else None


@contextmanager
def opened(folder: Path) -> Iterator[Lab]:
    """A laboratory on the database of this test run. Its fork server has failpoints; this process has none."""
    environment = {
        "DATABASE_URL": database_url(),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "MEDIA_ROOT": str(folder / "documents"),
        "WORKFLOW_FAILPOINTS": "1",
        "WORKFLOW_PLUGIN_PACKAGES": "tests.faults",
    }
    _FORKS.set_forkserver_preload(["pytest", "tests.faults.doomed", "tests.faults.ledger"])
    with mock.patch.dict(os.environ, environment):
        forkserver.ensure_running()
    try:
        yield Lab(folder)
    finally:
        _empty()


def _empty() -> None:
    at = connection.settings_dict
    assert Path(at["TEST"]["NAME"]).stem in str(at["NAME"]), "this is no database of a test"
    call_command("flush", interactive=False, verbosity=0)


# ---- what must hold ------------------------------------------------------------------------------------------------


def assert_verified() -> None:
    """`manage.py verify` finds nothing."""
    said = StringIO()
    try:
        call_command("verify", "--json", stdout=said)
    except SystemExit:
        found = [check for check in json.loads(said.getvalue())["checks"] if check["count"]]
        raise AssertionError(f"verify found: {json.dumps(found, indent=1)}") from None


def rows_of(job: Job) -> dict[str, list[tuple[Any, ...]]]:
    """Every row that belongs to a job, by table: for what must not change."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            names = [column.name for column in connection.introspection.get_table_description(cursor, table)]
            column = "id" if table == "workflows_job" else "job_id"
            if column in names:
                key = job.pk if connection.vendor == "postgresql" else job.pk.hex
                cursor.execute(f'SELECT * FROM "{table}" WHERE "{column}" = %s ORDER BY 1, 2', [key])  # noqa: S608
                found[table] = cursor.fetchall()
    return found


def state_of(process: BaseProcess) -> str:
    """The state of a process as the kernel says it: T is stopped."""
    return Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def wait_until_stopped(process: BaseProcess) -> None:
    """Wait until all threads of a process stand still."""
    late = time.monotonic() + PATIENCE_SECONDS
    while state_of(process) != "T":
        assert process.is_alive(), "the process has ended"
        assert time.monotonic() < late, "the failpoint was not reached"
        time.sleep(0.01)
