"""Registering plugins by script: rows of the configuration table from a file, as the admin would enter them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from workflows.models import PluginRegistration

FIELDS = frozenset({"job_type", "module", "class_name", "configuration", "description", "enabled"})


class InvalidRegistration(Exception):
    """A row that could never run; the message names its job type and everything that is wrong with it."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One row after registering; `change` is `created`, `replaced`, or `kept` where there was one before."""

    registration: PluginRegistration
    change: str


def register(rows: Sequence[Mapping[str, Any]], *, replace: bool = False) -> list[Registered]:
    """Register every row, or none. A job type that has a row keeps it as it is, unless `replace`.

    Raises InvalidRegistration for the first row that could never run.
    """
    with transaction.atomic():
        return [_register(row, replace) for row in rows]


def _register(row: Mapping[str, Any], replace: bool) -> Registered:
    if not isinstance(row, Mapping) or not FIELDS.issuperset(row) or not isinstance(row.get("job_type"), str):
        raise InvalidRegistration(f"A registration is an object with {', '.join(sorted(FIELDS))}; this is {row!r}.")
    present = PluginRegistration.objects.filter(job_type=row["job_type"]).first()
    if present is not None and not replace:
        return Registered(present, "kept")
    registration = present or PluginRegistration()
    for name, value in row.items():
        setattr(registration, name, value)
    try:
        registration.full_clean()
    except ValidationError as error:
        raise InvalidRegistration(f"{row['job_type']}: {' '.join(error.messages)}") from None
    registration.save()
    return Registered(registration, "replaced" if present else "created")
