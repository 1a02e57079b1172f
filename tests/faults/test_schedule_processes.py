"""Schedules with real clusters: each due time starts once, whoever else looks at the clock, and whoever dies."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import pytest

from tests.faults.clusters import children, cluster, eventually
from tests.intake.makers import make_definition
from workflows.intake import schedules
from workflows.models import Job, Schedule, ScheduleRun

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

WANTED = 8


def taken(schedule: Schedule) -> int:
    return ScheduleRun.objects.filter(schedule=schedule).count()


def test_two_clusters_start_each_due_time_once_and_one_that_is_killed_leaves_none_out():
    make_definition("report")
    made = [
        schedules.create(
            {"workflow": "report", "name": name, "every": "PT1S", "overlap": "allow"}, created_by="configurator"
        )
        for name in ("one", "two")
    ]
    with cluster() as first, cluster():
        assert eventually(lambda: all(taken(schedule) >= WANTED // 2 for schedule in made), 60)
        for pid in [first.pid, *children(first.pid)]:
            os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: all(taken(schedule) >= WANTED for schedule in made), 60)
        for schedule in made:
            schedules.pause(schedule.pk)
        assert eventually(lambda: not Job.objects.exclude(status="DONE").exists(), 60)

    for schedule in made:
        runs = list(ScheduleRun.objects.filter(schedule=schedule).order_by("due_at"))
        due = [run.due_at for run in runs]
        assert {run.result for run in runs} == {"started"}
        assert due == [due[0] + timedelta(seconds=number) for number in range(len(due))], "none twice, none left out"
        assert due[0] == schedule.created_at + timedelta(seconds=1)
    jobs = Job.objects.values_list("correlation_id", flat=True)
    assert len(set(jobs)) == len(jobs) == ScheduleRun.objects.count()
