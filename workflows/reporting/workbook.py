"""A report as a workbook: cover, data, summary, dictionary. Written row by row, so memory does not grow with it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any

import xlsxwriter
from django.utils import timezone
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from .exceptions import TooManyRows
from .tables import Cell, Report, Row

MAX_ROWS = 1_048_576 - 1
"""Rows of data one worksheet holds: the format's limit less the header."""
MAX_TEXT = 32_767
"""Characters one cell holds, counted as the format counts them: in UTF-16 units."""
CUT_MARK = " […cut]"
CELL_END, ROW_END = "\x1f", "\x1e"
HASH_RULE = (
    "SHA-256 over the data sheet as UTF-8 text: the header row, then every row; after each cell U+001F, after each row "
    "U+001E. Times as YYYY-MM-DDTHH:MM:SS as shown, numbers in their shortest form, an empty cell as nothing."
)


@dataclass(frozen=True, slots=True)
class Cover:
    """What the first sheet says of the export."""

    as_of: datetime
    run_by: str
    filter_in_words: str


@dataclass(slots=True)
class Written:
    """What was written: rows, their hash, and how often each grouping's values came."""

    rows: int = 0
    sha256: str = ""
    cut: int = 0
    totals: list[Counter[tuple[str, ...]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Formats:
    """The looks of the workbook."""

    title: Format
    label: Format
    header: Format
    wrap: Format
    time: Format
    number: Format
    integer: Format

    @classmethod
    def of(cls, book: xlsxwriter.Workbook) -> _Formats:
        return cls(
            title=book.add_format({"bold": True, "font_size": 16}),
            label=book.add_format({"bold": True, "valign": "top"}),
            header=book.add_format(
                {"bold": True, "bg_color": "#E6E9EE", "bottom": 1, "text_wrap": True, "valign": "top"}
            ),
            wrap=book.add_format({"text_wrap": True, "valign": "top"}),
            time=book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss", "align": "left"}),
            number=book.add_format({"num_format": "#,##0.00"}),
            integer=book.add_format({"num_format": "0"}),
        )


def fitted(value: str) -> str:
    """The text, cut with a visible mark where it is longer than a cell holds."""
    if len(value) * 2 <= MAX_TEXT or _units(value) <= MAX_TEXT:
        return value
    room = MAX_TEXT - len(CUT_MARK)
    kept = value[:room]
    while _units(kept) > room:
        kept = kept[: -max(1, (_units(kept) - room) // 2)]
    return kept + CUT_MARK


def _units(value: str) -> int:
    return len(value) + sum(character > "\uffff" for character in value)


def shown(cell: Cell) -> Cell:
    """A cell as the workbook shows it: times without zone, in the zone the cover names and to the second."""
    if isinstance(cell, datetime):
        return timezone.localtime(cell).replace(tzinfo=None, microsecond=0)
    if isinstance(cell, bool):
        return "Yes" if cell else "No"
    if isinstance(cell, str):
        # A lone surrogate is in no UTF-8; the format's own escape covers every other character.
        return fitted(cell.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return cell


def canonical(cell: Cell) -> str:
    """The text of a shown cell that goes into the hash."""
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return cell.strftime("%Y-%m-%dT%H:%M:%S")
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)


def write_workbook(target: IO[bytes], report: Report, rows: Iterable[Row], cover: Cover) -> Written:
    """Write the whole workbook into an open binary file and tell what was written.

    Raises TooManyRows when there are more rows than a worksheet holds.
    """
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "nan_inf_to_errors": True,
    }
    book = xlsxwriter.Workbook(target, options)
    try:
        formats = _Formats.of(book)
        first = book.add_worksheet("Cover")
        written = _write_data(book.add_worksheet("Data"), report, rows, formats)
        _write_summary(book.add_worksheet("Summary"), report, written, formats)
        _write_dictionary(book.add_worksheet("Dictionary"), report, formats)
        _write_cover(first, report, written, cover, formats)
        # The office sees when it was made as the cover says it, not as the server's clock does.
        book.set_properties({"title": report.title, "author": cover.run_by, "created": shown(cover.as_of)})
    finally:
        book.close()
    return written


def _put(sheet: Worksheet, row: int, column: int, cell: Cell, formats: _Formats) -> None:
    """One cell, by what it is. Text is always written as text: no formula, link or number is made of it."""
    if cell is None:
        return
    if isinstance(cell, datetime):
        sheet.write_datetime(row, column, cell, formats.time)
    elif isinstance(cell, str):
        sheet.write_string(row, column, cell)
    else:
        sheet.write_number(row, column, cell, formats.integer if isinstance(cell, int) else formats.number)


def _page(sheet: Worksheet, report: Report) -> None:
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.fit_to_pages(1, 0)
    sheet.set_footer(f"&L{report.title.replace('&', '&&')} - &A&RPage &P of &N")


def _write_data(sheet: Worksheet, report: Report, rows: Iterable[Row], formats: _Formats) -> Written:
    written = Written(totals=[Counter() for _ in report.groupings])
    groups = [report.positions(grouping.keys) for grouping in report.groupings]
    digest = hashlib.sha256()
    _page(sheet, report)
    sheet.freeze_panes(1, 1)
    sheet.repeat_rows(0)
    for position, column in enumerate(report.columns):
        sheet.set_column(position, position, column.width)
        sheet.write_string(0, position, column.header, formats.header)
    digest.update(_line(column.header for column in report.columns))
    for row in rows:
        if written.rows == MAX_ROWS:
            raise TooManyRows(MAX_ROWS)
        written.rows += 1
        cells = [shown(cell) for cell in row]
        for position, cell in enumerate(cells):
            _put(sheet, written.rows, position, cell, formats)
            written.cut += isinstance(cell, str) and cell is not row[position] and cell.endswith(CUT_MARK)
        digest.update(_line(canonical(cell) for cell in cells))
        for total, positions in zip(written.totals, groups, strict=True):
            total[tuple(canonical(cells[position]) for position in positions)] += 1
    sheet.autofilter(0, 0, written.rows, len(report.columns) - 1)
    written.sha256 = digest.hexdigest()
    return written


def _line(cells: Iterable[str]) -> bytes:
    return ("".join(cell + CELL_END for cell in cells) + ROW_END).encode()


def _write_summary(sheet: Worksheet, report: Report, written: Written, formats: _Formats) -> None:
    _page(sheet, report)
    sheet.set_column(0, 3, 24)
    headers = {column.key: column.header for column in report.columns}
    at = 0
    for grouping, total in zip(report.groupings, written.totals, strict=True):
        sheet.write_string(at, 0, grouping.title, formats.title)
        names = [*(headers[key] for key in grouping.keys), "Rows"]
        for position, name in enumerate(names):
            sheet.write_string(at + 1, position, name, formats.header)
        at += 2
        for values, count in sorted(total.items()):
            for position, value in enumerate(values):
                sheet.write_string(at, position, value)
            sheet.write_number(at, len(values), count, formats.integer)
            at += 1
        sheet.write_string(at, 0, "All", formats.label)
        sheet.write_number(at, len(grouping.keys), sum(total.values()), formats.integer)
        at += 2


def _write_dictionary(sheet: Worksheet, report: Report, formats: _Formats) -> None:
    _page(sheet, report)
    sheet.freeze_panes(1, 0)
    sheet.repeat_rows(0)
    for position, (name, width) in enumerate(
        [("Column", 20), ("Meaning", 90), ("Unit", 12), ("Type", 12), ("Field", 20)]
    ):
        sheet.set_column(position, position, width)
        sheet.write_string(0, position, name, formats.header)
    for at, column in enumerate(report.columns, start=1):
        for position, value in enumerate([column.header, column.meaning, column.unit, column.type, column.key]):
            sheet.write_string(at, position, value, formats.wrap)


def _write_cover(sheet: Worksheet, report: Report, written: Written, cover: Cover, formats: _Formats) -> None:
    _page(sheet, report)
    sheet.set_column(0, 0, 22)
    sheet.set_column(1, 1, 90)
    local = timezone.localtime(cover.as_of)
    lines: list[tuple[str, Any]] = [
        ("As of", f"{local:%Y-%m-%d %H:%M:%S} {timezone.get_current_timezone_name()} (UTC{local:%z})"),
        ("Times are in", timezone.get_current_timezone_name()),
        ("Run by", cover.run_by),
        ("Filter", fitted(cover.filter_in_words)),
        ("Report", f"{report.name}, version {report.version}"),
        ("Rows", written.rows),
        ("Texts cut", written.cut),
        ("File", "1 of 1"),
    ]
    if report.groupings:
        for values, count in sorted(written.totals[0].items()):
            lines.append((f"{report.groupings[0].title}: {' / '.join(values)}", count))
    lines += [("SHA-256 of the data", written.sha256), ("How it is made", HASH_RULE)]
    sheet.write_string(0, 0, report.title, formats.title)
    for at, (label, value) in enumerate(lines, start=2):
        sheet.write_string(at, 0, label, formats.label)
        if isinstance(value, int):
            sheet.write_number(at, 1, value, formats.integer)
        else:
            sheet.write_string(at, 1, value, formats.wrap)
