"""Limits and draining among real worker processes, some of which are killed."""

from __future__ import annotations

import os
import signal
import time
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.execution.jobs import chain, publish, register, submit
from tests.faults.clusters import children, cluster, eventually
from workflows.models import Job, Limit, Slot
from workflows.operations.suspend import leases_left, resume

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]


@pytest.fixture
def marks(tmp_path: Path, settings) -> Path:
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    return tmp_path / "marks"


def events(marks: Path) -> list[tuple[float, str, str, int]]:
    """(moment, begin or end, job, process), as they were written."""
    if not marks.exists():
        return []
    lines = (line.split() for line in marks.read_text(encoding="ascii").splitlines())
    return [(float(at), word, job, int(pid)) for at, word, job, pid in lines]


def most_at_once(found: list[tuple[float, str, str, int]], killed: dict[int, float]) -> int:
    """How many ran at the same moment at most; what a killed process had begun, ended when it was killed."""
    open_ones = {(job, pid) for _, word, job, pid in found if word == "begin"}
    open_ones -= {(job, pid) for _, word, job, pid in found if word == "end"}
    ends = [(killed[pid], "end", job, pid) for job, pid in open_ones if pid in killed]
    now = most = 0
    for _, word, _, _ in sorted([*found, *ends], key=lambda each: (each[0], each[1] == "begin")):
        now += 1 if word == "begin" else -1
        most = max(most, now)
    return most


def test_never_more_than_the_limit_run_though_workers_are_killed_and_all_finish(marks):
    register("marks", "Marks", file=str(marks), seconds=0.15)
    Limit.objects.create(code="resource:bank", max_concurrency=2)
    document = chain("limited", "marks")
    document["tasks"]["step1"]["resource"] = "bank"
    definition = publish(document)
    for _ in range(16):
        submit(definition)
    killed: dict[int, float] = {}
    with cluster(WORKERS="4", WORKFLOW_CLAIM_BATCH="2") as process:
        for wanted in (3, 7):
            assert eventually(lambda wanted=wanted: len(events(marks)) >= wanted, 60)
            _, _, _, pid = next(each for each in reversed(events(marks)) if each[1] == "begin")
            if pid in children(process.pid):
                os.kill(pid, signal.SIGKILL)
                killed[pid] = time.monotonic()
        assert eventually(lambda: not Job.objects.exclude(status="DONE").exists(), 90)
        assert eventually(lambda: not Slot.objects.exists())
    assert killed
    assert 1 <= most_at_once(events(marks), killed) <= 2
    assert Job.objects.filter(hold="").count() == 16


def test_a_drained_system_is_seen_as_drained_and_goes_on_when_it_is_resumed(marks):
    register("marks", "Marks", file=str(marks), seconds=0.3)
    definition = publish(chain("three", "marks", "marks", "marks"))
    for _ in range(6):
        submit(definition)
    with cluster():
        assert eventually(lambda: len(events(marks)) >= 2, 60)
        out = StringIO()
        call_command("suspend", "--all", "--wait", "--reason", "an upgrade", "--actor", "olga", stdout=out)
        assert "Drained" in out.getvalue()
        assert leases_left() == 0
        begun = len(events(marks))
        assert begun % 2 == 0, "every step that began has ended"
        assert Job.objects.exclude(status="DONE").exists()
        submit(definition)
        time.sleep(1.5)
        assert len(events(marks)) == begun, "nothing more is begun"
        resume("*", actor="olga")
        assert eventually(lambda: not Job.objects.exclude(status="DONE").exists(), 60)
    assert len(events(marks)) == 7 * 3 * 2, "each step ran once"
