"""What the templates are given: the whole page, the list, one item. Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone

from departments.exceptions import NotVisible
from departments.models import Department, WorkItem, WorkItemStatus
from departments.policy import verdict
from workflows.execution.definitions import get_definition
from workflows.execution.exceptions import DefinitionNotFound
from workflows.models import ArchivedJob, Document, Job

from . import bands, changes, listing
from .choice import Choice
from .facts import facts_of
from .fields import Field, fields_of, flat
from .presentation import (
    RowMaker,
    capped,
    holder_of,
    marks_of,
    needs_comment,
    outcomes_of,
    past,
    priority_of,
    quorum_sentence,
    state_of,
    words,
)
from .timeline import timeline_of


@dataclass(slots=True)
class Typed:
    """What a person has typed and not yet decided with. It comes back with every refusal."""

    fields: list[Field] | None = None
    comment: str = ""
    errors: list[tuple[str, str]] = field(default_factory=list)
    comment_error: str = ""


@dataclass(slots=True)
class Notice:
    """Something the person must be told above the item: `tone` is conflict or error."""

    tone: str
    text: str
    kept: str = ""


class Screen:
    """One person, one choice, one moment."""

    def __init__(self, request: HttpRequest, choice: Choice | None = None) -> None:
        self.request = request
        self.user: Any = request.user
        self.choice = Choice.read(request.GET) if choice is None else choice  # type: ignore[arg-type]
        self.now = timezone.now()
        self.calendar = bands.Calendar.at(self.now)
        self._departments: list[Department] | None = None

    @property
    def departments(self) -> list[Department]:
        """The departments of the rail. Read once."""
        if self._departments is None:
            self._departments = listing.my_departments(self.user, self.now)
        return self._departments

    @property
    def chosen(self) -> Department | None:
        """The department that the choice names, if it is one of mine."""
        return next((each for each in self.departments if each.code == self.choice.department), None)

    @property
    def scope(self) -> listing.Scope:
        """The departments and the choice that the queries take."""
        if self.choice.department:
            return listing.Scope(self.user, (self.chosen.pk,) if self.chosen else (), self.choice)
        return listing.Scope(self.user, tuple(each.pk for each in self.departments), self.choice)

    def rows(self, maker_for: Iterable[Department] | None = None) -> RowMaker:
        """What makes the rows of this list."""
        return RowMaker(self.user, self.choice, self.departments if maker_for is None else maker_for, self.calendar)

    def rail(self) -> dict[str, Any]:
        """The left rail, with its capped counts. Two queries."""
        counted = listing.counts(self.scope, self.calendar.edges())
        everything = not (self.choice.department or self.choice.mine or self.choice.done)
        return {
            "choice": self.choice,
            "chosen": self.chosen,
            "everything": everything,
            "counts": counted,
            "mine_count": capped(counted.mine),
            "done_count": capped(counted.done),
            "rail": [
                {
                    "department": each,
                    "count": capped(each.open_count),  # type: ignore[attr-defined]
                    "late": each.has_late,  # type: ignore[attr-defined]
                    "current": each.code == self.choice.department and not self.choice.mine,
                    "url": Choice(department=each.code).url(),
                }
                for each in self.departments
            ],
            "mine_url": Choice(mine=True).url(),
            "done_url": Choice(done=True).url(),
            "all_url": Choice().url(),
            "clear_url": Choice(self.choice.department, self.choice.mine).url(),
            "unclaimed_hint": self._hint(),
        }

    def _hint(self) -> str:
        """Where there is work, for whoever holds none."""
        busiest = max(self.departments, key=lambda each: each.open_count, default=None)  # type: ignore[attr-defined]
        if busiest is None or not busiest.open_count:  # type: ignore[attr-defined]
            return ""
        return f"{capped(busiest.open_count)} open in {busiest.name}."  # type: ignore[attr-defined]

    def list(self, after: listing.Cursor | None, counted: dict[str, int]) -> dict[str, Any]:
        """One page of the list. One query."""
        page = listing.page(self.scope, after)
        maker = self.rows()
        before = None
        if after is not None and not after.exact:
            before = bands.DECIDED if self.choice.done else self.calendar.band(after.at)
        return {
            "choice": self.choice,
            "bands": maker.bands(page.items, counted, before),
            "after": page.after.encode() if page.after else "",
            "more_url": self.choice.url(after=page.after.encode()) if page.after else "",
            "paged": after is not None,
            "since": changes.Since.now(self.now).encode(),
        }

    def page(self, after: listing.Cursor | None, pane: dict[str, Any] | None) -> dict[str, Any]:
        """The whole page: rail, list, and the item's pane where one is open."""
        rail = self.rail()
        listed = self.list(after, rail["counts"].bands)
        return {**rail, **listed, **(pane or {}), "title": self.title(), "now": self.now}

    def title(self) -> str:
        """The heading of the list."""
        if self.choice.done:
            return "Done today"
        name = self.chosen.name if self.chosen else ""
        if self.choice.mine:
            return f"Mine in {name}" if name else "Mine"
        return name or ("Inbox" if not self.choice.department else "No such department")

    # ---- one item -----------------------------------------------------------------------------------------------

    def find(self, item_id: UUID) -> Any:
        """The item, with all that is said about it. NotVisible where there is none, or not for this person."""
        named = WorkItem.objects.select_related("department", "assignee", "decided_by")
        # The item stays when its job is archived: it is in one of the two tables.
        jobs, archived = (model.objects.filter(pk=OuterRef("job_id")) for model in (Job, ArchivedJob))
        versions = Coalesce(Subquery(jobs.values("version")), Subquery(archived.values("version")))
        item = named.annotate(job_version=versions, job_archived=Exists(archived)).filter(pk=item_id).first()
        if item is None or not verdict(self.user, item, "view"):
            raise NotVisible
        return item

    def pane(self, item: Any, typed: Typed | None = None, notice: Notice | None = None) -> dict[str, Any]:
        """One item as its pane shows it."""
        typed = typed or Typed()
        decide = verdict(self.user, item, "complete")
        claim, release = verdict(self.user, item, "claim"), verdict(self.user, item, "release")
        fields = typed.fields if typed.fields is not None else fields_of(item.form)
        lines, cut = timeline_of(item.job_id, self.now, archived=item.job_archived)
        buttons = outcomes_of(item) if item.is_active else []
        return {
            "choice": self.choice,
            "item": item,
            "pane_url": self.choice.url(item=item.pk),
            "list_url": self.choice.url(),
            "state": state_of(item, self.user),
            "due": bands.due_chip(item.due_at, item.created_at, self.now) if item.is_active else None,
            "priority": priority_of(item),
            "holder": holder_of(item, self.user, self.now),
            "marks": marks_of(item, self.now, item.votes.count() if item.quorum else 0),
            "quorum": quorum_sentence(item) if item.is_active else "",
            "votes": list(item.votes.select_related("voter").order_by("id")) if item.quorum else [],
            "four_eyes": _four_eyes(item) if item.is_active else "",
            "follow_up": bands.exactly(item.follow_up_at) if item.follow_up_at and item.is_active else "",
            "why": _why(item),
            "facts": facts_of(item.data),
            "documents": list(Document.objects.filter(job_id=item.job_id).order_by("id")[:200]),
            "fields": fields if item.is_active else [],
            "answer": facts_of(item.answer) if item.status == WorkItemStatus.DONE else [],
            "outcomes": buttons,
            "decide": decide,
            "claim": claim if item.status == WorkItemStatus.OPEN else None,
            "release": release if item.status == WorkItemStatus.CLAIMED else None,
            "comment_rule": _comment_rule([each.label for each in buttons if needs_comment(each.value)]),
            "comment": typed.comment,
            "comment_error": typed.comment_error,
            "errors": typed.errors,
            "required_fields": any(each.required for each in flat(fields)),
            "notice": notice,
            "timeline": lines,
            "timeline_cut": cut,
            "ended": None if item.is_active else ended_sentence(item, self.now),
        }


