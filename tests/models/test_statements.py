"""The PostgreSQL statements mean what the portable ones say: the same work through both gives the same rows."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest
from django.db import connection
from django.forms.models import model_to_dict
from django.utils import timezone

from tests.execution.jobs import chain, publish, submit
from workflows.models import History, Job, JobData, Message, Signal, TaskRun, uuid7
from workflows.models.statements import Checkpoint, HistoryRow, MessageRow, RunRow, portable, postgresql

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]

NOW = timezone.now().replace(microsecond=123000)


def steps(job: Job, fence: int) -> list[Checkpoint]:
    """A wait that begins, then its end with a result: every kind of row, and text that needs quoting."""
    awkward = 'quotes " and \\ and ünïcode \u2028 and {"braces": [1]}'
    common = {"job_id": job.pk, "fence": fence, "at": NOW}
    return [
        Checkpoint(
            **common,
            signals=2,
            from_status="NEW",
            to_status="READY",
            release=False,
            state={"n": 1, "text": awkward},
            history=[
                HistoryRow(NOW, "job.started", from_status="NEW", to_status="READY", data={"text": awkward}),
                HistoryRow(NOW, "task.parked", task="ask", iteration=1),
            ],
            runs=[RunRow("ask", 1, 1, "waiting", 2, NOW, None, input={"a": [1, 2.5, None]}, department="verification")],
            messages=[MessageRow(MESSAGE, 1, "claim.asked", NOW, "ask", 1, "verification", {"text": awkward})],
        ),
        Checkpoint(
            **common,
            signals=2,
            from_status="READY",
            to_status="DONE",
            release=True,
            outcome="approve",
            state={"n": 2},
            output={"paid": 1.5, "none": None},
            history=[HistoryRow(NOW, "task.completed", "ask", 1, "verifier", "READY", "DONE", {"outcome": "approve"})],
            runs=[
                RunRow(
                    "ask", 1, 1, "done", 1, NOW + timedelta(hours=1), NOW, "approve", None, {"x": 1}, actor="verifier"
                )
            ],
        ),
    ]


MESSAGE = uuid7()


def rows_after(flavour) -> dict[str, object]:
    job = submit(publish(chain("any", "nothing")), {"amount": 5}, signals=2)
    for sequence in (1, 2):
        Signal.objects.create(job=job, sequence=sequence, event={})
    [claimed] = flavour.claim("default", "worker-a", 5, 30)
    assert claimed.id == job.pk
    assert (claimed.fence, claimed.claims, claimed.input, claimed.state) == (1, 1, {"amount": 5}, None)
    for step in steps(job, claimed.fence):
        assert flavour.checkpoint("worker-a", [step]) == {job.pk}
    skip = {"id", "job", "version", "created_at", "rank", "run_at"}
    Job.objects.filter(pk=job.pk).update(started_at=None)
    job.refresh_from_db()

    def as_rows(query):
        return [{name: value for name, value in model_to_dict(row).items() if name not in skip} for row in query]

    found = {
        "job": as_rows([job]),
        "data": as_rows(JobData.objects.filter(job=job)),
        "history": as_rows(History.objects.filter(job=job, sequence__gt=1)),
        "runs": as_rows(TaskRun.objects.filter(job=job)),
        "messages": as_rows(Message.objects.filter(job=job)),
        "signals": Signal.objects.filter(job=job).count(),
    }
    Message.objects.all().delete()
    return found


def test_both_flavours_leave_the_same_rows():
    ours, meaning = rows_after(postgresql), rows_after(portable)
    assert ours == meaning
    assert ours["job"][0]["status"] == "DONE"
    assert ours["job"][0]["outcome"] == "approve"
    assert ours["signals"] == 0
    assert [row["sequence"] for row in ours["history"]] == [2, 3, 4]
    assert ours["runs"][0]["started_at"] == NOW, "what began the wait stays"
    assert ours["runs"][0]["input"] == {"a": [1, 2.5, None]}
    assert ours["runs"][0]["department"] == "verification"


def test_of_a_batch_only_the_jobs_behind_their_guard_are_written():
    definition = publish(chain("any", "nothing"))
    jobs = [submit(definition) for _ in range(3)]
    claimed = postgresql.claim("default", "worker-a", 5, 30)
    batch = [steps(job, c.fence)[0] for job, c in zip(jobs, claimed, strict=True)]
    for step in batch:
        step.signals, step.messages = 0, []
    batch[1].fence += 1
    assert postgresql.checkpoint("worker-a", batch) == {jobs[0].pk, jobs[2].pk}
    assert not TaskRun.objects.filter(job=jobs[1]).exists()
    assert History.objects.filter(job=jobs[1]).count() == 1


def _kept(part: str) -> tuple[str, int]:
    """Name and number of parameters of the statement that the server keeps, by a part of its text."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, cardinality(parameter_types) FROM pg_prepared_statements WHERE position(%s IN statement) > 0"
            " ORDER BY length(statement) DESC",
            [part],
        )
        row = cursor.fetchone()
    assert row is not None, "The server keeps no such statement."
    return row


def test_the_server_keeps_the_hot_statements_and_parses_them_once():
    rows_after(postgresql)
    assert _kept("SKIP LOCKED")[1] == 4
    assert _kept("workflows_message")[1] == 2


def test_a_plan_kept_since_the_table_was_empty_still_finds_a_job_by_index():
    rows_after(postgresql)
    name, count = _kept("workflows_message")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute(f"EXPLAIN EXECUTE {name} ({', '.join(['NULL'] * count)})")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Seq Scan" not in plan.replace("Seq Scan on workflows_signal", "")


def test_a_beat_waits_for_no_job_that_is_being_written(transactional_db):
    """Two that take the locks of several jobs in different orders would wait for each other for ever."""
    definition = publish(chain("any", "nothing"))
    jobs = [submit(definition) for _ in range(3)]
    assert len(postgresql.claim("default", "worker-a", 5, 30)) == 3
    before = dict(Job.objects.values_list("pk", "claimed_until"))
    parameters = connection.get_connection_params()
    for own in ("context", "cursor_factory", "prepare_threshold"):
        parameters.pop(own, None)
    with psycopg.connect(**parameters) as other:
        other.execute("SELECT 1 FROM workflows_job WHERE id = %s FOR NO KEY UPDATE", [jobs[1].pk])
        assert portable.extend("worker-a", 300) == 2
    after = dict(Job.objects.values_list("pk", "claimed_until"))
    assert [after[job.pk] > before[job.pk] for job in jobs] == [True, False, True]
    assert portable.extend("worker-a", 600) == 3
