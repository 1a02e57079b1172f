"""No job can wait for nothing: every way to be stranded is planted here, and found."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from departments.models import Department, WorkItem
from tests.execution.jobs import chain, publish, register, submit
from workflows.engine.events import Responded
from workflows.execution.respond import signal_job
from workflows.execution.worker import drain
from workflows.models import ChildGroup, EventWaiter, Job, Limit, Signal, Slot
from workflows.operations.stranded import CHECKS, Stranded

pytestmark = pytest.mark.django_db

WAITS = {
    "name": "waits",
    "tasks": {
        "ask": {"type": "human", "department": "verification"},
        "event": {"type": "event", "event": "paid", "correlation_key": "k"},
        "parked": {"type": "plugin", "plugin": "parks"},
        "later": {"type": "wait", "for": "PT1H"},
        "children": {"type": "map", "items": "${[1]}", "task": {"type": "plugin", "plugin": "parks"}},
    },
    "transitions": [],
}


@pytest.fixture(autouse=True)
def _plugins(settings, db):
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    Department.objects.create(code="verification", name="Verification")
    register("parks", "Parks")
    register("echo", "Echo")


def parked(*tasks):
    """A job that waits for these, and for nothing else."""
    document = {**WAITS, "name": "-".join(tasks), "tasks": {name: WAITS["tasks"][name] for name in tasks}}
    # A moment ago: SQLite's clock counts in milliseconds.
    job = submit(publish(document), run_at=timezone.now() - timedelta(seconds=1))
    drain()
    job.refresh_from_db()
    assert job.status == "PEND"
    return job


def found():
    return {check.name: finding.count for check in CHECKS if (finding := check.find()).count}


def long_ago():
    return timezone.now() - timedelta(hours=1)


@pytest.mark.parametrize("task", WAITS["tasks"])
def test_a_job_that_waits_for_something_is_not_found(task):
    parked(task)
    assert found() == {}


def test_jobs_that_run_have_ended_or_failed_are_not_found():
    register("raises", "Raises")
    submit(publish(chain("fails", "raises")))
    submit(publish(chain("ends", "echo")))
    drain()
    submit(publish(chain("new", "echo")))
    assert found() == {}


LOSSES = {
    "ask": lambda job: WorkItem.objects.filter(job=job).update(status="withdrawn"),
    "event": lambda job: EventWaiter.objects.filter(job=job).update(closed_at=timezone.now()),
    "later": lambda job: Job.objects.filter(pk=job.pk).update(wake_at=None),
    "children": lambda job: ChildGroup.objects.filter(job=job).update(closed_at=timezone.now()),
}


@pytest.mark.parametrize("task", LOSSES)
def test_a_job_whose_wake_up_was_lost_is_found(task):
    job = parked(task)
    LOSSES[task](job)
    assert found() == {"no_wake_up": 1}
    check = next(check for check in CHECKS if check.name == "no_wake_up")
    assert check.find().examples == (f"{task} {job.pk}",)


def test_a_job_with_one_wake_up_of_several_is_not_found():
    job = parked("ask", "event")
    LOSSES["ask"](job)
    assert found() == {}
    LOSSES["event"](job)
    assert found() == {"no_wake_up": 1}


def test_a_fact_that_nobody_will_read_is_found():
    job = parked("ask")
    with transaction.atomic():
        signal_job(job.pk, Responded("ask", 1, "approve"), history_event="response.received")
    assert found() == {}
    Job.objects.filter(pk=job.pk).update(status="PEND")
    Signal.objects.update(created_at=long_ago())
    assert found() == {"unread_facts": 1}


def test_timers_that_nobody_runs_are_found():
    Job.objects.filter(pk=parked("later").pk).update(wake_at=long_ago())
    assert found() == {"late_timers": 1}


def test_leases_that_nobody_takes_back_are_found():
    job = submit(publish(chain("one", "echo")))
    Job.objects.filter(pk=job.pk).update(claimed_by="gone", claimed_until=long_ago())
    assert found() == {"lost_leases": 1}


def test_a_time_to_run_that_is_a_mistake_is_found():
    submit(publish(chain("one", "echo")), run_at=timezone.now() + timedelta(days=40_000))
    assert found() == {"far_run_at": 1}


@pytest.mark.parametrize("hold", ["suspended:one", "suspended:*", "resource:nowhere", "workflow:one", "nonsense"])
def test_a_hold_without_its_reason_is_found(hold):
    submit(publish(chain("one", "echo")), hold=hold)
    assert found() == {"groundless_holds": 1}


def test_a_hold_with_its_reason_is_not_found():
    Limit.objects.create(code="resource:bank")
    definition = publish(chain("one", "echo"))
    submit(definition, hold="resource:bank")
    submit(definition, hold="suspended")
    assert found() == {}


def test_a_slot_of_nobody_is_found():
    limit = Limit.objects.create(code="resource:bank", max_concurrency=1)
    job = submit(publish(chain("one", "echo")))
    Slot.objects.create(limit=limit, job=job, task="step1", fence=3, taken_at=long_ago())
    assert found() == {"slots_of_nobody": 1}


def test_the_checks_cost_the_same_for_every_number_of_jobs_that_wait_well():
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert found() == {}
        return len(captured)

    parked("ask")
    few = queries()
    for _ in range(5):
        parked("ask")
        parked("event")
    assert queries() == few


def test_the_command_says_what_it_found_and_fails(capsys):
    out = StringIO()
    call_command("verify", stdout=out)
    assert "all well" in out.getvalue()
    LOSSES["ask"](parked("ask"))
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("verify", "--json", stdout=out)
    assert ended.value.code == 1
    told = json.loads(out.getvalue())
    assert told["ok"] is False
    assert [(row["name"], row["count"]) for row in told["checks"] if row["count"]] == [
        ("no_wake_up", 1),
        ("wait_without_request", 1),
    ]
    call_command("verify", "late_timers", stdout=out)
    with pytest.raises(CommandError, match="no check nonsense"):
        call_command("verify", "nonsense")


def test_the_service_says_it_in_the_log(caplog):
    assert not any(Stranded().run_once().values())
    job = parked("ask")
    LOSSES["ask"](job)
    assert Stranded().run_once()["no_wake_up"] == 1
    assert str(job.pk) in caplog.text
