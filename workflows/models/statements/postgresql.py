"""The hot path on PostgreSQL: one statement each, set-wise, prepared once a connection.

The values of a batch travel as JSON documents and are unfolded by `json_to_recordset`, so the statement's text, and
with it its plan, is the same for one job and for fifty.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from functools import cache
from typing import Any

import orjson
import psycopg
from django.db import connection

from .line import Line
from .rows import Checkpoint, ClaimedJob

NOT_BY_ITSELF = 2**31
"""So many times would a statement have to come before it is prepared unasked: never."""

CLAIM = """
WITH candidate AS MATERIALIZED (  -- a fence: the planner must not run the LIMIT again
    SELECT id FROM workflows_job
    WHERE status IN ('NEW', 'READY') AND claimed_by IS NULL AND hold = '' AND queue = %s
        AND run_at <= statement_timestamp()
    ORDER BY rank, id
    LIMIT %s
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE workflows_job AS job
SET claimed_by = %s, claimed_until = statement_timestamp() + %s * interval '1 second',
    fence = job.fence + 1, claims = job.claims + 1,
    started_at = coalesce(job.started_at, statement_timestamp())
FROM candidate, workflows_jobdata AS data
WHERE job.id = candidate.id AND data.job_id = candidate.id
RETURNING job.id, job.workflow, job.version, job.status, job.priority, job.fence, job.claims, job.signals,
    job.correlation_id, job.created_at, data.input, data.state, statement_timestamp(), job.queue, job.parent_id,
    job.group_id, job.fragment, job.item_index, job.due_at, job.due_paused_at, job.rank
"""

_JOB = """
WITH step AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS step(
        job_id uuid, fence bigint, signals int, keep_signals bool, from_status text, to_status text, release bool,
        at timestamptz, outcome text, wake_at timestamptz, due_at timestamptz, due_paused_at timestamptz,
        state jsonb, output jsonb, error jsonb, history json, runs json, messages json)
    WHERE fence BETWEEN 0 AND 9223372036854775807  -- true of every fence; tells the planner of few rows, so that no
                                                   -- kept plan reads a whole table
), job AS (
    UPDATE workflows_job AS job
    SET status = step.to_status,
        outcome = coalesce(step.outcome, job.outcome),
        wake_at = step.wake_at,
        due_at = step.due_at,
        due_paused_at = step.due_paused_at,
        claimed_by = CASE WHEN NOT step.release THEN job.claimed_by END,
        claimed_until = CASE WHEN NOT step.release THEN job.claimed_until END,
        claims = CASE WHEN step.release THEN 0 ELSE 1 END,
        history_count = job.history_count + json_array_length(step.history),
        hold = CASE WHEN step.to_status IN ('DONE', 'CANC') THEN '' ELSE job.hold END,
        finished_at = CASE WHEN step.to_status IN ('DONE', 'CANC') THEN step.at END
    FROM step
    WHERE job.id = step.job_id AND job.fence = step.fence
        AND job.claimed_by IS NOT DISTINCT FROM %s  -- not "=": by that the planner knows that the job is leased, and
                                                    -- reads the index of all leases instead of the job's own entry
        AND job.signals = step.signals AND job.status = step.from_status
    RETURNING job.id, job.history_count - json_array_length(step.history) AS base,
        CASE WHEN step.keep_signals THEN 0 ELSE step.signals END AS used,
        step.state, step.output, step.error, step.history, step.runs, step.messages
), data AS (
    UPDATE workflows_jobdata AS data
    SET state = job.state, output = job.output, error = job.error
    FROM job
    WHERE data.job_id = job.id
), history AS (
    INSERT INTO workflows_history
        (job_id, sequence, at, event, task, iteration, actor, from_status, to_status, data, decided)
    SELECT job.id, job.base + item.place, item.at, item.event, item.task, item.iteration, item.actor,
        item.from_status, item.to_status, item.data, item.decided
    FROM job, ROWS FROM (json_to_recordset(job.history) AS (
        at timestamptz, event text, task text, iteration int, actor text, from_status text, to_status text,
        data jsonb, decided jsonb)) WITH ORDINALITY
        AS item(at, event, task, iteration, actor, from_status, to_status, data, decided, place)
)"""

_RUNS = """, run AS (
    INSERT INTO workflows_taskrun AS old
        (job_id, task, iteration, attempt, status, outcome, input, output, error, cause, actor, department,
         sequence, started_at, finished_at)
    SELECT job.id, item.task, item.iteration, item.attempt, item.status, item.outcome, item.input, item.output,
        item.error, item.cause, item.actor, item.department, job.base + item.place, item.started_at, item.finished_at
    FROM job, json_to_recordset(job.runs) AS item(
        task text, iteration int, attempt int, status text, outcome text, input jsonb, output jsonb,
        error text, cause text, actor text, department text, place int, started_at timestamptz,
        finished_at timestamptz)
    ON CONFLICT (job_id, task, iteration, attempt) DO UPDATE  -- a wait that ends: what was asked, and when, stays
    SET status = excluded.status, outcome = excluded.outcome, output = excluded.output, error = excluded.error,
        cause = excluded.cause, actor = excluded.actor, sequence = excluded.sequence,
        finished_at = excluded.finished_at
)"""

_MESSAGES = """, message AS (
    INSERT INTO workflows_message (id, job_id, sequence, type, task, iteration, destination, data, created_at)
    SELECT item.id, job.id, job.base + item.place, item.type, item.task, item.iteration, item.destination, item.data,
        item.created_at
    FROM job, json_to_recordset(job.messages) AS item(
        id uuid, place int, type text, task text, iteration int, destination text, data jsonb, created_at timestamptz)
)"""

_SIGNALS = """, used AS (
    DELETE FROM workflows_signal AS signal
    USING job
    WHERE signal.job_id = job.id AND signal.sequence <= job.used
)"""

_ANSWER = "\nSELECT id FROM job"


@cache
def checkpoint_sql(*, runs: bool, messages: bool, signals: bool) -> str:
    """The checkpoint statement with only the parts that a batch needs."""
    parts = [_JOB, _RUNS * runs, _MESSAGES * messages, _SIGNALS * signals, _ANSWER]
    return "".join(parts)


def _execute(sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run one statement on Django's connection, bound and prepared by the server, which Django's own cursor is not."""
    connection.ensure_connection()
    if connection.connection.prepare_threshold is None:
        # Django forbids preparing on its connections, and then `prepare=True` is passed over without a word.
        connection.connection.prepare_threshold = NOT_BY_ITSELF
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        # psycopg sees no difference between this cursor and Django's: the same transaction, the same connection.
        return cursor.execute(sql, parameters, prepare=True).fetchall()


