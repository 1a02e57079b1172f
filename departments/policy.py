"""Who may see and do what with work items: the one place that the views, the API and the queries ask.

| verb     | who                                                                              |
| -------- | -------------------------------------------------------------------------------- |
| view     | members of the item's department, operators, superusers                          |
| comment  | whoever may view                                                                 |
| claim    | members of the department, superusers                                            |
| complete | members and superusers, unless somebody else holds the item                      |
| release  | whoever holds it, the department's leads, superusers                             |
| assign   | the department's leads and superusers; anyone who may claim, to themselves       |
| forward  | whoever holds it, the department's leads, superusers                             |
| respond  | members, operators, superusers, holders of `departments.respond_any` (a system)  |

An item with a quorum is held by nobody: to complete it is to vote, once a person. Whom the constraints of an item keep
out neither claims nor completes it, superusers and leads included: see `constraints`.

What the state of the item forbids is told apart from what the person may not do: the first is a conflict.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q
from django.utils import timezone

from workflows.policy import may_operate

from .constraints import barred_from
from .models import Membership, WorkItem, WorkItemQuerySet, WorkItemStatus

VERBS = ("view", "comment", "claim", "complete", "release", "assign", "forward", "respond")

WITHDRAWN_BECAUSE = {
    "timeout": "its time ran out",
    "cancelled": "the job was cancelled",
    "loop": "the job went back to an earlier step",
    "skipped": "an operator went on without it",
}
"""What the engine's reasons mean to people."""

