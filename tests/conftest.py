"""What every test shares. `DATABASE_URL` says which database the suite runs on; nothing else differs."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from workflows.execution import calendars, children

ONCE = tuple(Path(__file__).parent / name for name in ("engine", "scripts", "browser"))
"""Folders of tests that know no database, or look at pages whose queries are tested on both elsewhere."""
SLOW = "scenarios/test_domestic_declarations.py"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that only PostgreSQL can run say so in the count where they cannot; others need to run once."""
    for item in items:
        if any(folder in item.path.parents for folder in ONCE):
            item.add_marker(pytest.mark.once)
    # The longest files first, so that none of them is all that is left at the end. The sort keeps files together.
    slow = {item.path for item in items if "processes" in item.keywords} | {Path(__file__).parent / SLOW}
    items.sort(key=lambda item: item.path not in slow)
    url = settings.DATABASE_URL
    if url.startswith("postgres"):
        return
    skip = pytest.mark.skip(reason="needs PostgreSQL; this run is on SQLite")
    for item in items:
        if "postgresql" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _quick_and_apart(settings: object, tmp_path: Path) -> None:
    """Cheap password hashes, documents in a folder of the test's own, and no calendar of the test before."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # type: ignore[attr-defined]
    calendars.forget()
    children.forget()
    settings.MEDIA_ROOT = tmp_path / "documents"  # type: ignore[attr-defined]


@pytest.fixture
def on_postgresql() -> bool:
    """True where this run is on PostgreSQL."""
    return connection.vendor == "postgresql"
