"""Published definitions and registrations for tests, made without the checks of publishing."""

from __future__ import annotations

import hashlib
from typing import Any

from workflows.engine.jsonvalue import canonical
from workflows.models import Definition, PluginRegistration


def document_of(name: str, **fields: Any) -> dict[str, Any]:
    """The smallest valid document: one task that passes its input on."""
    return {"name": name, "tasks": {"start": {"type": "pass"}}, "transitions": [], **fields}


def make_definition(name: str, *, version: int = 1, **fields: Any) -> Definition:
    """A published version, as `publish` would leave it."""
    document = document_of(name, **fields)
    digest = hashlib.sha256(canonical(document).encode()).hexdigest()
    return Definition.objects.create(
        name=name, version=version, title=document.get("title", ""), document=document, digest=digest
    )


def make_registration(job_type: str, *, enabled: bool = True) -> PluginRegistration:
    """A job type of a plugin that loads."""
    return PluginRegistration.objects.create(
        job_type=job_type,
        module="plugins.transform.fields",
        class_name="TransformFields",
        configuration={"fields": {"reference": "/reference"}},
        enabled=enabled,
    )
