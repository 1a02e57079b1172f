"""What people and systems do to work items: one function a verb, and each verb only here.

Each is one transaction of the same shape. The job's row is locked first (the order everywhere is job, then item), so
what is read after it stays true until the commit; then come the checks, the writes that go with the verb, and one
conditional UPDATE of the item. Where that changes no row somebody else was first, and everything is rolled back.

Whoever is refused because of the item's state is told who, when and what (`ItemConflict`).
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from workflows.engine.events import Responded
from workflows.engine.faults import Fault
from workflows.engine.state import JobState, Waiting
from workflows.execution.exceptions import JobArchived, JobFinished, JobNotFound
from workflows.execution.respond import add_history, lock_job, signal_job
from workflows.models import FINISHED, Job, JobData, find_job
from workflows.policy import visible_archived_jobs, visible_jobs

from . import answers, quorum
from .constraints import barred_from
from .exceptions import InvalidAnswer, ItemConflict, NotAllowed, NotVisible, VersionMismatch
from .models import (
    ACTIVE,
    Comment,
    Department,
    DepartmentResponse,
    Membership,
    Vote,
    WorkItem,
    WorkItemQuerySet,
    WorkItemStatus,
)
from .policy import NOT_ALLOWED, NOT_VISIBLE, Standing, Verdict, ended, judge, standing_now


@transaction.atomic
def claim(item_id: UUID, user: Any, *, version: int | None = None) -> WorkItem:
    """Take an item. Claiming what one already holds changes nothing.

    `version` is the one the person saw, where they say it. Returns the item. Raises NotVisible, NotAllowed,
    ItemConflict (who holds it, since when) and VersionMismatch.
    """
    item = _enter(item_id, user, "claim", version)
    if item.assignee_id == user.pk:
        return item
    _change(item, status=WorkItemStatus.CLAIMED, assignee_id=user.pk, claimed_at=timezone.now())
    _note(item, "item.claimed", user)
    return item


@transaction.atomic
def release(item_id: UUID, user: Any, *, version: int | None = None) -> WorkItem:
    """Give an item back to its department: by whoever holds it, or by a lead. Raises as `claim` does."""
    item = _enter(item_id, user, "release", version)
    held_by = item.assignee
    _change(item, status=WorkItemStatus.OPEN, assignee_id=None, claimed_at=None)
    _note(item, "item.released", user, held_by=str(held_by))
    return item


@transaction.atomic
def assign(item_id: UUID, user: Any, assignee: Any, *, version: int | None = None) -> WorkItem:
    """Hand an item to a member of its department: by a lead, or by anyone to themselves (which is `claim`).

    `assignee` is a user or a username. Raises as `claim` does, and InvalidAnswer where the person named is not an
    active member of the department.
    """
    if assignee in (user, user.get_username()):
        return claim(item_id, user, version=version)
    item = _enter(item_id, user, "assign", version)
    person = _member(item, assignee)
    if person.pk in barred_from(item):
        detail = f"“{person.get_username()}” may not decide it: they had to do with this request before"
        raise InvalidAnswer([Fault("/assignee", "barred", detail)])
    _change(item, status=WorkItemStatus.CLAIMED, assignee_id=person.pk, claimed_at=timezone.now())
    _note(item, "item.assigned", user, assignee=person.get_username())
    return item


@transaction.atomic
def forward(
    item_id: UUID, user: Any, department: Department | str, *, comment: str = "", version: int | None = None
) -> WorkItem:
    """Send an item to another department, where it is open again.

    `department` is a department or its code. Raises as `claim` does, and InvalidAnswer where there is no such
    department or the item is there already.
    """
    item = _enter(item_id, user, "forward", version)
    faults = answers.comment_faults(comment, at="/comment")
    code = department.code if isinstance(department, Department) else str(department)
    target = Department.objects.filter(code=code).first() if answers.can_be_stored(code) else None
    if target is None:
        faults.append(Fault("/department", "unknown_department", f"there is no department “{code[:100]}”"))
    elif target.pk == item.department_id:
        faults.append(Fault("/department", "same_department", f"it is with {target.name} already"))
    elif _nobody_may(item, target):
        detail = f"everybody in {target.name} had to do with this request before, so nobody there may decide it"
        faults.append(Fault("/department", "barred", detail))
    if faults or target is None:
        raise InvalidAnswer(faults)
    source = item.department
    _change(item, status=WorkItemStatus.OPEN, assignee_id=None, claimed_at=None, department_id=target.pk)
    if comment.strip():
        Comment.objects.create(item=item, author_id=user.pk, text=comment.strip())
    _note(item, "item.forwarded", user, source=source.code if source else "", target=target.code, comment=comment)
    return item


@transaction.atomic
def comment(item_id: UUID, user: Any, text: str) -> Comment:
    """Say something about an item, decided or not. Raises NotVisible, and InvalidAnswer where there is no text.

    The item's version stays: a remark does not outdate the form that a colleague is filling in.
    """
    item = _enter(item_id, user, "comment", None)
    answers.require_comment(text)
    row = Comment.objects.create(item=item, author_id=user.pk, text=text.strip())
    _note(item, "item.commented", user, comment=row.text)
    return row


@transaction.atomic
def complete(
    item_id: UUID,
    user: Any,
    outcome: str,
    *,
    data: dict[str, Any] | None = None,
    comment: str = "",
    version: int | None = None,
) -> WorkItem:
    """Decide an item: of any number at once, one takes effect.

    `outcome` becomes the outcome of the task and `data`, the fields of the form, its output; the comment is kept with
    the item and in the history. Where several decide, this is one person's vote, and the item is decided as soon as
    the votes say so. Returns the item as it is then. Raises as `claim` does, and InvalidAnswer with every fault of the
    outcome, the data and the comment.
    """
    item = _enter(item_id, user, "complete", version)
    answers.require_decision(item, outcome, data, comment)
    output = dict(data or {})
    if item.quorum:
        _vote(item, user, outcome, output, comment.strip())
    else:
        _answer(item, user, outcome, output, comment)
    return item


def _vote(item: WorkItem, user: Any, outcome: str, data: dict[str, Any], comment: str) -> None:
    """One more vote, and the decision where it is the deciding one: with the fields of the votes that carried it."""
    at = timezone.now()
    Vote.objects.create(item=item, voter_id=user.pk, outcome=outcome, data=data, comment=comment, at=at)
    _note(item, "item.voted", user, outcome=outcome, comment=comment)
    votes = list(Vote.objects.filter(item=item).select_related("voter").order_by("id"))
    decided = quorum.decision(quorum.Quorum.read(item.quorum or {}), item.outcomes, [vote.outcome for vote in votes])
    if decided is None:
        _change(item)
        return
    output: dict[str, Any] = {}
    for vote in votes:
        if vote.outcome == decided:
            output |= vote.data or {}
    _answer(item, user, decided, {**output, "votes": [quorum.shown(vote) for vote in votes]}, comment)


def _answer(item: WorkItem, user: Any, outcome: str, output: dict[str, Any], comment: str) -> None:
    """Tell the job, close the item, and keep the response."""
    _signal(item, user, "item.decided", outcome, output, comment=comment.strip())
    _decide(item, user, outcome, output, comment.strip())
    DepartmentResponse.objects.create(
        job_id=item.job_id,
        work_item=item,
        task=item.task,
        iteration=item.iteration,
        status=outcome,
        data=output,
        received_by_id=user.pk,
        received_at=item.decided_at or timezone.now(),
    )


@transaction.atomic
def respond_external(
    job_id: UUID,
    task: str,
    user: Any,
    *,
    status: str,
    data: Any,
    response_id: str | None = None,
    format: str = "json",
    body: str = "",
) -> tuple[DepartmentResponse, bool]:
    """Answer an external task, or a plugin's step that waits for an answer from outside.

    `status` becomes the task's outcome and `data` its output; `format` and `body` keep how the answer was written.
    Returns the response and whether it is new: one with a `response_id` seen before changes nothing. Raises NotVisible
    (no such job, or not for this user), NotAllowed, InvalidAnswer, and ItemConflict where the task waits for no answer.
    """
    try:
        job = lock_job(job_id)
    except JobArchived:
        job = find_job(job_id)  # it takes no answer, but a repeated one is known, and who may answer is told why
    except JobNotFound:
        raise NotVisible("There is no such job.") from None
    item = _named().filter(job=job, task=task).order_by("-iteration", "-id").first()
    _require_responder(standing_now(user), job, item)
    answers.require_response_id(response_id)
    repeated = _repeated(job, task, item, response_id)
    if repeated is not None:
        return repeated, False
    iteration = _waiting_iteration(job, task, item)
    active = item if item is not None and item.is_active else None
    answers.require_response(active, status, data)
    now = timezone.now()
    response = DepartmentResponse.objects.create(
        job=job,
        work_item=active,
        task=task,
        iteration=iteration,
        status=status,
        data=data,
        format=format,
        body=body,
        response_id=response_id,
        received_by_id=user.pk,
        received_at=now,
    )
    facts = {"outcome": status, "response": response.pk, **(_facts(active) if active else {})}
    actor = user.get_username()
    event = Responded(task, iteration, status, data, actor)
    signal_job(job.pk, event, history_event="task.responded", actor=actor, task=task, iteration=iteration, data=facts)
    if active is not None:
        _decide(active, user, status, data)
    return response, True


def _require_responder(person: Standing, job: Job, item: WorkItem | None) -> None:
    """NotAllowed for those who see the job but answer nothing here, NotVisible for all others."""
    if item is not None and person.is_member(item.department_id):
        return
    if person.is_superuser or person.is_operator or person.responds_any:
        return
    seen = visible_jobs(person.user) if job.archive is None else visible_archived_jobs(person.user)
    if seen.filter(pk=job.pk).exists():
        who = f"members of {item.department}" if item is not None and item.department else "operators"
        raise NotAllowed(f"Only {who} and systems that may answer every task can answer this one.")
    raise NotVisible("There is no such job.")


def _repeated(job: Job, task: str, item: WorkItem | None, response_id: str | None) -> DepartmentResponse | None:
    """The response that came with this key before. ItemConflict where it answered another task."""
    if response_id is None:
        return None
    found = DepartmentResponse.objects.filter(job=job, response_id=response_id).first()
    if found is not None and found.task != task:
        detail = f"The response_id “{response_id}” was used to answer the task “{found.task}”."
        raise ItemConflict(item, detail, "response_id_taken")
    return found


def _waiting_iteration(job: Job, task: str, item: WorkItem | None) -> int:
    """The iteration of the task that waits for an answer from outside. ItemConflict where none does."""
    if job.status in FINISHED:
        raise ItemConflict(item, str(JobFinished(job)), "job_finished")
    if item is not None and item.is_active:
        if item.kind == WorkItem.Kind.HUMAN:
            raise ItemConflict(item, "A person decides this task: complete its work item instead.", "human")
        return item.iteration
    waiting = _waiting_step(job, task)
    if waiting is None:
        detail = ended(item) if item is not None else ""
        raise ItemConflict(item, f"The task “{task}” waits for no answer. {detail}".strip(), "not_waiting")
    return waiting.iteration


def _waiting_step(job: Job, task: str) -> Waiting | None:
    """The plugin's step of this name that waits, unless its answer came already and no worker has seen it yet."""
    data = JobData.objects.filter(job=job, state__isnull=False).first()
    if data is None or data.state is None:
        return None
    for waiting in JobState.from_json(data.state, data.input).waiting:
        if waiting.task == task and waiting.kind == "plugin":
            same = DepartmentResponse.objects.filter(job=job, task=task, iteration=waiting.iteration)
            answered = same.filter(received_at__gte=waiting.since) if waiting.since else same
            return None if answered.exists() else waiting
    return None


