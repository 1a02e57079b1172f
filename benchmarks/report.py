"""The measured figures as one page of text."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median

from .database import Counters
from .loop import LoopRound
from .product import TASKS, ProductRound

QUIET_LOAD = 0.5
"""Above this load average somebody else was using the processors."""

MEANING = """
## What is measured

**The product**: jobs of a workflow with three plugin tasks in a row; the plugin does nothing. They are submitted
beforehand through `intake.submit_jobs`, then `manage.py qcluster` runs them with two workers. Nothing is switched off:
every step is committed on its own with its task run and its history ({history:.0f} rows a job), behind its fence, on
its version of the definition. The time goes from the first claim to the last finish, by the rows that the product
keeps; the start of the processes is not in it. Processor time, transactions and write-ahead log are of the workers'
whole life; what a cluster without work costs is taken off the latter two.

**The loop** ([benchmarks/loop.py](../benchmarks/loop.py)): two processes; each step is one prepared statement and one
commit, which takes the next free job (`FOR UPDATE SKIP LOCKED`) and writes a state of the product's own into it; three
steps a job. It keeps no history and has no leases. The time goes from the moment when both processes are connected.

**Submit to done**: from before the request (over HTTP against gunicorn, or a call of `intake.submit_job`) to the moment
when its client reads `DONE`. **Answer to next step**: from before a person's decision to the start of the task after
it, by the database's clock.
"""


@dataclass(slots=True)
class Results:
    """Everything one run has measured."""

    jobs: int
    server: str
    settings: dict[str, str]
    load: float
    loop: list[LoopRound] = field(default_factory=list)
    product: list[ProductRound] = field(default_factory=list)
    idle: Counters = field(default_factory=lambda: Counters(0, 0, 0))
    history_rows: float = 0
    latency: dict[str, list[float]] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """The product's steps per second over the loop's, round by round."""
        return [
            (ours.jobs / ours.seconds) / (theirs.jobs / theirs.seconds)
            for ours, theirs in zip(self.product, self.loop, strict=True)
        ]

    @property
    def elsewhere(self) -> int:
        """Transactions of other databases on the same server, during all rounds."""
        return sum(ours.worked.elsewhere + ours.submitted.elsewhere for ours in self.product)

    def warnings(self) -> list[str]:
        """What disturbed the run, in sentences."""
        found = []
        if self.load > QUIET_LOAD:
            found.append(
                f"The load average was {self.load:.2f} at the start: other programs were running. Measure again when it"
                f" is below {QUIET_LOAD}."
            )
        if self.elsewhere > 50 * len(self.product):
            found.append(
                f"Other databases of this server committed {self.elsewhere} transactions meanwhile: the figures of the"
                " write-ahead log include theirs."
            )
        return found


def machine() -> str:
    """The machine, without its name."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{cores} cores ({platform.machine()}), {memory:.0f} GiB memory, {platform.system()}"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def span(values: Sequence[float], digits: int = 0) -> str:
    """Median and range."""
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def throughput_table(results: Results) -> list[str]:
    steps = len(TASKS)
    loop, ours, idle = results.loop, results.product, results.idle
    rows: list[tuple[str, str, str]] = [
        (
            "jobs per second",
            span([one.jobs / one.seconds for one in loop]),
            span([one.jobs / one.seconds for one in ours]),
        ),
        (
            "steps per second",
            span([one.jobs * steps / one.seconds for one in loop]),
            span([one.jobs * steps / one.seconds for one in ours]),
        ),
        (
            "processor seconds of the two processes per 1,000 steps",
            span([one.cpu_seconds / one.jobs / steps * 1000 for one in loop], 2),
            span([one.cpu_seconds / one.jobs / steps * 1000 for one in ours], 2),
        ),
        (
            "transactions per job",
            span([one.worked.commits / one.jobs for one in loop], 2),
            span([(one.worked.commits - idle.commits) / one.jobs for one in ours], 2),
        ),
        (
            "transactions per job, submitting it included",
            "",
            span([(one.worked.commits - idle.commits + one.submitted.commits) / one.jobs for one in ours], 2),
        ),
        (
            "bytes of write-ahead log per job",
            span([one.worked.wal / one.jobs for one in loop]),
            span([(one.worked.wal - idle.wal) / one.jobs for one in ours]),
        ),
        (
            "bytes of write-ahead log per job, submitting it included",
            "",
            span([(one.worked.wal - idle.wal + one.submitted.wal) / one.jobs for one in ours]),
        ),
        ("jobs submitted per second, 1,000 at once", "", span([one.jobs / one.submit_seconds for one in ours])),
    ]
    lines = ["| | hand-written loop | this product |", "| --- | ---: | ---: |"]
    return lines + [f"| {name} | {loop_value} | {value} |" for name, loop_value, value in rows]


def latency_table(results: Results) -> list[str]:
    lines = ["| on an idle system, milliseconds | p50 | p95 | samples |", "| --- | ---: | ---: | ---: |"]
    for name, values in results.latency.items():
        p50, p95 = (percentile(values, share) * 1000 for share in (0.5, 0.95))
        lines.append(f"| {name} | {p50:.1f} | {p95:.1f} | {len(values)} |")
    return lines


def page(results: Results, command: str) -> str:
    """The whole page, in Markdown."""
    ratios = results.ratios
    settings = ", ".join(f"{name} {value}" for name, value in results.settings.items())
    lines = [
        "# Benchmarks",
        "",
        "How fast the engine is, compared with the queue one would write by hand. `make bench` wrote this page.",
        "",
        f"- Command: `{command}`",
        f"- Date: {datetime.now(UTC):%Y-%m-%d}",
        f"- Machine: {machine()}; clients and server on the same one",
        f"- Database: PostgreSQL {results.server}; {settings}",
        f"- Load average at the start: {results.load:.2f}",
        *(f"- **Disturbed:** {warning}" for warning in results.warnings()),
        "",
        f"**The product runs {median(ratios):.2f} times as many steps per second as the hand-written loop**"
        f" ({min(ratios):.2f} to {max(ratios):.2f}).",
        "",
        *throughput_table(results),
        "",
        f"Medians of {len(ratios)} rounds of {results.jobs:,} jobs, in brackets the least and the most. Rounds of the"
        " two alternate; the ratio is taken round by round.",
        "",
        *(latency_table(results) if results.latency else []),
        MEANING.format(history=results.history_rows),
    ]
    return "\n".join(lines)
