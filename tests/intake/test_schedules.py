"""Schedules: each due time once, what overlaps, what was missed, and what is made up for."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from tests.factories import UserFactory
from tests.intake.makers import make_definition
from workflows.execution.prune import Pruner
from workflows.intake import schedules
from workflows.intake.exceptions import InvalidSchedule, InvalidSubmission, ScheduleExists
from workflows.intake.scheduler import Scheduler
from workflows.models import Backfill, Job, Schedule, ScheduleRun

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the server and of the database."""
    from django.db.models import Value

    clock = Clock()
    monkeypatch.setattr(timezone, "now", clock)
    monkeypatch.setattr("workflows.intake.scheduler.Now", lambda: Value(clock.now))
    return clock


@pytest.fixture(autouse=True)
def _workflow(db: None) -> None:
    make_definition("report", input_schema={"type": "object", "properties": {"day": {"type": "string"}}})


def make(**fields: Any) -> Schedule:
    return schedules.create({"workflow": "report", "every": "PT10M", **fields}, created_by="configurator")


def tick() -> int:
    return Scheduler().run_once()["started"]


def runs(schedule: Schedule) -> list[tuple[str, str]]:
    found = ScheduleRun.objects.filter(schedule=schedule).order_by("due_at")
    return [(f"{run.due_at:%H:%M}", run.result) for run in found]


def end_all(status: str = "DONE") -> None:
    Job.objects.update(status=status, finished_at=timezone.now() if status == "DONE" else None)


def test_each_due_time_starts_one_job(clock: Clock) -> None:
    schedule = make(input={"day": "${schedule.due_at}", "by": "${schedule.name}"}, priority=80)
    assert (schedule.name, schedule.next_at) == ("report", NOW + timedelta(minutes=10))
    assert tick() == 0
    clock.move(minutes=10)
    assert [tick(), tick()] == [1, 0]
    job = Job.objects.select_related("data").get()
    assert job.data.input == {"day": "2026-11-20T12:10:30Z", "by": "report"}
    assert (job.workflow, job.priority, job.correlation_id) == ("report", 80, "report:2026-11-20T12:10:30Z")
    run = ScheduleRun.objects.get()
    assert (run.result, run.job, run.due_at) == ("started", job, NOW + timedelta(minutes=10))
    schedule.refresh_from_db()
    assert schedule.next_at == NOW + timedelta(minutes=20)


@pytest.mark.usefixtures("clock")
def test_a_schedule_that_could_not_do_what_it_says_is_refused_with_every_fault() -> None:
    with pytest.raises(InvalidSchedule) as refused:
        make(name="7up", cron="0 0 31 2 *", every="", overlap="queue", catch_up="soon", priority=101, time_zone="Moon")
    assert {(fault.pointer, fault.code) for fault in refused.value.faults} == {
        ("/name", "bad_name"),
        ("/cron", "never_fires"),
        ("/overlap", "enum"),
        ("/catch_up", "bad_duration"),
        ("/priority", "out_of_range"),
        ("/time_zone", "unknown_time_zone"),
    }


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"workflow": "no-such"}, "/workflow", "unknown_workflow"),
        ({"version": 7}, "/version", "unknown_version"),
        ({"input": {"day": 7}}, "/input/day", "type"),
        ({"input": {"day": "${schedule.moon}"}}, "/input", "expression"),
        ({"input": {"day": "${job.id}"}}, "/input", "expression"),
        ({"input": {"day": "${1 +}"}}, "/input", "expression"),
        ({"input": {"day": "\0"}}, "/input/day", "invalid_character"),
    ],
)
def test_what_intake_would_refuse_at_the_first_due_time_is_refused_now(
    fields: dict[str, Any], pointer: str, code: str
) -> None:
    with pytest.raises(InvalidSchedule) as refused:
        make(**fields)
    assert [fault.pointer for fault in refused.value.faults] == [pointer]
    assert code in {fault.code for fault in refused.value.faults} or code == "invalid_character"
    assert not Schedule.objects.exists()


def test_a_name_is_made_from_the_workflow_and_a_given_one_is_unique() -> None:
    assert [make().name, make().name, make(name="mine").name, make().name] == ["report", "report-2", "mine", "report-3"]
    with pytest.raises(ScheduleExists, match="'mine'"):
        make(name="mine")


