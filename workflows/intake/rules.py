"""What a workflow asks of a submission: found once, kept for the life of the process.

What is kept is never trusted: the statement that writes the job looks, in the same round trip, whether a newer version
was published or this one retired, and then writes nothing. So a submission sees whatever was committed before it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from django.db import router

from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import SchemaValidator
from workflows.models import Definition, Job, PluginRegistration
from workflows.models.statements.births import Assumption

from .exceptions import UnknownWorkflow

DEFAULT_PRIORITY = 50
_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class IntakeRules:
    """What one version of one workflow says about its submissions. Version 0 is a job type without a definition."""

    workflow: str
    version: int
    priority: int = DEFAULT_PRIORITY
    sla_due: str | None = None
    sla_calendar: str | None = None
    input_schema: SchemaValidator | None = None
    digest: str = ""
    assumption: Assumption | None = None
    """What the statement that writes the job must find to be still so; None where that was looked at just now."""


_cache: dict[tuple[str, int, str], IntakeRules] = {}
_last: dict[tuple[str, int | None], IntakeRules] = {}
"""The rules that were found last for a workflow and the version that was asked for. They may have been overtaken."""
_lock = threading.Lock()
_CACHE_SIZE = 1_000


def remembers(workflow: str, version: int | None = None) -> bool:
    """Whether `known_rules` would answer from memory."""
    return (workflow, version) in _last


def known_rules(workflow: str, version: int | None = None, *, fresh: bool = False) -> IntakeRules:
    """The same as `rules_for`, without a query where this process remembers them and nobody asks for `fresh` ones. They
    come with the assumption that they still hold, for the writing statement to check.

    Where definitions have a database of their own, that statement cannot look at them, so they are looked at here.
    """
    known = None if fresh else _last.get((workflow, version))
    if known is None:
        known = rules_for(workflow, version)
        if known.version == 0 or router.db_for_read(Definition) != router.db_for_write(Job):
            return known
        known = replace(known, assumption=Assumption(workflow, known.version, known.digest, newest=version is None))
        _keep(_last, (workflow, version), known)
    return known


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
    workflow, version, digest = key
    document = Definition.objects.get(name=workflow, version=version).document
    rules = replace(read_rules(workflow, version, document), digest=digest)
    _keep(_cache, key, rules)
    return rules


def _keep(cache: dict[_Key, IntakeRules], key: _Key, rules: IntakeRules) -> None:
    with _lock:
        if len(cache) >= _CACHE_SIZE:
            cache.clear()
        cache[key] = rules


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
