"""Who may not decide an item, whatever else they may: four eyes see more than two.

`constraints` of a task names tasks whose deciders may not decide this one too, and says whether the initiator of the
job may. It holds for everybody, leads and superusers included. A decider is whoever decided or voted, in any iteration;
for a task that runs for one item of a map, the tasks and the initiator are those of the job around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from workflows.models import Job

from .models import Vote, WorkItem, WorkItemStatus

Barred = Mapping[int, str]
"""User id to a sentence that says why that person may not decide the item."""

_DEPTH_MAX = 20


def barred_from(item: WorkItem) -> Barred:
    """Who may not decide this item. Read once for an item, or for a whole page by `read_constraints`."""
    if not item.constraints:
        return {}
    found: Barred | None = getattr(item, "_barred", None)
    if found is None:
        read_constraints([item])
        found = item._barred  # type: ignore[attr-defined]
    return found


def read_constraints(items: Iterable[WorkItem]) -> None:
    """Read who may not decide each of the items, in a few statements for all of them; none where none is bound."""
    bound = [item for item in items if item.constraints]
    if not bound:
        return
    families = _families({item.job_id for item in bound})
    deciders = _deciders(bound, families)
    for item in bound:
        constraints: Any = item.constraints
        barred: dict[int, str] = {}
        if constraints.get("not_initiator"):
            for _, initiator in families[item.job_id]:
                if initiator is not None:
                    barred[initiator] = "You made this request, so somebody else has to decide it."
        for task in constraints.get("not_completed_by", ()):
            for job_id, _ in families[item.job_id]:
                for user_id in deciders.get((job_id, task), ()):
                    barred[user_id] = f"You decided “{task}” of this request, so somebody else has to decide this."
        item._barred = barred  # type: ignore[attr-defined]


def _families(job_ids: set[UUID]) -> dict[UUID, list[tuple[UUID, int | None]]]:
    """For each job itself and the jobs that it is a part of, each with its initiator: one statement a level."""
    known: dict[UUID, tuple[UUID | None, int | None]] = {}
    wanted = set(job_ids)
    for _ in range(_DEPTH_MAX):
        if not wanted:
            break
        rows = Job.objects.filter(pk__in=wanted).values_list("pk", "parent_id", "submitted_by_id", "fragment")
        found = {pk: (parent if fragment else None, initiator) for pk, parent, initiator, fragment in rows}
        known.update(found)
        wanted = {parent for parent, _ in found.values() if parent is not None} - known.keys()
    families: dict[UUID, list[tuple[UUID, int | None]]] = {}
    for job_id in job_ids:
        family: list[tuple[UUID, int | None]] = []
        at: UUID | None = job_id
        while at is not None and at in known and len(family) < _DEPTH_MAX:
            parent, initiator = known[at]
            family.append((at, initiator))
            at = parent
        families[job_id] = family
    return families


def _deciders(
    items: Iterable[WorkItem], families: Mapping[UUID, list[tuple[UUID, int | None]]]
) -> dict[tuple[UUID, str], set[int]]:
    """Who decided, or voted on, the named tasks of these jobs."""
    tasks = {task for item in items for task in (item.constraints or {}).get("not_completed_by", ())}
    if not tasks:
        return {}
    jobs = {job_id for family in families.values() for job_id, _ in family}
    found: dict[tuple[UUID, str], set[int]] = {}
    decided = WorkItem.objects.filter(
        job_id__in=jobs, task__in=tasks, status=WorkItemStatus.DONE, decided_by__isnull=False
    )
    votes = Vote.objects.filter(item__job_id__in=jobs, item__task__in=tasks)
    rows = [
        *decided.values_list("job_id", "task", "decided_by_id"),
        *votes.values_list("item__job_id", "item__task", "voter_id"),
    ]
    for job_id, task, user_id in rows:
        found.setdefault((job_id, task), set()).add(user_id)
    return found
