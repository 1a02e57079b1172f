"""The one door by which a job's rows leave their tables: into the archive, and, when their time is over, out of it.

The rows are put together in the database, in one statement: what the archive holds never went through this program, so
no number and no text in it can come out otherwise than it went in.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import IntegrityError, connection, models
from django.utils import timezone

from workflows.models.archive import PARTS, ArchivedJob, Companion, Part
from workflows.models.jobs import Job, JobData

PORTION = 5_000
"""Ids in one statement: the databases bound the number of parameters."""
OWN = ("archived_at", "document")
"""Columns that are the archive's own; all others are the job's."""


def portions(ids: Sequence[uuid.UUID]) -> Iterator[Sequence[uuid.UUID]]:
    """The ids, so many at once."""
    for start in range(0, len(ids), PORTION):
        yield ids[start : start + PORTION]


def move(job_ids: Sequence[uuid.UUID]) -> int:
    """Move these jobs, whole, into the archive; answer how many. To be called in a transaction that holds their rows'
    locks. IntegrityError, and with it the end of the transaction, where one of them was not there to be moved."""
    moved = 0
    for ids in portions(job_ids):
        with connection.cursor() as cursor:
            cursor.execute(*_insert(ids))
            moved += cursor.rowcount
    if moved != len(job_ids):
        raise IntegrityError(f"Of {len(job_ids)} jobs to be archived, {moved} were there.")
    for ids in portions(job_ids):
        for part in PARTS:
            owner = "job_id" if part.through is None else "group__job_id"
            _drop(part.model, owner, ids)
        _drop(JobData, "job_id", ids)
    # The children and their parents refer to each other: the database looks when the transaction ends.
    left = len(job_ids) - sum(_drop(Job, "pk", ids) for ids in portions(job_ids))
    if left:
        raise IntegrityError(f"{left} jobs were archived and could not be taken out of their table.")
    return moved


def forget(job_ids: Sequence[uuid.UUID], companions: Sequence[Companion]) -> int:
    """Delete archived jobs, and what named them, for good; answer how many jobs."""
    gone = 0
    for ids in portions(job_ids):
        for companion in companions:
            _drop(companion.model, companion.path, ids)
        gone += _drop(ArchivedJob, "pk", ids)
    return gone


def _drop(model: type[models.Model], path: str, ids: Sequence[uuid.UUID]) -> int:
    """Delete the rows of these jobs in one statement. The models themselves refuse: this is the door that may."""
    rows: Any = model._base_manager.filter(**{f"{path}__in": ids})
    count: int = rows._raw_delete(using="default")
    return count


# ---- one row of all rows ---------------------------------------------------------------------------------------------


def _insert(ids: Sequence[uuid.UUID]) -> tuple[str, list[Any]]:
    """The statement that writes the archive's rows of these jobs."""
    columns = [column for column in _columns(ArchivedJob) if column not in OWN]
    pairs = [("job", _row(Job, "j")), ("data", f"({_select(JobData, 'job_id', _row(JobData, 't'))})")]
    pairs += [(part.name, _rows(part)) for part in PARTS]
    make = "jsonb_build_object" if _postgresql() else "json_object"
    document = f"{make}({', '.join(f'{_text(name)}, {value}' for name, value in pairs)})"
    named = ", ".join(_quoted(column) for column in [*columns, *OWN])
    read = ", ".join(f"j.{_quoted(column)}" for column in columns)
    adapt = ArchivedJob._meta.pk.get_db_prep_value
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    marks = ", ".join(["%s"] * len(ids))
    sql = (
        f"INSERT INTO {_quoted(ArchivedJob._meta.db_table)} ({named}) "  # noqa: S608  (names of our own tables)
        f"SELECT {read}, {'CAST(%s AS timestamptz)' if _postgresql() else '%s'}, {document} "
        f"FROM {_quoted(Job._meta.db_table)} j WHERE j.{_quoted('id')} IN ({marks})"
    )
    return sql, [now, *(adapt(each, connection) for each in ids)]


def _rows(part: Part) -> str:
    """The rows of a part as a JSON array; without the column that says whose they are, where they have it."""
    order = ", ".join(f"t.{_quoted(column)}" for column in part.order)
    row = _row(part.model, "t", without=("job_id",))
    if _postgresql():
        array = f"COALESCE(jsonb_agg({row} ORDER BY {order}), '[]'::jsonb)"
        return f"({_select(part.model, 'job_id', array, part.through)})"
    inner = f"{_select(part.model, 'job_id', f'{row} AS one', part.through)} ORDER BY {order}"
    return f"(SELECT json_group_array(json(one)) FROM ({inner}))"  # noqa: S608


def _select(model: type[models.Model], owner: str, what: str, through: type[models.Model] | None = None) -> str:
    table = f"{_quoted(model._meta.db_table)} t"
    if through is None:
        return f"SELECT {what} FROM {table} WHERE t.{_quoted(owner)} = j.id"  # noqa: S608
    joined = f"{_quoted(through._meta.db_table)} g ON g.id = t.group_id"
    return f"SELECT {what} FROM {table} JOIN {joined} WHERE g.{_quoted(owner)} = j.id"  # noqa: S608


def _row(model: type[models.Model], alias: str, without: Sequence[str] = ()) -> str:
    """One row as a JSON object of its columns."""
    if _postgresql():
        return f"(to_jsonb({alias}){''.join(f' - {_text(column)}' for column in without)})"
    pairs = []
    for column, field in _columns(model).items():
        if column not in without:
            value = f"{alias}.{_quoted(column)}"
            pairs.append(f"{_text(column)}, {f'json({value})' if isinstance(field, models.JSONField) else value}")
    return f"json_object({', '.join(pairs)})"


def _columns(model: type[models.Model]) -> dict[str, Any]:
    """The fields of a model by their columns."""
    fields: Any = model._meta.concrete_fields
    return {field.column: field for field in fields}


def _postgresql() -> bool:
    return connection.vendor == "postgresql"


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)


def _text(name: str) -> str:
    return f"'{name}'"
