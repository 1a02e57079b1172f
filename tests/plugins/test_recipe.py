"""The recipe of plugins/README.md: copy a folder, three edits, register the row. Nothing restarts."""

from __future__ import annotations

import shutil
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

import plugins
from tests.plugins.support import step
from workflows.engine.contract import Completed
from workflows.registry import get_plugin


@pytest.mark.django_db
def test_a_copied_folder_with_three_edits_is_a_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path(str(plugins.__file__)).parent / "transform"
    copy = tmp_path / "greeting"
    shutil.copytree(original, copy)
    for name, edits in {
        "fields.py": {"TransformFields": "Greeting"},
        "registrations.json": {
            "plugins.transform": "plugins.greeting",
            '"transform.fields"': '"greeting.hello"',
            "TransformFields": "Greeting",
        },
    }.items():
        text = (copy / name).read_text()
        for old, new in edits.items():
            assert old in text
            text = text.replace(old, new)
        (copy / name).write_text(text)
    monkeypatch.setattr(plugins, "__path__", [*plugins.__path__, str(tmp_path)])

    try:
        call_command("register_plugins", str(copy / "registrations.json"), stdout=StringIO())
        answer = get_plugin("greeting.hello").run(step({"customer": {"name": "World"}}))
    finally:
        for module in [name for name in sys.modules if name.startswith("plugins.greeting")]:
            del sys.modules[module]
    assert isinstance(answer, Completed)
    assert answer.output == {"reference": "", "name": "World"}