def _as_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def claim(queue: str, owner: str, limit: int, lease_seconds: int) -> list[ClaimedJob]:
    """See the package."""
    rows = _execute(CLAIM, (queue, limit, owner, lease_seconds))
    rows.sort(key=lambda row: (row[-1], row[0]))  # RETURNING keeps no order
    return [ClaimedJob(*(*row[:10], _as_json(row[10]), _as_json(row[11]), *row[12:-1])) for row in rows]


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _dumps(batch: Sequence[Checkpoint]) -> str:
    """The batch as one JSON document, with the names of the fields as its keys."""
    try:
        return orjson.dumps(batch).decode()
    except TypeError:
        # An integer of more than 64 bits, which only the slower writer keeps whole.
        return json.dumps([asdict(step) for step in batch], default=_plain, allow_nan=False, separators=(",", ":"))


def _statement(owner: str, batch: Sequence[Checkpoint]) -> tuple[str, tuple[str, str]]:
    sql = checkpoint_sql(
        runs=any(step.runs for step in batch),
        messages=any(step.messages for step in batch),
        signals=any(step.signals for step in batch),
    )
    return sql, (_dumps(batch), owner)


def checkpoint(owner: str, batch: Sequence[Checkpoint]) -> set[uuid.UUID]:
    """See the package."""
    return {row[0] for row in _execute(*_statement(owner, batch))}


def send(line: Line, owner: str, batch: Sequence[Checkpoint]) -> None:
    """A checkpoint on a worker's own line, whose answer is for later."""
    line.send(*_statement(owner, batch))


def answered(line: Line) -> set[uuid.UUID]:
    """The jobs that the checkpoint on the line has written."""
    return {uuid.UUID(text) for (text,) in line.answer()}
