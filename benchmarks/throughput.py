"""Steps per second, and what they cost: the product in both of its modes, the loops, and the peers, in rounds that
alternate. `core` is the product and the loops; `peers` the product, the loop and all peers that install.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from . import batch_loop, loop, peer, product
from .database import HOUSEKEEPING, Counters, Server
from .figures import Figure, Ratio, amount, compare
from .parts import Bar, Part, Table

STEPS = loop.STEPS
TOGETHER = "this product, commits shared"
ALONE = "this product, one commit a step"
LOOP = "hand-written loop"
BATCH_LOOP = "batch loop"


@dataclass(slots=True)
class Rounds:
    """The rounds of one alternative; a list has one number per round."""

    rates: list[float] = field(default_factory=list)
    """Steps per second."""
    cpu: list[float] = field(default_factory=list)
    """Processor seconds of its processes per 1,000 steps."""
    commits: list[float] = field(default_factory=list)
    """Transactions per job, without submitting it."""
    wal: list[float] = field(default_factory=list)
    """Bytes of write-ahead log per job, without submitting it."""
    submit_commits: list[float] = field(default_factory=list)
    submit_wal: list[float] = field(default_factory=list)
    submit_rates: list[float] = field(default_factory=list)
    """Jobs submitted per second."""
    elsewhere: list[int] = field(default_factory=list)
    """Transactions of other databases meanwhile: their write-ahead log is counted too."""

    def add(self, jobs: int, seconds: float, cpu: float, worked: Counters) -> None:
        self.elsewhere.append(worked.elsewhere)
        self.rates.append(jobs * STEPS / seconds)
        self.cpu.append(cpu / jobs / STEPS * 1000)
        self.commits.append(worked.commits / jobs)
        self.wal.append(worked.wal / jobs)

    def add_submission(self, jobs: int, seconds: float, submitted: Counters) -> None:
        self.submit_rates.append(jobs / seconds)
        self.submit_commits.append(submitted.commits / jobs)
        self.submit_wal.append(submitted.wal / jobs)

    @property
    def disturbed(self) -> bool:
        """Whether others wrote to the log, more than the server's own housekeeping does, or something is negative."""
        return sum(self.elsewhere) > HOUSEKEEPING * len(self.elsewhere) or min(*self.commits, *self.wal, 0) < 0

    @property
    def all_commits(self) -> list[float]:
        return [a + b for a, b in zip(self.commits, self.submit_commits, strict=True)]

    @property
    def all_wal(self) -> list[float]:
        return [a + b for a, b in zip(self.wal, self.submit_wal, strict=True)]


class Ours:
    """The product, ready to be measured again and again in one database."""

    def __init__(self, server: Server, folder: Path, name: str) -> None:
        self.server, self.log, self.name = server, folder / "cluster.log", name
        self.together, self.alone = Rounds(), Rounds()
        self.whole_together, self.whole_alone = Rounds(), Rounds()
        """The same rounds, with everything counted that is counted of other products."""
        product.prepare()
        product.measure(server, 100, f"{name}-warm-up", self.log)
        self.state: Any = product.a_state()
        self.idle = product.measure_idle(server, self.log)

    def round(self, number: int, jobs: int) -> None:
        """One round of both modes. Jobs are submitted in batches, and one by one where each step has its commit."""
        for rounds, whole, workflow, batch in (
            (self.together, self.whole_together, product.WORKFLOW, product.MAX_BATCH),
            (self.alone, self.whole_alone, product.ALONE, 1),
        ):
            self.server.checkpoint()
            name = f"{self.name}-{workflow}-{number}"
            one = product.measure(self.server, jobs, name, self.log, workflow, batch)
            rounds.add(one.jobs, one.seconds, one.cpu_seconds, one.worked - self.idle)
            rounds.elsewhere[-1] += one.submitted.elsewhere
            rounds.add_submission(one.jobs, one.submit_seconds, one.submitted)
            whole.add(one.jobs, one.seconds, one.whole_cpu_seconds, one.whole)

    def notes(self) -> list[str]:
        """What others did on the server meanwhile, in a sentence, where it was more than its own housekeeping."""
        if not (self.together.disturbed or self.alone.disturbed):
            return []
        count = sum(self.together.elsewhere) + sum(self.alone.elsewhere)
        return [
            f"**Disturbed:** other databases of this server committed {count:,} transactions during the product's"
            " rounds. The figures of the write-ahead log include theirs, and are not judged."
        ]