# ---- overlap --------------------------------------------------------------------------------------------------------


def test_skip_starts_nothing_while_the_one_before_still_runs(clock: Clock) -> None:
    schedule = make(overlap="skip")
    for _ in range(3):
        clock.move(minutes=10)
        tick()
    end_all()
    clock.move(minutes=10)
    tick()
    assert runs(schedule) == [("12:10", "started"), ("12:20", "skipped"), ("12:30", "skipped"), ("12:40", "started")]


def test_buffer_one_starts_one_when_the_one_before_has_ended(clock: Clock) -> None:
    schedule = make(overlap="buffer_one")
    for _ in range(3):
        clock.move(minutes=10)
        tick()
    assert runs(schedule) == [("12:10", "started"), ("12:20", "buffered"), ("12:30", "skipped")]
    assert tick() == 0, "the one before still runs"
    end_all()
    assert [tick(), tick()] == [1, 0]
    assert runs(schedule)[1] == ("12:20", "started")
    assert Job.objects.filter(status="NEW").get().correlation_id == "report:2026-11-20T12:20:30Z"


def test_allow_starts_whatever_else_runs(clock: Clock) -> None:
    schedule = make(overlap="allow")
    clock.move(minutes=30)
    assert tick() == 3
    assert {result for _, result in runs(schedule)} == {"started"}


@pytest.mark.parametrize(("status", "started"), [("FAIL", 1), ("DONE", 1), ("PEND", 0), ("READY", 0)])
def test_a_failed_job_holds_up_nothing(clock: Clock, status: str, started: int) -> None:
    make(overlap="skip")
    clock.move(minutes=10)
    tick()
    end_all(status)
    clock.move(minutes=10)
    assert tick() == started


# ---- what was missed ------------------------------------------------------------------------------------------------


def test_what_was_missed_by_more_than_the_window_is_not_made_up_for(clock: Clock) -> None:
    schedule = make(overlap="allow", catch_up="PT24M")
    clock.move(minutes=55)
    assert tick() == 2
    assert runs(schedule) == [
        *(("12:10", "missed"), ("12:20", "missed"), ("12:30", "missed")),
        *(("12:40", "started"), ("12:50", "started")),
    ]


def test_a_long_outage_is_worked_off_in_portions(clock: Clock, django_assert_max_num_queries: Any) -> None:
    schedule = make(every="PT1S", overlap="allow", catch_up="PT1H")
    clock.move(seconds=2500)
    with django_assert_max_num_queries(100):
        assert tick() == 1000
    assert [tick(), tick(), tick()] == [1000, 500, 0]
    assert ScheduleRun.objects.filter(schedule=schedule).count() == 2500


def test_a_paused_schedule_starts_nothing_and_goes_on_with_the_next_due_time(clock: Clock) -> None:
    schedule = make()
    schedules.pause(schedule.pk)
    clock.move(minutes=35)
    assert tick() == 0
    assert schedules.resume(schedule.pk).next_at == NOW + timedelta(minutes=40)
    clock.move(minutes=5)
    assert tick() == 1
    assert runs(schedule) == [("12:40", "started")]


def test_a_schedule_that_has_ended_is_due_no_more(clock: Clock) -> None:
    schedule = make(ends_at=NOW + timedelta(minutes=15))
    clock.move(hours=2)
    tick()
    schedule.refresh_from_db()
    assert (runs(schedule), schedule.next_at) == ([("12:10", "missed")], None)


# ---- what is refused ------------------------------------------------------------------------------------------------


def test_a_refused_submission_is_told_and_stops_no_other(clock: Clock) -> None:
    bad, good = make(name="bad"), make(name="good")
    Schedule.objects.filter(pk=bad.pk).update(workflow="gone")
    clock.move(minutes=10)
    assert tick() == 1
    bad.refresh_from_db()
    assert (runs(bad), runs(good)) == ([("12:10", "refused")], [("12:10", "started")])
    assert bad.error == "/workflow 'gone' is not published."
    assert ScheduleRun.objects.get(schedule=bad).error == bad.error
    Schedule.objects.filter(pk=bad.pk).update(workflow="report")
    clock.move(minutes=10)
    end_all()
    tick()
    bad.refresh_from_db()
    assert (bad.error, runs(bad)[-1]) == ("", ("12:20", "started"))


