"""Publishing definitions: a document becomes the next version of its workflow, or is refused with every fault."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, router, transaction
from django.db.models import OuterRef, Q, Subquery

from workflows.engine.exceptions import InvalidDefinition
from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import InvalidSchema, SchemaValidator, canonical, check_json, pointer_to
from workflows.engine.parsing import published
from workflows.engine.validation import each_task, validate
from workflows.execution.slots import know_limits
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
    found.extend(_recursion_faults(document))
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
            know_limits(published(document))
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
    for path, task in each_task(document):
        if task.get("form") is not None:
            yield [*path, "form"], task["form"]


def _recursion_faults(document: Any) -> Iterator[Fault]:
    """Child workflows through which this one would come to run inside itself, as they stand published now.

    One statement for each further level of them, and no more levels than a job could nest.
    """
    name = document.get("name") if isinstance(document, dict) else None
    ways = {child: (child,) for _, child in _children(document) if child[0] != name}
    seen = set(ways)
    back: dict[_Child, tuple[_Child, ...]] = {}
    for _ in range(_MAX_LEVELS):
        following: dict[_Child, tuple[_Child, ...]] = {}
        for child, found in _documents(ways).items():
            for _, grandchild in _children(found):
                if grandchild[0] == name:
                    back.setdefault(ways[child][0], ways[child])
                elif grandchild not in seen:
                    seen.add(grandchild)
                    following[grandchild] = (*ways[child], grandchild)
        ways = following
        if not ways:
            break
    for pointer, child in _children(document):
        if child in back:
            path = " → ".join((str(name), *(each for each, _ in back[child]), str(name)))
            detail = f"{name!r} would run inside itself without end ({path}); name another workflow."
            yield Fault(pointer, "recursive_workflow", detail)


_Child = tuple[str, int | None]
"""The name of a workflow, and its version where one is fixed; without it, the newest runs."""
_MAX_LEVELS = 20


def _children(document: Any) -> Iterator[tuple[str, _Child]]:
    """The workflows that a document starts, each with the pointer to its name."""
    for path, task in each_task(document):
        workflow, version = task.get("workflow"), task.get("version")
        if task.get("type") == "workflow" and isinstance(workflow, str):
            fixed = version if isinstance(version, int) else None
            yield pointer_to([*path, "workflow"]), (workflow, fixed)


def _documents(children: Collection[_Child]) -> dict[_Child, Any]:
    """The published documents of these, in two statements; what is not published is not there."""
    names = {name for name, version in children if version is None}
    newest = Definition.objects.open_to_jobs().filter(name=OuterRef("name")).order_by("-version").values("version")[:1]
    rows = Definition.objects.filter(name__in=names, version=Subquery(newest)).values_list("name", "document")
    found: dict[_Child, Any] = {(name, None): document for name, document in rows}
    fixed = Q()
    for name, version in children:
        if version is not None:
            fixed |= Q(name=name, version=version)
    if fixed:
        rows_of = Definition.objects.filter(fixed).values_list("name", "version", "document")
        found |= {(name, version): document for name, version, document in rows_of}
    return found


def _under(pointer: str, reported: Collection[str]) -> bool:
    """True where a fault at this place, or inside it, is reported already."""
    return any(place == pointer or place.startswith(pointer + "/") for place in reported)