# ---- what the verbs share -------------------------------------------------------------------------------------------


def _enter(item_id: UUID, user: Any, verb: str, version: int | None) -> WorkItem:
    """The item, read under the job's lock, once its person, read now, is found allowed to do the verb."""
    job_id = WorkItem.objects.filter(pk=item_id).values_list("job_id", flat=True).first()
    if job_id is None:
        raise NotVisible
    archived = None
    try:
        lock_job(job_id)
    except JobArchived as error:
        archived = error
    item = read_item(item_id)
    answer = judge(standing_now(user), item, verb)
    if not answer:
        raise _refusal(item, answer)
    if archived is not None:
        raise ItemConflict(item, str(archived), "job_archived")
    if version is not None and not _is_seen(item, version):
        raise VersionMismatch(item, version)
    return item


def _is_seen(item: WorkItem, version: int) -> bool:
    """Whether that version is the item as it is now. The vote of a colleague does not outdate one's own."""
    if version == item.version or not item.quorum:
        return version == item.version
    return item.version - item.votes.count() <= version < item.version


def _nobody_may(item: WorkItem, department: Department) -> bool:
    """Whether the department has people, and the item's constraints keep out every one of them."""
    barred = barred_from(item)
    if not barred:
        return False
    people = department.memberships.filter(user__is_active=True)
    return people.exists() and not people.exclude(user_id__in=barred).exists()


