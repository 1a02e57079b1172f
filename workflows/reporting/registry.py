"""Which reports there are. An application that stands on the engine adds its own when it is loaded."""

from __future__ import annotations

from .exceptions import UnknownReport
from .history import HISTORY
from .jobs import JOBS
from .tables import Report

_reports: dict[str, Report] = {report.name: report for report in (JOBS, HISTORY)}


def register(report: Report) -> None:
    """Make a report known under its name. Registering the same one twice changes nothing; ValueError for a clash."""
    known = _reports.setdefault(report.name, report)
    if known is not report:
        raise ValueError(f"There are two reports named {report.name!r}.")


def get_report(name: str) -> Report:
    """The report of this name. Raises UnknownReport, with the names there are."""
    try:
        return _reports[name]
    except KeyError:
        raise UnknownReport(name, sorted(_reports)) from None


def all_reports() -> list[Report]:
    """Every report, by title."""
    return sorted(_reports.values(), key=lambda report: report.title)
