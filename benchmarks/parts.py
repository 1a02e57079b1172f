"""What one part of the benchmarks has measured, kept as JSON under benchmarks/results/, one file per part.

A part is measured by itself and may take long; the page (`python -m benchmarks.page`) is made of those that are there.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from .figures import Figure

if TYPE_CHECKING:
    from .database import Server

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "autovacuum")
QUIET_LOAD = 0.5
"""Above this load average somebody else was using the processors."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One alternative on the chart: steps per second, of the rounds."""

    name: str
    median: float
    least: float
    most: float
    ours: bool = False

    @classmethod
    def of(cls, name: str, rates: Sequence[float], ours: bool = False) -> Bar:
        return cls(name, median(rates), min(rates), max(rates), ours)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a part: what stands beside its figures."""

    header: list[str]
    rows: list[list[str]]
    note: str = ""


@dataclass(slots=True)
class Part:
    """One part of the page."""

    name: str
    """The name of its file, and of the argument that measures it."""
    title: str
    command: str
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    """Date, commit, machine, server, its settings, load, and what disturbed the run."""

    def save(self, folder: Path = RESULTS) -> Path:
        """Write it; the file."""
        folder.mkdir(exist_ok=True)
        path = folder / f"{self.name}.json"
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: Path) -> Part:
        value = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            **{
                **value,
                "figures": [Figure.from_json(one) for one in value["figures"]],
                "tables": [Table(**one) for one in value["tables"]],
                "bars": [Bar(**one) for one in value["bars"]],
            }
        )


def about(server: Server, load: float) -> dict[str, Any]:
    """Where and when a part was measured. `load` is the load average before it began."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit(),
        "machine": machine(),
        "postgresql": server.setting("server_version").split()[0],
        "settings": {name: server.setting(name) for name in SETTINGS},
        "load": round(load, 2),
        "disturbed": disturbances(load),
    }


def disturbances(load: float) -> list[str]:
    """Why a run is to be repeated, in sentences; empty where the machine was quiet."""
    if load <= QUIET_LOAD:
        return []
    return [
        f"The load average was {load:.2f} at the start: other programs were running. Measure again when it is below"
        f" {QUIET_LOAD}."
    ]


def commit() -> str:
    """The commit that is measured, with a plus where the files differ from it; empty outside of a repository."""
    said = subprocess.run(
        ["git", "describe", "--always", "--exclude=*", "--dirty=+"], cwd=ROOT, capture_output=True, text=True
    )
    return said.stdout.strip()


def machine() -> str:
    """The machine, without its name."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{cores} cores ({platform.machine()}), {memory:.0f} GiB memory, {platform.system()}"
