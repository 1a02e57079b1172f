"""Filters of lists: a name or a value that is not known is refused, never ignored."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import django_filters
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils import timezone
from django_filters.fields import IsoDateTimeField
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.request import Request

from workflows.engine.durations import parse_timestamp
from workflows.engine.exceptions import InvalidTimestamp
from workflows.models import Job, JobStatus

from .problems import Problem

if TYPE_CHECKING:
    from rest_framework.views import APIView

BOOLEANS = (("true", "true"), ("false", "false"))


def refuse_parameters(faults: dict[str, tuple[str, str]]) -> Problem:
    """The problem (400) of query parameters: name to (code, sentence)."""
    errors = [
        {"pointer": "", "parameter": name, "code": code, "detail": detail} for name, (code, detail) in faults.items()
    ]
    return Problem(400, f"The query has {len(errors)} faults; see errors.", slug="invalid-query", errors=errors)


class StrictFilterBackend(DjangoFilterBackend):
    """Applies a view's `filterset_class`; an unknown parameter or value is a 400 that names it."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: APIView) -> QuerySet[Any]:
        """The filtered rows. Problem (400) otherwise."""
        filterset = self.get_filterset(request, queryset, view)
        known = set(filterset.filters) if filterset is not None else set()
        paginator = getattr(view, "paginator", None)
        known |= set(getattr(paginator, "parameters", ()))
        faults = {
            name: ("unknown_parameter", f"There is no such filter. There are: {', '.join(sorted(known))}.")
            for name in request.query_params
            if name not in known
        }
        if filterset is None:
            if faults:
                raise refuse_parameters(faults)
            return queryset
        if not filterset.is_valid():
            for name, errors in filterset.errors.get_json_data().items():
                faults[name] = (errors[0]["code"] or "invalid", errors[0]["message"])
        if faults:
            raise refuse_parameters(faults)
        return filterset.qs


class MomentField(IsoDateTimeField):
    """An RFC 3339 time with its offset, read as UTC: one with an offset that no database keeps is still a time."""

    def to_python(self, value: Any) -> datetime | None:
        """The moment. A `+` that was not escaped arrives as a blank, and is taken for what was meant."""
        if value in self.empty_values:
            return None
        try:
            return parse_timestamp(str(value).strip().replace(" ", "+"))
        except InvalidTimestamp as error:
            raise ValidationError(str(error), code="invalid") from None


class MomentFilter(django_filters.IsoDateTimeFilter):
    """A filter by time."""

    field_class = MomentField


CLOCKS = timedelta(days=1)
"""By no more than this does the time in a job's id differ from the one in its row."""


def _id_at(moment: datetime, by: timedelta) -> uuid.UUID:
    """The least id of a moment, moved by so much; the least or the greatest of all where no id has that time."""
    seconds = moment.timestamp() + by.total_seconds()
    return uuid.UUID(int=min(max(int(seconds * 1000), 0), 2**48 - 1) << 80)


class JobFilter(django_filters.FilterSet):
    """The filters of the list of jobs."""

    status = django_filters.MultipleChoiceFilter(choices=JobStatus.choices, help_text="May be given more than once.")
    workflow = django_filters.CharFilter(max_length=100)
    correlation_id = django_filters.CharFilter(max_length=200)
    parent = django_filters.UUIDFilter("parent_id", help_text="The children of this job, its parts among them.")
    created_after = MomentFilter(method="filter_after", help_text="At this time or later.")
    created_before = MomentFilter(method="filter_before", help_text="Before this time.")
    archived = django_filters.ChoiceFilter(
        choices=BOOLEANS, method="keep_all", help_text="The archive instead: jobs that ended long ago."
    )
    overdue = django_filters.ChoiceFilter(
        choices=BOOLEANS, method="filter_overdue", help_text="Unfinished, and past the time its workflow promised."
    )

    # No model: the archive has the columns that these are about, under the same names.

    def keep_all(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Which of the two tables is listed, the view has chosen."""
        return queryset

    def filter_after(self, queryset: QuerySet[Any], name: str, value: datetime) -> QuerySet[Any]:
        """Ids are in order of time: what was made long before need not be read, though no index holds the time."""
        return queryset.filter(created_at__gte=value, pk__gte=_id_at(value, -CLOCKS))

    def filter_before(self, queryset: QuerySet[Any], name: str, value: datetime) -> QuerySet[Any]:
        """The same for what was made long after."""
        return queryset.filter(created_at__lt=value, pk__lt=_id_at(value, CLOCKS))

    def filter_overdue(self, queryset: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        """Unfinished jobs past their due time, or all the others."""
        late = Job.objects.overdue(timezone.now())
        return (
            queryset.filter(pk__in=late.values("pk")) if value == "true" else queryset.exclude(pk__in=late.values("pk"))
        )