def test_of_several_due_times_only_those_that_are_refused_are_not_started(clock: Clock) -> None:
    schedule = make(overlap="allow", input={"day": "${schedule.due_at}"})
    make_definition("report", version=2, input_schema={"properties": {"day": {"not": {"pattern": "12:20"}}}})
    clock.move(minutes=30)
    assert tick() == 2
    assert runs(schedule) == [("12:10", "started"), ("12:20", "refused"), ("12:30", "started")]


def test_what_nobody_foresaw_stops_no_other(clock: Clock) -> None:
    bad, good = make(name="bad"), make(name="good")
    Schedule.objects.filter(pk=bad.pk).update(time_zone="Moon")
    clock.move(minutes=10)
    assert tick() == 1
    bad.refresh_from_db()
    assert "is no time zone" in bad.error
    assert runs(good) == [("12:10", "started")]


# ---- by hand --------------------------------------------------------------------------------------------------------


def test_a_schedule_can_be_started_now(clock: Clock) -> None:
    user = UserFactory()
    schedule = make()
    schedules.pause(schedule.pk)
    run = schedules.trigger(schedule.pk, submitted_by=user)
    assert (run.result, run.due_at, run.job.submitted_by) == ("started", clock.now, user)
    Schedule.objects.update(workflow="gone")
    clock.move(seconds=1)
    with pytest.raises(InvalidSubmission, match="gone"):
        schedules.trigger(schedule.pk)


def test_new_times_hold_from_now_on_and_other_changes_keep_what_is_due(clock: Clock) -> None:
    schedule = make()
    clock.move(minutes=11)
    changed = schedules.change(schedule.pk, {"input": {"day": "today"}})
    assert changed.next_at == NOW + timedelta(minutes=10)
    changed = schedules.change(schedule.pk, {"every": "", "cron": "0 13 * * *"})
    assert changed.next_at == NOW.replace(hour=13, minute=0, second=0)
    with pytest.raises(InvalidSchedule):
        schedules.change(schedule.pk, {"cron": "0 0 30 2 *"})
    schedule.refresh_from_db()
    assert schedule.cron == "0 13 * * *"


# ---- making up for the past -----------------------------------------------------------------------------------------


def hourly(**fields: Any) -> Schedule:
    return make(every="", cron="0 * * * *", **fields)


@pytest.mark.usefixtures("clock")
def test_a_backfill_makes_up_for_a_range_so_many_at_once() -> None:
    schedule = hourly()
    asked = schedules.backfill(
        schedule.pk, NOW - timedelta(hours=5), NOW, max_concurrency=2, requested_by="configurator"
    )
    assert [tick(), tick()] == [2, 0]
    end_all()
    assert tick() == 2
    end_all()
    assert [tick(), tick()] == [1, 0]
    asked.refresh_from_db()
    assert (asked.next_at, asked.finished_at, asked.started) == (None, None, 5)
    end_all()
    tick()
    asked.refresh_from_db()
    assert asked.finished_at is not None
    assert runs(schedule) == [(f"{hour:02}:00", "started") for hour in range(8, 13)]


@pytest.mark.usefixtures("clock")
def test_a_backfill_starts_what_was_missed_and_not_what_was_started() -> None:
    schedule = hourly()
    for hour, result in ((9, "missed"), (10, "started"), (11, "skipped")):
        ScheduleRun.objects.create(schedule=schedule, due_at=NOW.replace(hour=hour, minute=0, second=0), result=result)
    schedules.pause(schedule.pk)
    schedules.backfill(schedule.pk, NOW - timedelta(hours=4), NOW, max_concurrency=9)
    assert tick() == 3
    assert runs(schedule) == [(f"{hour:02}:00", "started") for hour in range(9, 13)]
    assert ScheduleRun.objects.filter(backfill__isnull=False).count() == 3


