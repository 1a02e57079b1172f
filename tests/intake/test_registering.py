"""Registering plugins by script."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from workflows.intake.registering import InvalidRegistration, register
from workflows.models import PluginRegistration

pytestmark = pytest.mark.django_db
ROW: dict[str, Any] = {
    "job_type": "tests.fields",
    "module": "plugins.transform.fields",
    "class_name": "TransformFields",
    "configuration": {"fields": {"x": "/x"}},
}


def test_a_new_row_is_created_and_an_existing_one_kept() -> None:
    assert [registered.change for registered in register([ROW])] == ["created"]
    changed = {**ROW, "configuration": {"fields": {"x": "/y"}}}
    assert [registered.change for registered in register([changed])] == ["kept"]
    assert PluginRegistration.objects.get().configuration == ROW["configuration"]


def test_replacing_is_said() -> None:
    register([ROW])
    changed = {**ROW, "configuration": {"fields": {"x": "/y"}}}
    assert [registered.change for registered in register([changed], replace=True)] == ["replaced"]
    assert PluginRegistration.objects.get().configuration == {"fields": {"x": "/y"}}


@pytest.mark.parametrize(
    "change",
    [
        {"module": "os"},
        {"module": "plugins.nothing"},
        {"class_name": "Nobody"},
        {"configuration": {"fields": 3}},
        {"job_type": "No Such Form"},
        {"unheard": 1},
        {"job_type": None},
    ],
)
def test_a_row_that_could_never_run_is_refused_and_none_of_its_file_is_taken(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidRegistration):
        register([ROW, {**ROW, "job_type": "tests.other", **change}])
    assert not PluginRegistration.objects.exists()


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    path = tmp_path / "registrations.json"
    path.write_text(json.dumps([ROW]))
    out = StringIO()
    call_command("register_plugins", str(path), stdout=out)
    assert out.getvalue().split() == ["created", "tests.fields"]


@pytest.mark.parametrize("content", ["{", "{}", '[{"job_type": "x"}]', "[3]"])
def test_a_file_that_cannot_be_used_is_refused_with_its_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "registrations.json"
    path.write_text(content)
    with pytest.raises(CommandError, match=r"registrations\.json"):
        call_command("register_plugins", str(path))
