"""How fast the engine is, beside a hand-written queue and beside what one could install instead: `make bench`.

PostgreSQL is the server of DATABASE_URL, else one at 127.0.0.1:5432 that lets this user in, else one that is started
from a PyPI wheel. The benchmark makes databases of its own there and drops them at the end.

Arguments name the parts to measure: core, peers and latency without any, `all` for everything. The other parts are
programs of their own (`python -m benchmarks.size --help`), and are run as such with their own sizes. Each part is kept
under benchmarks/results/, and the page is made of all that are there. One that fails is named, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from scripts.test import postgresql

from .database import Server, Unfit, fresh_database
from .figures import Figure
from .parts import QUIET_LOAD, RESULTS, ROOT, Part, about, commit, disturbances, machine

OWN = ("core", "peers", "latency")
OTHERS = ("submitting", "resuming", "size", "under_fire", "exports", "sqlite")
TITLES = {"sqlite": "SQLite"}
PATIENCE_SECONDS = 3600
"""The longest that a part of its own may take."""


def main() -> int:
    """Measure, print, and write the page; 1 where something could not be measured."""
    options = arguments()
    signal.signal(signal.SIGTERM, _leave)
    load = os.getloadavg()[0]
    if load > QUIET_LOAD:
        say(f"WARNING: the load average is {load:.2f}; measure on a quiet machine")
    failed = []
    with tempfile.TemporaryDirectory(prefix="workflow-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        results = folder / "results" if options.no_page else RESULTS
        with postgresql(folder) as url:
            if not url:
                print("There is no PostgreSQL at DATABASE_URL or 127.0.0.1:5432, and none could be started.")
                return 1
            environment = {**os.environ, "DATABASE_URL": url}
            own = [part for part in options.parts if part in OWN]
            try:
                failed += measure_own(own, url, options, folder, results, load) if own else []
            except Unfit as error:
                print(error)
                return 1
            for part in options.parts:
                if part in OTHERS and not measure_other(part, options, folder, results, environment):
                    failed.append(part)
        from . import page

        if options.no_page:
            print(page.text(page.load_parts(results)))
        else:
            page.main()
    if failed:
        say(f"FAILED, and not measured anew: {', '.join(failed)}")
    return 1 if failed else 0


def measure_own(
    names: Sequence[str], url: str, options: argparse.Namespace, folder: Path, results: Path, load: float
) -> list[str]:
    """Measure parts in one database of their own; those that failed."""
    failed = []
    with fresh_database(url) as server:
        set_up_django(server, folder)
        from django.db import connections

        for name in names:
            began = time.monotonic()
            say(f"======== {name}")
            try:
                part = measure(name, server, options, folder)
            except Unfit:
                raise
            except Exception:  # whatever it was, the others are measured
                traceback.print_exc()
                failed.append(name)
            else:
                part.about = about(server, load)
                part.save(results)
            connections.close_all()
            say(f"{name}: {time.monotonic() - began:.0f} seconds")
    return failed


def measure(name: str, server: Server, options: argparse.Namespace, folder: Path) -> Part:
    """One of our own parts, by its name."""
    from . import latency, throughput

    if name == "latency":
        return latency.part(server, options, folder)
    return (throughput.core if name == "core" else throughput.peers)(server, options, folder, say)


def measure_other(
    name: str, options: argparse.Namespace, folder: Path, results: Path, environment: dict[str, str]
) -> bool:
    """Run the program of a part; whether it measured. With `--rounds` it is told how many."""
    say(f"======== {name}")
    began, load = time.monotonic(), os.getloadavg()[0]
    given = [] if options.rounds_given is None else ["--rounds", str(options.rounds_given)]
    figures = folder / f"{name}.figures"
    keep = ["--json", str(figures)] if name == "sqlite" else ["--no-results"] if options.no_page else []
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{name}", *given, *keep], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL
    )
    try:
        code = process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        code = -1
    finally:
        if process.poll() is None:  # it ends what it has started
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            if process.poll() is None:
                process.kill()
                process.wait()
    if code == 0 and figures.exists():
        read = [Figure.from_json(one) for one in json.loads(figures.read_text(encoding="utf-8"))]
        command = f"make bench PARTS={name}" + (f" ARGS='{' '.join(given)}'" if given else "")
        Part(name, TITLES.get(name, name.title()), command, read, about=about_sqlite(load)).save(results)
    say(f"{name}: {time.monotonic() - began:.0f} seconds" + ("" if code == 0 else f", FAILED with {code}"))
    return code == 0


def about_sqlite(load: float) -> dict[str, object]:
    """What is said of a part that is measured without a server."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit(),
        "machine": machine(),
        "sqlite": sqlite3.sqlite_version,
        "settings": {"journal_mode": "WAL", "synchronous": "FULL"},
        "load": round(load, 2),
        "disturbed": disturbances(load),
    }


def set_up_django(server: Server, folder: Path) -> None:
    """Settings as a deployment has them, on the benchmark's database. The processes started later inherit them."""
    for name in [name for name in os.environ if name.startswith("WORKFLOW_")]:
        del os.environ[name]  # the defaults are what is measured
    os.environ.update(
        DATABASE_URL=server.database_url,
        DEFINITIONS_DATABASE_URL="",
        DJANGO_SETTINGS_MODULE="config.settings",
        VAR_DIR=str(folder),
        WORKERS="2",
        WORKFLOW_PLUGIN_PACKAGES="benchmarks.plugin",
        LOG_LEVEL="WARNING",
    )
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.splitlines()[0])
    known = ", ".join((*OWN, *OTHERS))
    parser.add_argument("parts", nargs="*", help=f"of {known}, or all; without any {', '.join(OWN)}")
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("BENCH_JOBS") or 2000), help="jobs in a round")
    parser.add_argument("--rounds", type=int, dest="rounds_given", help="rounds of each (default: 5)")
    parser.add_argument("--samples", type=int, default=200, help="samples of each latency")
    parser.add_argument("--only", nargs="*", help="only these peers, by their file")
    parser.add_argument("--peer-share", type=float, default=1.0, help="this share of each peer's number of jobs")
    parser.add_argument("--no-page", action="store_true", help="print only, and keep nothing")
    options = parser.parse_args()
    options.rounds = options.rounds_given or 5
    options.parts = [*OWN, *OTHERS] if "all" in options.parts else options.parts or list(OWN)
    for part in options.parts:
        if part not in (*OWN, *OTHERS):
            parser.error(f"there is no part {part}")
    return options


def say(line: str) -> None:
    print(line, flush=True)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
