"""Very many jobs that nobody ran: copies of real ones, made by the server with generate_series.

A job is run for real, and every row that it left, in whichever table, is copied with ids and times of its own. So the
copies are what the product writes, whatever it writes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from .database import Server, Unfit
from .run import say

PORTION = 20_000
SPARE = 2.0
"""Free disk that must be there, for each byte of the copies: their write-ahead log, and what VACUUM writes again."""

FUNCTIONS = """
CREATE OR REPLACE FUNCTION bench_id(kind text, n bigint, every interval) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM now() - interval '1 day' - n * every) * 1000)::bigint), 12, '0')
        || '7' || substr(md5(kind || n), 1, 3) || 'a' || substr(md5(kind || n), 4, 15))::uuid
$$;
"""
"""A UUIDv7 of its time: for one copy the same in all tables, which are filled in one transaction."""


@contextmanager
def other_database(server: Server, name: str) -> Iterator[str]:
    """A copy of the benchmark's database as it is now, dropped at the end. Nobody may be connected meanwhile."""
    from django.db import connection
    from psycopg import sql

    connection.close()
    server.wait_for_sessions()
    copy = sql.Identifier(name)
    made = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(copy, sql.Identifier(server.database))
    server.connection.execute(made)
    try:
        yield name
    finally:
        connection.close()
        server.connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(copy))


def use(server: Server, name: str) -> None:
    """From now on this process, those it starts and the counters are about the database of this name."""
    import os

    from django.db import connection

    connection.close()
    connection.settings_dict["NAME"] = name
    server.database = name
    os.environ["DATABASE_URL"] = server.database_url


def fill(server: Server, pattern: UUID, copies: int, kind: str, *, bare: bool = False) -> int:
    """Copy a job, `copies` times, over the year that ended yesterday; bytes on disk of all copies. `kind` tells the
    copies of one pattern from those of others. `bare` copies the job and its data alone.

    The pattern refers to no row but its job's. Raises Unfit where the disk is too small, by the first portion.
    """
    from django.db import connection

    tables = _tables(pattern, bare)
    every = f"{365 * 86_400_000_000 // copies} microseconds"
    before = size(server)
    began = said = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(FUNCTIONS)
        # The copies refer to each other as the pattern does: triggers that look it up would take most of the time.
        cursor.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        first = 0
        while first < copies:
            last = min(first + (PORTION if first else min(PORTION, 2_000)), copies)
            cursor.execute("BEGIN")
            for table, columns, row in tables:
                cursor.execute(_copy(table, columns), {"row": row, "kind": kind, "every": every, **_span(first, last)})
            cursor.execute("COMMIT")
            if first == 0:
                _check_disk(server, (size(server) - before) / last * (copies - last))
            first = last
            if time.monotonic() - said > 30:
                said = time.monotonic()
                say(f"  {first:,} of {copies:,} {kind} jobs made, {said - began:.0f} s")
        cursor.execute("SET session_replication_role = DEFAULT; SET synchronous_commit = DEFAULT")
        cursor.execute("VACUUM (ANALYZE)")
    taken = size(server) - before
    say(f"{copies:,} {kind} jobs: {taken / 2**20:,.0f} MiB, {taken / copies:,.0f} bytes each")
    return taken


def size(server: Server) -> int:
    """Bytes of the benchmark's database."""
    row = server.connection.execute("SELECT pg_database_size(%s)", [server.database]).fetchone()
    assert row is not None
    return int(row[0])


def _check_disk(server: Server, wanted: float) -> None:
    """Raises Unfit where the server's disk does not hold so many bytes more, with room to spare. Only where the
    server's directory can be seen from here."""
    import os

    try:
        free = os.statvfs(server.setting("data_directory"))
    except OSError:
        say(f"  about {wanted * SPARE / 2**30:.1f} GiB will be needed; the server's disk cannot be seen from here")
        return
    room = free.f_bavail * free.f_frsize
    say(f"  about {wanted * SPARE / 2**30:.1f} GiB will be needed, {room / 2**30:.1f} GiB are free")
    if room < wanted * SPARE:
        raise Unfit(f"The disk is too small: {wanted * SPARE / 2**30:.1f} GiB needed, {room / 2**30:.1f} GiB free.")


def _span(first: int, last: int) -> dict[str, int]:
    return {"first": first + 1, "last": last}


def _tables(pattern: UUID, bare: bool) -> list[tuple[str, dict[str, str], Any]]:
    """(table, expression by column, key) for each row that the pattern left; the job's own row first."""
    from workflows.models import Job, JobData

    found: list[tuple[str, dict[str, str], Any]] = [(Job._meta.db_table, _expressions(Job, "id"), pattern)]
    for relation in Job._meta.related_objects:
        model: Any = relation.related_model
        if model is Job or (bare and model is not JobData):
            continue
        keys = model._base_manager.filter(**{relation.field.name: pattern}).order_by("pk")
        for key in keys.values_list("pk", flat=True):
            found.append((model._meta.db_table, _expressions(model, relation.field.column), key))
    return found


def _expressions(model: Any, job_column: str) -> dict[str, str]:
    """How each column of a copy is made of the pattern's row `p` and the copy's number `n`."""
    from django.db.models import AutoField, DateTimeField, UUIDField

    made: dict[str, str] = {}
    for field in model._meta.concrete_fields:
        column = field.column
        if isinstance(field, AutoField):
            continue  # the sequence gives it
        if column == job_column:
            made[column] = "bench_id(%(kind)s, n, %(every)s::interval)"
        elif field.primary_key and isinstance(field, UUIDField):
            made[column] = f"bench_id('{model._meta.model_name}' || %(kind)s, n, %(every)s::interval)"
        elif isinstance(field, DateTimeField):
            # As long before yesterday as the id says.
            made[column] = f"p.\"{column}\" - interval '1 day' - n * %(every)s::interval"
        elif column in ("correlation_id", "reference"):
            made[column] = "%(kind)s || '-' || n"
        else:
            made[column] = f'p."{column}"'
    return made


def _copy(table: str, columns: dict[str, str]) -> str:
    from workflows.models import JobData

    key = "job_id" if table == JobData._meta.db_table else "id"
    names = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(columns.values())
    return (
        f'INSERT INTO "{table}" ({names}) SELECT {values} FROM "{table}" AS p,'
        f' generate_series(%(first)s::bigint, %(last)s::bigint) AS n WHERE p."{key}" = %(row)s'
    )
