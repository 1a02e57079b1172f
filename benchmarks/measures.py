"""What every measure has in common: a database of its own, rounds, a printed table, and a file of results.

A measure is a module with `add_options(parser)` and `measure(server, options, folder)`, which answers figures. It runs
by itself: `python -m benchmarks.NAME [--options]`.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.test import postgresql

from .database import Server, Unfit, fresh_database
from .figures import Figure
from .parts import Part, about
from .run import _leave, say, set_up_django

Measure = Callable[[Server, argparse.Namespace, Path], list[Figure]]


def run(
    name: str, title: str, rounds: int, add_options: Callable[[argparse.ArgumentParser], None], act: Measure
) -> int:
    """Measure, print, and keep the figures under benchmarks/results/; 1 where it could not be measured.

    `rounds` is the default of `--rounds`.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=title)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"interleaved rounds (default: {rounds})")
    parser.add_argument("--no-results", action="store_true", help="print only, and keep no file")
    add_options(parser)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    load = os.getloadavg()[0]
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="workflow-bench-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        with postgresql(folder) as url:
            if not url:
                say("There is no PostgreSQL at DATABASE_URL or 127.0.0.1:5432, and none could be started.")
                return 1
            try:
                with fresh_database(url) as server:
                    set_up_django(server, folder)
                    figures = act(server, options, folder)
                    from django.db import connections

                    connections.close_all()
                    found = about(server, load)
            except Unfit as error:
                say(str(error))
                return 1
    say("")
    for line in table(figures):
        say(line)
    say(f"{time.monotonic() - started:.0f} seconds; load average {load:.2f} at the start")
    if not options.no_results:
        command = f"python -m benchmarks.{name}" + "".join(_said(parser, options))
        path = Part(name, title, command, figures, about=found).save()
        say(f"Kept in benchmarks/results/{path.name}")
    return 0


def table(figures: Sequence[Figure]) -> list[str]:
    """The figures for a terminal, one a line."""
    lines = []
    for figure in figures:
        line = f"{figure.name:<58} {figure.ours:>12,.2f} {figure.unit}"
        if figure.ratio is not None and figure.reference is not None:
            line += f"; {figure.reference_name}: {figure.reference:,.2f}; ratio {figure.ratio.median:.2f}"
            line += f" ({figure.ratio.least:.2f} to {figure.ratio.most:.2f})"
        if figure.wanted is not None:
            word = "at least" if figure.better == "more" else "at most"
            line += f"; wanted {word} {figure.wanted:g}: {'met' if figure.met else 'NOT MET'}"
        lines.append(line)
    return lines


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(-int(-share * len(ordered) // 1) - 1, 0)]


def _said(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[str]:
    """The options that are not the default's, as they are given."""
    given = []
    for action in parser._actions:
        value = getattr(options, action.dest, None)
        if action.option_strings and action.dest not in ("help", "no_results") and value != action.default:
            said = " ".join(map(str, value)) if isinstance(value, list) else str(value)
            given.append(f" {action.option_strings[-1]}" + ("" if value is True else f" {said}"))
    return given
