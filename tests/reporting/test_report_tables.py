"""The product's own tables: what a row says, who sees it, and that no row costs a query."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext

from departments.models import WorkItem, WorkItemStatus
from departments.reporting import WORK_ITEMS
from tests.factories import DepartmentFactory, MembershipFactory, UserFactory
from tests.reporting.makers import START, make_event, make_job
from workflows.reporting.exceptions import InvalidFilters, UnknownReport
from workflows.reporting.filters import Chosen, choose
from workflows.reporting.history import HISTORY
from workflows.reporting.jobs import HISTORY_FILTERS, JOB_FILTERS, JOBS
from workflows.reporting.registry import all_reports, get_report, register
from workflows.reporting.tables import Report

pytestmark = pytest.mark.django_db

AS_OF = START + timedelta(days=10)


def table(report: Report, user: Any, query: str = "") -> list[dict[str, Any]]:
    """The rows of a report as dictionaries by key."""
    chosen = choose(report.filters, QueryDict(query))
    keys = [column.key for column in report.columns]
    return [dict(zip(keys, row, strict=True)) for row in report.rows(report.selection(user, chosen), AS_OF)]


def make_item(department: Any, **fields: Any) -> WorkItem:
    job = fields.pop("job", None) or make_job(status="PEND", correlation_id="CLM-1")
    fields.setdefault("created_at", START)
    return WorkItem.objects.create(
        job=job,
        workflow=job.workflow,
        reference=job.correlation_id,
        task="verify",
        department=department,
        title="Verify",
        **fields,
    )


@pytest.fixture
def operator() -> Any:
    return UserFactory(username="operator", is_superuser=True)


def test_a_row_of_jobs_says_where_the_job_stands(operator: Any) -> None:
    job = make_job(
        status="FAIL",
        correlation_id="CLM-1",
        submitted_by=operator,
        due_at=START,
        error={"name": "PaymentRefused", "cause": "no account", "task": "pay"},
    )
    assert table(JOBS, operator) == [
        {
            "id": str(job.id),
            "correlation_id": "CLM-1",
            "workflow": "claim",
            "version": 1,
            "status": "FAIL",
            "outcome": None,
            "priority": 50,
            "submitted_by": "operator",
            "created_at": START,
            "started_at": None,
            "finished_at": None,
            "hours": None,
            "due_at": START,
            "overdue": True,
            "error": "PaymentRefused",
        }
    ]


def test_a_finished_job_has_its_hours_and_is_not_overdue(operator: Any) -> None:
    make_job(status="DONE", due_at=START)
    (row,) = table(JOBS, operator)
    assert (row["hours"], row["overdue"], row["error"]) == (36.0, False, None)


def test_a_row_of_work_items_says_what_was_asked_and_decided(operator: Any) -> None:
    department = DepartmentFactory(code="verification")
    item = make_item(
        department,
        status=WorkItemStatus.DONE,
        outcome="approve",
        decided_by=operator,
        decided_at=START + timedelta(hours=3),
        comment="=fine",
        due_at=START,
    )
    (row,) = table(WORK_ITEMS, operator)
    assert row["id"] == str(item.id)
    assert (row["department"], row["status"], row["outcome"], row["decided_by"]) == (
        "verification",
        "done",
        "approve",
        "operator",
    )
    assert (row["hours"], row["late"], row["comment"], row["reference"]) == (3.0, False, "=fine", "CLM-1")


def test_a_row_of_the_history_says_what_happened_when_and_by_whom(operator: Any) -> None:
    job = make_job(correlation_id="CLM-1")
    make_event(job, 2, "task.completed", task="verify", iteration=1, actor="ann", data={"outcome": "größer"})
    make_event(job, 1, from_status="", to_status="NEW")
    first, second = table(HISTORY, operator)
    assert (first["job"], first["correlation_id"], first["sequence"]) == (str(job.id), "CLM-1", 1)
    assert (first["event"], first["to_status"], first["data"]) == ("job.submitted", "NEW", None)
    assert (second["task"], second["iteration"], second["actor"]) == ("verify", 1, "ann")
    assert (second["at"], second["data"]) == (START + timedelta(minutes=2), '{"outcome": "größer"}')


def test_the_history_of_a_part_of_a_job_is_there_where_the_part_is_named(operator: Any) -> None:
    part = make_job(fragment="m")
    make_event(make_job(correlation_id="whole"), 1)
    make_event(part, 1)
    assert [row["correlation_id"] for row in table(HISTORY, operator)] == ["whole"]
    assert [row["job"] for row in table(HISTORY, operator, f"job={part.pk}")] == [str(part.pk)]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", ["a", "b"]),
        ("workflow=order", ["b"]),
        ("status=DONE", ["b"]),
        ("correlation_id=a", ["a"]),
        ("created_after=2026-11-22T00:00:00Z", ["b"]),
        ("created_before=2026-11-22T00:00:00Z", ["a"]),
    ],
)
def test_filters_narrow_the_history_by_its_jobs(query: str, wanted: list[str], operator: Any) -> None:
    make_event(make_job(correlation_id="a"), 1)
    make_event(make_job(correlation_id="b", workflow="order", status="DONE", created_at=START + timedelta(days=2)), 1)
    assert [row["correlation_id"] for row in table(HISTORY, operator, query)] == wanted


def test_an_open_item_past_its_time_is_late(operator: Any) -> None:
    make_item(DepartmentFactory(), due_at=START)
    assert [row["late"] for row in table(WORK_ITEMS, operator)] == [True]


def test_a_member_sees_the_items_of_their_departments_and_no_others() -> None:
    mine, other = DepartmentFactory(), DepartmentFactory()
    member = MembershipFactory(department=mine).user
    make_item(mine)
    make_item(other)
    assert [row["department"] for row in table(WORK_ITEMS, member)] == [mine.code]


def test_a_submitter_sees_their_own_jobs_and_no_others() -> None:
    submitter = UserFactory()
    make_job(submitted_by=submitter, correlation_id="mine")
    make_job(submitted_by=UserFactory(), correlation_id="other")
    assert [row["correlation_id"] for row in table(JOBS, submitter)] == ["mine"]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", ["a", "b", "c"]),
        ("status=DONE", ["b"]),
        ("status=DONE&status=NEW", ["a", "b", "c"]),
        ("workflow=order", ["c"]),
        ("correlation_id=a", ["a"]),
        ("created_after=2026-11-21T10:30:00%2B01:00", ["a", "b", "c"]),
        ("created_after=2026-11-21T10:30:01%2B01:00", ["b", "c"]),
        ("created_before=2026-11-22T00:00:00Z", ["a"]),
        ("overdue=true", ["a"]),
        ("overdue=false", ["b", "c"]),
        ("workflow=order&status=DONE", []),
    ],
)
def test_filters_narrow_the_jobs(query: str, wanted: list[str], operator: Any) -> None:
    make_job(correlation_id="a", due_at=START, created_at=datetime(2026, 11, 21, 9, 30, tzinfo=UTC))
    make_job(correlation_id="b", status="DONE", due_at=START, created_at=START + timedelta(days=2))
    make_job(correlation_id="c", workflow="order", created_at=START + timedelta(days=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workflows.reporting.jobs.timezone.now", lambda: AS_OF)
        assert [row["correlation_id"] for row in table(JOBS, operator, query)] == wanted


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("department=b", ["b"]),
        ("status=claimed", ["b"]),
        ("status=claimed&status=open", ["a", "b"]),
        ("assignee=holder", ["b"]),
        ("assignee=me", []),
        ("kind=external", []),
        ("due_before=2026-11-22T00:00:00Z", ["a"]),
        ("workflow=nothing", []),
    ],
)
def test_filters_narrow_the_work_items(query: str, wanted: list[str], operator: Any) -> None:
    make_item(DepartmentFactory(code="a"), due_at=START)
    make_item(DepartmentFactory(code="b"), status=WorkItemStatus.CLAIMED, assignee=UserFactory(username="holder"))
    assert [row["department"] for row in table(WORK_ITEMS, operator, query)] == wanted


def test_every_fault_of_the_filters_is_told_at_once() -> None:
    query = QueryDict("colour=red&status=ASLEEP&created_after=yesterday&workflow=a&workflow=b&correlation_id=")
    with pytest.raises(InvalidFilters) as caught:
        choose(HISTORY_FILTERS, query)
    assert {(fault.pointer, fault.code) for fault in caught.value.faults} == {
        ("/colour", "unknown_parameter"),
        ("/status", "invalid"),
        ("/created_after", "invalid"),
        ("/workflow", "repeated"),
        ("/correlation_id", "invalid"),
    }


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(InvalidFilters, match="zone"):
        choose(JOB_FILTERS, QueryDict("created_after=2026-11-21T10:30:00"))


def test_filters_are_said_in_words() -> None:
    chosen = choose(JOB_FILTERS, QueryDict("status=DONE&created_after=2026-11-21T10:30:00%2B01:00&overdue=true"))
    assert chosen.in_words() == "status DONE; created at or after 2026-11-21 09:30:00 UTC; overdue: yes"
    assert Chosen().in_words() == "everything"


@pytest.mark.parametrize("report", [JOBS, HISTORY, WORK_ITEMS], ids=lambda report: report.name)
def test_no_row_costs_a_query(report: Report, operator: Any) -> None:
    for count in (1, 20):
        department = DepartmentFactory()
        for _ in range(count):
            job = make_job(submitted_by=UserFactory(), status="PEND")
            make_event(job, 1)
            make_item(department, job=job, status=WorkItemStatus.CLAIMED, assignee=UserFactory())
        with CaptureQueriesContext(connection) as queries:
            rows = table(report, operator)
        assert len(rows) in (1, 21)
        assert len(queries) == (1 if report.archive is None else 2)


def test_columns_are_as_many_as_cells_and_all_explained() -> None:
    for report in all_reports():
        assert all(column.meaning and column.header for column in report.columns)
        assert len({column.key for column in report.columns}) == len(report.columns)


def test_the_registry_knows_both_reports_and_names_them_when_asked_for_another() -> None:
    assert {report.name for report in all_reports()} >= {"history", "jobs", "work-items"}
    with pytest.raises(UnknownReport, match="history, jobs, work-items"):
        get_report("nothing")


def test_two_reports_of_one_name_are_refused_and_the_same_twice_is_not() -> None:
    register(WORK_ITEMS)
    clash = Report("jobs", "Other jobs", (), (), JOBS.visible, JOBS.prepare, JOBS.row, ())
    with pytest.raises(ValueError, match="jobs"):
        register(clash)
