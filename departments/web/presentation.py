"""How items are said and shown: states, outcomes, rows. Every state has a word and an icon of its own shape."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from departments.models import Department, WorkItem, WorkItemStatus
from departments.quorum import tally

from .bands import DECIDED, EXACT, Band, Calendar, Due, due_chip, shortly
from .choice import Choice
from .listing import CAP

APPROVING = frozenset({"approve", "approved", "accept", "accepted", "confirm", "ok", "yes"})
REJECTING = frozenset({"reject", "rejected", "decline", "declined", "refuse", "refused", "deny", "no"})
RETURNING = frozenset({"return", "returned", "send_back", "revise", "rework", "request_information"})
PAST = {
    "approve": "Approved",
    "accept": "Accepted",
    "confirm": "Confirmed",
    "reject": "Rejected",
    "decline": "Declined",
    "refuse": "Refused",
    "deny": "Denied",
    "return": "Returned",
}


def words(name: str) -> str:
    """A name of a definition as words: "budget_owner" is "Budget owner"."""
    text = name.replace("_", " ").replace("-", " ").replace(".", " ").strip()
    return text[:1].upper() + text[1:]


def capped(number: int) -> str:
    """A count that stopped at the cap: "1,000+"; it is never a wrong number."""
    return f"{CAP:,}+" if number > CAP else f"{number:,}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One button of the decision bar. `tone` is approve, reject, return or plain; `key` the digit that chooses it."""

    value: str
    label: str
    tone: str
    icon: str
    key: int
    primary: bool
    needs_comment: bool


def outcomes_of(item: WorkItem) -> list[Outcome]:
    """The outcomes in the order of the definition; the first is the primary one."""
    buttons = []
    for number, value in enumerate(item.outcomes, start=1):
        tone = tone_of(value)
        icon = {"approve": "tick", "reject": "cross", "return": "return"}.get(tone, "dot")
        buttons.append(Outcome(value, words(value), tone, icon, number, number == 1, needs_comment(value)))
    return buttons


def tone_of(outcome: str | None) -> str:
    """approve, reject or return where the word is known; plain otherwise."""
    word = (outcome or "").lower()
    if word in APPROVING:
        return "approve"
    if word in REJECTING:
        return "reject"
    return "return" if word in RETURNING else "plain"


def needs_comment(outcome: str) -> bool:
    """A refusal or a return says why: whoever gets it back must know what to do."""
    return tone_of(outcome) in ("reject", "return")


def past(outcome: str | None) -> str:
    """An outcome as what was done: "Approved"; a word of the definition's own is quoted."""
    return PAST.get((outcome or "").lower()) or f"Answered “{words(outcome or '')}” for"


@dataclass(frozen=True, slots=True)
class State:
    """The state chip."""

    icon: str
    word: str
    tone: str


def state_of(item: WorkItem, user: Any) -> State:
    """Where an item stands, as seen by one person."""
    if item.status == WorkItemStatus.OPEN:
        return State("open", "Unclaimed", "unclaimed")
    if item.status == WorkItemStatus.CLAIMED:
        return (
            State("mine", "Yours", "mine") if item.assignee_id == user.pk else State("claimed", "Claimed", "progress")
        )
    if item.status == WorkItemStatus.DONE:
        tone = tone_of(item.outcome)
        icon = {"reject": "cross", "return": "return"}.get(tone, "tick")
        word = PAST.get((item.outcome or "").lower()) or words(item.outcome or "done")
        return State(icon, word, {"plain": "done", "approve": "approved", "reject": "rejected"}.get(tone, "returned"))
    return State("ended", item.get_status_display(), "ended")


def holder_of(item: WorkItem, user: Any, now: datetime) -> str:
    """What follows the word of the state: who, where it is somebody else, and since when."""
    if item.status == WorkItemStatus.OPEN:
        return ""
    if item.status == WorkItemStatus.CLAIMED:
        name = "" if item.assignee_id == user.pk else str(item.assignee)
        return " ".join(part for part in (name, shortly(item.claimed_at, now) if item.claimed_at else "") if part)
    return shortly(item.decided_at, now) if item.decided_at else ""


