"""Reports over REST: tables as XLSX and CSV, the history as an event log. They show what the lists show, no more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from workflows.reporting.exceptions import InvalidFilters, TooManyRows, UnknownReport
from workflows.reporting.export import CSV, XES, XLSX, csv_response, history_response, workbook_response
from workflows.reporting.filters import Filter, choose, flag, one_of
from workflows.reporting.jobs import HISTORY_FILTERS, archived_cases, visible_cases
from workflows.reporting.registry import all_reports, get_report

from .authentication import HasScope
from .filters import refuse_parameters
from .problems import Problem

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t"}
CSV_OPTIONS = (
    Filter("bom", flag, lambda queryset, value, user: queryset, ""),
    Filter("delimiter", one_of(tuple(DELIMITERS)), lambda queryset, value, user: queryset, ""),
)


class WhateverIsAsked(BaseContentNegotiation):
    """The path says which kind of file it is, so `Accept` has nothing to choose; errors are JSON."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> Any:
        return next(iter(parsers), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> tuple[Any, str]:
        return renderers[0], renderers[0].media_type


def parameters(filters: Iterable[Filter]) -> list[OpenApiParameter]:
    """Filters as parameters of the OpenAPI document."""
    kinds = {"moment": OpenApiTypes.DATETIME, "flag": OpenApiTypes.BOOL}
    found = {}
    for one in filters:
        kind = kinds.get(getattr(one.read, "__name__", ""), OpenApiTypes.STR)
        found[one.name] = OpenApiParameter(one.name, kind, many=one.several, description=one.words.format("…"))
    return list(found.values())


def files(media_type: str, description: str) -> dict[Any, Any]:
    """The answers of an endpoint that gives a file."""
    return {
        (200, media_type): OpenApiResponse(OpenApiTypes.BINARY, description),
        (400, "application/problem+json"): OpenApiResponse(OpenApiTypes.OBJECT, "An unknown filter, or a wrong value."),
    }


class ReportView(APIView):
    """What all reports share."""

    permission_classes = [HasScope]
    renderer_classes = [JSONRenderer]
    content_negotiation_class = WhateverIsAsked

    def handle_exception(self, error: Exception) -> Any:
        """The errors of reports, as problems."""
        if isinstance(error, InvalidFilters):
            error = refuse_parameters({fault.pointer[1:]: (fault.code, fault.detail) for fault in error.faults})
        elif isinstance(error, UnknownReport):
            error = Problem(404, str(error))
        elif isinstance(error, TooManyRows):
            error = Problem(422, str(error), slug="too-many-rows", extra={"limit": error.limit})
        return super().handle_exception(error)


class HistoryView(ReportView):
    """The history of a set of jobs, as IEEE 1849 (XES)."""

    compressed = False

    @extend_schema(
        summary="The history of jobs as an event log (IEEE 1849, XES)",
        description="A trace for each job, an event for each finished task run in the order they were committed. "
        "Attributes that XML cannot hold are written with U+FFFD, and `characters_replaced` says so beside them.",
        parameters=parameters(HISTORY_FILTERS),
        responses=files(XES, "The log, streamed."),
        tags=["reports"],
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Stream the log of the jobs that the caller may see and the filters name."""
        chosen = choose(HISTORY_FILTERS, request.query_params)
        return history_response(
            chosen.apply(visible_cases(request.user), request.user),
            chosen.apply(archived_cases(request.user), request.user),
            run_by=request.user.get_username(),
            filter_in_words=chosen.in_words(),
            compressed=self.compressed,
        )


class CompressedHistoryView(HistoryView):
    """The same log as a gzip file, as tools of the field take it."""

    compressed = True

    @extend_schema(
        summary="The history of jobs as a gzipped event log",
        parameters=parameters(HISTORY_FILTERS),
        responses=files("application/gzip", "The log, compressed as it is streamed."),
        tags=["reports"],
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Stream the compressed log."""
        return super().get(request)


def table_parameters(options: Iterable[Filter] = ()) -> list[OpenApiParameter]:
    """What the tables may be narrowed by: each takes its own filters of these, and refuses the others."""
    names = ", ".join(f"`{report.name}`" for report in all_reports())
    path = OpenApiParameter("report", OpenApiTypes.STR, OpenApiParameter.PATH, description=f"One of {names}.")
    return [path, *parameters([one for report in all_reports() for one in report.filters]), *parameters(options)]


class WorkbookView(ReportView):
    """A report as a workbook."""

    @extend_schema(
        summary="A report as XLSX",
        description="Sheets: cover (as of, who, filter, rows, control totals, SHA-256), data, summary, dictionary.",
        parameters=table_parameters(),
        responses=files(XLSX, "The workbook."),
        tags=["reports"],
    )
    def get(self, request: Request, report: str) -> HttpResponseBase:
        """The workbook of what the caller may see and the filters name."""
        table = get_report(report)
        chosen = choose(table.filters, request.query_params)
        return workbook_response(
            table,
            table.selection(request.user, chosen),
            run_by=request.user.get_username(),
            filter_in_words=chosen.in_words(),
        )


class CsvView(ReportView):
    """A report as CSV."""

    @extend_schema(
        summary="A report as CSV",
        description="UTF-8, every field quoted. A text that a spreadsheet would run as a formula has `'` before it.",
        parameters=table_parameters(CSV_OPTIONS),
        responses=files(CSV, "The file, streamed."),
        tags=["reports"],
    )
    def get(self, request: Request, report: str) -> HttpResponseBase:
        """Stream the table of what the caller may see and the filters name."""
        table = get_report(report)
        chosen = choose((*table.filters, *CSV_OPTIONS), request.query_params)
        options = {one.name: value for one, value in chosen.values if one in CSV_OPTIONS}
        filters = chosen.without(CSV_OPTIONS)
        return csv_response(
            table,
            table.selection(request.user, filters),
            run_by=request.user.get_username(),
            filter_in_words=filters.in_words(),
            bom=options.get("bom", False),
            delimiter=DELIMITERS[options.get("delimiter", "comma")],
        )
