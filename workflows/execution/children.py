"""Child jobs: the items of a `map`, child workflows, and tasks that run on another queue.

The parent's commit writes a group and nothing else. Children are made from it, and it is ended, by whoever settles it
(`settling`): after that commit, whenever a child of it has ended, and by a service for what a crash left.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import transaction
from django.db.models import Count, QuerySet

from workflows.engine.contract import Json
from workflows.engine.events import CloseChildren, StartChildren
from workflows.models import ArchivedJob, ChildGroup, ChildGroupData, Job, JobStatus
from workflows.models.statements import ClaimedJob

from .definitions import get_definition, version_to_start
from .exceptions import DefinitionNotFound
from .parking import ParkedJob, Refusal

Kind = ChildGroup.Kind

MAX_NESTING = 20
"""So many jobs may wait for each other in a row."""
COMPENSATE = "compensate"
"""Why a group is closed whose parent is undone: its child undoes what it has done, too."""
CAUSE_LENGTH = 2000


# ---- in the parent's commit -----------------------------------------------------------------------------------------


def start_children(job: ParkedJob, commands: Sequence[StartChildren]) -> list[Refusal]:
    """Write the groups, inside the parent's commit; answer what cannot be started.

    Refused are a workflow that is not there (`DefinitionNotFound`), an input that breaks its schema
    (`ValidationError`), and one that would contain itself, or nest deeper than 20 (`RecursiveWorkflow`).
    """
    groups: list[ChildGroup] = []
    refusals: list[Refusal] = []
    for command in commands:
        group = ChildGroup(
            job_id=job.id,
            task=command.task,
            iteration=command.iteration,
            attempt=command.attempt,
            kind=command.kind,
            queue=command.queue or job.queue,
            priority=command.priority,
            total=len(command.items),
            max_concurrency=command.max_concurrency,
            tolerated_failures=command.tolerated_failures,
        )
        if command.kind == Kind.WORKFLOW:
            refusal = _choose_workflow(job, command, group)
            if refusal is not None:
                refusals.append(refusal)
        else:
            group.workflow, group.version = job.workflow, job.version
            group.fragment = f"{job.fragment}/{command.task}" if job.fragment else command.task
        groups.append(group)
    if groups and not refusals:
        ChildGroup.objects.bulk_create(groups)
        ChildGroupData.objects.bulk_create(
            ChildGroupData(group=group, items=list(command.items), names=dict(command.names))
            for group, command in zip(groups, commands, strict=True)
        )
        settle_soon(group.pk for group in groups)
    return refusals


def close_children(job_id: uuid.UUID, commands: Sequence[CloseChildren], *, compensate: bool = False) -> None:
    """Mark the groups as closing, inside the parent's commit; what is left of them is cancelled after it, and undone
    where the parent is (`compensate`)."""
    for command in commands:
        groups = ChildGroup.objects.filter(
            job_id=job_id,
            task=command.task,
            iteration=command.iteration,
            attempt=command.attempt,
            closed_at__isnull=True,
        )
        found = list(groups.values_list("pk", flat=True))
        if found:
            groups.filter(closing="").update(closing=COMPENSATE if compensate else command.reason)
            settle_soon(found)


def settle_soon(group_ids: Iterable[int]) -> None:
    """Settle these groups once the transaction is committed. Where that fails or is lost, the service finds them."""
    found = tuple(group_ids)
    # No partial: Django asks for the name of what failed, and would fail itself, after the commit.
    transaction.on_commit(lambda: settle(found), robust=True)


def settle(group_ids: Iterable[int]) -> None:
    """Look at each group as it is now: make more children, cancel what is not wanted, tell the parent."""
    from .settling import settle_groups  # it commits, and a commit starts and closes children

    settle_groups(group_ids)


def _choose_workflow(job: ParkedJob, command: StartChildren, group: ChildGroup) -> Refusal | None:
    """Fix what a child workflow runs, or say why it cannot."""

    def refused(error: str, cause: str) -> Refusal:
        return Refusal(job.id, command.task, command.iteration, error, cause[:CAUSE_LENGTH])

    group.workflow = str(command.workflow)
    line = _line_of(job)
    if group.workflow in line:
        path = " → ".join((*reversed(line), group.workflow))
        return refused("RecursiveWorkflow", f"{group.workflow} would run inside itself: {path}.")
    try:
        group.version = version_to_start(group.workflow, command.version)
        definition = get_definition(group.workflow, group.version)
    except DefinitionNotFound as error:
        return refused("DefinitionNotFound", str(error))
    if len(line) > MAX_NESTING:
        return refused("RecursiveWorkflow", f"{group.workflow} would be the {len(line)}th workflow inside another.")
    faults = definition.input_validator.faults(command.items[0])
    if faults:
        said = "; ".join(f"{fault.pointer or '/'}: {fault.detail}" for fault in faults)
        return refused("ValidationError", f"The input breaks the schema of {group.workflow}: {said}")
    return None


def _line_of(job: ParkedJob) -> list[str]:
    """The workflows of a job and of all that wait for it, the nearest first; a part of a job counts as the job."""
    line = [] if job.fragment else [job.workflow]
    parent = job.parent_id
    while parent is not None and len(line) <= MAX_NESTING:
        row = Job.objects.values("workflow", "fragment", "parent_id").get(pk=parent)
        if not row["fragment"]:
            line.append(row["workflow"])
        parent = row["parent_id"]
    return line


# ---- what a child knows of its group --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """What never changes of a group, with what its parent job is itself a part of."""

    job_id: uuid.UUID
    task: str
    iteration: int
    attempt: int
    kind: str
    parent_fragment: str
    parent_group_id: int | None
    parent_index: int | None


@lru_cache(maxsize=1024)
def facts_of(group_id: int) -> GroupFacts:
    """The facts of a group, read once in a process."""
    columns = ("job_id", "task", "iteration", "attempt", "kind", "job__fragment", "job__group_id", "job__item_index")
    return GroupFacts(*ChildGroup.objects.values_list(*columns).get(pk=group_id))


@lru_cache(maxsize=64)
def _names(group_id: int) -> Mapping[str, Json]:
    names: Mapping[str, Json] = ChildGroupData.objects.values_list("names", flat=True).get(pk=group_id)
    return names


def full_input(input: Json, group_id: int | None, fragment: str) -> Any:
    """What a job's expressions see as its input: for a fragment with the names of its parent."""
    return {**_names(group_id), **input} if fragment and group_id is not None else input


