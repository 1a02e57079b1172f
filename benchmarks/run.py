"""How fast the engine is, beside a hand-written queue and beside what one could install instead: `make bench`.

PostgreSQL is the server of DATABASE_URL, else one at 127.0.0.1:5432 that lets this user in, else one that is started
from a PyPI wheel. The benchmark makes databases of its own there and drops them at the end.

Arguments name the parts to measure: core, peers, latency, and modules of this package that have a
`measure(server, options, folder)` which answers figures. Each part is kept under benchmarks/results/, and the page is
made of all that are there.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from scripts.test import postgresql

from .database import Server, Unfit, fresh_database
from .parts import QUIET_LOAD, RESULTS, Part, about

OWN = ("core", "peers", "latency")
OTHERS = ("submitting", "resuming", "size", "under_fire")


def main() -> int:
    """Measure, print, and write the page; 1 where something could not be measured."""
    options = arguments()
    signal.signal(signal.SIGTERM, _leave)
    load = os.getloadavg()[0]
    if load > QUIET_LOAD:
        say(f"WARNING: the load average is {load:.2f}; measure on a quiet machine")
    results = RESULTS
    with tempfile.TemporaryDirectory(prefix="workflow-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if options.no_page:
            results = folder / "results"
        with postgresql(folder) as url:
            if not url:
                print("There is no PostgreSQL at DATABASE_URL or 127.0.0.1:5432, and none could be started.")
                return 1
            try:
                with fresh_database(url) as server:
                    set_up_django(server, folder)
                    for part in options.parts:
                        began = time.monotonic()
                        say(f"======== {part}")
                        measured = measure(part, server, options, folder)
                        measured.about = about(server, load)
                        measured.save(results)
                        say(f"{part}: {time.monotonic() - began:.0f} seconds")
                    from django.db import connections

                    connections.close_all()
            except Unfit as error:
                print(error)
                return 1
        from . import page

        if options.no_page:
            print(page.text(page.load_parts(results)))
        else:
            page.main()
    return 0


def measure(name: str, server: Server, options: argparse.Namespace, folder: Path) -> Part:
    """One part, by its name."""
    if name in ("core", "peers"):
        from . import throughput

        return (throughput.core if name == "core" else throughput.peers)(server, options, folder, say)
    module = importlib.import_module(f"benchmarks.{name}")
    if name == "latency":
        return module.part(server, options, folder)  # type: ignore[no-any-return]
    title = (module.__doc__ or name).strip().splitlines()[0].rstrip(".")
    command = f"make bench PARTS={name} ARGS='--jobs {options.jobs} --rounds {options.rounds}'"
    return Part(name, title, command, figures=module.measure(server, options, folder))


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
    parser.add_argument("parts", nargs="*", default=list(OWN), help=f"of {', '.join((*OWN, *OTHERS))}; else {OWN}")
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("BENCH_JOBS") or 2000), help="jobs in a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each")
    parser.add_argument("--samples", type=int, default=200, help="samples of each latency")
    parser.add_argument("--only", nargs="*", help="only these peers, by their file")
    parser.add_argument("--peer-share", type=float, default=1.0, help="this share of each peer's number of jobs")
    parser.add_argument("--no-page", action="store_true", help="print only, and keep nothing")
    options = parser.parse_args()
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
