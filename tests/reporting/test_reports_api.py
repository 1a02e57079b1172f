"""Reports over REST and as actions of the admin."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from typing import Any

import pytest
import time_machine
from django.contrib.admin import ModelAdmin, site
from django.test import RequestFactory
from django_filters import MultipleChoiceFilter
from python_calamine import CalamineWorkbook
from rest_framework.test import APIClient

from departments.api.filters import WorkItemFilter
from departments.models import WorkItem
from tests.factories import DepartmentFactory, MembershipFactory, UserFactory
from tests.reporting.makers import make_definition, make_event, make_job, make_run
from tests.reporting.xes_rules import faults_of
from workflows.api.filters import JobFilter
from workflows.models import Job
from workflows.reporting import workbook
from workflows.reporting.admin_actions import export_actions, export_history
from workflows.reporting.registry import get_report

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Any:
    return UserFactory(username="operator", is_superuser=True, is_staff=True)


@pytest.fixture
def client(operator: Any) -> APIClient:
    found = APIClient()
    found.force_authenticate(operator)
    return found


def body(response: Any) -> bytes:
    return b"".join(response.streaming_content)


def data_sheet(content: bytes) -> list[list[Any]]:
    return CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_name("Data").to_python()


def test_the_history_is_a_valid_log_of_the_jobs_that_were_asked_for(client: APIClient) -> None:
    make_definition("claim", 1, {"verify": "Verify"})
    make_run(make_job(correlation_id="C-1"), "verify", 2)
    make_run(make_job(workflow="order", correlation_id="O-1"), "verify", 2)
    response = client.get("/api/v1/reports/history.xes", {"workflow": "claim"})
    assert response.status_code == 200
    assert response["Content-Type"] == "application/xml"
    content = body(response)
    assert faults_of(content) == []
    assert b"C-1" in content
    assert b"O-1" not in content
    assert b"History of jobs: workflow claim" in content


def test_the_history_can_be_had_compressed(client: APIClient) -> None:
    make_job(correlation_id="C-1")
    response = client.get("/api/v1/reports/history.xes.gz")
    assert b"C-1" in gzip.decompress(body(response))
    assert "Content-Encoding" not in response


@time_machine.travel("2026-11-21T10:30:45Z", tick=False)
@pytest.mark.parametrize(
    "file", ["history.xes", "history.csv", "jobs.xlsx", "jobs.csv", "work-items.xlsx", "work-items.csv"]
)
def test_the_file_is_named_by_report_and_time(client: APIClient, file: str) -> None:
    name, _, extension = file.partition(".")
    response = client.get(f"/api/v1/reports/{file}")
    assert response["Content-Disposition"] == f'attachment; filename="{name}_2026-11-21T1030Z.{extension}"'


@pytest.mark.parametrize("accept", ["text/csv", "application/xml", "*/*", "text/html"])
def test_the_path_says_which_kind_it_is_whatever_the_client_accepts(client: APIClient, accept: str) -> None:
    assert client.get("/api/v1/reports/jobs.csv", headers={"accept": accept}).status_code == 200


def test_both_kinds_hold_the_same_rows_and_only_those_asked_for(client: APIClient) -> None:
    for number in range(3):
        make_job(correlation_id=f"=C-{number}", status="DONE")
    make_job(correlation_id="open")
    sheet = data_sheet(body(client.get("/api/v1/reports/jobs.xlsx?status=DONE")))
    text = body(client.get("/api/v1/reports/jobs.csv?status=DONE")).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row[1] for row in sheet[1:]] == [f"=C-{number}" for number in range(3)]
    assert [row["Correlation id"] for row in rows] == [f"'=C-{number}" for number in range(3)]


def test_csv_takes_its_options_and_does_not_call_them_filters(client: APIClient) -> None:
    content = body(client.get("/api/v1/reports/jobs.csv?bom=true&delimiter=semicolon"))
    assert content.startswith(b'\xef\xbb\xbf"Job";"Correlation id";')


@pytest.mark.parametrize("file", ["history.xes", "history.xes.gz", "jobs.xlsx", "jobs.csv", "work-items.csv"])
def test_an_unknown_filter_is_refused_with_its_name(client: APIClient, file: str) -> None:
    response = client.get(f"/api/v1/reports/{file}?colour=red")
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert [(error["parameter"], error["code"]) for error in response.json()["errors"]] == [
        ("colour", "unknown_parameter")
    ]


def test_an_unknown_report_is_not_found_and_the_known_ones_are_named(client: APIClient) -> None:
    response = client.get("/api/v1/reports/salaries.xlsx")
    assert response.status_code == 404
    assert "history, jobs, work-items" in response.json()["detail"]


def test_more_rows_than_a_sheet_holds_are_refused(client: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "MAX_ROWS", 1)
    for _ in range(2):
        make_job()
    response = client.get("/api/v1/reports/jobs.xlsx")
    assert (response.status_code, response.json()["type"]) == (422, "/problems/too-many-rows")


@pytest.mark.parametrize("file", ["history.xes", "jobs.xlsx", "jobs.csv"])
def test_nobody_gets_a_report_without_saying_who_they_are(file: str) -> None:
    assert APIClient().get(f"/api/v1/reports/{file}").status_code == 401


def test_everybody_sees_in_reports_what_they_see_in_lists_and_no_more() -> None:
    member = MembershipFactory(department=DepartmentFactory(code="verification")).user
    asked, other = make_job(correlation_id="asked"), make_job(correlation_id="other")
    for job, department in [(asked, member.departments.get()), (other, DepartmentFactory(code="payment"))]:
        WorkItem.objects.create(job=job, workflow="claim", task="verify", department=department, title="Verify")
        make_event(job, 1)
    client = APIClient()
    client.force_authenticate(member)
    history = body(client.get("/api/v1/reports/history.xes"))
    jobs = body(client.get("/api/v1/reports/jobs.csv"))
    items = body(client.get("/api/v1/reports/work-items.csv"))
    events = body(client.get("/api/v1/reports/history.csv"))
    assert b"asked" in events
    assert b"other" not in events
    assert b"asked" in history
    assert b"other" not in history
    assert b"asked" in jobs
    assert b"other" not in jobs
    assert b"verification" in items
    assert b"payment" not in items


def test_the_openapi_document_has_the_reports_with_their_filters(client: APIClient) -> None:
    paths = client.get("/api/schema/", headers={"accept": "application/vnd.oai.openapi+json"}).json()["paths"]
    for path in ("history.xes", "{report}.xlsx", "{report}.csv"):
        operation = paths[f"/api/v1/reports/{path}"]["get"]
        assert {"workflow", "created_after"} <= {parameter["name"] for parameter in operation["parameters"]}
        assert "400" in operation["responses"]


@pytest.mark.parametrize(
    ("report", "of_the_list"), [("jobs", JobFilter), ("work-items", WorkItemFilter)], ids=["jobs", "work-items"]
)
def test_a_report_is_narrowed_by_what_narrows_its_list(report: str, of_the_list: Any) -> None:
    declared = {one.name: one.several for one in get_report(report).filters}
    several = {name: type(one) is MultipleChoiceFilter for name, one in of_the_list.base_filters.items()}
    several.pop("archived", None)  # the list shows one of the two tables, the report both
    assert declared == several


# ---- the admin's actions --------------------------------------------------------------------------------------------


def run(action: Any, operator: Any, queryset: Any) -> Any:
    request = RequestFactory().post("/admin/")
    request.user = operator
    return action(ModelAdmin(queryset.model, site), request, queryset)


def test_the_admin_exports_the_selected_jobs_as_workbook_and_csv(operator: Any) -> None:
    for name in ("a", "b", "c"):
        make_job(correlation_id=name)
    selected = Job.objects.exclude(correlation_id="b").order_by("-created_at")
    as_xlsx, as_csv = export_actions("jobs")
    content = body(run(as_xlsx, operator, selected))
    assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None
    assert [row[1] for row in data_sheet(content)[1:]] == ["a", "c"]
    text = body(run(as_csv, operator, selected)).decode("utf-8-sig")
    assert [row["Correlation id"] for row in csv.DictReader(io.StringIO(text))] == ["a", "c"]


def test_the_admin_exports_the_history_of_the_selected_jobs(operator: Any) -> None:
    make_job(correlation_id="a")
    make_job(correlation_id="b")
    content = body(run(export_history, operator, Job.objects.filter(correlation_id="b")))
    assert faults_of(content) == []
    assert b'value="b"' in content
    assert b'value="a"' not in content


def test_the_admin_s_actions_have_names_of_their_own_and_ask_for_the_right_to_view() -> None:
    actions = [*export_actions("jobs"), export_history]
    assert len({action.__name__ for action in actions}) == 3
    assert all(action.allowed_permissions == ["view"] for action in actions)
