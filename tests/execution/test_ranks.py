"""Priority without starvation: the urgent come first, and everybody's turn comes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from tests.execution.jobs import chain, publish
from workflows.execution.ranks import rank_at
from workflows.models import Job, JobData
from workflows.models.statements import claim

pytestmark = pytest.mark.django_db

PRIORITIES = (0, 25, 50, 75, 100)


def fill(rows):
    """NEW jobs by when they became claimable, and their priority."""
    publish(chain("any", "echo"))
    jobs = [
        Job(workflow="any", version=1, priority=priority, run_at=timezone.now() - timedelta(days=1), created_at=at)
        for at, priority in rows
    ]
    for job in jobs:
        job.rank = rank_at(job.created_at, job.priority)
    Job.objects.bulk_create(jobs)
    JobData.objects.bulk_create(JobData(job=job, input={}) for job in jobs)


def claimed():
    while jobs := claim("default", "worker", 20, 30):
        yield from jobs


def test_of_jobs_that_come_together_the_urgent_are_claimed_first_and_equals_as_they_came():
    now = timezone.now()
    fill([(now + timedelta(milliseconds=n), PRIORITIES[n * 7 % 5]) for n in range(200)])
    order = [(-job.priority, job.created_at) for job in claimed()]
    assert len(order) == 200
    assert order == sorted(order)


def test_who_has_waited_as_long_as_the_points_are_worth_comes_before_the_most_urgent():
    worth = timedelta(seconds=100 * settings.WORKFLOW_PRIORITY_SECONDS)
    now = timezone.now()
    fill([(now, 0), *((now + worth * share / 100, 100) for share in range(0, 200, 10))])
    order = [job.priority for job in claimed()]
    assert order.index(0) == 10, "behind every urgent one that came within that time, and before all others"


@pytest.mark.parametrize("seconds", [0, 60])
def test_where_points_are_worth_nothing_the_first_to_come_is_the_first(settings, seconds):
    settings.WORKFLOW_PRIORITY_SECONDS = seconds
    now = timezone.now()
    fill([(now, 0), (now + timedelta(seconds=1), 100)])
    assert [job.priority for job in claimed()] == ([0, 100] if seconds == 0 else [100, 0])
