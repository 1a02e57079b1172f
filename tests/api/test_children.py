"""Where children show: in the lists, on the job's page, in reports, metrics and the admin, and to whom."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from rest_framework.test import APIClient

from tests.execution.jobs import publish, submit
from tests.factories import DepartmentFactory, MembershipFactory, UserFactory
from workflows.execution.worker import drain
from workflows.models import Job
from workflows.policy import visible_jobs

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _groups_of_a_flushed_database(db: None) -> None:
    """A test that commits finds the groups that migrations make gone."""
    from django.apps import apps

    from workflows.groups import make_groups

    make_groups(apps.get_app_config("workflows"))


def a_parent(client: APIClient, items: list[Any], inner: dict[str, Any] | None = None, name: str = "mapped") -> Job:
    task = {"type": "map", "items": "${input.items}", "task": inner or {"type": "pass"}, "tolerated_failures": 9}
    submitter: Any = client.user  # type: ignore[attr-defined]
    job = submit(publish({"name": name, "tasks": {"m": task}}), {"items": items}, submitted_by=submitter)
    drain()
    return job


def ids(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [row["id"] for row in response.json()["results"]]


def test_the_list_holds_whole_jobs_and_the_children_of_one_where_it_is_named(client: APIClient) -> None:
    job = a_parent(client, [1, 2])
    other = a_parent(client, [3], name="other")
    assert ids(client.get("/api/v1/jobs/")) == [str(other.pk), str(job.pk)]
    response = client.get(f"/api/v1/jobs/?parent={job.pk}")
    assert len(ids(response)) == 2
    assert {row["parent"] for row in response.json()["results"]} == {str(job.pk)}
    assert client.get("/api/v1/jobs/?parent=nobody").status_code == 400


@pytest.mark.parametrize("count", [1, 12])
def test_a_task_says_how_far_its_children_are_with_as_many_queries_for_any_number(
    count: int, client: APIClient, django_assert_num_queries: Any
) -> None:
    inner = {"type": "pass", "input": "${item == 0 ? input.nothing : item}"}
    job = a_parent(client, list(range(count)), inner)
    with django_assert_num_queries(7):  # token; operator?; departments; the job; its runs; groups; their children
        shown = client.get(f"/api/v1/jobs/{job.pk}/").json()
    [task] = shown["tasks"]
    assert task["children"].pop("group")
    assert task["children"] == {"total": count, "done": count - 1, "failed": 1}
    child = client.get(f"/api/v1/jobs/{ids(client.get(f'/api/v1/jobs/?parent={job.pk}'))[0]}/").json()
    assert child["parent"] == str(job.pk)
    assert "children" not in child["tasks"][0]


def test_reports_and_metrics_count_cases_and_not_their_parts(client: APIClient, operator: APIClient) -> None:
    job = a_parent(client, [1, 2, 3])
    text = b"".join(client.get("/api/v1/reports/jobs.csv").streaming_content).decode()  # type: ignore[attr-defined]
    assert [row["Job"] for row in csv.DictReader(io.StringIO(text))] == [str(job.pk)]
    parts = client.get(f"/api/v1/reports/jobs.csv?parent={job.pk}&status=DONE")
    assert len(list(csv.DictReader(io.StringIO(b"".join(parts.streaming_content).decode())))) == 3  # type: ignore[attr-defined]
    assert client.get("/api/v1/reports/jobs.csv?parent=x").status_code == 400
    log = b"".join(client.get("/api/v1/reports/history.xes").streaming_content).decode()  # type: ignore[attr-defined]
    assert log.count("<trace>") == 1
    lines = operator.get("/metrics").content.decode().splitlines()
    assert 'workflow_jobs{status="DONE"} 1' in lines
    assert 'workflow_job_parts{status="DONE"} 3' in lines


def test_who_sees_the_parent_sees_its_children_and_theirs() -> None:
    department = DepartmentFactory(code="desk")
    member = MembershipFactory(department=department).user
    stranger = UserFactory()
    publish({"name": "inside", "tasks": {"p": {"type": "pass"}}})
    definition = publish(
        {
            "name": "seen",
            "tasks": {
                "ask": {"type": "human", "department": "desk"},
                "m": {"type": "map", "items": [1], "task": {"type": "workflow", "workflow": "inside", "input": {}}},
            },
        }
    )
    job = submit(definition)
    drain()
    assert Job.objects.count() == 3
    assert visible_jobs(member).count() == 3
    assert visible_jobs(stranger).count() == 0
    assert job in visible_jobs(member)


def test_an_item_that_people_decide_shows_the_reference_of_the_case() -> None:
    from departments.models import WorkItem

    DepartmentFactory(code="desk")
    task = {
        "type": "map",
        "items": ["a", "b"],
        "task": {"type": "human", "department": "desk", "title": "Look at ${item}"},
    }
    submit(publish({"name": "asked", "tasks": {"m": task}}), correlation_id="CASE-7")
    drain()
    assert list(WorkItem.objects.order_by("title").values_list("title", "reference")) == [
        ("Look at a", "CASE-7"),
        ("Look at b", "CASE-7"),
    ]


def test_the_admin_lists_whole_jobs_and_links_parents_with_children() -> None:
    admin = get_user_model().objects.create_superuser("root", password="x")
    client = APIClient()
    client.user = admin  # type: ignore[attr-defined]
    job = a_parent(client, [1, 2])
    child = Job.objects.filter(parent=job)[0]
    browser = Client()
    browser.force_login(admin)

    def listed(query: str = "") -> int:
        page = browser.get(f"/admin/workflows/job/{query}")
        assert page.status_code == 200
        return len(page.context["cl"].result_list)

    assert listed() == 1
    assert listed("?parent=any") == 3
    assert listed(f"?parent={job.pk}") == 2
    assert listed("?parent=nonsense") == 0
    page = browser.get(f"/admin/workflows/job/{job.pk}/change/").content.decode()
    assert f"?parent={job.pk}" in page
    assert "2 of 2 done" in page
    page = browser.get(f"/admin/workflows/job/{child.pk}/change/").content.decode()
    assert f"/admin/workflows/job/{job.pk}/change/" in page
