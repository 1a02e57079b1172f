"""Install one pinned requirements file into this environment, with every hash checked.

`uv` does it several times as fast as pip, so it is installed first, by the hashes that requirements-dev.txt holds for
it. Where that is not possible, pip does the work.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]


def main(requirements: str) -> int:
    """Install the file; the exit code of what did it."""
    print(f"Installing {requirements}", flush=True)
    wanted = ["-r", str(ROOT / requirements)]
    if has_uv():
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable, "--require-hashes"]
        if subprocess.call([*uv, *wanted]) == 0:
            return 0
        print("uv could not install it; trying again with pip", flush=True)
    return subprocess.call([*PIP, *wanted])


def has_uv() -> bool:
    """Whether uv is here, after trying to install it."""
    if (
        subprocess.call([sys.executable, "-m", "uv", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        == 0
    ):
        return True
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(pinned("uv"))
        file.flush()
        return subprocess.call([*PIP, "-r", file.name]) == 0


def pinned(package: str) -> str:
    """The lines of requirements-dev.txt that pin one package."""
    lines: list[str] = []
    for line in (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{package}==") or (lines and line.startswith("    --hash")):
            lines.append(line)
        elif lines:
            break
    return "\n".join(lines).rstrip("\\ ") + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
