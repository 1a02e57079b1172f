"""The pages that a newcomer follows are true: every command in them is run against a live server, in order.

A block marked `sh` is run; a block marked `text` right after it is what it prints, where `…` stands for anything.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ROOT, Running, running

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(600),  # whole servers start here, also on a machine that is busy with others
    pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl"),
    pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash"),
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "----8<---- block"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("server")) as run:
        yield run


def steps(page: Path) -> list[tuple[str, str | None]]:
    """The commands of a page, each with what it should print, or None where the page does not say."""
    found: list[tuple[str, str | None]] = []
    previous = ""
    for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "sh":
            found.append((text, None))
        elif language == "text" and previous == "sh":
            found[-1] = (found[-1][0], text)
        previous = language
    return found


def prints(expected: str) -> re.Pattern[str]:
    """What is printed, as a pattern. A line that is `…` alone stands for any lines."""
    parts = [re.escape(part) for part in expected.strip().split("…")]
    return re.compile(r"(?s:.*?)".join(parts))


@pytest.mark.parametrize(
    "name",
    [
        *("examples/insurance-claim.md", "examples/order.md"),
        *("examples/shop-orchestrated.md", "examples/shop-choreographed.md"),
        # How something is done is the same on every database; that it is done is tested on each.
        *(
            pytest.param(f"{name}.md", marks=pytest.mark.once)
            for name in ("events", "versions", "schedules", "calendars", "human-tasks", "repairs")
        ),
    ],
)
def test_every_command_of_the_page_does_what_the_page_says(name: str, server: Running, tmp_path: Path) -> None:
    page = steps(ROOT / "docs" / name)
    assert len(page) > 5
    script = ["set -euo pipefail"]
    for index, (commands, _) in enumerate(page):
        commands = commands.replace("http://127.0.0.1:8000", server.address).replace("/tmp/", f"{tmp_path}/")
        script += [f"echo '{MARK} {index}'", commands.replace(".venv/bin/python", sys.executable)]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=ROOT,
        env={**server.environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        text=True,
        capture_output=True,
        timeout=300,
    )
    printed = done.stdout.split(MARK)[1:]
    assert done.returncode == 0, f"It stopped in this block:\n{page[len(printed) - 1][0]}\n{done.stdout}{done.stderr}"
    for (commands, expected), text in zip(page, printed, strict=True):
        if expected is not None:
            said = text.partition("\n")[2].strip()
            assert prints(expected).fullmatch(said), f"{commands}\nprinted\n{said}\nand not\n{expected}"
