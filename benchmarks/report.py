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
every step is committed with its task run and its history ({history:.0f} rows a job), behind its fence, on its version
of the definition. Steps of several jobs share a commit where their plugin says `idempotent = True`; in the last column
it does not say so, and each step is a commit of its own. The time goes from the first claim to the last finish, by the
rows that the product keeps; the start of the processes is not in it. Processor time, transactions and write-ahead log
are of the workers' whole life; what a cluster without work costs is taken off the latter two.

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
    """Steps that may share a commit: their plugin says that repeating them is harmless."""
    alone: list[ProductRound] = field(default_factory=list)
    """The same steps without that promise: one commit each."""
    idle: Counters = field(default_factory=lambda: Counters(0, 0, 0))
    history_rows: float = 0
    latency: dict[str, list[float]] = field(default_factory=dict)

    @property
    def elsewhere(self) -> int:
        """Transactions of other databases on the same server, during all rounds."""
        return sum(one.worked.elsewhere + one.submitted.elsewhere for one in (*self.product, *self.alone))

    def warnings(self) -> list[str]:
        """What disturbed the run, in sentences."""
        found = []
        if self.load > QUIET_LOAD:
            found.append(
                f"The load average was {self.load:.2f} at the start: other programs were running. Measure again when it"
                f" is below {QUIET_LOAD}."
            )
        if self.elsewhere > 50 * len((*self.product, *self.alone)):
            found.append(
                f"Other databases of this server committed {self.elsewhere} transactions meanwhile: the figures of the"
                " write-ahead log include theirs."
            )
        return found


def ratios(ours: Sequence[ProductRound], theirs: Sequence[LoopRound]) -> list[float]:
    """The product's steps per second over the loop's, round by round."""
    pairs = zip(ours, theirs, strict=True)
    return [(one.jobs / one.seconds) / (other.jobs / other.seconds) for one, other in pairs]


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


def product_column(rounds: Sequence[ProductRound], idle: Counters) -> list[str]:
    """What the product did and cost, in the order of ROWS."""
    steps = len(TASKS)
    return [
        span([one.jobs / one.seconds for one in rounds]),
        span([one.jobs * steps / one.seconds for one in rounds]),
        span([one.cpu_seconds / one.jobs / steps * 1000 for one in rounds], 2),
        span([(one.worked.commits - idle.commits) / one.jobs for one in rounds], 2),
        span([(one.worked.commits - idle.commits + one.submitted.commits) / one.jobs for one in rounds], 2),
        span([(one.worked.wal - idle.wal) / one.jobs for one in rounds]),
        span([(one.worked.wal - idle.wal + one.submitted.wal) / one.jobs for one in rounds]),
        span([one.jobs / one.submit_seconds for one in rounds]),
    ]


def loop_column(rounds: Sequence[LoopRound]) -> list[str]:
    """The same of the loop, which has no submission."""
    steps = len(TASKS)
    return [
        span([one.jobs / one.seconds for one in rounds]),
        span([one.jobs * steps / one.seconds for one in rounds]),
        span([one.cpu_seconds / one.jobs / steps * 1000 for one in rounds], 2),
        span([one.worked.commits / one.jobs for one in rounds], 2),
        "",
        span([one.worked.wal / one.jobs for one in rounds]),
        "",
        "",
    ]


ROWS = (
    "jobs per second",
    "steps per second",
    "processor seconds of the two processes per 1,000 steps",
    "transactions per job",
    "transactions per job, submitting it included",
    "bytes of write-ahead log per job",
    "bytes of write-ahead log per job, submitting it included",
    "jobs submitted per second, 1,000 at once",
)


def throughput_table(results: Results) -> list[str]:
    columns = (
        loop_column(results.loop),
        product_column(results.product, results.idle),
        product_column(results.alone, results.idle),
    )
    lines = [
        "| | hand-written loop | this product | this product, one commit a step |",
        "| --- | ---: | ---: | ---: |",
    ]
    return lines + [f"| {' | '.join(row)} |" for row in zip(ROWS, *columns, strict=True)]


def latency_table(results: Results) -> list[str]:
    lines = ["| on an idle system, milliseconds | p50 | p95 | samples |", "| --- | ---: | ---: | ---: |"]
    for name, values in results.latency.items():
        p50, p95 = (percentile(values, share) * 1000 for share in (0.5, 0.95))
        lines.append(f"| {name} | {p50:.1f} | {p95:.1f} | {len(values)} |")
    return lines


def page(results: Results, command: str) -> str:
    """The whole page, in Markdown."""
    together, alone = ratios(results.product, results.loop), ratios(results.alone, results.loop)
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
        f"**The product runs {median(together):.2f} times as many steps per second as the hand-written loop**"
        f" ({min(together):.2f} to {max(together):.2f}) where their plugins declare that repeating a step is harmless,"
        f" so that a backlog's steps share commits; where each step has to be committed by itself,"
        f" {median(alone):.2f} times ({min(alone):.2f} to {max(alone):.2f}).",
        "",
        *throughput_table(results),
        "",
        f"Medians of {len(together)} rounds of {results.jobs:,} jobs, in brackets the least and the most. Rounds of the"
        " three alternate; the ratio is taken round by round.",
        "",
        *(latency_table(results) if results.latency else []),
        MEANING.format(history=results.history_rows),
    ]
    return "\n".join(lines)
