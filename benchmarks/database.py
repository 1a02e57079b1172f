"""The benchmark's own database on a PostgreSQL server, and what that server counts."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

MUST_BE_ON = ("fsync", "synchronous_commit")
"""A figure measured without these says nothing about a product that loses no job."""
HOUSEKEEPING = 50
"""Transactions in a round that other databases have without anybody using them."""


class Unfit(Exception):
    """This server cannot be measured; the message says why."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What the server had counted at one moment."""

    commits: int
    """Committed transactions in the benchmark's database."""
    elsewhere: int
    """Committed transactions in all other databases: who else uses the server."""
    wal: int
    """Position in the write-ahead log, in bytes. All databases write to the same one."""

    def __sub__(self, earlier: Counters) -> Counters:
        return Counters(self.commits - earlier.commits, self.elsewhere - earlier.elsewhere, self.wal - earlier.wal)


class Server:
    """The server, seen from its maintenance database, so that looking is not counted."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = f"workflow_bench_{os.getpid()}_{uuid.uuid4().hex[:8]}"
        self.connection = psycopg.connect(url, autocommit=True)

    @property
    def database_url(self) -> str:
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{self.database}"))

    def setting(self, name: str) -> str:
        row = self.connection.execute("SELECT current_setting(%s)", [name]).fetchone()
        return str(row[0]) if row else ""

    def check(self) -> None:
        """Raises Unfit where an acknowledged commit could be lost."""
        for name in MUST_BE_ON:
            if self.setting(name) != "on":
                raise Unfit(f"{name} is {self.setting(name)} on this server; the benchmark needs it on.")

    def checkpoint(self) -> None:
        """Write everything out, so that no checkpoint of an earlier round falls into the next one. Needs the right."""
        try:
            self.connection.execute("CHECKPOINT")
        except psycopg.errors.InsufficientPrivilege:
            return

    def counters(self) -> Counters:
        """What is counted now. Sessions report when they end or a second later: end them first."""
        row = self.connection.execute(
            "SELECT coalesce(sum(xact_commit) FILTER (WHERE datname = %s), 0),"
            " coalesce(sum(xact_commit) FILTER (WHERE datname NOT IN (%s, current_database())), 0),"
            " pg_current_wal_lsn() - '0/0'::pg_lsn FROM pg_stat_database",
            [self.database, self.database],
        ).fetchone()
        assert row is not None
        return Counters(*(int(value) for value in row))

    def wait_for_sessions(self) -> None:
        """Until no session is left in the benchmark's database, so that all they did is counted."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
        for _ in range(200):
            row = self.connection.execute(query, [self.database]).fetchone()
            if row is not None and row[0] == 0:
                return
            self.connection.execute("SELECT pg_sleep(0.05)")
        raise Unfit("Sessions of an ended process are still in the benchmark's database.")


@contextmanager
def fresh_database(url: str) -> Iterator[Server]:
    """A new database on the server of `url`, dropped at the end."""
    server = Server(url)
    try:
        server.check()
        name = sql.Identifier(server.database)
        server.connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(name))
        try:
            yield server
        finally:
            server.connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
    finally:
        server.connection.close()
