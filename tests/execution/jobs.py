"""Jobs for these tests, made without the doors: a definition, a row, and plugins that do as they are told."""

from __future__ import annotations

import itertools
from typing import Any

from workflows import registry
from workflows.execution.definitions import get_definition
from workflows.models import Definition, History, Job, JobData, PluginRegistration


def register(job_type: str, class_name: str, **configuration: Any) -> PluginRegistration:
    """A row of the plugin table for one of `tests.execution.plugin_doubles`."""
    registry.forget()
    return PluginRegistration.objects.create(
        job_type=job_type, module="tests.execution.plugin_doubles", class_name=class_name, configuration=configuration
    )


def publish(document: dict[str, Any]) -> Definition:
    """Store a definition as its next version."""
    newest = Definition.objects.newest(document["name"])
    get_definition.cache_clear()
    return Definition.objects.create(
        name=document["name"],
        version=newest.version + 1 if newest else 1,
        title=document.get("title", ""),
        document=document,
        digest="",
    )


def submit(definition: Definition, input: Any = None, **fields: Any) -> Job:
    """A NEW job of a definition, with the first row of its history."""
    job = Job.objects.create(workflow=definition.name, version=definition.version, history_count=1, **fields)
    JobData.objects.create(job=job, input={} if input is None else input)
    History.objects.create(job=job, sequence=1, event="job.submitted", to_status="NEW")
    return job


def chain(name: str, *plugins: str) -> dict[str, Any]:
    """A definition whose tasks step1, step2 … run one after the other."""
    names = [f"step{number}" for number in range(1, len(plugins) + 1)]
    return {
        "name": name,
        "tasks": {task: {"type": "plugin", "plugin": plugin} for task, plugin in zip(names, plugins, strict=True)},
        "transitions": [{"from": a, "to": b} for a, b in itertools.pairwise(names)],
    }