def ended_sentence(item: WorkItem, now: datetime) -> str:
    """Who ended an item and when, as the person who comes too late reads it."""
    if item.status == WorkItemStatus.DONE and item.decided_at:
        who = item.decided_by or "A system"
        said = past(item.outcome)
        verb = said.lower() if not said.startswith("Answered") else f"answered “{words(item.outcome or '')}” for"
        return f"{who} {verb} this at {bands.shortly(item.decided_at, now)}."
    when = f" at {bands.shortly(item.withdrawn_at, now)}" if item.withdrawn_at else ""
    reason = f": {item.withdrawn_reason}" if item.withdrawn_reason else "."
    return f"This was {item.get_status_display().lower()}{when}{reason}"


def _why(item: Any) -> str:
    """Why this item is with this department: the most common question of all."""
    try:
        title = get_definition(item.workflow, item.job_version).title or words(item.workflow)
    except DefinitionNotFound:
        title = words(item.workflow)
    version = f" (version {item.job_version})" if item.job_version else ""
    round_ = f" For the {ordinal(item.iteration)} time." if item.iteration > 1 else ""
    return f"{title}{version} has reached the step {words(item.task)}.{round_}"


def _four_eyes(item: WorkItem) -> str:
    """Who may not decide this, in a sentence; empty where nobody is kept out."""
    rules = item.constraints or {}
    kept_out = [f"who decided {words(task)}" for task in rules.get("not_completed_by", ())]
    if rules.get("not_initiator"):
        kept_out.append("who made the request")
    return f"Not to be decided by {' or '.join(kept_out)}." if kept_out else ""


def ordinal(number: int) -> str:
    """2 is "2nd"."""
    teen = 10 <= number % 100 <= 20
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _comment_rule(labels: list[str]) -> str:
    if not labels:
        return "Optional. It is kept in the history."
    return f"Required to {' or '.join(label.lower() for label in labels)}. It is kept in the history."
