"""The definitions a process has compiled. A published version never changes, so it is kept for as long as it fits."""

from __future__ import annotations

from functools import lru_cache

from workflows.engine.definition import Definition as CompiledDefinition
from workflows.engine.parsing import fragment as cut_out
from workflows.engine.parsing import parse, published
from workflows.models import Definition, PluginRegistration

from .exceptions import DefinitionNotFound

ONE_TASK = 0
"""The version of a job type that has no definition of its own: it runs as a workflow of one task."""


def one_task_document(job_type: str) -> dict[str, object]:
    """The definition that a bare job type stands for. Its name is no slug where the job type has dots, so the task
    carries the job type and the workflow a name of the same words."""
    return {
        "name": job_type.replace(".", "-"),
        "title": job_type,
        "tasks": {"run": {"type": "plugin", "plugin": job_type, "title": job_type}},
        "transitions": [],
    }


@lru_cache(maxsize=512)
def get_definition(workflow: str, version: int, fragment: str = "") -> CompiledDefinition:
    """The compiled definition a job runs on; with `fragment`, the one task of it that a child job runs.

    DefinitionNotFound where that version was never published, or has no such task.
    """
    if fragment:
        try:
            return cut_out(get_definition(workflow, version), fragment)
        except KeyError:
            raise DefinitionNotFound(f"Version {version} of {workflow} has no task {fragment} to run apart.") from None
    if version == ONE_TASK:
        return parse(one_task_document(workflow))
    row = Definition.objects.filter(name=workflow, version=version).first()
    if row is None:
        raise DefinitionNotFound(f"Version {version} of {workflow} was never published here.")
    return published(row.document)


def version_to_start(workflow: str, version: int | None = None) -> int:
    """The version that a new job of a workflow runs: the named one, or the newest that is not retired; 0 for an enabled
    job type without a definition.

    DefinitionNotFound where there is none, or the named one is retired.
    """
    versions = Definition.objects.filter(name=workflow)
    if version is not None:
        versions = versions.filter(version=version)
    found = versions.open_to_jobs().order_by("-version").values_list("version", flat=True).first()
    if found is not None:
        return int(found)
    if versions.exists():
        which = "Every version" if version is None else f"Version {version}"
        raise DefinitionNotFound(f"{which} of {workflow} is retired: no job may start on it.")
    if not version and PluginRegistration.objects.filter(job_type=workflow, enabled=True).exists():
        return ONE_TASK
    which = "" if version is None else f"version {version} of "
    raise DefinitionNotFound(f"There is no {which}{workflow} to start.")
