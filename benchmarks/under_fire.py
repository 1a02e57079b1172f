"""The same run with everything well, and with something going wrong all the time: is it still right, and how fast?

    python -m benchmarks.under_fire [--jobs 20000] [--faults killed raising sleeping large] [--modes together alone]

Each step of each job has an effect outside, which is written down with its idempotency key by the process that has it.
After each run: every job ended as it was declared to, each step has exactly one key and its effect was had at least
once, and once alone where no process was killed; `manage.py verify` finds nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from scripts.processes import Child

from .database import Server
from .figures import Figure, amount, compare
from .measures import run
from .run import say

FAULTS = ("killed", "raising", "sleeping", "large")
MODES = {"together": "commits shared", "alone": "one commit a step"}
KILL_SECONDS = 2.0
SLEEP_SECONDS = 60
STATE_BYTES = 1_000_000
PATIENCE_SECONDS = 900
VERIFY_SECONDS = 30
"""So long a finding of `verify` may be the last moment of something that goes on."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs of a run")
    parser.add_argument("--large-jobs", type=int, default=300, help="jobs of the run with 1 MB of state each")
    parser.add_argument("--sleep", type=int, default=SLEEP_SECONDS, help="how long the one sleeping job sleeps")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES))


@dataclass(frozen=True, slots=True)
class Fire:
    """One run, and what it came to."""

    rate: float
    """Steps a second until nine of ten jobs were done: the last may wait for the lease of a killed worker."""
    seconds: float
    """From the first claim to the end of the last job."""
    kills: int
    repeated: int
    """Effects that were had more than once, under the same key."""


def measure(server: Server, options: argparse.Namespace, folder: Path) -> list[Figure]:
    """Every fault beside the clean run of the same round and mode."""
    prepare(options.sleep)
    runs: dict[tuple[str, str], list[Fire]] = defaultdict(list)
    for number in range(1, options.rounds + 1):
        for mode in options.modes:
            for fault in ("clean", *options.faults):
                server.checkpoint()
                one = burn(server, options, folder, f"{fault}-{mode}-{number}", fault, mode)
                runs[fault, mode].append(one)
                clean = runs["clean", mode][-1]
                say(
                    f"round {number}, {MODES[mode]}, {fault}: {one.rate:,.0f}/s, {one.rate / clean.rate:.2f} of clean;"
                    f" {one.seconds:.1f} s to the last; {one.kills} kills, {one.repeated} effects repeated; all right"
                )
    figures = []
    for mode in options.modes:
        clean_rates = [one.rate for one in runs["clean", mode]]
        for fault in options.faults:
            found = runs[fault, mode]
            name = f"{fault}, {MODES[mode]}"
            figures.append(compare(name, [one.rate for one in found], "clean", clean_rates, "steps/s"))
            figures.append(amount(f"{name}: to the last job", [one.seconds for one in found], "s"))
            if fault == "killed":
                figures.append(amount(f"{name}: workers killed", [one.kills for one in found], "workers"))
                repeats = [one.repeated for one in found]
                figures.append(amount(f"{name}: effects had again under their key", repeats, "effects"))
    return figures


def prepare(sleep: int) -> None:
    """Register the plugins and publish a workflow of three steps for each mode."""
    from workflows.intake import publishing
    from workflows.models import PluginRegistration

    for mode, class_name in (("together", "Effect"), ("alone", "EffectOutside")):
        plugin = f"bench.effect.{mode}"
        PluginRegistration.objects.create(job_type=plugin, module="benchmarks.plugin", class_name=class_name)
        task: dict[str, Any] = {
            "type": "plugin",
            "plugin": plugin,
            "timeout": f"PT{min(sleep + 60, 240)}S",
            "retry": [
                {"errors": ["Broken"], "max_attempts": 1},
                {"errors": ["Flaky"], "max_attempts": 3, "interval": "PT1S"},
            ],
        }
        tasks = {name: {**task, "input": f"${{input.{name}}}"} for name in ("first", "second", "third")}
        transitions = [{"from": a, "to": b} for a, b in pairwise(tasks)]
        publishing.publish({"name": f"bench-fire-{mode}", "tasks": tasks, "transitions": transitions})


def burn(server: Server, options: argparse.Namespace, folder: Path, name: str, fault: str, mode: str) -> Fire:
    """One run, judged. RuntimeError where anything of it is not right."""
    from django.db import connection

    from workflows.intake.submit import MAX_BATCH, Submission, submit_jobs
    from workflows.models import History, Job, Worker

    from .product import cluster

    jobs = options.large_jobs if fault == "large" else options.jobs
    effects = folder / f"effects-{name}"
    effects.mkdir()
    inputs = [what_to_do(fault, number, options.sleep) for number in range(jobs)]
    for first in range(0, jobs, MAX_BATCH):
        batch = [
            Submission(f"bench-fire-{mode}", given, correlation_id=name) for given in inputs[first : first + MAX_BATCH]
        ]
        submit_jobs(batch, submitted_by=None)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")
    Worker.objects.all().delete()
    mine = Job.objects.filter(correlation_id=name)
    log = folder / f"{name}.log"
    settings = {"BENCH_EFFECTS": str(effects), "WORKFLOW_VALUE_MAX_BYTES": "1048576"}
    killed: list[int] = []
    with environment(settings), cluster(log) as child, killing(child if fault == "killed" else None, killed):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while mine.exclude(status__in=("DONE", "FAIL")).exists():
            if child.has_ended or time.monotonic() > deadline:
                raise RuntimeError(f"{name}: not done:\n{child.last_lines()}")
            time.sleep(0.2)
    repeated = judge(mine, inputs, effects, killed)
    verify(name)
    moves = History.objects.filter(job__in=mine, to_status__in=("DONE", "FAIL"))
    ends = list(moves.order_by("at").values_list("at", flat=True))
    started = mine.order_by("started_at").values_list("started_at", flat=True)[0]
    nine = ends[max(int(jobs * 0.9) - 1, 0)]
    steps = 3 * jobs * 0.9
    return Fire(steps / _seconds(started, nine), _seconds(started, ends[-1]), len(killed), repeated)


