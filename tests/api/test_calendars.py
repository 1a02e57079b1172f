"""Calendars by script: who may, what is refused, and that a page costs the same for every number."""

from __future__ import annotations

from typing import Any

import pytest

from departments.models import Department
from workflows.models import Calendar

pytestmark = pytest.mark.django_db

HOURS = {"mon": [["09:00", "17:00"]]}
BODY = {"code": "business", "name": "Business", "time_zone": "Europe/Berlin", "hours": HOURS}


def test_a_configurator_makes_reads_and_changes_calendars(configurator: Any) -> None:
    made = configurator.post("/api/v1/calendars/", BODY, format="json")
    assert (made.status_code, made["Location"]) == (201, "http://testserver/api/v1/calendars/business/")
    assert made.json() == {**BODY, "holidays": []}
    changed = configurator.patch("/api/v1/calendars/business/", {"holidays": ["2026-12-25"]}, format="json")
    assert (changed.status_code, changed.json()["holidays"]) == (200, ["2026-12-25"])
    assert configurator.get("/api/v1/calendars/business/").json() == changed.json()
    assert [row["code"] for row in configurator.get("/api/v1/calendars/").json()["results"]] == ["business"]


def test_nobody_else_sees_or_changes_them(client: Any) -> None:
    for answer in (
        client.get("/api/v1/calendars/"),
        client.post("/api/v1/calendars/", BODY, format="json"),
        client.patch("/api/v1/calendars/business/", {}, format="json"),
    ):
        assert answer.status_code == 403
    assert not Calendar.objects.exists()


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"hours": {}}, "/hours", "no_working_time"),
        ({"hours": {"mon": [["17:00", "09:00"]]}}, "/hours/mon/0", "inverted_span"),
        ({"hours": {"mon": [["09:00", "12:00"], ["11:00", "13:00"]]}}, "/hours/mon", "overlapping_spans"),
        ({"time_zone": "Europe/Nowhere"}, "/time_zone", "unknown_time_zone"),
        ({"holidays": ["tomorrow"]}, "/holidays/0", "format"),
        ({"holidays": "2026-12-25"}, "/holidays", "type"),
        ({"color": "red"}, "/color", "unknown_field"),
        ({"code": "a b"}, "/code", "pattern"),
    ],
)
def test_what_could_not_be_counted_on_is_refused_with_its_place(
    configurator: Any, changes: dict[str, Any], pointer: str, code: str
) -> None:
    answer = configurator.post("/api/v1/calendars/", {**BODY, **changes}, format="json")
    assert answer.status_code == 422
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]
    assert not Calendar.objects.exists()


def test_a_second_calendar_of_a_code_is_a_conflict(configurator: Any) -> None:
    configurator.post("/api/v1/calendars/", BODY, format="json")
    assert configurator.post("/api/v1/calendars/", BODY, format="json").status_code == 409
    assert configurator.patch("/api/v1/calendars/other/", {}, format="json").status_code == 404


def test_a_page_costs_the_same_for_every_number(configurator: Any, django_assert_num_queries: Any) -> None:
    Calendar.objects.bulk_create(Calendar(code=f"c{n}", name="C", hours=HOURS) for n in range(60))
    with django_assert_num_queries(3):
        page = configurator.get("/api/v1/calendars/").json()
    assert len(page["results"]) == 50
    assert page["next"]


def test_a_department_is_given_its_calendar_by_code(configurator: Any) -> None:
    configurator.post("/api/v1/calendars/", BODY, format="json")
    made = configurator.post(
        "/api/v1/departments/", {"code": "desk", "name": "Desk", "calendar": "business"}, format="json"
    )
    assert (made.status_code, made.json()["calendar"]) == (201, "business")
    assert Department.objects.get().calendar == Calendar.objects.get()
    cleared = configurator.patch("/api/v1/departments/desk/", {"calendar": None}, format="json")
    assert (cleared.status_code, cleared.json()["calendar"]) == (200, None)
    wrong = configurator.patch("/api/v1/departments/desk/", {"calendar": "lunar"}, format="json")
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/calendar")


def test_a_definition_names_a_calendar_that_is_there(configurator: Any) -> None:
    document = {
        "name": "promised",
        "sla": {"due": "P2D", "calendar": "business"},
        "tasks": {"start": {"type": "pass"}},
        "transitions": [],
    }
    refused = configurator.post("/api/v1/definitions/", document, format="json")
    assert [(e["pointer"], e["code"]) for e in refused.json()["errors"]] == [("/sla/calendar", "unknown_calendar")]
    configurator.post("/api/v1/calendars/", BODY, format="json")
    assert configurator.post("/api/v1/definitions/", document, format="json").status_code == 201
