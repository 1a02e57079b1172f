"""What the database enforces by itself: whether it does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.apps import apps
from django.db import connections, router
from django.db.models import CheckConstraint, Model, UniqueConstraint

from workflows.operations.findings import Check, Found, Window

APPLICATIONS = ("workflows", "departments")

_NOT_ENFORCED = """
    SELECT constraints.conname FROM pg_constraint AS constraints
    WHERE constraints.conrelid = to_regclass(%s) AND NOT constraints.convalidated
    UNION ALL
    SELECT classes.relname FROM pg_index AS indexes JOIN pg_class AS classes ON classes.oid = indexes.indexrelid
    WHERE indexes.indrelid = to_regclass(%s) AND NOT (indexes.indisvalid AND indexes.indisready)
    """


def missing_constraint(window: Window) -> Iterator[Found]:
    """Constraints that the models have and the database has not, or does not hold against old rows; on PostgreSQL
    indexes that are not in use, too."""
    for model in _models():
        connection = connections[router.db_for_read(model)]
        table = model._meta.db_table
        with connection.cursor() as cursor:
            there = connection.introspection.get_constraints(cursor, table)
            for name in sorted(set(_wanted(model)) - there.keys()):
                yield Found(f"{table} {name}", f"{table}: {name}")
            if connection.vendor == "postgresql":
                cursor.execute(_NOT_ENFORCED, [table, table])
                for (name,) in cursor.fetchall():
                    yield Found(f"{table} {name}", f"{table}: {name} is not valid")


def _models() -> Iterable[type[Model]]:
    for label in APPLICATIONS:
        if apps.is_installed(label):
            yield from apps.get_app_config(label).get_models()


def _wanted(model: type[Model]) -> Iterator[str]:
    for constraint in model._meta.constraints:
        if isinstance(constraint, CheckConstraint | UniqueConstraint):
            yield constraint.name


CHECKS = (Check("missing_constraint", "Constraints that the database does not enforce.", missing_constraint),)
