"""docs/benchmarks.md and its chart, from the parts that were measured: `python -m benchmarks.page`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import chart
from .figures import Figure
from .parts import RESULTS, ROOT, Bar, Part, Table

PAGE = ROOT / "docs" / "benchmarks.md"
CHART = ROOT / "docs" / "images" / "benchmarks.svg"
ORDER = ("core", "peers", "latency", "submitting", "resuming", "size", "under_fire", "exports", "sqlite")

MEANING = """## What is measured

**The product**: jobs of a workflow with three plugin tasks in a row; the plugin does nothing. They are submitted
beforehand, then `manage.py qcluster` runs them with two workers. Nothing is switched off: every step is committed with
its task run and its history, behind its fence, on its version of the definition. Steps of several jobs share a commit
where their plugin says `idempotent = True`; where it does not say so, each step is a commit of its own. The time goes
from the first claim to the last finish, by the rows that the product keeps; the start of the processes is not in it.
Processor time, transactions and write-ahead log are of the workers' whole life; what a cluster without work costs is
taken off the latter two.

**The loop** ([benchmarks/loop.py](../benchmarks/loop.py)): two processes; each step is one prepared statement and one
commit, which takes the next free job (`FOR UPDATE SKIP LOCKED`) and writes a state of the product's own into it; three
steps a job. It keeps no history and has no leases. The time goes from the moment when both processes are connected.
**The batch loop** ([benchmarks/batch_loop.py](../benchmarks/batch_loop.py)): the same, 50 jobs per statement and
commit.

**The peers** ([benchmarks/peers](../benchmarks/peers)): each in an environment of its own with pinned versions, in a
fresh database on the same server, with two processes where it has such a notion. The work is enqueued beforehand where
the peer has a queue. The time goes from the first step begun to the last result durable.

**Latencies** are of a system that does nothing else, samples of all kinds alternating. Submit to third step: from
before the call of `intake.submit_job` (or a request to gunicorn) to the moment when its client reads `DONE`. Answer to
job finished: from before a person's decision to the same moment, with one task after it. The loop with NOTIFY: one
process that listens, and runs the same loop's statement for each step.
"""


def text(parts: Sequence[Part]) -> str:
    """The whole page, in Markdown."""
    figures = [figure for part in parts for figure in part.figures]
    judged = [figure for figure in figures if figure.met is not None]
    lines = [
        "# Benchmarks",
        "",
        "How fast the engine is, beside the queue one would write by hand and beside what one could install instead."
        " `make bench` and its like measure; `python -m benchmarks.page` made this page of what they left.",
        "",
    ]
    if judged:
        met = sum(1 for figure in judged if figure.met)
        lines += [f"**Of {len(judged)} figures that were wanted, {met} are met and {len(judged) - met} are not.**", ""]
    if any(part.bars for part in parts):
        lines += [f"![Steps per second of each alternative](images/{CHART.name})", ""]
    for part in parts:
        lines += section(part)
    return "\n".join([*lines, MEANING])


def section(part: Part) -> list[str]:
    """One part."""
    about = part.about
    lines = [f"## {part.title}", ""]
    if about:
        settings = ", ".join(f"{name} {value}" for name, value in about["settings"].items())
        lines += [
            f"`{part.command}`, {about['date']}, commit {about['commit'] or 'unknown'}. {about['machine']}; clients and"
            f" server on the same one. {database(about)}; {settings}. Load average at the start:"
            f" {about['load']}.",
            "",
        ]
        for sentence in about["disturbed"]:
            lines += [f"**Disturbed:** {sentence}", ""]
    if part.figures:
        lines += figure_table(part.figures)
    for table in part.tables:
        lines += markdown(table)
    for note in part.notes:
        lines += [note, ""]
    return lines


def database(about: dict[str, Any]) -> str:
    """Which database it was, with its version."""
    return f"SQLite {about['sqlite']}" if "sqlite" in about else f"PostgreSQL {about['postgresql']}"


def figure_table(figures: Sequence[Figure]) -> list[str]:
    """What was reached beside what was wanted."""
    rows = []
    for figure in figures:
        rows.append(
            [
                figure.name,
                f"{number(figure.ours)} {figure.unit}".strip(),
                f"{figure.reference_name}: {number(figure.reference)}" if figure.reference is not None else "",
                reached(figure),
                wanted(figure),
                {None: "", True: "met", False: "**not met**"}[figure.met],
            ]
        )
    header = ["figure", "ours", "beside", "ratio, least to most", "wanted", ""]
    return markdown(Table(header, rows))


def reached(figure: Figure) -> str:
    ratio = figure.ratio
    return f"{number(ratio.median)} ({number(ratio.least)} to {number(ratio.most)})" if ratio else ""


def wanted(figure: Figure) -> str:
    if figure.wanted is None:
        return ""
    bound = "at least" if figure.better == "more" else "at most"
    times = " times" if figure.ratio else f" {figure.unit}" if figure.unit else ""
    return f"{bound} {figure.wanted:g}{times}"


def number(value: float) -> str:
    """Three digits that mean something."""
    size = abs(value)
    return (
        f"{value:,.0f}"
        if size >= 100
        else f"{value:.1f}"
        if size >= 10
        else f"{value:.2f}"
        if size >= 0.1
        else f"{value:.2g}"
    )


def markdown(table: Table) -> list[str]:
    """A table, the first column to the left."""
    lines = [
        f"| {' | '.join(table.header)} |",
        f"| --- |{' ---: |' * (len(table.header) - 1)}",
        *(f"| {' | '.join(row)} |" for row in table.rows),
        "",
    ]
    return [*lines, table.note, ""] if table.note else lines


def bars(parts: Sequence[Part]) -> list[Bar]:
    """Each alternative once; where two parts have measured it, as the first of them did."""
    found: dict[str, Bar] = {}
    for part in parts:
        for bar in part.bars:
            found.setdefault(bar.name, bar)
    return list(found.values())


def load_parts(folder: Path = RESULTS) -> list[Part]:
    """All parts that were measured, in the order of the page; others follow by name."""
    parts = {path.stem: Part.load(path) for path in sorted(folder.glob("*.json"))}
    return sorted(
        parts.values(), key=lambda part: (ORDER.index(part.name) if part.name in ORDER else len(ORDER), part.name)
    )


def write(folder: Path = RESULTS, page: Path = PAGE, picture: Path = CHART) -> list[Part]:
    """Write the page and its chart; the parts in it."""
    parts = load_parts(folder)
    page.write_text(text(parts), encoding="utf-8")
    if found := bars(parts):
        picture.write_text(chart.svg(found, "Three steps that do nothing, each of them durable"), encoding="utf-8")
    return parts


def main() -> int:
    """Write; 1 where no part was measured yet."""
    parts = write()
    print(f"docs/{PAGE.name}, from {', '.join(part.name for part in parts) or 'nothing'}")
    return 0 if parts else 1


if __name__ == "__main__":
    sys.exit(main())
