"""Reports as files: read back by programs that share nothing with the writers, and by looking into the XML itself."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import zipfile
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from python_calamine import CalamineWorkbook

from workflows.reporting import workbook
from workflows.reporting.csvfile import BOM, harmless, stream_csv
from workflows.reporting.exceptions import TooManyRows
from workflows.reporting.tables import Column, Grouping, Report, Row
from workflows.reporting.workbook import CUT_MARK, MAX_TEXT, Cover, Written, fitted, write_workbook

AS_OF = datetime(2026, 11, 21, 10, 30, 15, tzinfo=UTC)
FORMULAS = [
    "=1+1",
    "==1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    '=HYPERLINK("http://example.org?x="&A1,"click")',
    "=cmd|' /C calc'!A0",
    "+cmd|' /C calc'!A0",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20SUM(A1)",
]
HARMLESS = [
    "plain",
    "a=1",
    "5",
    "'=1",
    " =1",
    "http://example.org",
    "007",
    "12345678901234567",
    "",
    "mailto:a@example.org",
]

REPORT = Report(
    name="sample",
    title="Sample & test",
    columns=(
        Column("key", "Key", "A text.", width=20),
        Column("count", "Count", "A whole number.", "integer", "pieces"),
        Column("hours", "Hours", "A number.", "number", "hours"),
        Column("late", "Late", "Yes or no.", "boolean"),
        Column("at", "At", "A moment.", "time"),
    ),
    filters=(),
    visible=lambda user: pytest.fail("these tests give the rows themselves"),
    prepare=lambda records: records,
    row=lambda record, as_of: record,
    groupings=(Grouping("Rows by key", ("key",)), Grouping("Rows by key and late", ("key", "late"))),
)


def a_row(key: str = "k", count: int | None = 1, hours: float | None = 1.5, late: bool = False) -> Row:
    return (key, count, hours, late, AS_OF)


def book_of(rows: list[Row]) -> tuple[bytes, Written]:
    target = io.BytesIO()
    written = write_workbook(target, REPORT, rows, Cover(AS_OF, "auditor", "status open; workflow claim"))
    return target.getvalue(), written


def sheet(content: bytes, name: str) -> list[list[Any]]:
    """The cells of a sheet as calamine reads them."""
    return CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_name(name).to_python()


def cover(content: bytes) -> dict[str, Any]:
    return {str(row[0]): row[1] for row in sheet(content, "Cover") if row[0]}


def xml(content: bytes, path: str) -> etree._Element:
    return etree.fromstring(zipfile.ZipFile(io.BytesIO(content)).read(path))


def csv_of(rows: list[Row], **options: Any) -> bytes:
    return b"".join(stream_csv(REPORT, rows, **options))


# ---- the workbook ---------------------------------------------------------------------------------------------------


def test_numbers_times_and_texts_come_back_as_what_they_are() -> None:
    content, _ = book_of([("0042", 7, -2.25, True, AS_OF), ("", None, None, False, None)])
    assert sheet(content, "Data") == [
        ["Key", "Count", "Hours", "Late", "At"],
        ["0042", 7.0, -2.25, "Yes", datetime(2026, 11, 21, 10, 30, 15)],
        ["", "", "", "No", ""],
    ]


@pytest.mark.parametrize("text", FORMULAS + HARMLESS)
def test_no_text_becomes_a_formula_a_link_or_a_number_in_a_workbook(text: str) -> None:
    content, _ = book_of([a_row(text)])
    package = zipfile.ZipFile(io.BytesIO(content))
    data = xml(content, "xl/worksheets/sheet2.xml")
    assert data.findall(".//{*}f") == []
    assert data.findall(".//{*}hyperlink") == []
    assert not any("externalLink" in name or name.endswith("sheet2.xml.rels") for name in package.namelist())
    assert data.find(".//{*}c[@r='A2']").get("t") == "inlineStr"
    back = data.find(".//{*}c[@r='A2']//{*}t").text or ""
    assert re.sub(r"_x([0-9A-F]{4})_", lambda found: chr(int(found[1], 16)), back).replace("\r", "\n") == text.replace(
        "\r", "\n"
    )


def test_the_cover_tells_what_when_who_filter_and_how_many() -> None:
    content, _ = book_of([a_row("a"), a_row("a"), a_row("b")])
    told = cover(content)
    assert told["As of"] == "2026-11-21 10:30:15 UTC (UTC+0000)"
    assert told["Run by"] == "auditor"
    assert told["Filter"] == "status open; workflow claim"
    assert told["Report"] == "sample, version 1"
    assert told["Rows"] == 3
    assert (told["Rows by key: a"], told["Rows by key: b"]) == (2, 1)


def test_control_totals_and_summary_are_those_of_the_data_sheet() -> None:
    rows = [a_row(f"k{number % 3}", late=number % 2 == 0) for number in range(50)]
    content, _ = book_of(rows)
    data = sheet(content, "Data")[1:]
    counted = Counter(str(row[0]) for row in data)
    told = cover(content)
    assert {key: told[f"Rows by key: {key}"] for key in counted} == counted
    summary = sheet(content, "Summary")
    pairs = Counter((str(row[0]), str(row[3])) for row in data)
    start = next(at for at, row in enumerate(summary) if row[0] == "Rows by key and late") + 2
    assert {(row[0], row[1]): row[2] for row in summary[start : start + len(pairs)]} == pairs
    assert summary[start + len(pairs)][0] == "All"
    assert summary[start + len(pairs)][2] == 50


def test_the_hash_on_the_cover_is_that_of_the_cells_as_another_program_reads_them() -> None:
    content, written = book_of([("=1", 7, 2.0, True, AS_OF), ("ü\n€", None, -0.75, False, None), a_row("x" * 40_000)])
    digest = hashlib.sha256()
    for row in sheet(content, "Data"):
        for cell in row:
            if isinstance(cell, datetime):
                text = cell.strftime("%Y-%m-%dT%H:%M:%S")
            elif isinstance(cell, float) and cell.is_integer():
                text = str(int(cell))
            else:
                text = str(cell)
            digest.update(f"{text}\x1f".encode())
        digest.update(b"\x1e")
    assert cover(content)["SHA-256 of the data"] == written.sha256 == digest.hexdigest()


def test_the_dictionary_explains_every_column_in_order() -> None:
    content, _ = book_of([])
    rows = sheet(content, "Dictionary")
    assert [row[0] for row in rows[1:]] == [column.header for column in REPORT.columns]
    assert rows[2][1:] == ["A whole number.", "pieces", "integer", "count"]


def test_the_data_sheet_is_made_for_reading_and_printing() -> None:
    content, _ = book_of([a_row(), a_row()])
    data = xml(content, "xl/worksheets/sheet2.xml")
    assert data.find(".//{*}pane").get("state") == "frozen"
    assert data.find(".//{*}pane").get("topLeftCell") == "B2"
    assert data.find(".//{*}autoFilter").get("ref") == "A1:E3"
    assert data.find(".//{*}pageSetup").get("orientation") == "landscape"
    assert float(data.find(".//{*}col").get("width")) > 20
    titles = xml(content, "xl/workbook.xml").xpath("//*[local-name()='definedName'][@name='_xlnm.Print_Titles']/text()")
    assert "Data!$1:$1" in titles
    assert [found.get("name") for found in xml(content, "xl/workbook.xml").iter("{*}sheet")] == [
        "Cover",
        "Data",
        "Summary",
        "Dictionary",
    ]


@pytest.mark.parametrize("text", ["x" * MAX_TEXT, "x" * (MAX_TEXT + 1), "\U0001f4be" * 20_000, "a\U0001f4be" * 11_000])
def test_a_text_longer_than_a_cell_is_cut_with_a_mark_and_counted_on_the_cover(text: str) -> None:
    content, _ = book_of([a_row(text)])
    back = sheet(content, "Data")[1][0]
    units = len(text.encode("utf-16-le")) // 2
    assert len(back.encode("utf-16-le")) // 2 <= MAX_TEXT
    assert back.endswith(CUT_MARK) == (units > MAX_TEXT)
    assert back == text or text.startswith(back.removesuffix(CUT_MARK))
    assert cover(content)["Texts cut"] == (units > MAX_TEXT)


@given(st.text(max_size=50), st.integers(MAX_TEXT - 60, MAX_TEXT + 60))
@settings(max_examples=50)
def test_a_fitted_text_fits_and_keeps_its_beginning(tail: str, length: int) -> None:
    text = "\U0001f4be" + "x" * (length - 2) + tail
    found = fitted(text)
    assert len(found.encode("utf-16-le", "surrogatepass")) // 2 <= MAX_TEXT
    assert found == text or (found.endswith(CUT_MARK) and text.startswith(found.removesuffix(CUT_MARK)))


def test_control_characters_and_lone_surrogates_do_not_break_the_file() -> None:
    content, _ = book_of([a_row("bell\x07 \ud800 end"), a_row("_x0041_")])
    assert [row[0] for row in sheet(content, "Data")[1:]] == ["bell\x07 \ufffd end", "_x0041_"]


def test_times_are_shown_in_the_office_s_zone_which_the_cover_names(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Amsterdam"
    content, _ = book_of([a_row()])
    assert sheet(content, "Data")[1][4] == datetime(2026, 11, 21, 11, 30, 15)
    assert cover(content)["Times are in"] == "Europe/Amsterdam"
    assert "UTC+0100" in cover(content)["As of"]


def test_more_rows_than_a_sheet_holds_are_refused_and_csv_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "MAX_ROWS", 3)
    assert book_of([a_row()] * 3)[1].rows == 3
    with pytest.raises(TooManyRows, match="CSV"):
        book_of([a_row()] * 4)


# ---- CSV ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_a_spreadsheet_would_run_gets_a_quote_before_it(text: str) -> None:
    rows = list(csv.reader(io.StringIO(csv_of([a_row(text)]).decode(), newline="")))
    assert rows[1][0] == "'" + text


@pytest.mark.parametrize("text", HARMLESS)
def test_any_other_text_stays_as_it_is(text: str) -> None:
    rows = list(csv.reader(io.StringIO(csv_of([a_row(text)]).decode(), newline="")))
    assert rows[1][0] == text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_no_text_at_all_begins_with_what_a_spreadsheet_runs(text: str) -> None:
    assert not harmless(text).startswith(tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"))
    assert harmless(text) in (text, "'" + text)


def test_numbers_stay_numbers_and_times_are_utc() -> None:
    content = csv_of([("k", -5, -0.5, True, AS_OF), ("", None, None, False, None)]).decode()
    assert content.splitlines() == [
        '"Key","Count","Hours","Late","At"',
        '"k","-5","-0.5","Yes","2026-11-21T10:30:15Z"',
        '"","","","No",""',
    ]


def test_the_byte_order_mark_and_the_delimiter_are_there_when_asked_for() -> None:
    assert csv_of([], bom=True).startswith(BOM + b'"Key"')
    assert csv_of([], delimiter=";") == b'"Key";"Count";"Hours";"Late";"At"\r\n'


def test_quotes_delimiters_and_line_ends_survive() -> None:
    text = 'a "b", c;\r\nd'
    rows = list(csv.reader(io.StringIO(csv_of([a_row(text)]).decode(), newline="")))
    assert rows[1][0] == text


def test_a_lone_surrogate_does_not_break_the_stream() -> None:
    assert '"a\ufffd"' in csv_of([a_row("a\ud800")]).decode()


def test_both_files_hold_the_same_rows() -> None:
    rows = [a_row(f"k{number}", number, number / 4, number % 2 == 0) for number in range(1000)]
    content, _ = book_of(rows)
    from_csv = [
        (row[0], float(row[1]), float(row[2]), row[3]) for row in csv.reader(csv_of(rows).decode().splitlines()[1:])
    ]
    assert from_csv == [(row[0], row[1], row[2], row[3]) for row in sheet(content, "Data")[1:]]