def test_a_due_time_that_was_made_up_for_already_is_not_started_again(clock: Clock) -> None:
    schedule = hourly()
    clock.move(hours=1)
    due = clock.now.replace(minute=0, second=0)
    ScheduleRun.objects.create(schedule=schedule, due_at=due, result="started")
    assert tick() == 0
    schedule.refresh_from_db()
    assert (schedule.next_at, schedule.error) == (due + timedelta(hours=1), "")
    assert runs(schedule) == [("13:00", "started")]


def test_a_backfill_does_not_hold_up_what_is_due(clock: Clock) -> None:
    schedule = hourly(overlap="skip")
    schedules.backfill(schedule.pk, NOW - timedelta(hours=2), NOW)
    tick()
    clock.move(hours=1)
    assert tick() == 1
    assert runs(schedule) == [("11:00", "started"), ("13:00", "started")]


def test_a_backfill_that_is_cancelled_starts_no_more() -> None:
    schedule = hourly()
    asked = schedules.backfill(schedule.pk, timezone.now() - timedelta(hours=9), timezone.now())
    tick()
    schedules.cancel_backfill(asked.pk)
    end_all()
    assert tick() == 0
    asked.refresh_from_db()
    assert (asked.cancelled, asked.started) == (True, 1)


@pytest.mark.parametrize(
    ("from_at", "to_at", "many", "pointer", "code"),
    [
        (NOW, NOW - timedelta(hours=1), 1, "/to", "out_of_order"),
        (NOW, NOW + timedelta(hours=1), 1, "/to", "in_the_future"),
        (NOW - timedelta(minutes=5), NOW - timedelta(minutes=4), 1, "", "nothing_due"),
        (NOW - timedelta(days=900), NOW, 1, "", "too_many"),
        (NOW - timedelta(days=1), NOW, 0, "/max_concurrency", "out_of_range"),
        (NOW - timedelta(days=1), NOW, 1001, "/max_concurrency", "out_of_range"),
    ],
)
@pytest.mark.usefixtures("clock")
def test_a_backfill_that_makes_no_sense_is_refused(
    from_at: datetime, to_at: datetime, many: int, pointer: str, code: str
) -> None:
    schedule = hourly()
    with pytest.raises(InvalidSchedule) as refused:
        schedules.backfill(schedule.pk, from_at, to_at, max_concurrency=many)
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [(pointer, code)]
    assert not Backfill.objects.exists()


def test_looking_for_what_is_due_costs_three_statements(django_assert_num_queries: Any) -> None:
    for _ in range(5):
        make()
    with django_assert_num_queries(3):
        assert tick() == 0


def test_due_times_of_long_ago_that_started_nothing_are_forgotten() -> None:
    schedule = make()
    long_ago = timezone.now() - timedelta(days=91)
    for number, result in enumerate(ScheduleRun.Result.values):
        due = long_ago + timedelta(minutes=number)
        ScheduleRun.objects.create(schedule=schedule, due_at=due, result=result, at=due)
    ScheduleRun.objects.create(schedule=schedule, due_at=timezone.now(), result="skipped")
    assert Pruner().run_once()["runs"] == 3
    kept = ScheduleRun.objects.order_by("due_at").values_list("result", flat=True)
    assert list(kept) == ["started", "buffered", "skipped"]


# ---- many workers ---------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_many_workers_at_once_start_each_due_time_once() -> None:
    begun = timezone.now() - timedelta(seconds=30)
    made = [make(every="PT1S", overlap="allow") for _ in range(4)]
    Schedule.objects.update(next_at=begun, starts_at=begun)
    hour = hourly()
    schedules.backfill(hour.pk, timezone.now() - timedelta(hours=12), timezone.now(), max_concurrency=100)
    start, errors = threading.Barrier(6), []

    def work() -> None:
        try:
            start.wait(30)
            for _ in range(6):
                Scheduler().run_once()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    for schedule in [*made, hour]:
        due = list(ScheduleRun.objects.filter(schedule=schedule).values_list("due_at", "result"))
        assert len(due) == len(set(due)) >= 12
        assert {result for _, result in due} == {"started"}
    references = list(Job.objects.values_list("correlation_id", flat=True))
    assert len(references) == len(set(references)) == ScheduleRun.objects.count()
