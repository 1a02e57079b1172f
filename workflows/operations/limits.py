"""Reading and changing limits: what operators see of them, and what they may set."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Count

from workflows.engine.faults import Fault
from workflows.execution.holds import RESOURCE
from workflows.execution.slots import LIFT_AT_ONCE, go_on, locked_limit
from workflows.models import Job, Limit, Slot

from .exceptions import InvalidRequest

COUNT_MOST = 10_000
HOLDERS_MOST = 20


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a slot: a step of a job, or (no task) a whole job."""

    job: uuid.UUID
    task: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Use:
    """How a limit is used now. `running` and `waiting` are counted up to 10,000."""

    running: int
    waiting: int
    holders: Sequence[Holder] = field(default_factory=tuple)


def use_of(limit: Limit) -> Use:
    """How one limit is used: those who have had their slots longest, up to twenty, and how many wait. Three queries."""
    first = Slot.objects.filter(limit=limit).order_by("taken_at", "id").values_list("job_id", "task", "taken_at")
    return Use(
        running=Slot.objects.filter(limit=limit).values("pk")[:COUNT_MOST].count(),
        waiting=Job.objects.filter(hold=limit.code).values("pk")[:COUNT_MOST].count(),
        holders=tuple(Holder(*row) for row in first[:HOLDERS_MOST]),
    )


def uses_of(limits: Sequence[Limit]) -> dict[str, Use]:
    """How several limits are used, by code, without their holders. Two queries, whatever their number."""
    running = Slot.objects.filter(limit__in=limits).order_by().values_list("limit").annotate(Count("pk"))
    codes = [limit.code for limit in limits]
    waiting = Job.objects.held().filter(hold__in=codes).order_by().values_list("hold").annotate(Count("pk"))
    ran, waits = dict(running), dict(waiting)
    return {limit.code: Use(ran.get(limit.pk, 0), waits.get(limit.code, 0)) for limit in limits}


def set_limit(code: str, changes: dict[str, Any]) -> Limit:
    """Change a resource's limit; who may go on by it does at once. `changes` has some of `max_concurrency`,
    `rate_limit`, `rate_per` (None lifts one) and `description`.

    What runs already is not stopped. Limit.DoesNotExist where there is none; InvalidRequest for half a rate, and for a
    workflow's own limits: those its definition says.
    """
    numbers = {"max_concurrency", "rate_limit", "rate_per"} & set(changes)
    with transaction.atomic():
        if not Limit.objects.filter(code=code).exists():
            raise Limit.DoesNotExist
        limit = locked_limit(code)
        if numbers and not code.startswith(RESOURCE):
            detail = "A workflow's limits are those of its definition: publish a version with others."
            raise InvalidRequest([Fault(f"/{name}", "not_settable", detail) for name in sorted(numbers)])
        for name, value in changes.items():
            setattr(limit, name, value)
        if (limit.rate_limit is None) != (limit.rate_per is None):
            missing = "rate_per" if limit.rate_per is None else "rate_limit"
            detail = "A rate is two numbers: rate_limit, how many may start, and rate_per, in so many seconds."
            raise InvalidRequest([Fault(f"/{missing}", "required", detail)])
        if numbers & {"rate_limit", "rate_per"}:
            limit.tokens_at = None  # counted anew: the moment that was kept is one of the old rate
        limit.save()
        transaction.on_commit(partial(go_on, code, LIFT_AT_ONCE))
    return limit
