"""A new version over past jobs: which of them would have gone another way, and who would have decided."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from tests.execution.jobs import publish, register, submit
from tests.factories import DepartmentFactory
from workflows.engine.events import Responded
from workflows.execution.respond import signal_job
from workflows.execution.worker import drain
from workflows.intake.exceptions import NoSuchVersion
from workflows.models import Job
from workflows.operations.backtest import Backtest, backtest

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _claims(settings: Any) -> None:
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    register("echo", "Echo")
    for code in ("claims", "board"):
        DepartmentFactory(code=code)


def document(limit: int = 100, department: str = "claims", **tasks: Any) -> dict[str, Any]:
    return {
        "name": "claim",
        "tasks": {
            "check": {"type": "plugin", "plugin": "echo", "input": "${input}"},
            "verify": {"type": "human", "department": department},
            "small": {"type": "pass", "input": "small"},
            "paid": {"type": "pass", "input": "paid"},
            **tasks,
        },
        "transitions": [
            {"from": "check", "to": "verify", "when": f"output.input.amount > {limit}"},
            {"from": "check", "to": "small", "when": f"output.input.amount <= {limit}"},
            {"from": "verify", "to": "paid"},
        ],
    }


@pytest.fixture
def past() -> dict[int, Job]:
    """Two jobs of version 1: one of 50, which nobody decided, and one of 500, which somebody did."""
    definition = publish(document())
    jobs = {amount: submit(definition, {"amount": amount}) for amount in (50, 500)}
    drain()
    with transaction.atomic():
        signal_job(jobs[500].pk, Responded("verify", 1, "approve", {}, "bob"), history_event="response.received")
    drain()
    assert set(Job.objects.values_list("status", flat=True)) == {"DONE"}
    return jobs


def tried(new: dict[str, Any], **options: Any) -> Backtest:
    return backtest("claim", Job.objects.all(), document=new, **options)


def test_an_equal_version_changes_nothing(past: dict[int, Job]) -> None:
    found = tried(document())
    assert (found.examined, found.unchanged, found.jobs) == (2, 2, [])


def test_a_job_that_goes_another_way_is_listed_with_the_first_difference(past: dict[int, Job]) -> None:
    found = tried(document(limit=1000))
    assert (found.unchanged, found.changed, found.unknown) == (1, 1, 0)
    (job,) = found.jobs
    assert (job.job, job.verdict, job.task) == (past[500].pk, "path", "small")
    assert job.detail == "It went through verify: `approve`, and would go through small: completed."


def test_where_an_answer_is_missing_it_cannot_be_told(past: dict[int, Job]) -> None:
    found = tried(document(limit=10))
    assert (found.unchanged, found.changed, found.unknown) == (1, 0, 1)
    (job,) = found.jobs
    assert (job.job, job.verdict, job.task) == (past[50].pk, "unknown", "verify")
    assert "never asked" in job.detail


def test_who_decides_is_compared_where_the_path_is_the_same(past: dict[int, Job]) -> None:
    (job,) = tried(document(department="board")).jobs
    assert (job.job, job.verdict, job.task) == (past[500].pk, "decider", "verify")
    assert (job.before, job.after) == ({"department": "claims"}, {"department": "board"})


def test_another_result_on_the_same_way_is_told(past: dict[int, Job]) -> None:
    found = tried({**document(), "output": {"done": True}})
    assert {job.verdict for job in found.jobs} == {"outcome"}
    assert found.changed == 2


def test_versions_are_compared_with_each_other_and_the_number_of_jobs_is_bounded(past: dict[int, Job]) -> None:
    publish(document(limit=1000))
    assert backtest("claim", Job.objects.all(), version=2, against=2).unchanged == 2
    assert backtest("claim", Job.objects.all(), limit=1).examined == 1
    assert backtest("claim", Job.objects.none()).examined == 0
    with pytest.raises(NoSuchVersion):
        backtest("claim", Job.objects.all(), against=7)


def test_nothing_is_written(past: dict[int, Job], django_assert_max_num_queries: Any) -> None:
    before = list(Job.objects.order_by("id").values())
    publish(document(limit=1000))
    with django_assert_max_num_queries(6):
        backtest("claim", Job.objects.all())
    assert list(Job.objects.order_by("id").values()) == before
