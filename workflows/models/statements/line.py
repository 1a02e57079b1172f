"""A connection on which a worker sends a statement, and goes on working while the server writes it down."""

from __future__ import annotations

import re
from collections.abc import Sequence

import psycopg
from django.db import connection
from psycopg import errors, generators, pq

_PLACE = re.compile("%s")


class Line:
    """A connection of a worker's own, with at most one statement on its way.

    Uses what psycopg is made of, for its cursors wait for an answer. Each statement is prepared by the server the
    first time, and is a transaction of its own. All errors are Django's.
    """

    def __init__(self) -> None:
        parameters = connection.get_connection_params()
        for own in ("context", "cursor_factory", "prepare_threshold"):
            parameters.pop(own, None)
        with connection.wrap_database_errors:
            self._connection = psycopg.connect(**parameters, autocommit=True)
        self._names: dict[str, bytes] = {}
        self._busy = False

    def send(self, sql: str, parameters: Sequence[str]) -> None:
        """Send one statement; its answer must be taken before the next one is sent."""
        if self._busy:
            raise RuntimeError("The answer of the statement before has not been taken.")
        with connection.wrap_database_errors:
            name = self._names.get(sql) or self._prepare(sql)
            self._connection.pgconn.send_query_prepared(name, [value.encode() for value in parameters])
            self._busy = True
            self._connection.wait(generators.send(self._connection.pgconn))

    def answer(self) -> list[tuple[str | None, ...]]:
        """The rows of the statement on its way, as text, as soon as it is committed."""
        self._busy = False
        with connection.wrap_database_errors:
            [result] = self._connection.wait(generators.fetch_many(self._connection.pgconn))
            if result.status != pq.ExecStatus.TUPLES_OK:
                raise errors.error_from_result(result)
            return [
                tuple(_text(result.get_value(row, column)) for column in range(result.nfields))
                for row in range(result.ntuples)
            ]

    def _prepare(self, sql: str) -> bytes:
        name = f"line_{len(self._names)}".encode()
        numbers = iter(range(1, sql.count("%s") + 1))
        result = self._connection.pgconn.prepare(name, _PLACE.sub(lambda _: f"${next(numbers)}", sql).encode())
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise errors.error_from_result(result)
        self._names[sql] = name
        return name

    def close(self) -> None:
        """Close the connection. A statement on its way may or may not be committed."""
        self._connection.close()


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