def read_item(item_id: UUID) -> WorkItem:
    """The item as it is now, with the people and the department that a refusal names."""
    return _named().get(pk=item_id)


def _named() -> WorkItemQuerySet:
    """Items with the people and the department that a refusal names."""
    return WorkItem.objects.select_related("department", "assignee", "decided_by")


def _refusal(item: WorkItem, answer: Verdict) -> Exception:
    """A verdict as the exception that the doors know how to show."""
    if answer.code == NOT_VISIBLE:
        return NotVisible()
    if answer.code == NOT_ALLOWED:
        return NotAllowed(answer.reason)
    return ItemConflict(item, answer.reason, answer.code)


def _change(item: WorkItem, **values: Any) -> None:
    """The one conditional UPDATE. No row changed: somebody was first, and the transaction is rolled back."""
    changed = WorkItem.objects.filter(pk=item.pk, version=item.version, status__in=ACTIVE).update(
        version=F("version") + 1, **values
    )
    if not changed:
        fresh = read_item(item.pk)
        detail = f"Somebody else changed it first: it is {fresh.get_status_display().lower()} now."
        raise ItemConflict(fresh, detail if fresh.is_active else ended(fresh), "decided")
    for name, value in {**values, "version": item.version + 1}.items():
        setattr(item, name, value)