def _seconds(start: datetime, end: datetime) -> float:
    return max((end - start).total_seconds(), 0.001)


def what_to_do(fault: str, number: int, sleep: int) -> dict[str, Any]:
    """The input of a job: what each of its three steps is asked for."""
    given: dict[str, Any] = {"first": {}, "second": {}, "third": {}}
    if fault == "raising" and number % 100 == 0:
        given["second"] = {"raise": "broken" if number % 200 else "flaky"}
    if fault == "sleeping" and number == 0:
        given["second"] = {"sleep": sleep}
    if fault == "large":
        given = {task: {"bytes": STATE_BYTES // 3 + 1} for task in given}
    return given


def judge(mine: Any, inputs: list[dict[str, Any]], effects: Path, killed: list[int]) -> int:
    """Did every job end as it was declared to, and was every effect had, under one key a step? How many were repeated.

    RuntimeError, with what is wrong.
    """
    from workflows.models import DeadLetter, TaskRun

    faults: list[str] = []
    broken = sum(1 for given in inputs if given["second"].get("raise") == "broken")
    flaky = sum(1 for given in inputs if given["second"].get("raise") == "flaky")
    statuses = Counter(mine.values_list("status", flat=True))
    expected = Counter({"DONE": len(inputs) - broken, "FAIL": broken})
    if statuses != +expected:
        faults.append(f"the jobs are {dict(statuses)} and should be {dict(+expected)}")
    wrong = mine.filter(status="FAIL").exclude(data__error__name="Broken").count()
    letters = DeadLetter.objects.filter(job__in=mine, resolved_at__isnull=True, error="Broken").count()
    if wrong or letters != broken:
        faults.append(f"{wrong} failed for another reason, {letters} of {broken} have their dead letter")
    runs = Counter(TaskRun.objects.filter(job__in=mine).values_list("status", flat=True))
    wanted = Counter({"done": 3 * len(inputs) - 2 * broken, "failed": broken, "retrying": flaky})
    if runs != +wanted:
        faults.append(f"the task runs are {dict(runs)} and should be {dict(+wanted)}")
    keys: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    had: Counter[str] = Counter()
    for file in effects.iterdir():
        for line in file.read_text(encoding="ascii").splitlines():
            key, job, task, iteration, *_ = line.split(" ")
            keys[key].add((job, task, iteration))
            had[key] += 1
    if any(len(steps) != 1 for steps in keys.values()):
        faults.append("two steps had the same idempotency key")
    steps_had = Counter(step for steps in keys.values() for step in steps)
    done = TaskRun.objects.filter(job__in=mine, status="done").values_list("job_id", "task", "iteration")
    steps_done = {(str(job), task, str(iteration)) for job, task, iteration in done.iterator()}
    if set(steps_had) != steps_done:
        lost, foreign = len(steps_done - set(steps_had)), len(set(steps_had) - steps_done)
        faults.append(f"{lost} steps are done without their effect, {foreign} effects belong to no step that is done")
    doubled = sum(1 for count in steps_had.values() if count > 1)
    if doubled:
        faults.append(f"{doubled} steps had their effect under more than one key")
    repeated = sum(1 for count in had.values() if count > 1)
    if repeated and not killed:
        faults.append(f"{repeated} effects were had more than once though no worker was killed")
    if faults:
        raise RuntimeError("; ".join(faults))
    return repeated


def verify(name: str) -> None:
    """`manage.py verify` finds nothing; what it finds must be gone a moment later. RuntimeError otherwise."""
    deadline = time.monotonic() + VERIFY_SECONDS
    while True:
        said = subprocess.run([sys.executable, "manage.py", "verify", "--json"], capture_output=True, text=True)
        if said.returncode == 0:
            return
        if time.monotonic() > deadline:
            found = (
                [check for check in json.loads(said.stdout)["checks"] if check["count"]] if said.stdout else said.stderr
            )
            raise RuntimeError(f"{name}: verify found {found}")
        time.sleep(1)


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Processes that are started meanwhile have these variables."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def killing(child: Child | None, killed: list[int]) -> Iterator[None]:
    """While it lasts, one worker of the cluster is killed with SIGKILL every two seconds; `killed` holds their
    processes. Without a cluster nothing is killed."""
    if child is None:
        yield
        return
    session = child.pid
    ended = threading.Event()

    def kill() -> None:
        from django.db import connection

        from workflows.models import Worker

        chance = random.Random(1)  # noqa: S311
        while not ended.wait(KILL_SECONDS):
            alive = [pid for pid in Worker.objects.values_list("pid", flat=True) if _is_of(pid, session)]
            if alive:
                pid = chance.choice(alive)
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
        connection.close()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _is_of(pid: int, session: int) -> bool:
    """Whether the process lives and is of this session: a number may have been given to somebody else's since."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
        return state != "Z" and os.getsid(pid) == session
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(run("under_fire", "Faults under speed", 3, add_options, measure))
