"""What the database enforces by itself: whether it does."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from django.apps import apps
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import CheckConstraint, UniqueConstraint

from workflows.operations.findings import Check, Found, Window

APPLICATIONS = ("workflows", "departments")

_ON_POSTGRESQL = """
    SELECT tables.relname, constraints.conname, constraints.convalidated
    FROM pg_constraint AS constraints JOIN pg_class AS tables ON tables.oid = constraints.conrelid
    WHERE pg_table_is_visible(tables.oid)
    UNION ALL
    SELECT tables.relname, classes.relname, indexes.indisvalid AND indexes.indisready
    FROM pg_index AS indexes
        JOIN pg_class AS classes ON classes.oid = indexes.indexrelid
        JOIN pg_class AS tables ON tables.oid = indexes.indrelid
    WHERE pg_table_is_visible(tables.oid)
    """
_ON_SQLITE = "SELECT tbl_name, name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL"


def missing_constraint(window: Window) -> Iterator[Found]:
    """Constraints that the models have and the database has not, or does not hold against old rows; on PostgreSQL
    indexes that are not in use, too."""
    wanted: dict[str, dict[str, set[str]]] = defaultdict(dict)
    for label in APPLICATIONS:
        for model in apps.get_app_config(label).get_models() if apps.is_installed(label) else ():
            constraints = model._meta.constraints
            names = {each.name for each in constraints if isinstance(each, CheckConstraint | UniqueConstraint)}
            wanted[router.db_for_read(model)][model._meta.db_table] = names
    for alias, tables in wanted.items():
        there = _there(connections[alias])
        for table, names in tables.items():
            known = there.get(table, {})
            for name in sorted(names - known.keys()):
                yield Found(f"{table} {name}", f"{table}: {name} is not there")
            for name in sorted(name for name, valid in known.items() if not valid):
                yield Found(f"{table} {name}", f"{table}: {name} is not valid")


def _there(connection: BaseDatabaseWrapper) -> dict[str, dict[str, bool]]:
    """The constraints and indexes by table and name, and whether each is valid."""
    found: dict[str, dict[str, bool]] = defaultdict(dict)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_ON_POSTGRESQL)
            for table, name, valid in cursor.fetchall():
                found[table][name] = valid and found[table].get(name, True)
        else:
            cursor.execute(_ON_SQLITE)
            for table, name, sql in cursor.fetchall():
                found[table][name] = True
                found[table] |= dict.fromkeys(_NAMED.findall(sql), True)
    return found


_NAMED = re.compile(r'CONSTRAINT "(\w+)"')

CHECKS = (Check("missing_constraint", "Constraints that the database does not enforce.", missing_constraint),)
