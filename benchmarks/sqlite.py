"""The product on SQLite beside a loop written by hand, with the same pragmas on the same disk: `make bench-sqlite`.

One process on either side, for SQLite has one writer. The hand-written loop does a step as one UPDATE … RETURNING in a
transaction of its own, and a submission as one INSERT; each commit waits for the disk (`synchronous=FULL`).
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from .figures import Figure, compare

STEPS = 3
TABLE = """
DROP TABLE IF EXISTS loop_job;
CREATE TABLE loop_job (
    id INTEGER PRIMARY KEY, ready INTEGER NOT NULL DEFAULT 1, step INTEGER NOT NULL DEFAULT 0,
    input TEXT NOT NULL, state TEXT
);
CREATE INDEX loop_job_ready ON loop_job (id) WHERE ready;
"""
STEP = f"""
UPDATE loop_job SET step = step + 1, ready = step + 1 < {STEPS}, state = ?
WHERE id = (SELECT id FROM loop_job WHERE ready ORDER BY id LIMIT 1) RETURNING id
"""
STATE = json.dumps({"tasks": {name: {"status": "done", "output": {}} for name in ("first", "second", "third")}})


def rate(count: int, act: Callable[[], None]) -> float:
    """How many a second."""
    began = time.perf_counter()
    act()
    return count / (time.perf_counter() - began)


def loop(path: Path, pragmas: str, jobs: int) -> tuple[float, float]:
    """The hand-written side: submissions a second, and steps a second."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(pragmas + TABLE)

        def insert() -> None:
            for number in range(jobs):
                database.execute("INSERT INTO loop_job (input) VALUES (?)", [json.dumps({"number": number})])

        def work() -> None:
            while True:
                database.execute("BEGIN IMMEDIATE")
                found = database.execute(STEP, [STATE]).fetchone()
                database.execute("COMMIT")
                if found is None:
                    return

        return rate(jobs, insert), rate(jobs * STEPS, work)


def product(jobs: int) -> dict[str, float]:
    """Our side: submissions a second one by one and in batches, and steps a second alone and committed together."""
    from workflows.execution.worker import drain
    from workflows.intake.submit import Submission, submit_job, submit_jobs

    from .product import ALONE, WORKFLOW

    def one_by_one() -> None:
        for number in range(jobs):
            submit_job(Submission(ALONE, {"number": number}), submitted_by=None)

    def work() -> None:
        assert drain() == jobs * STEPS

    batch = [Submission(WORKFLOW, {"number": number}) for number in range(jobs)]
    return {
        "submit": rate(jobs, one_by_one),
        "alone": rate(jobs * STEPS, work),
        "batch": rate(jobs, lambda: submit_jobs(batch, submitted_by=None) and None),
        "together": rate(jobs * STEPS, work),
    }


def measure(folder: Path, jobs: int, rounds: int) -> list[Figure]:
    """The figures of so many interleaved rounds; what the first one warms up is not counted."""
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    from .product import prepare

    call_command("migrate", verbosity=0)
    prepare()
    pragmas = settings.DATABASES["default"]["OPTIONS"]["init_command"]
    ours, by_hand = [], []
    for _ in range(rounds + 1):
        by_hand.append(loop(folder / "loop.sqlite3", pragmas, jobs))
        ours.append(product(jobs))
    ours, by_hand = ours[1:], by_hand[1:]
    inserts, steps = [submits for submits, _ in by_hand], [steps for _, steps in by_hand]

    def each(key: str) -> list[float]:
        return [one[key] for one in ours]

    return [
        compare("SQLite: steps, one commit each", each("alone"), "the loop", steps, "steps/s"),
        compare("SQLite: steps committed together", each("together"), "the loop", steps, "steps/s"),
        compare("SQLite: submissions one by one", each("submit"), "a bare INSERT", inserts, "jobs/s"),
        compare(f"SQLite: submissions {jobs} at a time", each("batch"), "a bare INSERT", inserts, "jobs/s"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200, help="jobs of three steps in each round (at most 1,000)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-sqlite-", dir=os.environ.get("VAR_DIR")) as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "VAR_DIR": folder,
            "DATABASE_URL": f"sqlite:///{folder}/product.sqlite3",
            "WORKFLOW_PLUGIN_PACKAGES": "benchmarks",
        }
        figures = measure(Path(folder), options.jobs, options.rounds)
    for figure in figures:
        assert figure.ratio is not None
        print(
            f"{figure.name}: {figure.ours:,.0f} {figure.unit}, {figure.reference_name} {figure.reference:,.0f}, "
            f"ratio {figure.ratio.median:.2f} ({figure.ratio.least:.2f}–{figure.ratio.most:.2f})"  # noqa: RUF001
        )
    if options.json:
        options.json.write_text(json.dumps([figure.to_json() for figure in figures], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
