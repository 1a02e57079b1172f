"""What of the departments names jobs that may be archived: their own records stay, and hold a job back while open.

An item is the department's record of what it was asked and by whom it was decided, with lists, filters, reports and
rules of who sees it that are about departments and people, not about jobs. So it stays where those find it.
"""

from __future__ import annotations


def register() -> None:
    """Make them known to the engine. Called once, when the applications start."""
    from django.db.models import Q

    from workflows.models import Companion, register_companion

    from .models import ACTIVE, Comment, DepartmentResponse, Vote, WorkItem

    register_companion(Companion(Vote, "item__job_id"))
    register_companion(Companion(Comment, "item__job_id"))
    register_companion(Companion(DepartmentResponse))
    register_companion(Companion(WorkItem, open=Q(status__in=ACTIVE)))
