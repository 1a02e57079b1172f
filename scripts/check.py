"""Everything that is checked without running the product: `make check`. Says which of them failed."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PYTHON_CODE = ["config", "workflows", "departments", "plugins", "scripts", "tests", "benchmarks", "manage.py"]
MANAGE = [sys.executable, "manage.py"]

CHECKS: dict[str, list[str]] = {
    "lint (ruff)": [str(BIN / "ruff"), "check", "--quiet", *PYTHON_CODE],
    "format (ruff)": [str(BIN / "ruff"), "format", "--check", "--quiet", *PYTHON_CODE],
    "types (mypy)": [str(BIN / "mypy")],
    "architecture (import-linter)": [str(BIN / "lint-imports")],
    "deployment (manage.py check --deploy)": [*MANAGE, "check", "--deploy", "--fail-level", "WARNING"],
    "migrations (makemigrations --check)": [*MANAGE, "makemigrations", "--check", "--dry-run"],
}


def main() -> int:
    """Run every check, whatever the others say; 1 where one failed."""
    failed = []
    with tempfile.TemporaryDirectory() as var:
        # As it is deployed: behind TLS, with a key of its own, and without touching the data of this machine.
        deployed = {**os.environ, "HTTPS": "1", "SECRET_KEY": secrets.token_urlsafe(64), "VAR_DIR": var}
        deployed.pop("DATABASE_URL", None)
        for name, command in CHECKS.items():
            done = subprocess.run(command, cwd=ROOT, env=deployed, text=True, capture_output=True)
            print(f"{'ok    ' if done.returncode == 0 else 'FAILED'} {name}", flush=True)
            if done.returncode != 0:
                failed.append(name)
                print((done.stdout + done.stderr).rstrip(), flush=True)
    print(f"{len(CHECKS) - len(failed)} checks passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
