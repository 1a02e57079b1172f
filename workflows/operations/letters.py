"""Dead letters as an operator looks at them: grouped by cause, and over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Min, Q, QuerySet
from django.db.models.functions import TruncDay, TruncHour

from workflows.engine.faults import Fault
from workflows.models import DeadLetter

from .exceptions import InvalidRequest

MOST_CAUSES = 50
SPANS = {"day": timedelta(days=1), "hour": timedelta(hours=1)}
LONGEST = {"day": timedelta(days=366), "hour": timedelta(days=31)}
USUAL = {"day": timedelta(days=30), "hour": timedelta(days=2)}
_TRUNCATED = {"day": TruncDay, "hour": TruncHour}


def open_letters() -> QuerySet[DeadLetter]:
    """The letters that wait for a person: one for each job that is FAIL."""
    return DeadLetter.objects.filter(resolved_at__isnull=True).order_by()


def grouped(letters: QuerySet[DeadLetter]) -> QuerySet[DeadLetter, dict[str, Any]]:
    """A row for each cause: fingerprint, count, first_failed_at, last_failed_at, and `last`, the id of its newest
    letter, by which causes can be put in order and pages be cut."""
    return (
        letters.order_by()
        .values("fingerprint")
        .annotate(last=Max("id"), count=Count("id"), first_failed_at=Min("failed_at"), last_failed_at=Max("failed_at"))
    )


def described(groups: Sequence[Mapping[str, Any]], letters: QuerySet[DeadLetter]) -> list[dict[str, Any]]:
    """The groups with plugin, error and message, the versions of the workflows in them, and an example: two queries,
    whatever the number of groups."""
    examples = {letter.pk: letter for letter in DeadLetter.objects.filter(pk__in=[group["last"] for group in groups])}
    counted: dict[str, list[dict[str, Any]]] = {}
    fingerprints = [group["fingerprint"] for group in groups]
    rows = letters.order_by().filter(fingerprint__in=fingerprints).values("fingerprint", "workflow", "version")
    for row in rows.annotate(count=Count("id")).order_by("-count", "workflow", "version"):
        counted.setdefault(row.pop("fingerprint"), []).append(row)
    found = []
    for group in groups:
        example = examples.get(group["last"])
        if example is None:  # repaired since the groups were read
            continue
        found.append(
            {
                **group,
                "plugin": example.plugin,
                "error": example.error,
                "message": example.message,
                "workflows": counted.get(group["fingerprint"], []),
                "example": {"job": str(example.job_id), "task": example.task, "cause": example.cause},
            }
        )
    return found


@dataclass(frozen=True, slots=True)
class Patterns:
    """Failures over time: `causes` has, for each, its fingerprint, plugin, error and message, `count` and `open`, and
    `points`, a list of {at, count, open} in order of time without the empty spans."""

    by: str
    since: datetime
    until: datetime
    causes: list[dict[str, Any]]


def patterns(
    *,
    by: str = "day",
    since: datetime | None = None,
    until: datetime | None = None,
    now: datetime,
    letters: QuerySet[DeadLetter] | None = None,
) -> Patterns:
    """How often each cause failed jobs, in each day or hour (UTC), repaired since or not: the 50 most frequent causes.

    Without `since` the last 30 days, or 48 hours. InvalidRequest where the span is turned round or too long.
    """
    until = until or now
    since = since or until - USUAL[by]
    if since >= until:
        raise InvalidRequest([Fault("/since", "out_of_range", "must be before `until`")])
    if until - since > LONGEST[by]:
        limit = LONGEST[by].days
        raise InvalidRequest([Fault("/since", "out_of_range", f"by {by}, at most {limit} days can be looked at")])
    chosen = (DeadLetter.objects.all() if letters is None else letters).filter(
        failed_at__gte=since, failed_at__lt=until
    )
    still = Count("id", filter=Q(resolved_at__isnull=True))
    totals = chosen.order_by().values("fingerprint").annotate(last=Max("id"), count=Count("id"), open=still)
    causes = {row["fingerprint"]: row for row in totals.order_by("-count", "fingerprint")[:MOST_CAUSES]}
    for letter in DeadLetter.objects.filter(pk__in=[row.pop("last") for row in causes.values()]):
        causes[letter.fingerprint].update(plugin=letter.plugin, error=letter.error, message=letter.message, points=[])
    spans = chosen.order_by().filter(fingerprint__in=list(causes))
    spans = spans.annotate(at=_TRUNCATED[by]("failed_at", tzinfo=UTC)).values("fingerprint", "at")
    for row in spans.annotate(count=Count("id"), open=still).order_by("at"):
        causes[row.pop("fingerprint")]["points"].append(row)
    return Patterns(by, since, until, [cause for cause in causes.values() if "points" in cause])


def open_counts(most: int = MOST_CAUSES) -> Iterable[tuple[str, str, int]]:
    """(plugin, error, count) of the open letters, the most frequent first: for the metrics."""
    rows = open_letters().values("plugin", "error").annotate(count=Count("id")).order_by("-count", "plugin", "error")
    return list(rows.values_list("plugin", "error", "count")[:most])
