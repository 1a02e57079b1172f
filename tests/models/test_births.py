"""New jobs are written by one statement that means what the models say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, models, transaction
from django.utils import timezone

from tests.factories import UserFactory
from tests.intake.makers import make_definition
from tests.statements import sent
from workflows.models import ChildGroup, History, IdempotencyKey, Job, JobData, Retirement, uuid7
from workflows.models.statements import birth_portable, birth_postgresql
from workflows.models.statements.births import Assumption, Key, Outcome, write_births

pytestmark = pytest.mark.django_db

AWKWARD = 'quotes " and \' and \\ and {braces, "NULL"} and ünïcode \u2028 \U0001f600 and\ttabs\n'
KEY = Key("7", AWKWARD.strip(), "f" * 64, {"workflow": "claim", "input": {"text": AWKWARD}})


def some_jobs() -> list[tuple[Job, Any]]:
    """Every kind of job that is ever born: alike and different, with and without a parent."""
    now = timezone.now()
    parent = Job.objects.create(workflow="whole", version=1)
    group = ChildGroup.objects.create(job=parent, task="each", kind="map", workflow="part", version=2, total=2)
    family = {"workflow": "part", "version": 2, "parent_id": parent.pk, "group_id": group.pk, "fragment": "step"}
    return [
        (
            Job(workflow="claim", version=3, created_at=now, run_at=now, rank=now),
            {"text": AWKWARD, "n": [1, 2.5, None]},
        ),
        (Job(workflow="claim", version=3, created_at=now, run_at=now, rank=now, correlation_id=AWKWARD), None),
        (Job(workflow="bare", version=0, priority=0, queue="other", submitted_by=UserFactory(), due_at=now), "NULL"),
        (Job(**family, item_index=0, fence=2**40, hold="suspended", created_at=now), 2**70),
        (Job(**family, item_index=1, rank=now - timedelta(days=1), created_at=now), []),
    ]


def rows_of(jobs: list[tuple[Job, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Every column of what was written, but for the numbers that the database gives."""
    ids = [job.pk for job, _ in jobs]
    tables: dict[str, models.QuerySet[Any]] = {
        "job": Job.objects.filter(pk__in=ids).order_by("pk"),
        "data": JobData.objects.filter(job__in=ids).order_by("job"),
        "history": History.objects.filter(job__in=ids).order_by("job"),
        "key": IdempotencyKey.objects.filter(job__in=ids).order_by("job"),
    }
    found = {name: list(rows.values()) for name, rows in tables.items()}
    for row in [*found["history"], *found["key"]]:
        del row["id"]
    return found


@pytest.mark.postgresql
def test_the_statement_leaves_in_every_column_what_the_models_leave() -> None:
    jobs = some_jobs()
    alone = jobs[:1]
    found = []
    for flavour in (birth_postgresql, birth_portable):
        with transaction.atomic():
            assert flavour.write_births(jobs, "clerk", [], None) is Outcome.WRITTEN
            rows = [rows_of(jobs)]
            transaction.set_rollback(True)
        with transaction.atomic():
            assert flavour.write_births(alone, "", [], KEY) is Outcome.WRITTEN
            found.append([*rows, rows_of(alone)])
            transaction.set_rollback(True)
    assert found[0] == found[1]
    assert [len(rows) for rows in found[0][0].values()] == [5, 5, 5, 0]
    assert len(found[0][1]["key"]) == 1


def test_a_row_says_what_its_job_says() -> None:
    jobs = some_jobs()
    assert write_births(jobs, "clerk") is Outcome.WRITTEN
    for job, given in jobs:
        kept = Job.objects.get(pk=job.pk)
        for field in Job._meta.concrete_fields:
            assert getattr(kept, field.attname) == getattr(job, field.attname), field.attname
        assert not job._state.adding
        assert JobData.objects.get(job=job, state__isnull=True, output__isnull=True, error__isnull=True).input == given
        [row] = History.objects.filter(job=job).values()
        assert (row["sequence"], row["event"], row["at"]) == (1, "job.submitted", job.created_at)
        assert (row["actor"], row["from_status"], row["to_status"], row["decided"]) == ("clerk", "", "NEW", None)
        said = {"workflow": job.workflow, "version": job.version, "priority": job.priority}
        family = {"parent": str(job.parent_id), "index": job.item_index} if job.parent_id else {}
        assert row["data"] == {**said, **family}


@pytest.fixture(params=["the one in use", "portable"])
def write(request: pytest.FixtureRequest) -> Any:
    """Both flavours, where there are two."""
    if request.param == "portable" and connection.vendor != "postgresql":
        pytest.skip("It is the one in use.")
    return write_births if request.param != "portable" else birth_portable.write_births


def test_an_assumption_that_does_not_hold_keeps_all_of_them_from_being_written(write: Any) -> None:
    make_definition("claim", version=1)
    second = make_definition("claim", version=2)
    make_definition("claim", version=3)
    Retirement.objects.create(name="claim", version=3)
    fine = Assumption("claim", 2, second.digest, newest=True)
    cases = [
        ([fine], Outcome.WRITTEN),
        ([Assumption("claim", 2, second.digest, newest=False)], Outcome.WRITTEN),
        ([fine, Assumption("claim", 1, second.digest, newest=True)], Outcome.STALE),
        ([fine, Assumption("claim", 3, second.digest, newest=False)], Outcome.STALE),
        ([fine, Assumption("claim", 2, "other", newest=True)], Outcome.STALE),
        ([fine, Assumption("order", 1, "", newest=True)], Outcome.STALE),
    ]
    for assumptions, outcome in cases:
        for key in (None, Key("7", f"{len(assumptions)}{assumptions[-1]}", "f", {})):
            jobs = [(Job(workflow="claim", version=2), {})]
            assert write(jobs, "", assumptions, key) is outcome, assumptions
            assert Job.objects.filter(pk=jobs[0][0].pk).exists() == (outcome is Outcome.WRITTEN)
            assert JobData.objects.filter(pk=jobs[0][0].pk).exists() == (outcome is Outcome.WRITTEN)
            assert IdempotencyKey.objects.filter(job=jobs[0][0].pk).exists() == (
                key is not None and outcome is Outcome.WRITTEN
            )


def test_a_key_that_is_there_keeps_the_job_from_being_written(write: Any) -> None:
    first, second = Job(workflow="claim", version=1), Job(workflow="claim", version=1)
    assert write([(first, {})], "", [], KEY) is Outcome.WRITTEN
    assert write([(second, {})], "", [], KEY) is Outcome.TAKEN
    assert list(Job.objects.values_list("pk", flat=True)) == [first.pk]
    assert (JobData.objects.count(), History.objects.count(), IdempotencyKey.objects.count()) == (1, 1, 1)


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_by_itself_the_statement_is_one_transaction_and_the_only_one() -> None:
    make_definition("claim")
    connection.ensure_connection()
    jobs: list[tuple[Job, Any]] = [(Job(id=uuid7(), workflow="claim", version=1), {"n": n}) for n in range(3)]
    with sent() as statements:
        assert write_births(jobs, "clerk") is Outcome.WRITTEN
    assert len(statements) == 1
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT xmin::text), count(*) FROM (SELECT xmin FROM workflows_job UNION ALL"
            " SELECT xmin FROM workflows_jobdata UNION ALL SELECT xmin FROM workflows_history) AS written"
        )
        assert cursor.fetchone() == (1, 9)
        cursor.execute(
            "SELECT count(*) FROM pg_prepared_statements WHERE position('workflows_jobdata' IN statement) > 0"
        )
        assert cursor.fetchone() == (1,)
