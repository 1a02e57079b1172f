"""One call for each kind of file: what the API and the admin answer with."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime

from django.db.models import QuerySet
from django.http import FileResponse, StreamingHttpResponse
from django.utils import timezone

from workflows.models import ArchivedJob, Job

from .csvfile import stream_csv
from .tables import Report, Selection
from .workbook import Cover, write_workbook
from .xes import gzipped, stream_xes

logger = logging.getLogger("workflows.reporting")

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV = "text/csv; charset=utf-8"
XES = "application/xml"


def file_name(report: str, as_of: datetime, extension: str) -> str:
    """The name of an exported file, such as `jobs_2026-11-21T1030Z.xlsx`: it sorts by time and has no colon."""
    return f"{report}_{as_of.astimezone(UTC):%Y-%m-%dT%H%MZ}.{extension}"


def workbook_response(report: Report, selection: Selection, *, run_by: str, filter_in_words: str) -> FileResponse:
    """The selection as a workbook, written to a temporary file first. Raises TooManyRows."""
    as_of = timezone.now()
    file = tempfile.TemporaryFile(prefix="report-", suffix=".xlsx")  # noqa: SIM115  (the response closes it)
    try:
        written = write_workbook(file, report, report.rows(selection, as_of), Cover(as_of, run_by, filter_in_words))
    except BaseException:
        file.close()
        raise
    logger.info(
        "%s exported %s as XLSX (%s): %s rows, SHA-256 %s",
        *(run_by, report.name, filter_in_words, written.rows, written.sha256),
    )
    file.seek(0)
    name = file_name(report.name, as_of, "xlsx")
    return FileResponse(file, as_attachment=True, filename=name, content_type=XLSX)


def csv_response(
    report: Report,
    selection: Selection,
    *,
    run_by: str,
    filter_in_words: str,
    bom: bool = False,
    delimiter: str = ",",
) -> StreamingHttpResponse:
    """The selection as CSV, streamed while it is read."""
    as_of = timezone.now()
    logger.info("%s exports %s as CSV (%s)", run_by, report.name, filter_in_words)
    pieces = stream_csv(report, report.rows(selection, as_of), bom=bom, delimiter=delimiter)
    return _attachment(pieces, file_name(report.name, as_of, "csv"), CSV)


def history_response(
    jobs: QuerySet[Job],
    archived: QuerySet[ArchivedJob] | None = None,
    *,
    run_by: str,
    filter_in_words: str,
    compressed: bool = False,
) -> StreamingHttpResponse:
    """The history of the jobs, and of archived ones, as an event log, streamed while it is read."""
    as_of = timezone.now()
    logger.info("%s exports the history as XES (%s)", run_by, filter_in_words)
    pieces = stream_xes(jobs, archived, name=f"History of jobs: {filter_in_words}", as_of=as_of)
    if compressed:
        return _attachment(gzipped(pieces), file_name("history", as_of, "xes.gz"), "application/gzip")
    return _attachment(pieces, file_name("history", as_of, "xes"), XES)


def _attachment(pieces: Iterator[bytes], name: str, content_type: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse(pieces, content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