NOT_VISIBLE = "not_visible"
NOT_ALLOWED = "not_allowed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a person may do a verb to an item now.

    `reason` is a sentence for that person, empty where it is allowed. `code` is `not_visible`, `not_allowed`, or the
    code of the conflict (see `ItemConflict`).
    """

    allowed: bool
    reason: str = ""
    code: str = ""

    def __bool__(self) -> bool:
        return self.allowed


ALLOWED = Verdict(True)


class Standing:
    """What a person is in this house: read once, asked as often as wanted.

    `roles` maps department ids to `member` or `lead`. Rights that few requests ask for are read when first asked.
    """

    def __init__(self, user: Any) -> None:
        self.user = user
        self.user_id: int | None = user.pk if getattr(user, "is_active", False) else None

    @cached_property
    def roles(self) -> dict[int, str]:
        """Department id to role."""
        if self.user_id is None:
            return {}
        return dict(Membership.objects.filter(user_id=self.user_id).values_list("department_id", "role"))

    @property
    def is_superuser(self) -> bool:
        return self.user_id is not None and bool(self.user.is_superuser)

    @cached_property
    def is_operator(self) -> bool:
        """True for those who repair jobs, and therefore see all of them."""
        return self.user_id is not None and may_operate(self.user)

    @cached_property
    def responds_any(self) -> bool:
        """True for a system that answers external tasks of every department."""
        return self.user_id is not None and bool(self.user.has_perm("departments.respond_any"))

    def is_member(self, department_id: int | None) -> bool:
        return department_id is not None and department_id in self.roles

    def is_lead(self, department_id: int | None) -> bool:
        return department_id is not None and self.roles.get(department_id) == Membership.Role.LEAD

    def sees(self, item: WorkItem) -> bool:
        return self.is_member(item.department_id) or self.is_superuser or self.is_operator

    def responds(self, item: WorkItem) -> bool:
        """True where this person, or system, may answer the external task of this item."""
        return self.sees(item) or self.responds_any


def standing(user: Any) -> Standing:
    """The standing of a user, read once and kept on the user object, which lives as long as its request."""
    kept = getattr(user, "_standing", None)
    if kept is None:
        kept = user._standing = Standing(user)
    return kept


def standing_now(user: Any) -> Standing:
    """The standing of a user as the database has it now: for use inside a transaction that writes."""
    return Standing(get_user_model().objects.filter(pk=user.pk).first() or user) if user.pk else Standing(user)


def visible_items(user: Any) -> WorkItemQuerySet:
    """The work items that a user may see, as one plain condition on the department."""
    person = standing(user)
    if person.is_superuser or person.is_operator:
        return WorkItem.objects.all()
    return WorkItem.objects.filter(department_id__in=list(person.roles))


def visible_job_condition(user: Any) -> Q:
    """Jobs that a user may see because one of their departments was asked about them."""
    roles = standing(user).roles
    if not roles:
        return Q(pk__in=[])
    return Q(pk__in=WorkItem.objects.filter(department_id__in=list(roles)).values("job_id"))


def verdict(user: Any, item: WorkItem, verb: str) -> Verdict:
    """May `user` do `verb` to `item` now, and if not, why not and who can.

    Reads nothing per item where `item` came with its department, assignee and decider (`select_related`).
    """
    return judge(standing(user), item, verb)


def judge(person: Standing, item: WorkItem, verb: str) -> Verdict:
    """`verdict` for a standing that was read already."""
    if verb not in VERBS:
        raise ValueError(f"Unknown verb: {verb}")
    if verb == "respond":
        return _respond(person, item)
    if not person.sees(item):
        return Verdict(False, "There is no such work item.", NOT_VISIBLE)
    if verb in ("view", "comment"):
        return ALLOWED
    rules = (_of_person, _of_state, _of_constraints)
    refusals = (rule(person, item, verb) for rule in rules)
    return next((refusal for refusal in refusals if refusal is not None), ALLOWED)


def _of_person(person: Standing, item: WorkItem, verb: str) -> Verdict | None:
    """The refusal that has to do with who asks, or None."""
    leads = f"a lead of {_department(item)}"
    if person.is_superuser or person.is_lead(item.department_id):
        return None
    if not person.is_member(item.department_id):
        return Verdict(False, f"Only members of {_department(item)} can do this.", NOT_ALLOWED)
    if verb == "assign":
        return Verdict(False, f"Only {leads} can hand it to somebody else.", NOT_ALLOWED)
    if verb in ("claim", "complete") or not _waits_for_person(item) or item.assignee_id == person.user_id:
        return None
    if item.assignee_id is not None:
        return Verdict(False, f"{item.assignee} holds it: only they or {leads} can do this.", NOT_ALLOWED)
    if verb != "forward":
        return None
    return Verdict(False, f"Ask {leads}." if item.quorum else f"Claim it first, or ask {leads}.", NOT_ALLOWED)


def _waits_for_person(item: WorkItem) -> bool:
    return item.is_active and item.kind == WorkItem.Kind.HUMAN


def _of_state(person: Standing, item: WorkItem, verb: str) -> Verdict | None:
    """The refusal that has to do with where the item stands, or None."""
    if item.kind == WorkItem.Kind.EXTERNAL:
        return Verdict(False, "A system answers this request; it is not decided here.", "external")
    if not item.is_active:
        return Verdict(False, ended(item), _ended_code(item))
    if item.quorum:
        return _of_quorum(person, item, verb)
    if verb == "release" and item.assignee_id is None:
        return Verdict(False, "Nobody holds it.", "not_claimed")
    if verb in ("claim", "complete") and item.assignee_id not in (None, person.user_id):
        return Verdict(False, held(item), "claimed")
    return None


def _of_quorum(person: Standing, item: WorkItem, verb: str) -> Verdict | None:
    """The refusal that has to do with several people deciding the item together, or None."""
    if verb in ("claim", "assign", "release"):
        return Verdict(False, "Several people decide this together, so nobody holds it: vote on it.", "quorum")
    if verb == "complete":
        vote = next((vote for vote in item.votes.all() if vote.voter_id == person.user_id), None)
        if vote is not None:
            return Verdict(False, f"You voted “{vote.outcome}” on {moment(vote.at)}. Others vote now.", "voted")
    return None


def _of_constraints(person: Standing, item: WorkItem, verb: str) -> Verdict | None:
    """The refusal that has to do with what the person did to the job before, or None."""
    if verb not in ("claim", "complete") or person.user_id is None:
        return None
    reason = barred_from(item).get(person.user_id)
    return None if reason is None else Verdict(False, reason, NOT_ALLOWED)


def _respond(person: Standing, item: WorkItem) -> Verdict:
    """May this person, or system, answer the external task of this item."""
    if not person.responds(item):
        return Verdict(False, "There is no such work item.", NOT_VISIBLE)
    if item.kind != WorkItem.Kind.EXTERNAL:
        return Verdict(False, "A person decides this task: complete its work item instead.", "human")
    if not item.is_active:
        return Verdict(False, ended(item), _ended_code(item))
    return ALLOWED


def held(item: WorkItem) -> str:
    """Who holds a claimed item, since when, and who can change that."""
    since = f" since {moment(item.claimed_at)}" if item.claimed_at else ""
    return f"{item.assignee} holds it{since}. They or a lead of {_department(item)} can release it."


def ended(item: WorkItem) -> str:
    """Who ended an item, when and how."""
    if item.status == WorkItemStatus.DONE:
        return f"{item.decided_by or 'A system'} answered “{item.outcome}” on {moment(item.decided_at)}."
    word = "skipped" if item.status == WorkItemStatus.SKIPPED else "withdrawn"
    when = f" on {moment(item.withdrawn_at)}" if item.withdrawn_at else ""
    why = WITHDRAWN_BECAUSE.get(item.withdrawn_reason, item.withdrawn_reason)
    return f"It was {word}{when}{': ' + why if why else ''}."


def moment(at: datetime | None) -> str:
    """A time as people read it, with its zone."""
    return timezone.localtime(at).strftime("%-d %b %Y at %H:%M:%S %Z") if at else "an unknown day"


def _ended_code(item: WorkItem) -> str:
    return "decided" if item.status == WorkItemStatus.DONE else str(item.status)


def _department(item: WorkItem) -> str:
    return item.department.name if item.department else f"the queue {item.queue}"
