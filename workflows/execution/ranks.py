"""A job's place in the queue."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings


def rank_at(claimable_at: datetime, priority: int) -> datetime:
    """The rank of a job that becomes claimable at a time: earlier by some seconds for each point of its priority.

    Fixed when the job becomes claimable, so an index serves the order; and every job's turn comes, since a job that
    comes much later ranks behind whatever its priority.
    """
    return claimable_at - timedelta(seconds=priority * settings.WORKFLOW_PRIORITY_SECONDS)
