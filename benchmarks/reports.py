"""What a large report costs: `python -m benchmarks.reports [rows]` prints CPU seconds and peak memory for each kind.

Each kind is written in a process of its own, so that the peak is its own.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
START = datetime(2026, 1, 1, tzinfo=UTC)


def rows(count: int) -> Iterator[tuple[Any, ...]]:
    """Rows of the report of jobs, made up."""
    for number in range(count):
        at = START + timedelta(seconds=number)
        yield (
            *(f"0192d3a4-5b6c-7d8e-9f00-{number:012}", f"CLM-{number}", "insurance_claim", 1, "DONE", "approve", 50),
            *("submitter", at, at, at + timedelta(hours=number % 100), float(number % 100), None, False, None),
        )


def write(kind: str, count: int) -> None:
    """Write one file, and print what it took."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    from workflows.reporting.csvfile import stream_csv
    from workflows.reporting.registry import get_report
    from workflows.reporting.workbook import Cover, write_workbook

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    with tempfile.TemporaryFile() as file:
        if kind == "xlsx":
            write_workbook(file, get_report("jobs"), rows(count), Cover(START, "benchmark", "everything"))
        else:
            for piece in stream_csv(get_report("jobs"), rows(count)):
                file.write(piece)
        size = file.tell()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = time.process_time() - started
    print(
        f"{kind}: {count:,} rows, {size / 2**20:.1f} MiB, {seconds:.1f} s of CPU, "
        f"peak memory {peak / 1024:.0f} MiB, of which {(peak - before) / 1024:.0f} MiB for the report"
    )


def main() -> None:
    """Measure both kinds, at a tenth of the rows and at all of them: the memory should be the same."""
    if len(sys.argv) == 3:
        write(sys.argv[1], int(sys.argv[2]))
        return
    count = int(sys.argv[1]) if len(sys.argv) == 2 else 100_000
    for kind in ("csv", "xlsx"):
        for some in (count // 10, count):
            subprocess.run([sys.executable, "-m", "benchmarks.reports", kind, str(some)], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
