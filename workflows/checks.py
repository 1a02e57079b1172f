"""System checks: what would break a promise of the product is said at start, with an id and a hint."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections

DURABLE = {"fsync": {"on"}, "full_page_writes": {"on"}, "synchronous_commit": {"on", "remote_apply", "remote_write"}}
"""PostgreSQL settings without which an acknowledged job does not survive a crash."""


@register()
def one_fsm(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """The inactive django-fsm overwrites the module of django-fsm-2 without a word."""
    try:
        importlib.metadata.version("django-fsm")
    except importlib.metadata.PackageNotFoundError:
        return []
    return [
        Error(
            "Both django-fsm and django-fsm-2 are installed; they are the same module.",
            hint="pip uninstall django-fsm django-fsm-2, then pip install -r requirements.txt",
            id="workflows.E001",
        )
    ]


@register()
def no_pool(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A connection pool does not survive the forks of a cluster: results are lost."""
    return [
        Error(
            f"The database {alias!r} uses a connection pool.",
            hint="Remove OPTIONS['pool']: clusters fork, and connections are kept by CONN_MAX_AGE already.",
            id="workflows.E002",
        )
        for alias, configuration in settings.DATABASES.items()
        if configuration.get("OPTIONS", {}).get("pool")
    ]


@register()
def leases_outlive_heartbeats(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A lease must survive a lost heartbeat, or healthy workers lose their jobs."""
    if settings.WORKFLOW_LEASE_SECONDS >= 2 * settings.WORKFLOW_HEARTBEAT_SECONDS:
        return []
    return [
        Error(
            f"A lease of {settings.WORKFLOW_LEASE_SECONDS} s does not outlive two heartbeats of "
            f"{settings.WORKFLOW_HEARTBEAT_SECONDS} s.",
            hint="Set WORKFLOW_LEASE_SECONDS to three times WORKFLOW_HEARTBEAT_SECONDS.",
            id="workflows.E003",
        )
    ]


@register()
def cluster_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """The settings of django-q2 whose reasons stand in config/settings.py, held."""
    q = settings.Q_CLUSTER
    rules = {
        "the timeout divides into guard cycles": (q["timeout"] + 3) % q["guard_cycle"] == 0,
        "no step outlives the timeout": q["timeout"] > 240 + settings.TICK_SECONDS,
        "a tick in memory is not delivered twice": q["retry"]
        > q["timeout"] * (1 + (q["queue_limit"] + q["bulk"]) / q["workers"]) + 3,
        "no success is saved": q["save_limit"] == -1,
        "its scheduler is off": q["scheduler"] is False,
        "a tick is tried once": q["max_attempts"] == 1 and q["ack_failures"] is True,
    }
    return [
        Error(
            f"Q_CLUSTER does not hold that {rule}.",
            hint="See the reasons beside Q_CLUSTER in config/settings.py.",
            id="workflows.E004",
        )
        for rule, holds in rules.items()
        if not holds
    ]


@register(deploy=True)
def no_failpoints(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Failpoints are for tests of faults; whoever can arm one can end any process of the server."""
    if settings.DEBUG or not settings.WORKFLOW_FAILPOINTS:
        return []
    return [
        Error(
            "WORKFLOW_FAILPOINTS is set: this server has places where tests make it fail.",
            hint="Remove WORKFLOW_FAILPOINTS from the environment.",
            id="workflows.E005",
        )
    ]


@register(Tags.database)
def durable_database(app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """A server that acknowledges what a crash can take back. Asked by `migrate` and `check --database`."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        if connection.vendor != "postgresql":
            continue
        with connection.cursor() as cursor:
            for name, good in DURABLE.items():
                cursor.execute("SELECT current_setting(%s)", [name])
                [value] = cursor.fetchone()
                if value not in good:
                    found.append(
                        Warning(
                            f"{name} is {value} on the database {alias!r}: an acknowledged job may be lost in a crash.",
                            hint=f"Set {name} to {sorted(good)[0]} in postgresql.conf.",
                            id="workflows.W001",
                        )
                    )
    return found
