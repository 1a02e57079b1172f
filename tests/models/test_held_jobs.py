"""The claim reads its index, and no job that is held, however many there are."""

from __future__ import annotations

import json

import pytest
from django.db import connection

from tests.execution.jobs import chain, publish, submit
from workflows.execution.holds import holds, lift
from workflows.models import Job
from workflows.models.statements import claim, postgresql

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]

HELD = 100_000
FILL = """
INSERT INTO workflows_job (id, workflow, version, status, priority, queue, run_at, rank, fence, claims, signals,
    history_count, correlation_id, fragment, hold, created_at)
SELECT gen_random_uuid(), 'any', 1, 'NEW', 50, 'default', now(), now() - n * interval '1 second', 0, 0, 0, 1, '', '',
    CASE n %% 2 WHEN 0 THEN 'resource:bank' ELSE 'suspended:any' END, now()
FROM generate_series(1, %s) AS n"""


def plan_of(sql, parameters):
    """The plan of a statement as it ran, and the blocks it read."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", parameters)
        found = cursor.fetchone()[0]
    [plan] = found if isinstance(found, list) else json.loads(found)
    return json.dumps(plan), plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]


def test_a_hundred_thousand_held_jobs_cost_a_claim_and_a_lift_nothing():
    with connection.cursor() as cursor:
        cursor.execute(FILL, [HELD])
        cursor.execute("ANALYZE workflows_job")
    _, blocks = plan_of(postgresql.CLAIM, ["default", 10, "worker", 30])
    assert blocks < 20, "an idle claim"
    job = submit(publish(chain("any", "nothing")))
    text, blocks = plan_of(postgresql.CLAIM, ["default", 10, "worker", 30])
    assert "job_claim" in text
    assert blocks < 100, "the free job alone: index, row, data"
    Job.objects.filter(pk=job.pk).update(claimed_by=None, claimed_until=None)
    assert [each.id for each in claim("default", "worker", 10, 30)] == [job.pk]

    assert list(holds()) == ["resource:bank", "suspended:any"]
    for query in (
        Job.objects.held().filter(hold__gt="resource:bank").order_by("hold").values_list("hold", flat=True)[:1],
        Job.objects.held().filter(hold="resource:bank").order_by("rank", "id").values_list("pk")[:3],
    ):
        text, blocks = plan_of(*query.query.sql_with_params())
        assert "job_held" in text
        assert blocks < 50
    first = Job.objects.filter(hold="resource:bank").order_by("rank").first()
    assert lift("resource:bank", 1) == 1
    assert Job.objects.get(pk=first.pk).hold == ""
