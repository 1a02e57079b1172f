"""A report as CSV: streamed, every field quoted, and no text that a spreadsheet would take for a formula."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from .tables import Cell, Report, Row

BOM = b"\xef\xbb\xbf"
DANGEROUS = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""First characters that make a spreadsheet run a text as a formula; the last four are the full-width forms."""
FLUSH_BYTES = 64 * 1024


def harmless(value: str) -> str:
    """The text, with `'` before it where a spreadsheet would run it as a formula."""
    return f"'{value}" if value[:1] in DANGEROUS else value


def _field(cell: Cell) -> Any:
    """How a cell is written. Only text is ever prefixed: -5 stays a number."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "Yes" if cell else "No"
    if isinstance(cell, datetime):
        return cell.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return harmless(cell) if isinstance(cell, str) else cell


class _Buffer:
    """A file to write to that gives back what was written."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.size = 0

    def write(self, part: str) -> int:
        self.parts.append(part)
        self.size += len(part)
        return len(part)

    def take(self) -> bytes:
        """What was written since the last time. A lone surrogate, which no UTF-8 has, becomes U+FFFD."""
        written = "".join(self.parts)
        self.parts.clear()
        self.size = 0
        try:
            return written.encode()
        except UnicodeEncodeError:
            return written.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def stream_csv(report: Report, rows: Iterable[Row], *, bom: bool = False, delimiter: str = ",") -> Iterator[bytes]:
    """The file in pieces, UTF-8, RFC 4180. `bom` is for programs that take UTF-8 for something else without one."""
    buffer = _Buffer()
    writer = csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    if bom:
        yield BOM
    writer.writerow([harmless(column.header) for column in report.columns])
    for row in rows:
        writer.writerow([_field(cell) for cell in row])
        if buffer.size >= FLUSH_BYTES:
            yield buffer.take()
    yield buffer.take()
