"""Publishing definitions: a document becomes the next version of its workflow, or is refused with every fault."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, router, transaction

from workflows.engine.exceptions import InvalidDefinition
from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import InvalidSchema, SchemaValidator, canonical, check_json, pointer_to
from workflows.engine.validation import validate
from workflows.models import Calendar, Definition, PluginRegistration

MAX_DOCUMENT_BYTES = 2**20
_ATTEMPTS = 20

_department_codes: list[Callable[[], Collection[str]]] = []


def register_department_codes(codes: Callable[[], Collection[str]]) -> None:
    """Let `codes()` say which departments exist. Without any, the departments of a document are not checked."""
    if codes not in _department_codes:
        _department_codes.append(codes)


@dataclass(frozen=True, slots=True)
class Published:
    """A published version; `created` is False where the document equals the newest one."""

    definition: Definition
    created: bool


def faults(document: Any) -> list[Fault]:
    """Everything that is wrong with a document, each fault with a JSON Pointer, a code and how to mend it."""
    found: list[Fault] = list(check_json(document, MAX_DOCUMENT_BYTES))
    if found:
        return found
    plugins = set(PluginRegistration.objects.filter(enabled=True).values_list("job_type", flat=True))
    departments = {code for codes in _department_codes for code in codes()} if _department_codes else None
    calendars = set(Calendar.objects.values_list("code", flat=True))
    found.extend(validate(document, known_plugins=plugins, known_departments=departments, known_calendars=calendars))
    reported = {fault.pointer for fault in found}
    found.extend(fault for fault in _schema_faults(document) if not _under(fault.pointer, reported))
    return found


def publish(document: Any, *, published_by: str = "", note: str = "") -> Published:
    """Make the document the next version of its workflow; one equal to the newest version makes no new one.

    Versions are numbered 1, 2, 3 … without a gap, whoever publishes at the same time. Raises InvalidDefinition with
    every fault.
    """
    found = faults(document)
    if found:
        raise InvalidDefinition(found)
    digest = hashlib.sha256(canonical(document).encode()).hexdigest()
    for attempt in range(_ATTEMPTS):
        newest = Definition.objects.newest(document["name"])
        if newest is not None and newest.digest == digest:
            return Published(newest, created=False)
        try:
            with transaction.atomic(using=router.db_for_write(Definition)):
                definition = Definition.objects.create(
                    name=document["name"],
                    version=newest.version + 1 if newest else 1,
                    title=str(document.get("title", ""))[:200],
                    document=document,
                    digest=digest,
                    note=note[:500],
                    published_by=published_by[:150],
                )
        except IntegrityError:
            # Somebody published this number first. Theirs stands; this document is the one after it.
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return Published(definition, created=True)
    raise AssertionError("unreachable")


def _schema_faults(document: Any) -> Iterator[Fault]:
    """Schemas that a submission or an answer could not be held against: a remote reference, a pattern too large."""
    if not isinstance(document, dict):
        return
    for path, schema in _schemas(document):
        try:
            SchemaValidator(schema)
        except InvalidSchema as error:
            yield Fault(pointer_to(path), "invalid_schema", f"The schema cannot be used: {error}")


def _schemas(document: dict[str, Any]) -> Iterator[tuple[Sequence[str | int], Any]]:
    if "input_schema" in document:
        yield ["input_schema"], document["input_schema"]
    tasks = document.get("tasks")
    for name, task in tasks.items() if isinstance(tasks, dict) else ():
        if isinstance(task, dict) and task.get("form") is not None:
            yield ["tasks", name, "form"], task["form"]


def _under(pointer: str, reported: Collection[str]) -> bool:
    """True where a fault at this place, or inside it, is reported already."""
    return any(place == pointer or place.startswith(pointer + "/") for place in reported)
