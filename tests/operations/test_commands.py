"""The commands about versions say what the API says."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.execution.jobs import submit
from tests.factories import DepartmentFactory
from workflows.execution.definitions import get_definition
from workflows.execution.worker import drain
from workflows.models import Definition, Draft, History, Job

pytestmark = pytest.mark.django_db
CLAIM = """\
name: claim
tasks:
  verify: {type: human, department: claims, due: P3D, quorum: {need: 2, of: 3}}
  pay: {type: emit, event: paid, data: {by: "${tasks.verify.outcome}"}}
transitions:
  - {from: verify, to: pay}
"""


@pytest.fixture(autouse=True)
def _claims(db: None) -> None:
    get_definition.cache_clear()  # the definitions of another test
    DepartmentFactory(code="claims")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "claim.yaml"
    path.write_text(CLAIM)
    return path


def said(*arguments: Any) -> str:
    out = StringIO()
    call_command(*[str(argument) for argument in arguments], stdout=out)
    return out.getvalue()


def test_files_are_published_and_what_they_change_is_said(file: Path, tmp_path: Path) -> None:
    assert said("publish", file, "--note", "first") == "claim v1 is published.\n"
    assert said("publish", file) == "claim v1 is equal already.\n"
    file.write_text(CLAIM.replace("P3D", "P5D"))
    assert said("publish", file, "--check") == f"{file}: claim has no fault.\n  verify: due 3 days → 5 days.\n"
    assert Definition.objects.count() == 1
    assert said("publish", file) == "claim v2 is published.\n  verify: due 3 days → 5 days.\n"
    as_json = tmp_path / "other.json"
    as_json.write_text(json.dumps({"name": "other", "tasks": {"a": {"type": "pass"}}}))
    assert "other v1 is published" in said("publish", as_json)


def test_one_file_with_faults_keeps_all_of_them_from_being_published(file: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("name: wrong\ntasks: {}\n")
    with pytest.raises(CommandError, match=r"/tasks \[empty\]"):
        said("publish", file, wrong)
    assert not Definition.objects.exists()
    assert "1 faults" in said("publish", wrong, "--draft")
    assert Draft.objects.get().name == "wrong"
    for text in ("{", "a: 1\na: 2"):
        wrong.write_text(text)
        with pytest.raises(CommandError):
            said("publish", wrong)
    with pytest.raises(CommandError, match="cannot be read"):
        said("publish", tmp_path / "nothing.json")


def test_a_simulation_is_told_step_by_step(file: Path) -> None:
    said("publish", file)
    told = said(
        "simulate", "claim", '{"n": 1}', "--now", "2030-01-01T00:00:00Z", "--outcomes", '{"verify": ["reject"]}'
    )
    assert told.splitlines() == [
        "2030-01-01T00:00:00Z  verify: completed `reject` (asks claims, 2 of 3 votes, due 2030-01-04T00:00:00Z)",
        "2030-01-01T00:00:00Z  pay: completed",
        "2030-01-01T00:00:00Z  DONE",
        'output: {"by":"reject"}',
        'would publish paid from pay: {"by":"reject"}',
    ]
    assert "assumed: verify" in said("simulate", "claim", "--document", file)
    for wrong in (["nothing"], ["claim", "{"], ["claim", "--outcomes", "[]"], ["claim", "--now", "soon"],
                  ["claim", "--outcomes", '{"x": ["y"]}']):  # fmt: skip
        with pytest.raises(CommandError):
            said("simulate", *wrong)


def test_a_back_test_is_told_job_by_job(tmp_path: Path) -> None:
    path = tmp_path / "claim.json"
    path.write_text(json.dumps({"name": "claim", "tasks": {"a": {"type": "pass"}}}))
    said("publish", path)
    job = submit(Definition.objects.get())
    drain()
    assert said("backtest", "claim") == "1 jobs: 1 unchanged, 0 changed, 0 cannot be told.\n"
    path.write_text(json.dumps({"name": "claim", "tasks": {"b": {"type": "pass"}}}))
    told = said("backtest", "claim", "--document", path)
    assert told.startswith(f"{job.pk} v1 path: It went through a: completed, and would go through b: completed.")
    for wrong in (["--limit", 0], ["--against", 9], ["--version-to-try", 9], ["--version-to-try", "draft"]):
        with pytest.raises(CommandError):
            said("backtest", "claim", *wrong)


def test_jobs_are_moved_only_when_asked_to(file: Path) -> None:
    said("publish", file)
    job = submit(Definition.objects.get())
    drain()
    file.write_text(CLAIM.replace("verify", "look"))
    said("publish", file)
    assert "1 need a mapping: The job is at 'verify'" in said("migrate_jobs", "claim", "--to", 2)
    assert "1 of 1 jobs examined (1 live) move cleanly." in said(
        "migrate_jobs", "claim", "--to", 2, "--map", "verify=look"
    )
    assert Job.objects.get().version == 1
    done = said("migrate_jobs", "claim", "--to", 2, "--map", "verify=look", "--move", "--reason", "renamed")
    assert done == "1 of 1 jobs moved to version 2.\n"
    row = History.objects.get(job=job, event="job.migrated")
    assert (row.actor, row.data["cause"]) == ("manage.py", "renamed")
    for wrong in (["--to", 9], ["--to", 2, "--map", "verify"], ["--to", 1, "--map", "x=verify"]):
        with pytest.raises(CommandError):
            said("migrate_jobs", "claim", *wrong)
    assert said("replay", "--all").endswith("1 replayed, 1 equal, 0 not.\n")
