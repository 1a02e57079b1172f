"""Schedules over REST: the contract, who may, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.intake.makers import make_definition
from workflows.intake.scheduler import Scheduler
from workflows.models import Backfill, Job, Schedule, ScheduleRun

pytestmark = pytest.mark.django_db

URL = "/api/v1/schedules/"
BODY = {
    "workflow": "report",
    "input": {"kind": "daily"},
    "cron": "30 2 * * *",
    "time_zone": "Europe/Berlin",
    "overlap": "buffer_one",
    "catch_up": "P1D",
}


@pytest.fixture(autouse=True)
def _workflow(db: None) -> None:
    make_definition("report", input_schema={"type": "object", "required": ["kind"]})


def made(client: Any, **fields: Any) -> Any:
    answer = client.post(URL, {**BODY, **fields}, format="json")
    assert answer.status_code == 201, answer.json()
    return answer


def test_a_schedule_is_made_with_the_fields_of_the_contract_and_shows_its_next_five_due_times(
    configurator: Any,
) -> None:
    answer = made(configurator)
    shown = answer.json()
    assert answer["Location"] == f"http://testserver{URL}report/"
    assert {name: shown[name] for name in BODY} == BODY
    assert (shown["name"], shown["every"], shown["paused"], shown["last_run"], shown["error"]) == (
        *("report", None, False, None),
        "",
    )
    assert len(shown["next"]) == 5
    assert shown["next"][0] == shown["next_at"]
    assert shown["next"] == sorted(shown["next"])
    assert shown["created_by"] == configurator.user.username


def test_it_is_read_by_name_and_by_number_and_listed_by_name(configurator: Any) -> None:
    one, other = made(configurator, name="zebra").json(), made(configurator, name="ant").json()
    assert configurator.get(f"{URL}zebra/").json() == one
    assert configurator.get(f"{URL}{other['id']}/").json() == other
    assert [row["name"] for row in configurator.get(URL).json()["results"]] == ["ant", "zebra"]
    for missing in ("lion", "999999", "9" * 30):
        assert configurator.get(f"{URL}{missing}/").status_code == 404


def test_a_change_holds_from_now_on_and_a_deletion_keeps_the_jobs(configurator: Any) -> None:
    made(configurator)
    changed = configurator.patch(f"{URL}report/", {"cron": None, "every": "PT10M"}, format="json").json()
    assert (changed["cron"], changed["every"], changed["time_zone"]) == (None, "PT10M", "Europe/Berlin")
    configurator.post(f"{URL}report/trigger/")
    assert configurator.delete(f"{URL}report/").status_code == 204
    assert (Schedule.objects.count(), ScheduleRun.objects.count(), Job.objects.count()) == (0, 0, 1)


def test_it_is_paused_resumed_and_started_by_hand(configurator: Any) -> None:
    made(configurator)
    assert configurator.post(f"{URL}report/pause/").json()["paused"] is True
    assert configurator.post(f"{URL}report/resume/").json()["paused"] is False
    run = configurator.post(f"{URL}report/trigger/")
    assert (run.status_code, run.json()["result"]) == (201, "started")
    assert Job.objects.get().submitted_by == configurator.user
    assert configurator.get(f"{URL}report/").json()["last_run"] == run.json()
    [listed] = configurator.get(f"{URL}report/runs/").json()["results"]
    assert listed == run.json()


def test_the_runs_are_pages_the_latest_first(configurator: Any) -> None:
    schedule = Schedule.objects.get(pk=made(configurator).json()["id"])
    now = timezone.now()
    ScheduleRun.objects.bulk_create(
        ScheduleRun(schedule=schedule, due_at=now - timedelta(minutes=number), result="skipped") for number in range(60)
    )
    first = configurator.get(f"{URL}report/runs/").json()
    second = configurator.get(first["next"]).json()
    dates = [row["due_at"] for page in (first, second) for row in page["results"]]
    assert (len(first["results"]), len(dates), dates) == (50, 60, sorted(dates, reverse=True))
    assert configurator.get(f"{URL}report/runs/?result=started").status_code == 400


def test_the_past_is_made_up_for_so_many_at_once(configurator: Any) -> None:
    made(configurator)
    now = timezone.now()
    body = {"from": (now - timedelta(days=4)).isoformat(), "to": now.isoformat(), "max_concurrency": 2}
    asked = configurator.post(f"{URL}report/backfill/", body, format="json")
    assert (asked.status_code, asked.json()["max_concurrency"], asked.json()["started"]) == (201, 2, 0)
    Scheduler().run_once()
    [shown] = configurator.get(f"{URL}report/backfill/").json()["results"]
    assert (shown["started"], shown["finished_at"]) == (2, None)
    cancelled = configurator.post(f"{URL}report/backfill/{shown['id']}/cancel/").json()
    assert (cancelled["cancelled"], cancelled["next_at"]) == (True, None)
    assert configurator.post(f"{URL}report/backfill/999/cancel/").status_code == 404
    refused = configurator.post(f"{URL}report/backfill/", {**body, "to": "soon"}, format="json")
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/to")
    assert Backfill.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"cron": "0 0 31 2 *"}, "/cron", "never_fires"),
        ({"cron": "whenever"}, "/cron", "bad_cron"),
        ({"cron": None}, "", "cron_or_every"),
        ({"every": "PT1H"}, "", "cron_or_every"),
        ({"cron": None, "every": "PT0S"}, "/every", "too_short"),
        ({"workflow": "nothing"}, "/workflow", "unknown_workflow"),
        ({"input": {}}, "/input/kind", "required"),
        ({"time_zone": "Moon"}, "/time_zone", "unknown_time_zone"),
        ({"overlap": "queue"}, "/overlap", "enum"),
        ({"catch_up": "P1Y"}, "/catch_up", "bad_duration"),
        ({"starts_at": "tomorrow"}, "/starts_at", "anyOf"),
        ({"name": "a b"}, "/name", "bad_name"),
        ({"colour": "red"}, "/colour", "unknown_field"),
    ],
)
def test_what_could_not_do_what_it_says_is_refused_with_its_place(
    configurator: Any, changes: dict[str, Any], pointer: str, code: str
) -> None:
    answer = configurator.post(URL, {**BODY, **changes}, format="json")
    assert answer.status_code == 422
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]
    assert not Schedule.objects.exists()


def test_a_name_that_is_taken_is_a_conflict(configurator: Any) -> None:
    made(configurator, name="nightly")
    again = configurator.post(URL, {**BODY, "name": "nightly"}, format="json")
    assert (again.status_code, again.json()["detail"]) == (409, "There is a schedule 'nightly' already.")
    made(configurator, name="other")
    assert configurator.patch(f"{URL}other/", {"name": "nightly"}, format="json").status_code == 409


def test_a_start_by_hand_that_intake_refuses_says_why(configurator: Any) -> None:
    made(configurator)
    Schedule.objects.update(workflow="gone")
    refused = configurator.post(f"{URL}report/trigger/")
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "unknown_workflow")


def test_only_configurators_see_and_change_schedules(client: Any, configurator: Any, client_of: Any) -> None:
    made(configurator)
    for method, path in (
        ("get", ""),
        ("post", ""),
        *((method, "report/") for method in ("get", "patch", "delete")),
        *(("post", f"report/{verb}/") for verb in ("pause", "resume", "trigger", "backfill")),
        *(("get", f"report/{what}/") for what in ("runs", "backfill")),
    ):
        answer = getattr(client, method)(f"{URL}{path}", {} if method != "get" else None, format="json")
        assert (answer.status_code, method, path) == (403, method, path)
    narrow = client_of(configurator.user, scopes=("read",))
    assert narrow.get(URL).status_code == 200
    assert narrow.delete(f"{URL}report/").status_code == 403


def test_a_page_costs_the_same_for_every_number(configurator: Any, django_assert_num_queries: Any) -> None:
    for number in range(12):
        made(configurator, name=f"schedule{number}")
        configurator.post(f"{URL}schedule{number}/trigger/")
    for size in (1, 12):
        with django_assert_num_queries(4):
            page = configurator.get(f"{URL}?page_size={size}").json()["results"]
        assert len(page) == size
        assert all(row["last_run"] for row in page)