def full_input_of(job: Job) -> Any:
    """The same of a job that may be archived: its parent's names are in the archive with it. Reads `job.data`."""
    if job.archive is None or not job.fragment or job.group_id is None or job.parent_id is None:
        return full_input(job.data.input, job.group_id, job.fragment)
    parent = ArchivedJob.objects.get(pk=job.parent_id)
    return {**parent.group_names(job.group_id), **job.data.input}


def forget() -> None:
    """Read every group anew: for tests, whose databases come and go."""
    facts_of.cache_clear()
    _names.cache_clear()


@dataclass(frozen=True, slots=True)
class Identity:
    """As which run a step is known outside.

    A task on another queue is known as its parent's task: a plugin cannot tell where it runs. An item of a map is a job
    of its own, but its key outlives it, so that an item that is started anew is recognised. `case_id` is the whole job
    that documents belong to.
    """

    job_id: uuid.UUID
    iteration: int
    attempt: int
    key: str
    case_id: uuid.UUID


def identity(job: ClaimedJob, task: str, iteration: int, attempt: int) -> Identity:
    """The identity of a run of a claimed job."""
    if not job.fragment or job.group_id is None:
        return Identity(job.id, iteration, attempt, f"{job.id}:{task}:{iteration}", job.id)
    facts = facts_of(job.group_id)
    key = _key(facts, job.item_index)
    if iteration > 1:
        key += f":{iteration}"
    if facts.kind == Kind.QUEUE:
        return Identity(facts.job_id, facts.iteration, facts.attempt, key, case_of(job))
    return Identity(job.id, iteration, attempt, key, case_of(job))


def case_of(job: ClaimedJob) -> uuid.UUID:
    """The whole job that a job is, or is a part of."""
    job_id, fragment, group_id = job.id, job.fragment, job.group_id
    while fragment and group_id is not None:
        facts = facts_of(group_id)
        job_id, fragment, group_id = facts.job_id, facts.parent_fragment, facts.parent_group_id
    return job_id


def _key(facts: GroupFacts, index: int | None) -> str:
    if facts.parent_fragment and facts.parent_group_id is not None:
        run = _key(facts_of(facts.parent_group_id), facts.parent_index)
    else:
        run = f"{facts.job_id}:{facts.task}:{facts.iteration}"
    return run if facts.kind == Kind.QUEUE else f"{run}:{index}"


# ---- what others see of it ------------------------------------------------------------------------------------------


def progress_of(job_id: uuid.UUID) -> dict[tuple[str, int, int], dict[str, int]]:
    """How far the children of a job are, by (task, iteration, attempt): `{"group", "total", "done", "failed"}`. Two
    queries, whatever their number; one where the job has none."""
    return _progress(ChildGroup.objects.filter(job_id=job_id), Job.objects.all())


def progress_of_job(job: Job) -> dict[tuple[str, int, int], dict[str, int]]:
    """The same of a job that may be archived; a query less there."""
    if job.archive is None:
        return progress_of(job.pk)
    return _progress(job.archive.groups(), ArchivedJob.objects.filter(parent_id=job.pk))


def _progress(of: Iterable[ChildGroup], children: QuerySet[Any]) -> dict[tuple[str, int, int], dict[str, int]]:
    groups = {group.pk: group for group in of}
    found = {key: {"group": key, "total": group.total, "done": 0, "failed": 0} for key, group in sorted(groups.items())}
    if groups:
        ended = children.filter(group_id__in=groups, status__in=(JobStatus.DONE, JobStatus.FAIL, JobStatus.CANC))
        for key, status, count in ended.order_by().values_list("group_id", "status").annotate(Count("pk")):
            found[key]["done" if status == JobStatus.DONE else "failed"] += count
    return {(group.task, group.iteration, group.attempt): found[key] for key, group in groups.items()}
