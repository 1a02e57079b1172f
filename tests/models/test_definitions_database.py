"""Definitions in a database of their own: the same product, and nothing that crosses the two."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys

import pytest
from django.apps import apps
from django.conf import settings

from workflows.models import Definition

pytestmark = pytest.mark.processes

SCRIPT = """
import json
from workflows.intake.publishing import publish
from workflows.intake.submit import Submission, submit_job
from workflows.models import PluginRegistration, Job
from workflows.execution.worker import drain
PluginRegistration.objects.create(job_type="echo", module="tests.execution.plugin_doubles", class_name="Echo")
document = {"name": "apart", "tasks": {"one": {"type": "plugin", "plugin": "echo"}}, "transitions": []}
publish(document)
job = submit_job(Submission("apart", {"n": 1}), submitted_by=None).job
drain()
print(json.dumps({"status": Job.objects.get(pk=job.pk).status}))
"""


def manage(tmp_path, *arguments: str) -> str:
    environment = {
        **os.environ,
        "VAR_DIR": str(tmp_path),
        "DATABASE_URL": f"sqlite:///{tmp_path}/jobs.sqlite3",
        "DEFINITIONS_DATABASE_URL": f"sqlite:///{tmp_path}/definitions.sqlite3",
        "WORKFLOW_PLUGIN_PACKAGES": "tests.execution",
        "PYTHONPATH": str(settings.BASE_DIR),
    }
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=settings.BASE_DIR,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def tables(path) -> set[str]:
    with sqlite3.connect(path) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


@pytest.mark.once  # it has two databases of its own
def test_a_job_runs_on_a_definition_from_the_other_database(tmp_path):
    manage(tmp_path, "migrate", "--verbosity", "0")
    manage(tmp_path, "migrate", "--verbosity", "0", "--database", "definitions")
    answer = manage(tmp_path, "shell", "--verbosity", "0", "-c", SCRIPT)

    assert json.loads(answer.splitlines()[-1]) == {"status": "DONE"}
    assert tables(tmp_path / "definitions.sqlite3") - {"sqlite_sequence"} == {
        "django_migrations",
        "workflows_definition",
        "workflows_draft",
        "workflows_retirement",
    }
    assert "workflows_definition" not in tables(tmp_path / "jobs.sqlite3")


def test_no_foreign_key_leads_to_a_definition_or_from_one():
    assert not [field for field in Definition._meta.get_fields() if field.is_relation]
    pointing = [
        field
        for model in apps.get_models()
        for field in model._meta.get_fields()
        if field.is_relation and field.related_model is Definition
    ]
    assert pointing == []
