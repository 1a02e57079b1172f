"""Actions for lists in the admin: what is selected as a file.

actions = [*export_actions("jobs"), export_history]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase

from workflows.models import Job

from .exceptions import TooManyRows
from .export import csv_response, history_response, workbook_response
from .registry import get_report
from .tables import Report

SELECTED = "selected in the admin"
Action = Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponseBase | None]


def export_actions(report_name: str) -> list[Action]:
    """The two actions that give the selected rows of a report's model as XLSX and as CSV.

    Who may see the list in the admin may export what it shows. The report is looked up when the action runs.
    """

    @admin.action(permissions=["view"], description="Export selected as XLSX")
    def export_as_xlsx(modeladmin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase | None:
        report = get_report(report_name)
        who = request.user.get_username()
        try:
            return workbook_response(report, _selection(report, queryset), run_by=who, filter_in_words=SELECTED)
        except TooManyRows as error:
            modeladmin.message_user(request, str(error), messages.ERROR)
            return None

    @admin.action(permissions=["view"], description="Export selected as CSV")
    def export_as_csv(modeladmin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase:
        report = get_report(report_name)
        who = request.user.get_username()
        # The mark is for Excel, which the staff who use the admin open it with.
        return csv_response(report, _selection(report, queryset), run_by=who, filter_in_words=SELECTED, bom=True)

    return [export_as_xlsx, export_as_csv]


@admin.action(permissions=["view"], description="Export history as XES")
def export_history(modeladmin: Any, request: HttpRequest, queryset: QuerySet[Job]) -> HttpResponseBase:
    """The history of the selected jobs as an event log."""
    jobs = Job.objects.filter(pk__in=queryset.order_by().values("pk"))
    return history_response(jobs, run_by=request.user.get_username(), filter_in_words=SELECTED)


def _selection(report: Report, queryset: QuerySet[Any]) -> QuerySet[Any]:
    """The selected rows, read as the report reads them and not as the list does."""
    return report.prepare(queryset.model._default_manager.filter(pk__in=queryset.order_by().values("pk")))
