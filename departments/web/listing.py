"""The queries of the inbox: bounded, and the same number of them with ten items and with a hundred thousand.

A page is keyset-paged on (due_at, id), undated items last. Each department, dated and undated, is one branch that reads
its own index in order and stops after a page; the branches are then merged. No branch is ever counted or skipped
through, so the cost of a page follows its length and not the length of the queue.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Case, F, IntegerField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.expressions import RawSQL
from django.utils import timezone

from departments.constraints import barred_from, read_constraints
from departments.models import Department, Vote, WorkItem, WorkItemStatus
from workflows.models import Document

from .choice import Choice

PAGE = 50
CAP = 1000
CHANGES_MAX = 300
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RAIL_MAX = 50

ROW_FIELDS = (
    "id",
    "job_id",
    "workflow",
    "reference",
    "task",
    "department_id",
    "title",
    "status",
    "assignee__username",
    "claimed_at",
    "priority",
    "due_at",
    "version",
    "created_at",
    "decided_at",
    "outcome",
    "quorum",
    "follow_up_at",
    "escalated_at",
)


class CappedCount(Subquery):
    """How many rows a query has, counted no further than one past the cap.

    The query keeps its order: one that an index has makes the database walk that index, where it would otherwise take a
    department for half of the table and read all of it.
    """

    template = "(SELECT COUNT(*) FROM (%(subquery)s) _capped)"
    output_field = IntegerField()

    def __init__(self, queryset: QuerySet[Any]) -> None:
        super().__init__(queryset.values("pk")[: CAP + 1])


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list: the sort key of a row. `exact` is true within the exact matches of a search."""

    at: datetime | None
    id: uuid.UUID
    exact: bool = False

    def encode(self) -> str:
        """As it stands in an address."""
        at = "-" if self.at is None else str((self.at - EPOCH) // timedelta(microseconds=1))
        return f"{'x' if self.exact else 'd'}.{at}.{self.id}"

    @classmethod
    def decode(cls, text: str | None) -> Cursor | None:
        """From an address; None where it is missing or not ours, which means the first page."""
        try:
            kind, at, key = (text or "").split(".")
            moment = None if at == "-" else EPOCH + timedelta(microseconds=int(at))
            return cls(moment, uuid.UUID(key), kind == "x")
        except (ValueError, OverflowError):
            return None


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose list, of which departments, and which choice of it."""

    user: Any
    departments: tuple[int, ...]
    choice: Choice

    def parts(self) -> list[QuerySet[WorkItem]]:
        """The open items of the list, in parts that each read one index in order."""
        active = WorkItem.objects.active().human()
        if self.choice.mine:
            mine = active.filter(assignee=self.user)
            return [mine.filter(department__in=self.departments) if self.choice.department else mine]
        return [active.filter(department=pk) for pk in self.departments]

    def whole(self) -> QuerySet[WorkItem]:
        """The open items of the list, as one condition: for capped counts."""
        active = WorkItem.objects.active().human()
        if self.choice.mine:
            return active.filter(assignee=self.user)
        return active.filter(department__in=self.departments)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, and where the next one begins (None at the end)."""

    items: list[WorkItem]
    after: Cursor | None


def page(scope: Scope, after: Cursor | None = None, *, until: Cursor | None = None, size: int = PAGE) -> Page:
    """One page of open items: exact matches of a search first, then by due time, undated last. One query."""
    if scope.choice.done:
        return _decided_today(scope, after, size)
    found = _rows(scope, _branches(scope, after, until), size + 1)
    rows = list(found[: size + 1])
    more = cursor_of(rows[size - 1], scope.choice) if len(rows) > size else None
    return Page(rows[:size], more)


def next_item(scope: Scope, decided: WorkItem) -> WorkItem | None:
    """The item to open after a decision: the next in the list that this person may act on, else the first."""
    free = Q(assignee__isnull=True) | Q(assignee=scope.user)
    open_scope = scope if not scope.choice.done else Scope(scope.user, scope.departments, Choice())
    here = cursor_of(decided, open_scope.choice)
    for after in (here, None):
        branches = [branch.filter(free).exclude(pk=decided.pk) for branch in _branches(open_scope, after, None)]
        row = _rows(open_scope, branches, 1).first()
        if row is not None:
            return row
    return None


def best_candidates(scope: Scope, now: datetime, limit: int = 5) -> list[WorkItem]:
    """Unclaimed items of the departments, the most pressing first: late, then priority, then due, then age.

    Not those that several decide, which nobody claims, nor those whose constraints keep this person out.
    """
    late = Case(When(due_at__lt=now, then=Value(0)), default=Value(1))
    items = WorkItem.objects.human().filter(
        status=WorkItemStatus.OPEN, department__in=scope.departments, quorum__isnull=True
    )
    order = (late, "-priority", F("due_at").asc(nulls_last=True), "created_at", "id")
    first = list(items.only("id", "version", "constraints", "job_id").order_by(*order)[:PAGE])
    read_constraints(first)
    return [item for item in first if scope.user.pk not in barred_from(item)][:limit]


def cursor_of(item: WorkItem, choice: Choice) -> Cursor:
    """Where an item stands in a list."""
    if choice.done:
        return Cursor(item.decided_at, item.pk)
    exact = bool(choice.search) and item.reference.casefold() == choice.search.casefold()
    return Cursor(item.due_at, item.pk, exact)


def _branches(scope: Scope, after: Cursor | None, until: Cursor | None) -> list[QuerySet[WorkItem]]:
    """The ordered, index-backed parts whose merged beginning is the page."""
    text = scope.choice.search
    branches: list[QuerySet[WorkItem]] = []
    for part in scope.parts():
        if not text:
            branches += _from(part, after, until)
            continue
        exact = Q(reference__iexact=text)
        if after is None or after.exact:
            branches += _from(part.filter(exact), after, until if until and until.exact else None)
        if not (until and until.exact):
            rest = part.filter(Q(reference__istartswith=text) | Q(title__icontains=text)).exclude(exact)
            branches += _from(rest, None if after and after.exact else after, until)
    return branches


def _from(part: QuerySet[WorkItem], after: Cursor | None, until: Cursor | None) -> list[QuerySet[WorkItem]]:
    """Dated and undated items after one place and up to another."""
    dated = part.filter(due_at__isnull=False).order_by("due_at", "id")
    undated = part.filter(due_at__isnull=True).order_by("id")
    branches = []
    if after is None or after.at is not None:
        if after is not None:
            # The first condition alone bounds the index; the second settles ties.
            dated = dated.filter(due_at__gte=after.at).exclude(due_at=after.at, id__lte=after.id)
        if until is not None and until.at is not None:
            dated = dated.filter(due_at__lte=until.at).exclude(due_at=until.at, id__gt=until.id)
        branches.append(dated)
    if until is None or until.at is None:
        if after is not None and after.at is None:
            undated = undated.filter(id__gt=after.id)
        if until is not None:
            undated = undated.filter(id__lte=until.id)
        branches.append(undated)
    return branches


def _rows(scope: Scope, branches: Sequence[QuerySet[WorkItem]], limit: int) -> QuerySet[WorkItem]:
    """The merged beginning of the branches, with what a row shows."""
    if not branches:
        return WorkItem.objects.none()
    text = scope.choice.search
    exact = Case(When(reference__iexact=text, then=Value(0)), default=Value(1)) if text else Value(0)
    items = WorkItem.objects.filter(pk__in=_first_of_each(branches, limit)).annotate(_exact=exact)
    return _for_rows(items).order_by("_exact", F("due_at").asc(nulls_last=True), "id")


def _for_rows(items: QuerySet[WorkItem]) -> QuerySet[WorkItem]:
    documents = CappedCount(Document.objects.filter(job=OuterRef("job_id")).order_by())
    votes = CappedCount(Vote.objects.filter(item=OuterRef("pk")).order_by())
    return items.select_related("assignee").only(*ROW_FIELDS).annotate(document_count=documents, vote_count=votes)


def _first_of_each(branches: Iterable[QuerySet[WorkItem]], limit: int) -> RawSQL:
    """The ids of the first `limit` rows of every branch.

    SQL by hand, for Django refuses LIMIT inside a union on SQLite. Every value travels as a parameter: the text is made
    of what the ORM wrote for each branch.
    """
    sql, params = _union(branches, limit)
    return RawSQL(sql, params)  # noqa: S611 - see above


def _capped_count(branches: Iterable[QuerySet[WorkItem]]) -> RawSQL:
    """How many rows the branches have together, counted no further than one past the cap."""
    sql, params = _union(branches, CAP + 1)
    if not sql:
        return RawSQL("SELECT 0", ())
    whole = f"SELECT COUNT(*) FROM (SELECT * FROM ({sql}) found LIMIT {CAP + 1}) capped"  # noqa: S608 - see above
    return RawSQL(whole, params, output_field=IntegerField())  # noqa: S611 - see above


def _union(branches: Iterable[QuerySet[WorkItem]], limit: int) -> tuple[str, list[Any]]:
    parts: list[str] = []
    params: list[Any] = []
    for number, branch in enumerate(branches):
        sql, values = branch.values("pk")[:limit].query.sql_with_params()
        parts.append(f"SELECT * FROM ({sql}) part{number}")  # noqa: S608 - see above
        params += values
    return " UNION ALL ".join(parts), params


def _decided_today(scope: Scope, after: Cursor | None, size: int) -> Page:
    """What this person decided since midnight, the newest first."""
    items = _for_rows(decided_since_midnight(scope.user))
    if after is not None and after.at is not None:
        items = items.filter(decided_at__lte=after.at).exclude(decided_at=after.at, id__gte=after.id)
    rows = list(items.order_by("-decided_at", "-id")[: size + 1])
    more = cursor_of(rows[size - 1], scope.choice) if len(rows) > size else None
    return Page(rows[:size], more)


def decided_since_midnight(user: Any) -> QuerySet[WorkItem]:
    """What a person decided today, in the time zone of the office."""
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    return WorkItem.objects.filter(decided_by=user, decided_at__gte=midnight)


@dataclass(frozen=True, slots=True)
class Counts:
    """Capped numbers: of what I hold, what I decided today, and the bands of the list."""

    mine: int
    mine_late: bool
    done: int
    bands: dict[str, int]


def my_departments(user: Any, now: datetime) -> list[Department]:
    """The departments of the rail, each with `open_count` (capped) and `has_late`. One query.

    A superuser belongs to all of them.
    """
    departments = Department.objects.all() if user.is_superuser else Department.objects.filter(memberships__user=user)
    items = WorkItem.objects.active().human().filter(department=OuterRef("pk"))
    counted = departments.annotate(
        open_count=CappedCount(items.order_by("due_at", "id")), first_due=_first_due(items)
    ).order_by("name")[:RAIL_MAX]
    found = list(counted)
    for each in found:
        each.has_late = each.first_due is not None and each.first_due < now
    return found


def _first_due(items: QuerySet[WorkItem]) -> Subquery:
    """When the first of them is due: one step into an index, where "is any of them late" may read them all."""
    return Subquery(items.filter(due_at__isnull=False).order_by("due_at", "id").values("due_at")[:1])


def counts(scope: Scope, edges: Sequence[tuple[str, Q]]) -> Counts:
    """The capped numbers of the rail and of the bands (`edges`: name and condition). One query."""
    mine = WorkItem.objects.active().human().filter(assignee=scope.user)
    # A search is not counted: it would read the whole queue to say a number nobody needs.
    counted = [] if scope.choice.search or scope.choice.done else edges
    bands = {
        f"band_{name}": _capped_count(part.filter(condition).order_by("due_at", "id") for part in scope.parts())
        for name, condition in counted
    }
    row = (
        get_user_model()
        .objects.filter(pk=scope.user.pk)
        .annotate(
            mine=CappedCount(mine.order_by("due_at", "id")),
            first_due=_first_due(mine),
            done=CappedCount(decided_since_midnight(scope.user).order_by("decided_at")),
            **bands,
        )
        .values("mine", "first_due", "done", *bands)
        .get()
    )
    late = row["first_due"] is not None and row["first_due"] < timezone.now()
    return Counts(row["mine"], late, row["done"], {name: row[f"band_{name}"] for name, _ in counted})
