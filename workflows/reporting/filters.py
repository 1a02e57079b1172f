"""Filters: what a report may be narrowed by, read from a query string, applied to a queryset, and said in words."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet
from django.http import QueryDict

from workflows.engine.durations import parse_timestamp
from workflows.engine.exceptions import InvalidTimestamp
from workflows.engine.faults import Fault

from .exceptions import InvalidFilters

Read = Callable[[str], Any]
"""Turns the text of a query string into a value; ValueError, with the mending as its text, when it cannot."""
Apply = Callable[[QuerySet[Any], Any, Any], QuerySet[Any]]
"""Narrows a queryset by a value, for a user."""


def text(value: str) -> str:
    """Any text but the empty one."""
    if not value:
        raise ValueError("must not be empty")
    if "\x00" in value:
        raise ValueError("must not contain a null character")
    return value


def moment(value: str) -> datetime:
    """An RFC 3339 time with its zone."""
    try:
        # A "+" that was not escaped arrives as a blank. In UTC, for no database keeps every offset.
        return parse_timestamp(value.strip().replace(" ", "+"))
    except InvalidTimestamp:
        raise ValueError("must be a time with a zone, such as 2026-11-21T10:30:00Z") from None


def flag(value: str) -> bool:
    """`true` or `false`."""
    known = {"true": True, "1": True, "false": False, "0": False}
    if value.lower() not in known:
        raise ValueError("must be true or false")
    return known[value.lower()]


def identifier(value: str) -> uuid.UUID:
    """The id of a row."""
    try:
        return uuid.UUID(value)
    except ValueError:
        raise ValueError("must be an id, such as 0192f0c1-2d3e-7a4b-8c5d-6e7f80910a1b") from None


def one_of(choices: Sequence[str]) -> Read:
    """A reader that takes exactly these words."""

    def read(value: str) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return read


@dataclass(frozen=True, slots=True)
class Filter:
    """One thing a report may be narrowed by. `words` says it on the cover of a workbook, with `{}` for the value.

    One with `several` may be given more than once; `apply` then gets a list.
    """

    name: str
    read: Read
    apply: Apply
    words: str
    several: bool = False


def by(lookup: str) -> Apply:
    """The plain case: the value goes into one lookup of the queryset."""
    return lambda queryset, value, user: queryset.filter(**{lookup: value})


@dataclass(frozen=True, slots=True)
class Chosen:
    """The filters of one request, read and checked."""

    values: tuple[tuple[Filter, Any], ...] = ()

    def apply(self, queryset: QuerySet[Any], user: Any) -> QuerySet[Any]:
        """The queryset, narrowed by all of them for this user."""
        for chosen, value in self.values:
            queryset = chosen.apply(queryset, value, user)
        return queryset

    def has(self, name: str) -> bool:
        """Whether the filter of this name was given."""
        return any(one.name == name for one, _ in self.values)

    def without(self, others: Sequence[Filter]) -> Chosen:
        """The same, less these filters."""
        return Chosen(tuple((one, value) for one, value in self.values if one not in others))

    def in_words(self) -> str:
        """All of them as one phrase; `everything` when there is none."""
        return "; ".join(chosen.words.format(_said(value)) for chosen, value in self.values) or "everything"


def _said(value: Any) -> str:
    if isinstance(value, list):
        return " or ".join(_said(one) for one in value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def choose(declared: Sequence[Filter], given: QueryDict | Mapping[str, str]) -> Chosen:
    """Read the filters out of a query string.

    Raises InvalidFilters, with all faults at once, for a name that is not declared, one given twice, and a value that
    its filter does not take.
    """
    known = {one.name: one for one in declared}
    values: list[tuple[Filter, Any]] = []
    faults: list[Fault] = []
    for name in given:
        texts = given.getlist(name) if isinstance(given, QueryDict) else [given[name]]
        if name not in known:
            detail = f"There is no filter {name!r}. There are: {', '.join(sorted(known))}."
            faults.append(Fault(f"/{name}", "unknown_parameter", detail))
        elif len(texts) > 1 and not known[name].several:
            detail = f"The filter {name!r} is given {len(texts)} times; give it once."
            faults.append(Fault(f"/{name}", "repeated", detail))
        else:
            try:
                read = [known[name].read(text) for text in texts]
                values.append((known[name], read if known[name].several else read[0]))
            except ValueError as error:
                faults.append(Fault(f"/{name}", "invalid", f"The filter {name!r} {error}."))
    if faults:
        raise InvalidFilters(faults)
    return Chosen(tuple(values))
