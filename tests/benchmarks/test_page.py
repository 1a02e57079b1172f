"""What a measured figure says, and how the page of benchmarks is put together. Nothing is measured here."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import chart, page, run
from benchmarks.database import Counters
from benchmarks.figures import Figure, Ratio, amount, compare
from benchmarks.parts import Bar, Part, Table

pytestmark = pytest.mark.once

ABOUT = {
    "date": "2026-01-02",
    "commit": "abc1234",
    "machine": "2 cores",
    "postgresql": "15",
    "settings": {"fsync": "on"},
    "load": 0.1,
    "disturbed": [],
}


def test_a_ratio_is_taken_round_by_round():
    assert Ratio.of([10, 30, 20], [10, 10, 40]) == Ratio(1.0, 0.5, 3.0)


@pytest.mark.parametrize(("ours", "reference"), [([], []), ([1.0], [1.0, 2.0])])
def test_a_ratio_of_no_rounds_or_of_unequal_ones_is_refused(ours, reference):
    with pytest.raises(ValueError, match=r"round|shorter|longer"):
        Ratio.of(ours, reference)


@pytest.mark.parametrize(
    ("wanted", "better", "met"),
    [(2.0, "more", True), (2.1, "more", False), (2.0, "less", True), (1.9, "less", False), (None, "more", None)],
)
def test_a_figure_is_met_by_its_median_ratio(wanted, better, met):
    assert compare("Speed", [20, 2, 40], "loop", [10, 10, 10], "steps/s", wanted, better).met is met


def test_a_figure_without_a_reference_is_met_by_its_amount():
    assert amount("Transactions", [1.0, 4.1, 9.0], "", 4.2).met is True
    assert amount("Transactions", [4.3], "", 4.2).met is False


def test_a_part_is_kept_and_read_back_as_it_was(tmp_path: Path):
    part = a_part("core", compare("Speed", [2], "loop", [1], "steps/s", 0.8), amount("WAL", [1.5], "kB", None))
    assert Part.load(part.save(tmp_path)) == part


def test_the_page_says_what_was_wanted_and_what_was_reached(tmp_path: Path):
    a_part("core", compare("Speed", [20, 40], "loop", [10, 10], "steps/s", 5)).save(tmp_path)
    a_part("other", amount("Transactions", [4.0], "", 4.2)).save(tmp_path)
    target, picture = tmp_path / "page.md", tmp_path / "chart.svg"
    parts = page.write(tmp_path, target, picture)
    text = target.read_text()
    assert [part.name for part in parts] == ["core", "other"]
    assert "Of 2 figures that were wanted, 1 are met and 1 are not." in text
    assert "| Speed | 30.0 steps/s | loop: 10.0 | 3.00 (2.00 to 4.00) | at least 5 times | **not met** |" in text
    assert "| Transactions | 4.00 |  |  | at most 4.2 | met |" in text
    assert "| a | 1 |" in text


def test_the_chart_has_a_bar_for_each_alternative_and_only_one_where_two_parts_have_measured_it():
    first, second = a_part("core"), a_part("peers")
    first.bars = [Bar("ours", 1000, 900, 1100, ours=True), Bar("<loop> & co", 2000, 1, 3000)]
    second.bars = [Bar("ours", 1, 1, 1, ours=True), Bar("peer", 3, 2, 4)]
    bars = page.bars([first, second])
    assert [(bar.name, bar.median) for bar in bars] == [("ours", 1000), ("<loop> & co", 2000), ("peer", 3)]
    drawing = ElementTree.fromstring(chart.svg(bars, "Steps"))  # noqa: S314  (our own)
    rectangles = [one for one in drawing.iter() if one.tag.endswith("rect")]
    assert [one.get("class") for one in rectangles] == ["bar", "ours", "bar"]
    widths = [float(one.get("width")) for one in rectangles]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] > 0


@pytest.mark.parametrize(
    ("worked", "judged"),
    [(Counters(6, 0, 3000), True), (Counters(6, 5000, 3000), False), (Counters(-1, 0, 3000), False)],
)
def test_transactions_and_log_are_judged_only_where_nobody_else_wrote(worked, judged):
    from benchmarks.throughput import Rounds, core_figures

    loop, ours = Rounds(), Rounds()
    loop.add(1, 1.0, 0.1, Counters(3, 0, 1000))
    ours.add(1, 1.0, 0.1, worked)
    ours.add_submission(1, 0.1, Counters(1, 0, 100))
    figures = core_figures(ours, ours, loop, loop)
    counted = [one for one in figures if one.reference is None]
    assert len(counted) == 5
    assert all((one.met is not None) is judged for one in counted)
    assert all(one.met is not None for one in figures if one.reference is not None)


def test_a_part_that_fails_is_told_and_leaves_no_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    options = argparse.Namespace(rounds_given=None, no_page=True)
    assert run.measure_other("no_such_part", options, tmp_path, tmp_path / "results", dict(os.environ)) is False
    assert "seconds, FAILED with 1" in capsys.readouterr().out
    assert not (tmp_path / "results").exists()


def a_part(name: str, *figures: Figure) -> Part:
    return Part(
        name, name.title(), f"make bench PARTS={name}", list(figures), [Table(["x", "y"], [["a", "1"]])], about=ABOUT
    )
