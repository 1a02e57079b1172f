"""Filters of the list of work items."""

from __future__ import annotations

import django_filters
from django.db.models import QuerySet

from departments.models import WorkItem, WorkItemStatus
from workflows.api.filters import BOOLEANS, MomentFilter


class WorkItemFilter(django_filters.FilterSet):
    """What the list may be narrowed by. A department that the caller does not belong to gives an empty list."""

    department = django_filters.CharFilter("department__code", max_length=100, help_text="Code of a department.")
    status = django_filters.MultipleChoiceFilter(choices=WorkItemStatus.choices, help_text="May be repeated.")
    assignee = django_filters.CharFilter(max_length=150, method="filter_assignee", help_text="A username, or `me`.")
    workflow = django_filters.CharFilter(max_length=100)
    kind = django_filters.ChoiceFilter(choices=WorkItem.Kind.choices)
    due_before = MomentFilter("due_at", "lt", help_text="Before this time.")
    follow_up_before = MomentFilter("follow_up_at", "lt", help_text="To be looked at again before this time.")
    escalated = django_filters.ChoiceFilter(
        choices=BOOLEANS, method="filter_escalated", help_text="Whether it waited so long that it was escalated."
    )

    class Meta:
        model = WorkItem
        fields: list[str] = []

    def filter_escalated(self, queryset: QuerySet[WorkItem], name: str, value: str) -> QuerySet[WorkItem]:
        """Escalated items, or all the others."""
        return queryset.filter(escalated_at__isnull=value != "true")

    def filter_assignee(self, queryset: QuerySet[WorkItem], name: str, value: str) -> QuerySet[WorkItem]:
        """The items that somebody holds; `me` is the caller."""
        if value == "me":
            return queryset.filter(assignee_id=self.request.user.pk)
        return queryset.filter(assignee__username=value)
