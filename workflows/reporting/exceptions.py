"""What can be wrong with a request for a report."""

from __future__ import annotations

from collections.abc import Sequence

from workflows.engine.faults import Fault


class ReportError(Exception):
    """Base of this floor's errors."""


class UnknownReport(ReportError):
    """There is no report of this name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"There is no report {name!r}. There are: {', '.join(known)}.")


class InvalidFilters(ReportError):
    """Filters that the report does not have, or values that they do not take.

    `faults` has every one of them, with the filter's name as its pointer; the codes are
    `unknown_parameter`, `repeated` and `invalid`.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(" ".join(fault.detail for fault in self.faults))


class TooManyRows(ReportError):
    """More rows than one worksheet holds. A CSV file has no such limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"One worksheet holds {limit:,} rows of data. Narrow the filter, or ask for CSV.")
