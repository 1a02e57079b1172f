"""What is sent to the server: Django does not count the statements that are prepared past its own cursor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection


@contextmanager
def sent() -> Iterator[list[str]]:
    """The statements that were sent by whatever runs inside, in order, on PostgreSQL and on SQLite."""
    found: list[str] = []
    if connection.vendor != "postgresql":

        def note(execute: Any, sql: str, *rest: Any) -> Any:
            found.append(sql)
            return execute(sql, *rest)

        with connection.execute_wrapper(note):
            yield found
        return
    real = psycopg.Cursor.execute

    def noted(cursor: Any, query: Any, *rest: Any, **options: Any) -> Any:
        found.append(str(query))
        return real(cursor, query, *rest, **options)

    psycopg.Cursor.execute = noted  # type: ignore[method-assign,assignment]
    try:
        yield found
    finally:
        psycopg.Cursor.execute = real  # type: ignore[method-assign]
