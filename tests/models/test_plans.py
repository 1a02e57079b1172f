"""The plans of the hot statements: they read what they need, however many finished and parked jobs lie beside it.

Every statement is the one that the product sends: it is explained, with what it really read, and then run. What is made
here is taken back at the end of each test. `make plans` does the same with a million jobs.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from tests.execution.jobs import chain, publish, register
from tests.factories import UserFactory
from workflows.engine.events import Responded
from workflows.execution.archiver import Archiver
from workflows.execution.lateness import Lateness
from workflows.execution.prune import Pruner
from workflows.execution.rescue import Rescuer
from workflows.execution.respond import signal_job
from workflows.execution.timers import Timers
from workflows.intake.submit import Submission, submit_job
from workflows.messaging.relay import Relay
from workflows.models import ApiToken, Job
from workflows.models.statements import Checkpoint, HistoryRow, MessageRow, RunRow, claim
from workflows.models.statements import checkpoint as write

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]

SIZES = [int(size) for size in os.environ.get("PLAN_ROWS", "0,1000,30000").split(",")]
LARGE = 10_000
"""A table of so many rows must not be read through."""
READ_MOST = 2_000
"""Rows that one statement may touch, whatever lies beside them."""
BIG = {"workflows_job", "workflows_jobdata", "workflows_history", "workflows_taskrun", "workflows_message"}

INDEXES = {
    "claim and checkpoint": "job_claim",
    "rescuer": "job_leased",
    "timers": "job_wake",
    "lateness": "job_due",
    "relay": "message_relay message_unpublished",
    "list?parent= of a user": "job_children",
    "list?correlation_id= of a user": "job_correlation",
    "list of a user": "job_submitter",
    "archiver": "job_status workflows_job_pkey",
}
"""The index that each is made for, or the two that are as good."""

FILL = """
INSERT INTO workflows_job (id, workflow, version, status, priority, queue, run_at, rank, fence, claims, signals,
    history_count, correlation_id, fragment, hold, submitted_by_id, created_at, started_at, finished_at)
SELECT CAST(lpad(to_hex(CAST(extract(epoch FROM at) * 1000 AS bigint)), 12, '0') || '7000a' || lpad(to_hex(n), 15, '0')
        AS uuid),
    'bulk' || n %% 5, 1, CASE WHEN n %% 10 = 0 THEN 'PEND' ELSE 'DONE' END, 50, 'default', at, at, 2, 0, 0, 1,
    'C-' || n, '', '', %s, at, at, CASE WHEN n %% 10 <> 0 THEN at + interval '1 minute' END
FROM (SELECT n, statement_timestamp() - interval '20 days' + n * interval '1 second' AS at
      FROM generate_series(1, %s) AS n) AS one;
