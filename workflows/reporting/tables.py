"""What a report is: its columns with their meaning, where its rows come from, and what is counted about them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Literal

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import QuerySet

from .filters import Chosen, Filter

Cell = str | int | float | bool | datetime | None
"""What a row holds: text, a whole or real number, yes or no, a time with its zone, or nothing."""
Row = tuple[Cell, ...]
User = AbstractBaseUser | AnonymousUser
CHUNK = 2000


@dataclass(frozen=True, slots=True)
class Column:
    """One column, and its line in the dictionary: what it means, in what unit, and where it comes from."""

    key: str
    header: str
    meaning: str
    type: Literal["text", "integer", "number", "boolean", "time"] = "text"
    unit: str = ""
    width: int = 16


@dataclass(frozen=True, slots=True)
class Grouping:
    """Rows counted by the values of some columns, for the summary and the control totals."""

    title: str
    keys: tuple[str, ...]


class Merged:
    """Rows of two tables as those of one, by their primary key."""

    def __init__(self, *parts: QuerySet[Any]) -> None:
        self.parts = parts

    def iterator(self, chunk_size: int) -> Iterator[Any]:
        """The rows in order; no more of them in memory than a chunk of each table."""
        return heapq.merge(*(part.iterator(chunk_size=chunk_size) for part in self.parts), key=attrgetter("pk"))


Selection = QuerySet[Any] | Merged


@dataclass(frozen=True, slots=True)
class Report:
    """A table that can be exported.

    `visible` gives what this user may see; `prepare` puts such a queryset in a stable order and adds to it what `row`
    needs, so that no row costs a query.

    `version` rises when a column is added (always at the right) or changes its meaning. The first grouping gives the
    control totals.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    filters: tuple[Filter, ...]
    visible: Callable[[User], QuerySet[Any]]
    prepare: Callable[[QuerySet[Any]], QuerySet[Any]]
    row: Callable[[Any, datetime], Row]
    groupings: tuple[Grouping, ...]
    version: int = 1
    archive: Callable[[User], QuerySet[Any]] | None = None
    """What this user may see of the archive, read as `row` needs it, in the same order; its columns have the names that
    the filters use. None where the archive holds none of it."""
    unasked: Callable[[QuerySet[Any], Chosen], QuerySet[Any]] = lambda found, chosen: found
    """Leaves out what is in the table only where the filters ask for it."""

    def selection(self, user: User, chosen: Chosen) -> Selection:
        """What the user may see, in the archive too, narrowed by the filters."""
        found = chosen.apply(self.prepare(self.unasked(self.visible(user), chosen)), user)
        if self.archive is None:
            return found
        return Merged(found, chosen.apply(self.unasked(self.archive(user), chosen), user))

    def rows(self, selection: Selection, as_of: datetime) -> Iterator[Row]:
        """The rows of a selection, read in chunks: memory does not grow with their number."""
        for record in selection.iterator(chunk_size=CHUNK):
            yield self.row(record, as_of)

    def positions(self, keys: Sequence[str]) -> tuple[int, ...]:
        """Where these columns stand in a row."""
        order = [column.key for column in self.columns]
        return tuple(order.index(key) for key in keys)


def hours(start: datetime | None, end: datetime | None) -> float | None:
    """Hours between two moments, to two decimals; None where one of them is missing."""
    return None if start is None or end is None else round((end - start).total_seconds() / 3600, 2)