def _decide(item: WorkItem, user: Any, outcome: str, output: Any, comment: str = "") -> None:
    _change(
        item,
        status=WorkItemStatus.DONE,
        decided_by_id=user.pk,
        decided_at=timezone.now(),
        outcome=outcome,
        answer=output,
        comment=comment,
    )


def _signal(item: WorkItem, user: Any, history_event: str, outcome: str, output: Any, **data: Any) -> None:
    """Tell the job: its row is locked, the fact is written, and it wakes when this transaction commits."""
    event = Responded(item.task, item.iteration, outcome, output, user.get_username())
    try:
        signal_job(
            item.job_id,
            event,
            history_event=history_event,
            actor=user.get_username(),
            task=item.task,
            iteration=item.iteration,
            data={"outcome": outcome, **_facts(item), **data},
        )
    except JobFinished as error:
        raise ItemConflict(item, str(error), "job_finished") from error


def _note(item: WorkItem, event: str, user: Any, **data: Any) -> None:
    """One row of the job's history, in the same transaction."""
    actor = user.get_username()
    facts = {**_facts(item), **data}
    add_history(item.job_id, event, actor=actor, task=item.task, iteration=item.iteration, data=facts)


def _facts(item: WorkItem) -> dict[str, Any]:
    return {"item": str(item.pk), "department": item.department.code if item.department else ""}


def _member(item: WorkItem, assignee: Any) -> Any:
    """The active member of the item's department that was named. InvalidAnswer where there is none."""
    name = assignee if isinstance(assignee, str) else assignee.get_username()
    members = Membership.objects.filter(department=item.department).values("user_id")
    people = get_user_model().objects.filter(is_active=True, pk__in=members)
    person = people.filter(username=name).first() if answers.can_be_stored(name) else None
    if person is None:
        detail = f"“{name[:150]}” is not a member of {item.department}"
        raise InvalidAnswer([Fault("/assignee", "unknown_member", detail)])
    return person
