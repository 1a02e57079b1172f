"""Submitting a job: what is kept, what is refused, and what a repeated submission gives."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, connections
from django.utils import timezone

from tests.factories import UserFactory
from tests.intake.makers import make_definition, make_registration
from tests.statements import sent
from workflows.intake import submit
from workflows.intake.documents import store_document
from workflows.intake.exceptions import IdempotencyConflict, InvalidSubmission, UnknownWorkflow
from workflows.intake.submit import Submission, submit_job, submit_jobs
from workflows.models import Document, History, IdempotencyKey, Job, JobData, JobStatus, Retirement

pytestmark = pytest.mark.django_db

SCHEMA = {
    "type": "object",
    "required": ["amount"],
    "properties": {"amount": {"type": "number"}, "day": {"type": "string", "format": "date"}},
    "additionalProperties": False,
}


def pairs(error: pytest.ExceptionInfo[Any]) -> set[tuple[str, str]]:
    return {(fault.pointer, fault.code) for fault in error.value.faults}


def test_a_submission_becomes_a_new_job_with_its_input_and_its_first_history_row() -> None:
    make_definition("claim")
    user = UserFactory()
    job = submit_job(Submission("claim", {"amount": 1}, correlation_id="C-1"), submitted_by=user).job
    job.refresh_from_db()
    assert (job.status, job.version, job.history_count, job.submitted_by) == (JobStatus.NEW, 1, 1, user)
    assert JobData.objects.get(job=job).input == {"amount": 1}
    row = History.objects.get(job=job)
    assert (row.sequence, row.event, row.from_status, row.to_status) == (1, "job.submitted", "", "NEW")
    assert row.actor == user.username
    assert job.correlation_id == "C-1"


def test_the_newest_version_is_taken_unless_one_is_named() -> None:
    make_definition("claim")
    make_definition("claim", version=2, title="Second")
    assert submit_job(Submission("claim", {}), submitted_by=None).job.version == 2
    assert submit_job(Submission("claim", {}, version=1), submitted_by=None).job.version == 1


def test_an_enabled_job_type_without_a_definition_is_version_zero() -> None:
    make_registration("claims.validate")
    assert submit_job(Submission("claims.validate", {}), submitted_by=None).job.version == 0


def test_a_disabled_job_type_is_unknown() -> None:
    make_registration("claims.validate", enabled=False)
    with pytest.raises(UnknownWorkflow) as error:
        submit_job(Submission("claims.validate", {}), submitted_by=None)
    assert pairs(error) == {("/workflow", "unknown_workflow")}


def test_a_version_that_was_never_published_is_named() -> None:
    make_definition("claim")
    with pytest.raises(UnknownWorkflow) as error:
        submit_job(Submission("claim", {}, version=7), submitted_by=None)
    assert pairs(error) == {("/version", "unknown_version")}


def test_every_violation_of_the_schema_is_told_with_its_pointer_and_keyword() -> None:
    make_definition("claim", input_schema=SCHEMA)
    with pytest.raises(InvalidSubmission) as error:
        submit_job(Submission("claim", {"day": "someday", "a/b": 1}), submitted_by=None)
    assert pairs(error) == {
        ("/input/amount", "required"),
        ("/input/day", "format"),
        ("/input/a~1b", "additionalProperties"),
    }
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("value", "pointer", "code"),
    [
        ({"x": float("nan")}, "/input/x", "not_finite"),
        ({"x": float("-inf")}, "/input/x", "not_finite"),
        ({"x": ["a\0b"]}, "/input/x/0", "nul_character"),
        ({"a\0b": 1}, "/input", "nul_character"),
        ({"x": "\ud800"}, "/input/x", "lone_surrogate"),
        ({"x": "y" * 300_000}, "/input", "too_large"),
        ({"x": 10**400}, "/input/x", "number_too_large"),
    ],
)
def test_what_the_database_cannot_keep_is_refused(value: Any, pointer: str, code: str) -> None:
    make_definition("claim")
    with pytest.raises(InvalidSubmission) as error:
        submit_job(Submission("claim", value), submitted_by=None)
    assert pairs(error) == {(pointer, code)}


def test_an_input_nested_too_deep_is_refused() -> None:
    make_definition("claim")
    value: Any = 1
    for _ in range(65):
        value = [value]
    with pytest.raises(InvalidSubmission) as error:
        submit_job(Submission("claim", value), submitted_by=None)
    assert {fault.code for fault in error.value.faults} == {"too_deep"}


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}, {"a": {"b": [1, 2.5, "é"]}}, 2**70])
def test_any_other_json_is_kept_as_it_came(value: Any) -> None:
    make_definition("claim")
    job = submit_job(Submission("claim", value), submitted_by=None).job
    kept = JobData.objects.get(job=job).input
    assert kept == value
    assert type(kept) is type(value)


def test_priority_comes_from_the_submission_else_the_definition_else_is_fifty() -> None:
    make_definition("claim", priority=70)
    make_definition("order")
    assert submit_job(Submission("claim", {}, priority=0), submitted_by=None).job.priority == 0
    assert submit_job(Submission("claim", {}), submitted_by=None).job.priority == 70
    assert submit_job(Submission("order", {}), submitted_by=None).job.priority == 50


@pytest.mark.parametrize("priority", [-1, 101])
def test_a_priority_out_of_range_is_refused(priority: int) -> None:
    make_definition("claim")
    with pytest.raises(InvalidSubmission) as error:
        submit_job(Submission("claim", {}, priority=priority), submitted_by=None)
    assert pairs(error) == {("/priority", "out_of_range")}


def test_a_higher_priority_ranks_earlier(settings: Any) -> None:
    make_definition("claim")
    low, high = submit_jobs([Submission("claim", {}, priority=p) for p in (10, 20)], submitted_by=None)
    assert low.rank - high.rank == timedelta(seconds=10 * settings.WORKFLOW_PRIORITY_SECONDS)


def test_a_run_at_in_the_past_counts_as_now_and_jumps_no_queue() -> None:
    make_definition("claim")
    before = timezone.now()
    past = submit_job(Submission("claim", {}, run_at=datetime(1990, 1, 1, tzinfo=UTC)), submitted_by=None).job
    assert past.run_at >= before


@pytest.mark.parametrize(
    ("moment", "code"),
    [(datetime(2030, 1, 1), "no_offset"), (datetime(9000, 1, 1, tzinfo=UTC), "out_of_range")],
)
def test_a_run_at_that_means_nothing_is_refused(moment: datetime, code: str) -> None:
    make_definition("claim")
    with pytest.raises(InvalidSubmission) as error:
        submit_job(Submission("claim", {}, run_at=moment), submitted_by=None)
    assert pairs(error) == {("/run_at", code)}


def test_the_promise_of_the_definition_counts_from_the_moment_the_job_may_run() -> None:
    make_definition("claim", sla={"due": "P5D"})
    start = timezone.now() + timedelta(days=2)
    assert submit_job(Submission("claim", {}, run_at=start), submitted_by=None).job.due_at == start + timedelta(days=5)


# ---- batches --------------------------------------------------------------------------------------------------------


def test_a_batch_is_captured_whole_in_the_order_it_came() -> None:
    make_definition("claim", input_schema=SCHEMA)
    jobs = submit_jobs([Submission("claim", {"amount": n}) for n in range(5)], submitted_by=None)
    assert [JobData.objects.get(job=job).input["amount"] for job in jobs] == [0, 1, 2, 3, 4]
    assert [job.id for job in jobs] == sorted(job.id for job in jobs)


def test_one_invalid_job_refuses_the_batch_and_names_its_index() -> None:
    make_definition("claim", input_schema=SCHEMA)
    batch = [Submission("claim", {"amount": 1}), Submission("claim", {"amount": "x"}), Submission("nowhere", {})]
    with pytest.raises(InvalidSubmission) as error:
        submit_jobs(batch, submitted_by=None)
    assert pairs(error) == {("/jobs/1/input/amount", "type"), ("/jobs/2/workflow", "unknown_workflow")}
    assert not Job.objects.exists()


def test_more_than_a_thousand_jobs_are_refused() -> None:
    with pytest.raises(InvalidSubmission) as error:
        submit_jobs([Submission("claim", {})] * 1001, submitted_by=None)
    assert pairs(error) == {("/jobs", "too_many")}


def test_a_job_is_one_statement_once_its_workflow_is_known(on_postgresql: bool) -> None:
    make_definition("claim")
    user = UserFactory()
    for key in (None, "1"):
        submit_job(Submission("claim", {}), submitted_by=user, idempotency_key=key)
        with sent() as statements:
            submit_job(Submission("claim", {}), submitted_by=user, idempotency_key=key and "2")
        # Elsewhere: savepoint, the version, three inserts, release; a look at the key, and its insert.
        assert len(statements) == (1 if on_postgresql else 8 if key else 6), statements


@pytest.mark.postgresql
def test_the_number_of_statements_does_not_grow_with_the_batch() -> None:
    make_definition("claim")
    submit_job(Submission("claim", {}), submitted_by=None)
    for size in (2, 700):
        with sent() as statements:
            submit_jobs([Submission("claim", {"n": n}) for n in range(size)], submitted_by=None)
        assert len(statements) == 1


# ---- what a process remembers ---------------------------------------------------------------------------------------


def test_a_version_that_another_process_publishes_is_seen_by_the_next_submission() -> None:
    make_definition("claim", version=1, input_schema=SCHEMA)
    assert submit_job(Submission("claim", {"amount": 1}), submitted_by=None).job.version == 1
    make_definition("claim", version=2, priority=80)
    later = [submit_job(Submission("claim", {"amount": 1}), submitted_by=None).job]
    make_definition("claim", version=3, priority=90)
    later += submit_jobs([Submission("claim", {"amount": 1})] * 2, submitted_by=None)
    assert [(job.version, job.priority) for job in later] == [(2, 80), (3, 90), (3, 90)]


def test_nobody_is_refused_for_what_a_process_remembers() -> None:
    make_definition("claim", version=1, input_schema=SCHEMA)
    submit_job(Submission("claim", {"amount": 1}), submitted_by=None)
    make_definition("claim", version=2)
    assert submit_job(Submission("claim", "anything"), submitted_by=None).job.version == 2


def test_a_version_that_another_process_retires_takes_no_more_jobs() -> None:
    make_definition("claim", version=1)
    make_definition("claim", version=2)
    for version in (None, 2):
        assert submit_job(Submission("claim", {}, version=version), submitted_by=None).job.version == 2
    Retirement.objects.create(name="claim", version=2)
    assert submit_job(Submission("claim", {}), submitted_by=None).job.version == 1
    with pytest.raises(UnknownWorkflow) as error:
        submit_job(Submission("claim", {}, version=2), submitted_by=None)
    assert pairs(error) == {("/version", "retired_version")}
    Retirement.objects.filter(name="claim", version=2).delete()
    assert submit_job(Submission("claim", {}), submitted_by=None).job.version == 2


def test_a_repeated_key_gives_its_job_also_where_its_workflow_is_retired() -> None:
    make_definition("claim")
    first = submit_job(Submission("claim", {}), submitted_by=None, idempotency_key="k")
    Retirement.objects.create(name="claim", version=1)
    again = submit_job(Submission("claim", {}), submitted_by=None, idempotency_key="k")
    assert (again.created, again.job) == (False, first.job)


def test_jobs_of_a_batch_that_are_alike_have_ids_and_lives_of_their_own() -> None:
    make_definition("claim")
    user = UserFactory()
    first, second = submit_jobs([Submission("claim", {})] * 2, submitted_by=user)
    assert first.pk != second.pk
    second.make_ready()
    second.save()
    assert (first.status, second.status) == (JobStatus.NEW, JobStatus.READY)
    assert Job.objects.get(pk=second.pk).status == JobStatus.READY
    assert Job.objects.get(pk=first.pk).status == JobStatus.NEW
    assert second.submitted_by == user


# ---- idempotency ----------------------------------------------------------------------------------------------------


def test_the_same_key_and_body_give_the_first_job_again() -> None:
    make_definition("claim")
    user = UserFactory()
    first = submit_job(Submission("claim", {"a": 1}), submitted_by=user, idempotency_key="k")
    again = submit_job(Submission("claim", {"a": 1}), submitted_by=user, idempotency_key="k")
    assert (first.created, again.created) == (True, False)
    assert first.job == again.job
    assert Job.objects.count() == 1


def test_the_same_key_with_another_body_is_a_conflict_that_points_at_the_difference() -> None:
    make_definition("claim")
    first = submit_job(Submission("claim", {"a": 1, "b": [1, True]}), submitted_by=None, idempotency_key="k")
    other = Submission("claim", {"a": 1, "b": [1, 1]}, correlation_id="x")
    with pytest.raises(IdempotencyConflict) as error:
        submit_job(other, submitted_by=None, idempotency_key="k")
    assert error.value.fields == ("/correlation_id", "/input/b")
    assert error.value.job == first.job


def test_a_key_used_for_a_refused_submission_is_free_again() -> None:
    make_definition("claim", input_schema=SCHEMA)
    with pytest.raises(InvalidSubmission):
        submit_job(Submission("claim", {}), submitted_by=None, idempotency_key="k")
    assert submit_job(Submission("claim", {"amount": 1}), submitted_by=None, idempotency_key="k").created


def test_the_keys_of_two_users_never_meet() -> None:
    make_definition("claim")
    jobs = {
        submit_job(Submission("claim", {}), submitted_by=user, idempotency_key="k").job.id
        for user in (UserFactory(), UserFactory(), None)
    }
    assert len(jobs) == 3


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "a\0b"])
def test_a_key_that_is_empty_too_long_or_not_printable_is_refused(key: str) -> None:
    make_definition("claim")
    with pytest.raises(InvalidSubmission) as error:
        submit_job(Submission("claim", {}), submitted_by=None, idempotency_key=key)
    assert pairs(error) == {("", "invalid_idempotency_key")}


@pytest.mark.django_db(transaction=True)
def test_of_many_submissions_with_one_key_at_once_one_makes_the_job(on_postgresql: bool) -> None:
    many = 20 if on_postgresql else 8
    make_definition("claim")
    user = UserFactory()
    start = threading.Barrier(many)
    answers: list[submit.Submitted] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            start.wait(10)
            own = get_user_model().objects.get(pk=user.pk)
            answers.append(submit_job(Submission("claim", {"a": 1}), submitted_by=own, idempotency_key="k"))
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert len(answers) == many
    assert sum(answer.created for answer in answers) == 1
    assert len({answer.job.id for answer in answers}) == 1
    assert Job.objects.count() == IdempotencyKey.objects.count() == 1


# ---- documents and the doorbell -------------------------------------------------------------------------------------


def test_a_submission_attaches_the_documents_its_submitter_uploaded() -> None:
    make_definition("claim")
    user = UserFactory()
    document = store_document("note.txt", b"hello", uploaded_by=user)
    job = submit_job(Submission("claim", {}, documents=[str(document.id)]), submitted_by=user).job
    assert list(job.documents.all()) == [document]


def test_documents_of_others_used_ones_and_unknown_ones_are_refused_alike() -> None:
    make_definition("claim")
    user = UserFactory()
    foreign = store_document("note.txt", b"hello", uploaded_by=UserFactory())
    used = store_document("note.txt", b"hello", uploaded_by=user)
    submit_job(Submission("claim", {}, documents=[used.id]), submitted_by=user)
    free = store_document("note.txt", b"hello", uploaded_by=user)
    wanted = [foreign.id, used.id, "no-id", free.id, free.id]
    with pytest.raises(InvalidSubmission) as error:
        submit_job(Submission("claim", {}, documents=wanted), submitted_by=user)
    assert pairs(error) == {(f"/documents/{index}", "unknown_document") for index in (0, 1, 2, 4)}
    assert len({fault.detail for fault in error.value.faults}) == 1
    assert Document.objects.get(pk=free.pk).job is None


def test_the_doorbell_rings_once_after_the_commit(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    make_definition("claim")
    rung: list[str] = []
    monkeypatch.setattr("workflows.execution.doorbell.ring", rung.append)
    with django_capture_on_commit_callbacks(execute=True):
        submit_jobs([Submission("claim", {})] * 3, submitted_by=None)
        assert rung == []
    assert rung == ["default"]
    assert connection.is_usable()