def core(server: Server, options: argparse.Namespace, folder: Path, say: Callable[[str], None]) -> Part:
    """The product in both modes beside the two loops."""
    ours = Ours(server, folder, "core")
    single, batched = Rounds(), Rounds()
    for number in range(1, options.rounds + 1):
        for rounds, measure, factor in ((single, loop.measure, 1), (batched, batch_loop.measure, 5)):
            server.checkpoint()
            one = measure(server, options.jobs * factor, ours.state)
            rounds.add(one.jobs, one.seconds, one.cpu_seconds, one.worked)
        ours.round(number, options.jobs)
        say(
            f"round {number}: steps/s: loop {single.rates[-1]:.0f}, batch loop {batched.rates[-1]:.0f}, commits shared"
            f" {ours.together.rates[-1]:.0f}, one commit a step {ours.alone.rates[-1]:.0f}"
        )
    together, alone = ours.together, ours.alone
    part = Part("core", "Beside the database's own limit", f"make bench ARGS='{said(options)}'")
    part.notes = ours.notes()
    part.figures = core_figures(together, alone, single, batched)
    columns = {LOOP: single, BATCH_LOOP: batched, TOGETHER: together, ALONE: alone}
    part.tables = [core_table(columns, options.rounds, options.jobs, product.history_rows_per_job(ours.name))]
    part.bars = [Bar.of(name, rounds.rates, name in (TOGETHER, ALONE)) for name, rounds in columns.items()]
    return part


def core_figures(together: Rounds, alone: Rounds, single: Rounds, batched: Rounds) -> list[Figure]:
    """The figures that were wanted of the core."""
    one_by_one = [a + b for a, b in zip(together.commits, alone.submit_commits, strict=True)]
    rate, cpu = "steps/s", "CPU s per 1,000 steps"
    undisturbed = not (together.disturbed or alone.disturbed)

    def counted(name: str, values: Sequence[float], unit: str, wanted: float) -> Figure:
        return amount(name, values, unit, wanted if undisturbed else None)

    return [
        compare("One commit a step", alone.rates, LOOP, single.rates, rate, 0.8),
        compare("Commits shared", together.rates, LOOP, single.rates, rate, 5),
        compare("Commits shared", together.rates, BATCH_LOOP, batched.rates, rate, 0.4),
        counted("Transactions per job, submitting included: one commit a step", alone.all_commits, "", 4.2),
        counted("Transactions per job, submitting included: commits shared", one_by_one, "", 1.3),
        counted("The same, submitted in batches", together.all_commits, "", 0.3),
        counted("WAL per job, submitting included: one commit a step", kilo(alone.all_wal), "kB", 2.0),
        counted("WAL per job, submitting included: commits shared, in batches", kilo(together.all_wal), "kB", 2.0),
        compare("Processor time, one commit a step", alone.cpu, LOOP, single.cpu, cpu, 2, "less"),
        compare("Processor time, commits shared", together.cpu, LOOP, single.cpu, cpu, 0.25, "less"),
    ]


def core_table(columns: dict[str, Rounds], rounds: int, jobs: int, history: float) -> Table:
    rows: list[tuple[str, Callable[[Rounds], Sequence[float]], int]] = [
        ("steps per second", lambda one: one.rates, 0),
        ("processor seconds of the two processes per 1,000 steps", lambda one: one.cpu, 3),
        ("transactions per job, without submitting it", lambda one: one.commits, 2),
        ("transactions per job, to submit it", lambda one: one.submit_commits, 3),
        ("bytes of write-ahead log per job, without submitting it", lambda one: one.wal, 0),
        ("bytes of write-ahead log per job, to submit it", lambda one: one.submit_wal, 0),
        ("jobs submitted per second", lambda one: one.submit_rates, 0),
    ]
    return Table(
        ["", *columns],
        [[name, *(span(get(one), digits) for one in columns.values())] for name, get, digits in rows],
        f"Medians of {rounds} rounds of {jobs:,} jobs ({jobs * 5:,} of the batch loop), in brackets the least and the"
        f" most; the rounds of the columns alternate. A job of the product leaves {history:.0f} rows of history. Where"
        " commits are shared its jobs are submitted 1,000 at once, in the last column one by one.",
    )