"""
OTHERS = (
    "INSERT INTO workflows_jobdata (job_id, input, state) SELECT id, '{}', '{}' FROM workflows_job",
    "INSERT INTO workflows_history (job_id, sequence, at, event, task, actor, from_status, to_status, data) "
    "SELECT id, 1, created_at, 'job.submitted', '', '', '', 'NEW', '{}' FROM workflows_job",
    "INSERT INTO workflows_taskrun (job_id, task, iteration, attempt, status, input, output, actor, department, "
    "sequence, started_at, finished_at) "
    "SELECT id, 'step1', 1, 1, 'done', '{}', '{}', '', '', 1, created_at, created_at FROM workflows_job",
    "INSERT INTO workflows_message (id, job_id, sequence, type, task, destination, created_at, published_at) "
    "SELECT gen_random_uuid(), id, 1, 'sent', '', '', created_at, created_at FROM workflows_job",
)


class Plans:
    """The plans of what was sent while it watched."""

    def __init__(self) -> None:
        self.found: list[tuple[str, dict[str, Any]]] = []

    def explain(self, sql: str, parameters: Any) -> None:
        """Explain a statement with what it reads and would write, and take that back."""
        if sql.lstrip().split(None, 1)[0].upper() not in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"):
            return
        with connection.connection.cursor() as cursor:
            cursor.execute("SAVEPOINT explained")
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters)
            plan = cursor.fetchone()[0]
            cursor.execute("ROLLBACK TO SAVEPOINT explained")
        self.found.append((sql, (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]))


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plans]:
    """What is sent meanwhile, through Django or past it, is explained first."""
    plans = Plans()
    send = psycopg.Cursor.execute
    explaining = False

    def execute(cursor: Any, query: Any, params: Any = None, **options: Any) -> Any:
        nonlocal explaining
        if not explaining:
            explaining = True
            try:
                plans.explain(str(query), params)
            finally:
                explaining = False
        return send(cursor, query, params, **options)

    with monkeypatch.context() as patched:
        # Beneath Django, for the hot path goes past it.
        patched.setattr(psycopg.Cursor, "execute", execute)
        yield plans


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def touched(node: dict[str, Any]) -> int:
    """Rows of a table that a node read, those it threw away included."""
    if "Relation Name" not in node:
        return 0
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return int((node["Actual Rows"] + removed) * node["Actual Loops"])


@pytest.fixture(autouse=True)
def _echo(settings: Any, db: None) -> None:
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    register("echo", "Echo")
    publish(chain("plain", "echo"))


def fill(size: int, owner: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(FILL, [owner.pk, size])
        for statement in OTHERS:
            cursor.execute(statement)


def work_to_do(user: Any) -> list[Job]:
    """A few jobs of each kind that somebody looks for."""
    now = timezone.now()
    jobs = [
        submit_job(Submission("plain", {"n": n}, correlation_id=f"MINE-{n}"), submitted_by=user).job for n in range(8)
    ]
    past = {"claimed_by": "dead", "claimed_until": now - timedelta(hours=1)}
    Job.objects.filter(pk=jobs[4].pk).update(**past)
    Job.objects.filter(pk=jobs[5].pk).update(status="PEND", wake_at=now - timedelta(seconds=1))
    Job.objects.filter(pk=jobs[6].pk).update(due_at=now - timedelta(days=1), run_at=now + timedelta(days=1))
    Job.objects.filter(pk=jobs[7].pk).update(status="PEND", parent=jobs[6])
    return jobs


@pytest.mark.parametrize("analysed", [False, True], ids=["never analysed", "analysed"])
@pytest.mark.parametrize("size", SIZES)
def test_no_hot_statement_reads_more_than_it_needs(size: int, analysed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, user, operator = UserFactory(), UserFactory(), UserFactory()
    operator.groups.add(Group.objects.get(name="operators"))
    fill(size, owner)
    jobs = work_to_do(user)
    with connection.cursor() as cursor:
        for table in BIG if analysed else ():
            cursor.execute(f"ANALYZE {table}")
    mine, theirs = (_client(each) for each in (user, operator))
    faults: list[str] = []
    used: dict[str, set[str]] = defaultdict(set)
    statements = 0
    for name, act in _acts(jobs, mine, theirs, user).items():
        if name.endswith("of an operator") and not analysed:
            # Of all jobs, PostgreSQL must know the share of each kind to choose an index. A thousand new rows have
            # the tables analysed (0005_vacuum), so that no large one stays unknown for long.
            continue
        with watched(monkeypatch) as plans:
            act()
        assert plans.found, name
        statements += len(plans.found)
        for sql, plan in plans.found:
            seen = [node for node in nodes(plan) if node.get("Relation Name") in BIG]
            through = {node["Relation Name"] for node in seen if node["Node Type"] == "Seq Scan"}
            count = sum(touched(node) for node in seen)
            used[name] |= {node["Index Name"] for node in nodes(plan) if "Index Name" in node}
            if (through and size >= LARGE) or count > READ_MOST:
                faults.append(f"{name}: reads {count} rows, all of {sorted(through)}:\n  {sql[:600]}")
    assert statements > 50
    assert not faults, "\n".join(faults)
    if size >= LARGE:
        assert {name: index for name, index in INDEXES.items() if not used[name] & set(index.split())} == {}


def _client(user: Any) -> APIClient:
    client = APIClient()
    _, token = ApiToken.objects.create(user=user)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def _acts(jobs: list[Job], mine: APIClient, theirs: APIClient, user: Any) -> dict[str, Callable[[], Any]]:
    """What is done all the time, by name."""
    day = timedelta(days=1)
    after = (timezone.now() - day).isoformat().replace("+00:00", "Z")

    def read(client: APIClient, path: str) -> Callable[[], None]:
        def act() -> None:
            answer = client.get(path)
            assert answer.status_code == 200, answer.content

        return act

    filters = ("", "?status=DONE", "?status=READY&status=FAIL", "?workflow=plain", "?workflow=bulk1", "?workflow=none")
    filters += (f"?correlation_id={jobs[0].correlation_id}", f"?parent={jobs[6].pk}", f"?created_after={after}")
    filters += ("?archived=true", "?archived=true&workflow=plain")
    acts: dict[str, Callable[[], Any]] = {
        f"list{re.sub('=(?=[^&]*-).*', '=', query)} of {who}": read(client, f"/api/v1/jobs/{query}")
        for query in filters
        for who, client in (("a user", mine), ("an operator", theirs))
    }
    acts |= {
        "one job": read(mine, f"/api/v1/jobs/{jobs[0].pk}/"),
        "its history": read(mine, f"/api/v1/jobs/{jobs[0].pk}/history/"),
        "why it waits": read(mine, f"/api/v1/jobs/{jobs[5].pk}/why/"),
        "submit": lambda: submit_job(Submission("plain", {}), submitted_by=user, idempotency_key="k"),
        "signal": lambda: signal_job(
            jobs[7].pk, Responded("step1", 1, "ok", None, "ann"), history_event="task.responded", task="step1"
        ),
        "rescuer": Rescuer().run_once,
        "timers": Timers().run_once,
        "lateness": Lateness().run_once,
        "relay": Relay().run_once,
        "pruner": Pruner().run_once,
        "archiver": Archiver().run_once,
        "claim and checkpoint": _step,
    }
    return acts


def _step() -> None:
    """Claim, and write what a step leaves behind of every kind."""
    claimed = claim("default", "worker", 3, 30)
    assert claimed
    now = timezone.now()
    batch = [
        Checkpoint(
            job_id=job.id,
            fence=job.fence,
            signals=job.signals,
            at=now,
            from_status=job.status,
            to_status="READY",
            release=True,
            state={"n": 1},
            history=[
                HistoryRow(
                    now,
                    "job.started",
                    from_status=job.status if job.status != "READY" else "",
                    to_status="READY" if job.status != "READY" else "",
                )
            ],
            runs=[RunRow("step1", 1, 1, "done", 1, now, now, output={})],
            messages=[MessageRow(Job().pk, 1, "sent", now, "step1", 1, "", {})],
        )
        for job in claimed
    ]
    assert write("worker", batch) == {job.id for job in claimed}
