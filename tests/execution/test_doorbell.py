"""The doorbell: few rings for many commits, and no commit that nobody looks for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from django.db import connections, transaction

from tests.intake.makers import make_definition
from tests.statements import sent
from workflows.execution import doorbell
from workflows.execution.doorbell import Doorbell, ring
from workflows.intake.submit import Submission, submit_job
from workflows.models import Job

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]

LONG = 30.0
"""Seconds after which a wait that should have been broken off fails a test."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    doorbell._rang.clear()
    yield
    doorbell._rang.clear()


@pytest.fixture
def ears() -> Iterator[list[Doorbell]]:
    """Two workers of the queue `default` that listen, their first second look behind them."""
    found = [Doorbell("default"), Doorbell("default")]
    for ear in found:
        ear.open()
        assert ear.wait(LONG), "whoever begins to listen looks again after the rings that it may have missed"
    yield found
    for ear in found:
        ear.close()


def rings(statements: list[str]) -> int:
    return sum("pg_notify" in statement for statement in statements)


@pytest.mark.django_db(transaction=True)
def test_many_commits_ring_once_a_quiet_time_and_every_listener_looks_after_the_last(
    ears: list[Doorbell], monkeypatch: pytest.MonkeyPatch
) -> None:
    ring("other")
    assert not ears[0].wait(0.05), "what is for another queue wakes nobody"
    monkeypatch.setattr(doorbell, "QUIET_SECONDS", 0.3)
    began = time.monotonic()
    with sent() as statements:
        for _ in range(50):
            ring()
    last = time.monotonic()
    assert 1 <= rings(statements) <= 1 + (last - began) / 0.3
    for ear in ears:
        looks = []
        while ear.wait(0.6):
            looks.append(time.monotonic())
        assert len(looks) >= 2, "the ring, and the second look"
        assert looks[-1] >= last, "after every commit that did not ring"


@pytest.mark.django_db(transaction=True)
def test_no_wake_up_is_lost_while_jobs_come_in(ears: list[Doorbell]) -> None:
    make_definition("claim")

    def submit() -> None:
        for _ in range(40):
            submit_job(Submission("claim", {}), submitted_by=None)
        connections.close_all()

    thread = threading.Thread(target=submit)
    thread.start()
    seen = 0
    while seen < 40:
        assert ears[0].wait(LONG), f"{seen} of 40 were found, and nobody would have looked for the rest"
        seen = Job.objects.count()
    thread.join(LONG)


def test_each_queue_is_rung_for_by_itself() -> None:
    with sent() as statements:
        ring("one")
        ring("two")
    assert rings(statements) == 2


def test_a_ring_that_nobody_could_hear_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorbell, "QUIET_SECONDS", LONG)
    with monkeypatch.context() as broken, transaction.atomic():
        broken.setattr(doorbell, "CHANNEL", "")  # which the server refuses
        ring()
        transaction.set_rollback(True)
    with sent() as statements:
        ring()
        ring()
    assert rings(statements) == 1
