"""docs/configuration.md lists every variable that the product reads, and no other."""

from __future__ import annotations

import re

from tests.running import ROOT

READS = re.compile(
    r"(?:env\.(?:str|bool|list|int)|whole_number|environ\.get|environment\.get)\(\s*\"([A-Z][A-Z_]+)\"", re.MULTILINE
)
SOURCES = ("config", "workflows", "departments", "plugins", "scripts")


def test_every_variable_that_is_read_is_listed_and_every_listed_one_is_read() -> None:
    text = "".join(path.read_text(encoding="utf-8") for name in SOURCES for path in (ROOT / name).rglob("*.py"))
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    listed = {
        name for row in re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    # Read by make, and by gunicorn.
    elsewhere = {"PYTHON", "WEB_CONCURRENCY"}
    assert set(READS.findall(text)) - {"DJANGO_SETTINGS_MODULE"} == listed - elsewhere
