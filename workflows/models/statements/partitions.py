"""The months of the archive on PostgreSQL: tables of their own, made when they are needed, dropped when they are empty.

A job lies in the month in which its id was made. What fits no month (an id that is no UUIDv7, or of a clock that was
far ahead) lies in the default partition, and so does everything where a month could not be made just now: nothing
depends on the months but how cheaply they are dropped.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

from django.db import OperationalError, connection, transaction

from workflows.models.archive import ArchivedJob
from workflows.models.ids import least_uuid7

logger = logging.getLogger(__name__)

TABLE = ArchivedJob._meta.db_table
DEFAULT = f"{TABLE}_default"
FIRST = date(2020, 1, 1)
"""No job of this product is older."""
PATIENCE = "500ms"
"""How long to wait for those who read the archive. A worker waits with it, so it is short; the next run tries again."""
LOCK_NOT_AVAILABLE = "55P03"
_NAME = re.compile(rf"{TABLE}_y(\d{{4}})m(\d{{2}})")


def partitioned() -> bool:
    """Whether this database keeps the archive by months."""
    return connection.vendor == "postgresql"


def month_of(job_id: uuid.UUID) -> date | None:
    """The first day of the month in which a UUIDv7 was made; None for another id, and for a time before 2020."""
    seconds = (job_id.int >> 80) / 1000
    if job_id.version != 7 or seconds > 32_503_680_000:  # the year 3000
        return None
    found = datetime.fromtimestamp(seconds, UTC).date().replace(day=1)
    return found if found >= FIRST else None


def next_month(month: date) -> date:
    """The month after."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def least_id(month: date) -> uuid.UUID:
    """Below every UUIDv7 of the month, and above all that were made before it."""
    return least_uuid7(datetime(month.year, month.month, 1, tzinfo=UTC))


def name_of(month: date) -> str:
    """The table of a month."""
    return f"{TABLE}_y{month:%Y}m{month:%m}"


def months() -> set[date]:
    """The months that have a table. Empty where the archive is one table."""
    if not partitioned():
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = CAST(%s AS regclass)",
            [TABLE],
        )
        found = [_NAME.fullmatch(name) for (name,) in cursor.fetchall()]
    return {date(int(match[1]), int(match[2]), 1) for match in found if match}


def make_months(wanted: Iterable[date], today: date) -> int:
    """Make the tables of these months, none later than next month; answer how many were made."""
    if not partitioned():
        return 0
    latest = next_month(today.replace(day=1))
    missing = sorted({month for month in wanted if month <= latest} - months())
    return sum(_make(month) for month in missing)


def _make(month: date) -> bool:
    """Make one month, with what lies in the default partition of it. False where its readers would not wait."""
    name, low, high = name_of(month), least_id(month), least_id(next_month(month))
    between = f"id >= '{low}' AND id < '{high}'"
    with _patiently(f"The month {month:%Y-%m} of the archive could not be made yet") as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [TABLE])
        cursor.execute("SELECT to_regclass(%s) IS NULL", [name])
        if not cursor.fetchone()[0]:
            return False  # another worker made it first
        cursor.execute(f"LOCK TABLE {TABLE} IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(f"CREATE TABLE {name} (LIKE {TABLE} INCLUDING ALL)")
        # What came before its month had a table; attaching refuses while the default partition holds any of it.
        cursor.execute(
            f"WITH found AS (DELETE FROM {DEFAULT} WHERE {between} RETURNING *) "  # noqa: S608
            f"INSERT INTO {name} SELECT * FROM found"
        )
        cursor.execute(f"ALTER TABLE {TABLE} ATTACH PARTITION {name} FOR VALUES FROM ('{low}') TO ('{high}')")
        return True
    return False


def drop_empty_months(today: date) -> int:
    """Drop the tables of past months in which nothing is left; answer how many. One that is needed again is made
    again."""
    this = today.replace(day=1)
    return sum(_drop(month) for month in sorted(months()) if month < this and _is_empty(name_of(month)))


def _is_empty(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT NOT EXISTS (SELECT FROM {name})")  # noqa: S608
        return bool(cursor.fetchone()[0])


def _drop(month: date) -> bool:
    name = name_of(month)
    with _patiently(f"The month {month:%Y-%m} of the archive could not be dropped yet") as cursor:
        # The whole first, as its readers do: an archiver that wants the month waits here, and finds it gone.
        cursor.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")
        if not _is_empty(name):
            return False
        cursor.execute(f"DROP TABLE {name}")
        return True
    return False


@contextmanager
def _patiently(otherwise: str) -> Iterator[Any]:
    """A transaction that waits for locks no longer than `PATIENCE`, and then says so and lets it be."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
            yield cursor
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
            raise
        logger.warning("%s: somebody reads it. %s", otherwise, error)