def priority_of(item: WorkItem) -> State | None:
    """A chip for what is out of the ordinary; None for a usual priority."""
    if item.priority >= 80:
        return State("urgent", "Urgent", "escalated")
    if item.priority >= 60:
        return State("high", "High", "escalated")
    return State("low", "Low", "ended") if item.priority <= 20 else None


def marks_of(item: WorkItem, now: datetime, cast: int) -> list[State]:
    """What is out of the ordinary with an open item: escalated, to be looked at again, or decided by several."""
    if not item.is_active:
        return []
    marks = []
    if item.escalated_at is not None:
        marks.append(State("warning", "Escalated", "escalated"))
    if item.follow_up_at is not None and item.follow_up_at <= now:
        marks.append(State("due", "Follow up", "progress"))
    if item.quorum:
        marks.append(State("tick", f"{cast} of {item.quorum['of']} votes", "progress"))
    return marks


def quorum_sentence(item: WorkItem) -> str:
    """How a vote stands, in a sentence; empty where one person decides. Reads the votes."""
    counted = tally(item)
    if counted is None:
        return ""
    rule = f"{counted['need']} of {counted['of']} votes decide this"
    if counted["veto"] and item.outcomes:
        rule += f"; one vote other than “{words(item.outcomes[0])}” is enough to decide against it"
    cast = ", ".join(f"{words(outcome)} {number}" for outcome, number in counted["counts"].items())
    return f"{rule}. {f'So far: {cast}.' if cast else 'Nobody has voted yet.'}"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the list."""

    item: WorkItem
    url: str
    state: State
    due: Due | None
    where: str
    holder: str
    priority: State | None
    marks: list[State]

    @property
    def documents(self) -> int:
        return int(getattr(self.item, "document_count", 0))


@dataclass(slots=True)
class BandRows:
    """A heading and its rows. `continued` where the heading stands on the page before."""

    band: Band
    count: str = ""
    continued: bool = False
    rows: list[Row] = field(default_factory=list)


class RowMaker:
    """Makes rows for one person, one list, one moment."""

    def __init__(self, user: Any, choice: Choice, departments: Iterable[Department], calendar: Calendar) -> None:
        self.user = user
        self.choice = choice
        self.names = {department.pk: department.name for department in departments}
        self.calendar = calendar

    def row(self, item: WorkItem) -> Row:
        """One row. Reads nothing: the item came with all of it."""
        now = self.calendar.now
        # In a department's own list its name would be the same word fifty times.
        name = "" if self.choice.department and not self.choice.mine else self.names.get(item.department_id, "")
        return Row(
            item=item,
            url=self.choice.url(item=item.pk),
            state=state_of(item, self.user),
            due=due_chip(item.due_at, item.created_at, now) if item.is_active else None,
            where=" · ".join(part for part in (name, words(item.task), words(item.workflow)) if part),
            holder=holder_of(item, self.user, now),
            priority=priority_of(item),
            marks=marks_of(item, now, int(getattr(item, "vote_count", 0))),
        )

    def bands(self, items: list[WorkItem], counted: dict[str, int], before: Band | None = None) -> list[BandRows]:
        """The rows under their headings; `before` is the heading that the page before ended in."""
        groups: list[BandRows] = []
        for item in items:
            band = self.band(item)
            if not groups or groups[-1].band != band:
                count = capped(counted[band.name]) if band.name in counted else ""
                groups.append(BandRows(band, count, continued=not groups and band == before))
            groups[-1].rows.append(self.row(item))
        return groups

    def band(self, item: WorkItem) -> Band:
        """The heading of one item."""
        if self.choice.done:
            return DECIDED
        if getattr(item, "_exact", 1) == 0 and self.choice.search:
            return EXACT
        return self.calendar.band(item.due_at)
