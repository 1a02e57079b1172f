"""Births on PostgreSQL: one statement, prepared once a connection; by itself it is a transaction, too.

What many jobs of a batch have in common (their workflow, their times) travels once, as a *kind*; what each has of its
own travels as arrays. The arrays are written here as text: psycopg would look at each of their items by itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

import orjson
from django.db import connection

from workflows.models.jobs import Job

from .birth_rows import EVENT, Assumption, Key, Outcome, first_data
from .postgresql import _execute

_ITEMS = """
WITH kind AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS kind(
        number int, workflow text, version int, priority int, queue text, run_at timestamptz, rank timestamptz,
        fence bigint, parent_id uuid, group_id bigint, fragment text, hold text, submitted_by_id bigint,
        due_at timestamptz, created_at timestamptz, actor text, data jsonb)
), item AS (
    SELECT * FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::int[], %s::text[])
        AS item(id, kind, correlation_id, item_index, input)
)"""

_STALE = """, stale AS MATERIALIZED (
    SELECT FROM json_to_recordset(%s) AS known(workflow text, version int, digest text, newest bool)
    WHERE NOT EXISTS (
            SELECT FROM workflows_definition AS definition
            WHERE definition.name = known.workflow AND definition.version = known.version
                AND definition.digest = known.digest)
        OR EXISTS (
            SELECT FROM workflows_retirement AS retirement
            WHERE retirement.name = known.workflow AND retirement.version = known.version)
        OR known.newest AND EXISTS (
            SELECT FROM workflows_definition AS definition
            WHERE definition.name = known.workflow AND definition.version > known.version
                AND NOT EXISTS (
                    SELECT FROM workflows_retirement AS retirement
                    WHERE retirement.name = definition.name AND retirement.version = definition.version))
)"""

_KEY = """, key AS (
    INSERT INTO workflows_idempotencykey (principal, key, fingerprint, request, job_id, created_at)
    SELECT %s, %s, %s, %s::jsonb, item.id, kind.created_at
    FROM item JOIN kind ON kind.number = item.kind
    WHERE {fresh}
    ON CONFLICT (principal, key) DO NOTHING  -- the loser waits for the winner's commit, and then writes nothing
    RETURNING job_id
)"""

_JOBS = """, job AS (
    INSERT INTO workflows_job
        (id, workflow, version, status, priority, queue, run_at, rank, fence, claims, signals, history_count,
         correlation_id, parent_id, group_id, item_index, fragment, hold, submitted_by_id, due_at, created_at)
    SELECT item.id, kind.workflow, kind.version, 'NEW', kind.priority, kind.queue, kind.run_at, kind.rank, kind.fence,
        0, 0, 1, item.correlation_id, kind.parent_id, kind.group_id, item.item_index, kind.fragment, kind.hold,
        kind.submitted_by_id, kind.due_at, kind.created_at
    FROM item JOIN kind ON kind.number = item.kind
    WHERE {allowed}
    RETURNING id
), data AS (
    INSERT INTO workflows_jobdata (job_id, input)
    SELECT item.id, item.input::jsonb FROM item
    WHERE {allowed}
), history AS (
    INSERT INTO workflows_history (job_id, sequence, at, event, task, actor, from_status, to_status, data)
    SELECT item.id, 1, kind.created_at, '{event}', '', kind.actor, '', 'NEW',
        CASE WHEN kind.parent_id IS NULL THEN kind.data
            ELSE kind.data || jsonb_build_object('index', item.item_index) END
    FROM item JOIN kind ON kind.number = item.kind
    WHERE {allowed}
)
SELECT count(*) > 0, {stale} FROM job"""


@cache
def births_sql(*, assumptions: bool, key: bool) -> str:
    """The statement with only the parts that these births need."""
    fresh = "NOT EXISTS (SELECT FROM stale)" if assumptions else "true"
    allowed = "EXISTS (SELECT FROM key)" if key else fresh
    stale = "EXISTS (SELECT FROM stale)" if assumptions else "false"
    parts = [_ITEMS, _STALE * assumptions, _KEY.replace("{fresh}", fresh) * key]
    jobs = _JOBS.replace("{allowed}", allowed).replace("{stale}", stale).replace("{event}", EVENT)
    return "".join([*parts, jobs])


def write_births(
    jobs: Sequence[tuple[Job, Any]], actor: str, assumptions: Sequence[Assumption], key: Key | None
) -> Outcome:
    """See the module `births`."""
    kinds: dict[tuple[Any, ...], int] = {}
    firsts: list[Job] = []
    numbers, correlations, indexes, inputs = [], [], [], []
    for job, given in jobs:
        job.history_count = 1
        kind = _kind_of(job)
        number = kinds.get(kind)
        if number is None:
            number = kinds[kind] = len(firsts)
            firsts.append(job)
        numbers.append(str(number))
        correlations.append(_quoted(job.correlation_id))
        indexes.append("NULL" if job.item_index is None else str(job.item_index))
        inputs.append(_quoted(_dumps(given)))
    parameters = [
        _dumps([_kind(number, job, actor) for number, job in enumerate(firsts)]),
        _array([str(job.id) for job, _ in jobs]),
        _array(numbers),
        _array(correlations),
        _array(indexes),
        _array(inputs),
    ]
    if assumptions:
        known = [{name: getattr(assumption, name) for name in Assumption.__slots__} for assumption in assumptions]
        parameters.append(_dumps(known))
    if key is not None:
        parameters += [key.principal, key.key, key.fingerprint, _dumps(key.request)]
    connection.close_if_health_check_failed()  # this may be the first that is asked of a kept connection
    [(written, stale)] = _execute(births_sql(assumptions=bool(assumptions), key=key is not None), parameters)
    if written:
        return Outcome.WRITTEN
    return Outcome.STALE if stale else Outcome.TAKEN


def _kind_of(job: Job) -> tuple[Any, ...]:
    """What tells the kinds of jobs apart."""
    return (
        *(job.workflow, job.version, job.priority, job.queue, job.run_at, job.rank, job.fence, job.parent_id),
        *(job.group_id, job.fragment, job.hold, job.submitted_by_id, job.due_at, job.created_at),
    )


def _kind(number: int, job: Job, actor: str) -> dict[str, Any]:
    return {
        "number": number,
        "workflow": job.workflow,
        "version": job.version,
        "priority": job.priority,
        "queue": job.queue,
        "run_at": _moment(job.run_at),
        "rank": _moment(job.rank),
        "fence": job.fence,
        "parent_id": None if job.parent_id is None else str(job.parent_id),
        "group_id": job.group_id,
        "fragment": job.fragment,
        "hold": job.hold,
        "submitted_by_id": job.submitted_by_id,
        "due_at": None if job.due_at is None else _moment(job.due_at),
        "created_at": _moment(job.created_at),
        "actor": actor,
        "data": first_data(job),
    }


def _moment(moment: datetime) -> str:
    return moment.isoformat()


def _dumps(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        # An integer of more than 64 bits, which only the slower writer keeps whole.
        return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _array(items: Sequence[str]) -> str:
    """The text of an array of items that need no quotes, or have them."""
    return "{" + ",".join(items) + "}"


def _quoted(text: str) -> str:
    """A text as an item of an array."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
