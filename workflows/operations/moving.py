"""Moving the live jobs of a workflow: a few at once, many by the workers, in either case each by itself."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from typing import Any

from workflows.engine.faults import Fault
from workflows.models import BulkRepair

from . import bulk, migrate
from .exceptions import InvalidRequest

MAX_AT_ONCE = 100
"""So many jobs are moved while the caller waits."""
MAX_IDS = 1_000


def move_live_jobs(
    workflow: str,
    to: int,
    mapping: Mapping[str, str],
    *,
    requested_by: Any,
    reason: str = "",
    versions: Collection[int] = (),
    status: Collection[str] = (),
    correlation_id: str = "",
    jobs: Collection[uuid.UUID] = (),
) -> migrate.Moved | BulkRepair:
    """Move the jobs that `migrate.live_jobs` finds. Up to 100 are moved before this returns; more become a repair of
    many, which the workers carry out while its page tells how far they are.

    InvalidRequest where the version, or a task of the mapping, does not exist; and where more than 100 jobs on several
    named versions are to be moved.
    """
    narrowed = {"versions": versions, "status": status, "correlation_id": correlation_id, "jobs": jobs}
    found = migrate.live_jobs(workflow, to, **narrowed)  # type: ignore[arg-type]
    if not found[MAX_AT_ONCE:].exists():
        actor = requested_by.get_username()
        return migrate.migrate_jobs(workflow, to, mapping, found, actor=actor, reason=reason)
    migrate.check_request(workflow, to, mapping, found)
    if len(versions) > 1:
        detail = f"These are more than {MAX_AT_ONCE} jobs: move those of one version at a time."
        raise InvalidRequest([Fault("/from", "too_many", detail)])
    filter: dict[str, Any] = {"workflow": workflow, "status": sorted(status or migrate.LIVE)}
    filter |= {"version": next(iter(versions))} if versions else {}
    filter |= {"correlation_id": correlation_id} if correlation_id else {}
    filter |= {"ids": [str(job) for job in jobs]} if jobs else {}
    arguments = {"to": to, "mapping": dict(mapping)}
    repair = bulk.preview("migrate", filter, requested_by=requested_by, arguments=arguments, reason=reason)
    return bulk.start(repair.pk, requested_by=requested_by)
