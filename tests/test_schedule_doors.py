"""Schedules and calendars in the admin and in the shell."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.factories import UserFactory
from tests.intake.makers import make_definition
from workflows.admin.calendars import CalendarResource
from workflows.admin.schedules import ScheduleResource
from workflows.models import Backfill, Calendar, Job, Schedule, ScheduleRun

pytestmark = pytest.mark.django_db

HOURS = {"mon": [["09:00", "17:00"]]}
FORM = {
    "name": "nightly",
    "workflow": "report",
    "version": "",
    "input": "{}",
    "priority": "",
    "cron": "30 2 * * *",
    "every": "",
    "time_zone": "Europe/Berlin",
    "overlap": "skip",
    "catch_up": "PT1H",
}


@pytest.fixture(autouse=True)
def _workflow(db: None) -> None:
    make_definition("report")


@pytest.fixture
def boss() -> Client:
    client = Client()
    client.force_login(UserFactory(username="boss", is_staff=True, is_superuser=True))
    return client


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:workflows_{name}", args=args)


def run(*args: str) -> str:
    out = StringIO()
    call_command("schedules", *args, stdout=out)
    return out.getvalue()


# ---- the admin ------------------------------------------------------------------------------------------------------


def test_a_schedule_is_made_and_changed_in_the_admin(boss: Client) -> None:
    assert boss.post(page("schedule_add"), FORM).status_code == 302
    schedule = Schedule.objects.get()
    assert (schedule.next_at is not None, schedule.created_by) == (True, "boss")
    boss.post(page("schedule_change", schedule.pk), {**FORM, "cron": "0 0 1 1 *"})
    schedule.refresh_from_db()
    assert (schedule.next_at.month, schedule.created_by) == (12, "boss")  # New Year in Berlin, in UTC
    assert "Next due times" in boss.get(page("schedule_change", schedule.pk)).content.decode()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cron": "0 0 31 2 *"}, "there is no such day"),
        ({"every": "PT1H"}, "either cron or every"),
        ({"cron": ""}, "either cron or every"),
        ({"workflow": "gone"}, "is not published"),
        ({"time_zone": "Moon"}, "is no time zone"),
        ({"input": "no json"}, "valid JSON"),
    ],
)
def test_a_schedule_that_could_not_do_what_it_says_is_not_saved(
    boss: Client, changes: dict[str, str], said: str
) -> None:
    answer = boss.post(page("schedule_add"), {**FORM, **changes})
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert not Schedule.objects.exists()


def test_the_list_shows_what_comes_and_what_became_of_the_last_one_and_has_the_verbs(
    boss: Client, django_assert_max_num_queries: Any
) -> None:
    boss.post(page("schedule_add"), FORM)
    schedule = Schedule.objects.get()
    chosen = {"_selected_action": [schedule.pk]}
    boss.post(page("schedule_changelist"), {"action": "pause_selected", **chosen})
    assert Schedule.objects.get().paused
    boss.post(page("schedule_changelist"), {"action": "resume_selected", **chosen})
    assert not Schedule.objects.get().paused
    boss.post(page("schedule_changelist"), {"action": "trigger_selected", **chosen})
    assert Job.objects.get().submitted_by.username == "boss"
    with django_assert_max_num_queries(8):
        text = boss.get(page("schedule_changelist")).content.decode()
    assert "Started" in text
    assert "30 2 * * *" in text
    Schedule.objects.update(workflow="gone")
    refused = boss.post(page("schedule_changelist"), {"action": "trigger_selected", **chosen}, follow=True)
    assert "is not published" in refused.content.decode()
    for name in ("schedulerun", "backfill"):
        assert boss.get(page(f"{name}_changelist")).status_code == 200
    assert boss.get(page("schedulerun_change", ScheduleRun.objects.get().pk)).status_code == 200


def test_a_backfill_is_cancelled_in_the_admin(boss: Client) -> None:
    boss.post(page("schedule_add"), FORM)
    now = timezone.now()
    asked = Backfill.objects.create(schedule=Schedule.objects.get(), from_at=now, to_at=now, next_at=now)
    boss.post(page("backfill_changelist"), {"action": "cancel_selected", "_selected_action": [asked.pk]})
    asked.refresh_from_db()
    assert asked.cancelled


def test_a_calendar_is_made_in_the_admin_and_a_useless_one_is_not(boss: Client) -> None:
    form = {"code": "business", "name": "Business", "time_zone": "UTC", "hours": json.dumps(HOURS), "holidays": "[]"}
    for changes, said in (
        ({"hours": "{}"}, "no working hour"),
        ({"hours": '{"mon": [["17:00", "09:00"]]}'}, "ends before it begins"),
        ({"time_zone": "Moon"}, "is no time zone"),
        ({"holidays": '["soon"]'}, "is no date"),
    ):
        assert said in boss.post(page("calendar_add"), {**form, **changes}).content.decode()
    assert not Calendar.objects.exists()
    assert boss.post(page("calendar_add"), form).status_code == 302
    assert Calendar.objects.get().hours == HOURS
    assert boss.get(page("calendar_changelist"), {"q": "busi"}).status_code == 200


def test_both_travel_as_files_and_a_row_that_is_no_use_is_refused(boss: Client) -> None:
    boss.post(page("schedule_add"), {**FORM, "input": '{"kind": "daily"}'})
    Calendar.objects.create(code="business", name="Business", hours=HOURS)
    exported = ScheduleResource().export(), CalendarResource().export()
    Schedule.objects.all().delete()
    Calendar.objects.all().delete()
    for resource, rows in zip((ScheduleResource(), CalendarResource()), exported, strict=True):
        result = resource.import_data(rows, raise_errors=True)
        assert result.totals["new"] == 1
    schedule = Schedule.objects.get()
    assert (schedule.input, schedule.next_at is not None) == ({"kind": "daily"}, True)
    assert Calendar.objects.get().hours == HOURS
    rows = ScheduleResource().export()
    bad = rows.dict
    bad[0]["cron"] = "0 0 31 2 *"
    rows.dict = bad
    result = ScheduleResource().import_data(rows)
    assert result.has_validation_errors()


# ---- the shell ------------------------------------------------------------------------------------------------------


def test_the_shell_makes_lists_pauses_resumes_starts_and_deletes() -> None:
    made = run("create", "report", "--cron", "30 2 * * *", "--time-zone", "Europe/Berlin", "--input", '{"a": 1}')
    assert made.startswith("report  report  30 2 * * *  Europe/Berlin  skip  next 20")
    assert run("list") == made
    assert "paused" in run("pause", "report")
    assert "next 20" in run("resume", "report")
    assert run("trigger", "report") == f"started {Job.objects.get().pk}\n"
    assert Job.objects.get().data.input == {"a": 1}
    assert run("delete", "report") == "deleted report\n"
    assert run("list") == "\n"


def test_the_shell_makes_up_for_the_past() -> None:
    run("create", "report", "--name", "hourly", "--cron", "0 * * * *")
    said = run(
        *("backfill", "hourly", "--from", "2026-01-31T00:00:00Z", "--to", "2026-01-31T12:00:00Z"),
        *("--max-concurrency", "3"),
    )
    asked = Backfill.objects.get()
    assert said.startswith(f"backfill {asked.pk} of hourly: 2026-01-31T00:00:00Z")
    assert asked.max_concurrency == 3
    assert "starts no more" in run("cancel-backfill", str(asked.pk))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("create", "report", "--cron", "0 0 31 2 *"), "there is no such day"),
        (("create", "gone", "--every", "PT1H"), "is not published"),
        (("create", "report", "--every", "PT1H", "--input", "{"), "no JSON"),
        (("create", "report"), "one of the arguments --cron --every is required"),
        (("create", "report", "--cron", "0 0 * * *", "--every", "PT1H"), "not allowed with"),
        (("pause", "nothing"), "no schedule 'nothing'"),
        (("backfill", "report", "--from", "soon", "--to", "later"), "no schedule"),
        (("cancel-backfill", "7"), "no backfill 7"),
    ],
)
def test_the_shell_says_what_is_wrong(args: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        run(*args)
