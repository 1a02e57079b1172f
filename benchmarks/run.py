"""How fast the engine is, compared with a hand-written queue on the same database: `make bench`.

PostgreSQL is the server of DATABASE_URL, else one at 127.0.0.1:5432 that lets this user in, else one that is started
from a PyPI wheel. The benchmark makes a database of its own there and drops it at the end.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from scripts.test import postgresql

from .database import Server, Unfit, fresh_database
from .loop import measure as measure_loop

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "autovacuum")


def main() -> int:
    """Measure, print, and write the page; 1 where it could not be measured."""
    options = arguments()
    signal.signal(signal.SIGTERM, _leave)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="workflow-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with postgresql(folder) as url:
            if not url:
                print("There is no PostgreSQL at DATABASE_URL or 127.0.0.1:5432, and none could be started.")
                return 1
            try:
                with fresh_database(url) as server:
                    text = measure(server, options, load, folder)
            except Unfit as error:
                print(error)
                return 1
    print("\n" + text)
    if not options.no_page:
        PAGE.write_text(text, encoding="utf-8")
        print(f"Written to docs/{PAGE.name}")
    return 0


def measure(server: Server, options: argparse.Namespace, load: float, folder: Path) -> str:
    """All rounds and all latencies; the page."""
    started = time.monotonic()
    set_up_django(server, folder)
    from . import latency, product, report

    results = report.Results(
        jobs=options.jobs,
        server=server.setting("server_version").split()[0],
        settings={name: server.setting(name) for name in SETTINGS},
        load=load,
    )
    say(f"PostgreSQL {results.server} ({results.settings}); {report.machine()}; load average {load:.2f}")
    for warning in results.warnings():
        say(f"WARNING: {warning}")
    product.prepare()
    product.measure(server, 100, "warm-up", folder / "cluster.log")
    state = product.a_state()
    results.idle = product.measure_idle(server, folder / "cluster.log")
    for number in range(1, options.rounds + 1):
        server.checkpoint()
        results.loop.append(measure_loop(server, options.jobs, state))
        server.checkpoint()
        results.product.append(product.measure(server, options.jobs, f"round-{number}", folder / "cluster.log"))
        server.checkpoint()
        log = folder / "cluster.log"
        results.alone.append(product.measure(server, options.jobs, f"alone-{number}", log, product.ALONE))
        theirs, ours, alone = (one[-1] for one in (results.loop, results.product, results.alone))
        say(
            f"round {number}: loop {theirs.jobs / theirs.seconds:.0f} jobs/s, product {ours.jobs / ours.seconds:.0f}"
            f" jobs/s, ratio {report.ratios(results.product, results.loop)[-1]:.2f}; one commit a step"
            f" {alone.jobs / alone.seconds:.0f} jobs/s, ratio {report.ratios(results.alone, results.loop)[-1]:.2f}"
        )
    results.history_rows = product.history_rows_per_job("round-1")
    if options.samples:
        results.latency = latency.measure(options.samples, folder)
    from django.db import connections

    connections.close_all()
    say(f"{time.monotonic() - started:.0f} seconds")
    return report.page(results, f"make bench ARGS='--jobs {options.jobs} --rounds {options.rounds}'")


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
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("BENCH_JOBS") or 2000), help="jobs in a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each")
    parser.add_argument("--samples", type=int, default=100, help="samples of each latency; 0 measures none")
    parser.add_argument("--no-page", action="store_true", help="print only, and leave docs/benchmarks.md as it is")
    return parser.parse_args()


def say(line: str) -> None:
    print(line, flush=True)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