def peers(server: Server, options: argparse.Namespace, folder: Path, say: Callable[[str], None]) -> Part:
    """The product in both modes, the loop and each peer, on the same work."""
    wanted = [one for one in peer.PEERS if not options.only or one.file in options.only]
    failures: dict[str, str] = {}
    for file in dict.fromkeys(one.file for one in wanted):
        say(f"installing {file}")
        if reason := peer.missing(file):
            failures[file] = reason
            say(f"{file}: {reason}")
    ours = Ours(server, folder, "peers")
    single = Rounds()
    theirs = {one.title: Rounds() for one in wanted if one.file not in failures}
    tuning: dict[str, str] = {}
    for number in range(1, options.rounds + 1):
        server.checkpoint()
        one = loop.measure(server, options.jobs, ours.state)
        single.add(one.jobs, one.seconds, one.cpu_seconds, one.worked)
        ours.round(number, options.jobs)
        for this in wanted:
            if this.title not in theirs:
                continue
            jobs = jobs_of(this, options)
            try:
                result = peer.measure(server, this, jobs)
            except peer.Failed as error:
                failures[this.title] = str(error)
                del theirs[this.title]
                say(f"{this.title} does not run: {error}")
                continue
            theirs[this.title].add(jobs, result.seconds, result.cpu_seconds, result.worked)
            tuning[this.title] = result.tuning
            say(f"round {number}: {this.title}: {theirs[this.title].rates[-1]:.0f} steps/s in {result.seconds:.1f} s")
        say(
            f"round {number}: steps/s: loop {single.rates[-1]:.0f}, commits shared {ours.together.rates[-1]:.0f},"
            f" one commit a step {ours.alone.rates[-1]:.0f}"
        )
    share = f" --peer-share {options.peer_share:g}" if options.peer_share != 1 else ""
    part = Part("peers", "Beside what else one could install", f"make bench-peers ARGS='{said(options)}{share}'")
    part.notes = ours.notes()
    known = {one.title: one for one in wanted}
    for title, rounds in theirs.items():
        this = known[title]
        part.figures += [
            compare("One commit a step", ours.alone.rates, title, rounds.rates, "steps/s", this.wanted_alone),
            compare("Commits shared", ours.together.rates, title, rounds.rates, "steps/s", this.wanted_together),
        ]
    columns = {TOGETHER: ours.whole_together, ALONE: ours.whole_alone, LOOP: single, **theirs}
    rows = []
    for title, rounds in columns.items():
        ratio = Ratio.of(ours.alone.rates, rounds.rates)
        rows.append(
            [
                title,
                span(rounds.rates),
                f"{ratio.median:.1f} ({ratio.least:.1f} to {ratio.most:.1f})" if title != ALONE else "1",
                span(rounds.cpu, 2),
                span(rounds.commits, 1),
                span([one / 1000 for one in rounds.wal], 1),
            ]
        )
    part.tables.append(
        Table(
            ["", "steps per second", "ours, one commit a step, is so many times as fast", "CPU s per 1,000 steps",
             "transactions per job", "kB of write-ahead log per job"],
            rows,
            f"Medians of {options.rounds} rounds, in brackets the least and the most; the ratio is taken round by"
            f" round. A round of ours and of the loop has {options.jobs:,} jobs, those of the others stand below."
            " Processor time is of all processes that the product started (a broker among them), from the first step"
            " begun to the end; not of the database. Transactions and write-ahead log include submitting the work, a"
            " VACUUM, and the start and the end of the workers, ours too, so that they weigh more where a round has"
            " fewer jobs; of the loop only its steps are counted. What a broker outside of the database writes is not"
            " in them." + (" **Other databases wrote to the same log meanwhile.**" if any(
                one.disturbed for one in columns.values()) else ""),
        )
    )  # fmt: skip
    part.tables.append(
        Table(
            ["peer", "version", "jobs in a round", "what a job of three steps is", "tuning"],
            [
                [title, peer.version(known[title]), f"{jobs_of(known[title], options):,}",
                 known[title].meaning, tuning[title]]
                for title in theirs
            ],
        )
    )  # fmt: skip
    left_out = {} if options.only else peer.LEFT_OUT
    part.notes += [f"**{name}** was not measured: {reason}" for name, reason in (failures | left_out).items()]
    part.bars = [Bar.of(title, rounds.rates, title in (TOGETHER, ALONE)) for title, rounds in columns.items()]
    return part


def jobs_of(this: peer.Peer, options: argparse.Namespace) -> int:
    """How many jobs a round of a peer has: an even number, because some divide them between two processes."""
    return max(int(this.jobs * options.peer_share), 4) // 2 * 2


def said(options: argparse.Namespace) -> str:
    """The arguments that repeat this run."""
    return f"--jobs {options.jobs} --rounds {options.rounds}"


def span(values: Sequence[float], digits: int = 0) -> str:
    """Median and range; empty where nothing was measured."""
    if not values:
        return ""
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def kilo(values: Sequence[float]) -> list[float]:
    return [value / 1000 for value in values]
