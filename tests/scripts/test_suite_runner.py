"""`make test`: what it counts, and what it says where a half of the suite is missing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "test.py"
BARE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""The runs inside need none of the plugins that take their time to load."""


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("suite_runner", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "suite_runner", module)
    spec.loader.exec_module(module)
    monkeypatch.delenv("ALLOW_NO_POSTGRESQL", raising=False)
    monkeypatch.setattr(module, "workers", lambda arguments: [])
    return module


def suite(folder: Path, text: str) -> str:
    path = folder / "test_inner.py"
    path.write_text(text)
    # A suite without this project's settings: only what the runner counts is looked at.
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:django -p no:cacheprovider\n")
    return str(path)


def test_passed_failed_broken_and_skipped_tests_are_counted_apart(runner: ModuleType, tmp_path: Path) -> None:
    inner = suite(
        tmp_path,
        "import pytest\n"
        "def test_a(): pass\n"
        "def test_b(): pass\n"
        "def test_c(): assert False\n"
        "@pytest.fixture\ndef broken(): raise ValueError\n"
        "def test_d(broken): pass\n"
        "@pytest.mark.skip\ndef test_e(): pass\n",
    )
    count = runner.run("x", BARE, tmp_path, ["-c", str(tmp_path / "pytest.ini"), inner])
    assert str(count) == "2 passed, 2 failed, 1 skipped"


def test_a_suite_that_cannot_be_loaded_is_a_failure(runner: ModuleType, tmp_path: Path) -> None:
    inner = suite(tmp_path, "import nothing_of_that_name\n")
    assert runner.run("x", BARE, tmp_path, ["-c", str(tmp_path / "pytest.ini"), inner]).failed == 1


def test_a_run_that_finds_no_test_or_dies_is_a_failure(runner: ModuleType, tmp_path: Path) -> None:
    ini = ["-c", str(tmp_path / "pytest.ini")]
    inner = suite(tmp_path, "")
    assert runner.run("none", BARE, tmp_path, [*ini, inner]).failed == 1
    inner = suite(tmp_path, "import os\ndef test_a(): os._exit(0)\n")
    assert runner.run("dies", BARE, tmp_path, [*ini, inner]).failed == 1


def test_a_missing_postgresql_is_a_failure_unless_it_is_allowed(
    runner: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.without_postgresql().failed == 1
    assert "0 passed on PostgreSQL" in capsys.readouterr().out
    monkeypatch.setenv("ALLOW_NO_POSTGRESQL", "1")
    assert str(runner.without_postgresql()) == "0 passed, 0 failed, 1 skipped"


def test_a_server_that_does_not_answer_is_not_usable(runner: ModuleType) -> None:
    assert not runner.usable("postgres://nobody@127.0.0.1:1/none")


def test_the_server_of_database_url_is_tried_first(runner: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://somebody@elsewhere/x")
    assert next(runner.candidates()) == "postgres://somebody@elsewhere/x"
    monkeypatch.setenv("DATABASE_URL", "sqlite:///x")
    assert all("127.0.0.1:5432" in url for url in runner.candidates())
