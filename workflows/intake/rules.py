"""What a workflow asks of a submission: found once, kept for the life of the process."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import SchemaValidator
from workflows.models import Definition, PluginRegistration

from .exceptions import UnknownWorkflow

DEFAULT_PRIORITY = 50


@dataclass(frozen=True, slots=True)
class IntakeRules:
    """What one version of one workflow says about its submissions. Version 0 is a job type without a definition."""

    workflow: str
    version: int
    priority: int = DEFAULT_PRIORITY
    sla_due: str | None = None
    sla_calendar: str | None = None
    input_schema: SchemaValidator | None = None


_cache: dict[tuple[str, int, str], IntakeRules] = {}
_lock = threading.Lock()
_CACHE_SIZE = 1_000


def rules_for(workflow: str, version: int | None = None) -> IntakeRules:
    """The rules of a version, or of the newest that is not retired; else those of the enabled plugin of that name, as
    version 0.

    One query where the rules were read before, so a version is retired from the next submission on. Raises
    UnknownWorkflow, also for a version that is retired.
    """
    versions = Definition.objects.open_to_jobs().filter(name=workflow)
    if version is not None:
        versions = versions.filter(version=version)
    # The digest is part of the key, so that a cache never outlives a database that was emptied and filled again.
    found = versions.order_by("-version").values_list("version", "digest").first()
    if found is not None:
        key = (workflow, *found)
        rules = _cache.get(key)
        return rules if rules is not None else _load(key)
    if not version and PluginRegistration.objects.filter(job_type=workflow, enabled=True).exists():
        return IntakeRules(workflow, 0)
    raise _unknown(workflow, version)


def _load(key: tuple[str, int, str]) -> IntakeRules:
    workflow, version, _ = key
    rules = read_rules(workflow, version, Definition.objects.get(name=workflow, version=version).document)
    with _lock:
        if len(_cache) >= _CACHE_SIZE:
            _cache.clear()
        _cache[key] = rules
    return rules


def read_rules(workflow: str, version: int, document: dict[str, Any]) -> IntakeRules:
    """The rules that a published document holds."""
    schema = document.get("input_schema")
    sla = document.get("sla", {})
    return IntakeRules(
        workflow,
        version,
        priority=document.get("priority", DEFAULT_PRIORITY),
        sla_due=sla.get("due"),
        sla_calendar=sla.get("calendar"),
        input_schema=SchemaValidator(schema) if schema is not None else None,
    )


def _unknown(workflow: str, version: int | None) -> UnknownWorkflow:
    versions = Definition.objects.filter(name=workflow)
    if version is None and not versions.exists():
        return UnknownWorkflow([Fault("/workflow", "unknown_workflow", f"{workflow[:100]!r} is not published.")])
    if version is None:
        detail = f"Every version of {workflow!r} is retired. Restore one, or publish the next."
        return UnknownWorkflow([Fault("/workflow", "retired_version", detail)])
    if versions.filter(version=version).exists():
        detail = f"Version {version} of {workflow!r} is retired: no new job starts on it. Leave the version out."
        return UnknownWorkflow([Fault("/version", "retired_version", detail)])
    if versions.exists():
        return UnknownWorkflow([Fault("/version", "unknown_version", f"{workflow!r} has no version {version}.")])
    return UnknownWorkflow([Fault("/workflow", "unknown_workflow", f"{workflow[:100]!r} is not published.")])
