"""Finding jobs and documents in the admin: by what an index finds, never by reading every row."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from workflows.models import Definition, PluginRegistration


class JobSearch:
    """Search by id, or by the beginning of a text column: mix into a ModelAdmin."""

    search_fields: Any = ("pk",)
    search_help_text = "An id, or the beginning of a reference."
    search_columns: tuple[str, ...] = ("pk",)
    search_texts: tuple[str, ...] = ("correlation_id__startswith",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The rows that a search finds, each once."""
        term = search_term.strip().replace("\0", "")
        if not term:
            return queryset, False
        try:
            columns: tuple[str, ...] = self.search_columns
            value: Any = uuid.UUID(term)
        except ValueError:
            columns, value = self.search_texts, term
        condition = Q()
        for column in columns:
            condition |= Q(**{column: value})
        return queryset.filter(condition), False


class PartFilter(admin.SimpleListFilter):
    """Whole jobs, or the children of one; a map of ten thousand items hides no other job."""

    title = "parts of jobs"
    parameter_name = "parent"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """What there is besides whole jobs; the children of one job are linked from its page."""
        chosen = self.value()
        one = [(chosen, f"Children of {chosen}")] if chosen and chosen != "any" else []
        return [("any", "Parts too"), *one]

    def choices(self, changelist: Any) -> Any:
        """The choices, the first of which is what a list of jobs is."""
        found = list(super().choices(changelist))
        found[0]["display"] = "Whole jobs"
        return found

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The jobs of the choice."""
        chosen = self.value()
        if chosen is None:
            return queryset.filter(fragment="")
        if chosen == "any":
            return queryset
        try:
            return queryset.filter(parent_id=uuid.UUID(chosen))
        except ValueError:
            return queryset.none()


class WorkflowFilter(admin.SimpleListFilter):
    """By workflow; the names come from what is published and registered, not from the jobs, which may be millions."""

    title = "workflow"
    parameter_name = "workflow"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Every name that a job may have."""
        names = set(Definition.objects.order_by().values_list("name", flat=True).distinct())
        names |= set(PluginRegistration.objects.order_by().values_list("job_type", flat=True))
        return [(name, name) for name in sorted(names)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The jobs of the chosen workflow."""
        return queryset.filter(workflow=self.value()) if self.value() else queryset
