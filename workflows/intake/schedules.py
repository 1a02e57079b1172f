"""Schedules: what may be done to them, one function a verb, and what one due time starts.

The clock that carries them out is in `scheduler`; when they are due, in `timetable`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice, takewhile
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.utils import timezone

from workflows.engine.durations import format_timestamp, parse_duration
from workflows.engine.exceptions import EngineError, InvalidDuration
from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import check_json
from workflows.engine.templates import Template
from workflows.models import Backfill, Job, JobStatus, Schedule, ScheduleRun

from .exceptions import (
    IntakeError,
    InvalidSchedule,
    InvalidSubmission,
    InvalidTimetable,
    ScheduleExists,
    UnknownWorkflow,
)
from .rules import rules_for
from .submit import Submission, submit_job, submit_jobs
from .timetable import Timetable

NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9_]{0,99}", re.ASCII)
CONFIGURATION_MAX_BYTES = 2**16
BACKFILL_MAX = 10_000
NEWEST = 100
"""How far back it is looked whether a job of a schedule still runs."""

RUNNING = (JobStatus.NEW, JobStatus.READY, JobStatus.PEND)
CONCURRENCY_MAX = 1_000
FIELDS = frozenset(
    {
        *("name", "workflow", "version", "input", "priority", "cron", "every", "time_zone", "overlap", "catch_up"),
        *("starts_at", "ends_at"),
    }
)
_TIMING = frozenset({"cron", "every", "time_zone", "starts_at", "ends_at"})


# ---- what is true of a schedule -------------------------------------------------------------------------------------


def timetable_of(schedule: Schedule) -> Timetable:
    """When the schedule is due. Raises InvalidTimetable."""
    return Timetable.read(
        cron=schedule.cron,
        every=schedule.every,
        time_zone=schedule.time_zone,
        created_at=schedule.created_at,
        starts_at=schedule.starts_at,
        ends_at=schedule.ends_at,
    )


def upcoming(schedule: Schedule, count: int = 5) -> list[datetime]:
    """The next due times, whether it is paused or not; fewer where it ends."""
    try:
        return list(islice(timetable_of(schedule).times(timezone.now()), count))
    except InvalidTimetable:
        return []


def submission_of(schedule: Schedule, due_at: datetime) -> Submission:
    """What the schedule submits for one due time. Raises EngineError where its input cannot be evaluated."""
    return Submission(
        workflow=schedule.workflow,
        version=schedule.version,
        priority=schedule.priority,
        input=Template(schedule.input).evaluate(
            {"schedule": {"name": schedule.name, "due_at": format_timestamp(due_at)}}
        ),
        correlation_id=f"{schedule.name}:{format_timestamp(due_at)}",
    )


def faults_of(schedule: Schedule) -> list[Fault]:
    """Everything for which the schedule could not do what it says."""
    faults: list[Fault] = []
    if not NAME.fullmatch(schedule.name):
        detail = "must begin with a letter and have at most 100 letters, digits, “-” and “_”"
        faults.append(Fault("/name", "bad_name", detail))
    if schedule.overlap not in Schedule.Overlap.values:
        faults.append(Fault("/overlap", "enum", f"must be one of {', '.join(Schedule.Overlap.values)}"))
    try:
        parse_duration(schedule.catch_up)
    except InvalidDuration as error:
        faults.append(Fault("/catch_up", "bad_duration", str(error)))
    try:
        timetable_of(schedule)
    except InvalidTimetable as error:
        faults += error.faults
    return faults + _submission_faults(schedule)


def _submission_faults(schedule: Schedule) -> list[Fault]:
    """What intake would refuse at the first due time: told now, while somebody looks."""
    faults = check_json(schedule.input, CONFIGURATION_MAX_BYTES, at="/input")
    if schedule.priority is not None and not 0 <= schedule.priority <= 100:
        faults.append(Fault("/priority", "out_of_range", "must be between 0 and 100"))
    if faults:
        return faults
    try:
        rules = rules_for(schedule.workflow.replace("\0", "�"), schedule.version)
        submission = submission_of(schedule, timezone.now())
    except UnknownWorkflow as error:
        return list(error.faults)
    except EngineError as error:
        return [Fault("/input", "expression", str(error))]
    return [] if rules.input_schema is None else rules.input_schema.faults(submission.input, at="/input")


# ---- verbs ----------------------------------------------------------------------------------------------------------


def create(fields: Mapping[str, Any], *, created_by: str) -> Schedule:
    """A new schedule, by its columns. Without a name it is called as its workflow, with a number where that is taken.

    Raises InvalidSchedule with every fault, and ScheduleExists.
    """
    now = timezone.now()  # what the intervals begin with
    schedule = Schedule(
        created_by=created_by[:150], created_at=now, **{name: fields[name] for name in FIELDS & fields.keys()}
    )
    named = bool(schedule.name)
    if not named:
        schedule.name = _free_name(schedule.workflow)
    plan(schedule)
    for _ in range(10):
        try:
            with transaction.atomic():
                schedule.save(force_insert=True)
        except IntegrityError:
            if named:
                break
            schedule.name = _free_name(schedule.workflow)
        else:
            return schedule
    raise ScheduleExists(f"There is a schedule {schedule.name!r} already.")


def _free_name(workflow: str) -> str:
    """The workflow's name as a schedule's, with the first number that is free."""
    base = re.sub(r"[^-a-zA-Z0-9_]", "-", workflow)[:90] or "schedule"
    taken = set(Schedule.objects.filter(name__startswith=base).values_list("name", flat=True))
    number = 1
    while (name := base if number == 1 else f"{base}-{number}") in taken:
        number += 1
    return name


def plan(schedule: Schedule) -> None:
    """Check a schedule that is to be saved, and work out when it is due next. Raises InvalidSchedule."""
    faults = faults_of(schedule)
    if faults:
        raise InvalidSchedule(faults)
    schedule.next_at = timetable_of(schedule).after(timezone.now())
    schedule.error = ""


def change(schedule_id: int, fields: Mapping[str, Any]) -> Schedule:
    """Change columns of a schedule. New times hold from now on. Raises InvalidSchedule and ScheduleExists."""
    with transaction.atomic():
        schedule = _locked(schedule_id)
        for name in FIELDS & fields.keys():
            setattr(schedule, name, fields[name])
        kept = schedule.next_at
        plan(schedule)
        if not _TIMING & fields.keys():
            schedule.next_at = kept  # what is due already is not lost by a change of something else
        try:
            with transaction.atomic():
                schedule.save()
        except IntegrityError:
            raise ScheduleExists(f"There is a schedule {schedule.name!r} already.") from None
    return schedule


def pause(schedule_id: int) -> Schedule:
    """Start nothing more until it is resumed. What runs goes on, and so does a backfill."""
    with transaction.atomic():
        schedule = _locked(schedule_id)
        schedule.paused = True
        schedule.save(update_fields=["paused", "updated_at"])
    return schedule


def resume(schedule_id: int) -> Schedule:
    """Go on with the next due time; those that came during the pause are not made up for."""
    with transaction.atomic():
        schedule = _locked(schedule_id)
        if schedule.paused:
            schedule.paused = False
            schedule.next_at = timetable_of(schedule).after(timezone.now())
            schedule.save(update_fields=["paused", "next_at", "updated_at"])
    return schedule


def trigger(schedule_id: int, *, submitted_by: AbstractBaseUser | None = None) -> ScheduleRun:
    """Start one job now, whatever else runs, paused or not. Raises InvalidSubmission."""
    with transaction.atomic():
        schedule = _locked(schedule_id)
        now = timezone.now()
        try:
            submission = submission_of(schedule, now)
        except EngineError as error:
            raise InvalidSubmission([Fault("/input", "expression", str(error))]) from None
        job = submit_job(submission, submitted_by=submitted_by).job
        return ScheduleRun.objects.create(schedule=schedule, due_at=now, result=ScheduleRun.Result.STARTED, job=job)


def backfill(
    schedule_id: int, from_at: datetime, to_at: datetime, *, max_concurrency: int = 1, requested_by: str = ""
) -> Backfill:
    """Make up for the due times of a range of the past, both ends included, so many jobs at once.

    A due time that was started is not started again; one that was missed, skipped or refused is. Raises
    InvalidSchedule with every fault.
    """
    schedule = Schedule.objects.get(pk=schedule_id)
    faults: list[Fault] = []
    if not 1 <= max_concurrency <= CONCURRENCY_MAX:
        faults.append(Fault("/max_concurrency", "out_of_range", f"must be between 1 and {CONCURRENCY_MAX}"))
    if to_at < from_at:
        faults.append(Fault("/to", "out_of_order", "must not be earlier than from"))
    if to_at > timezone.now():
        faults.append(Fault("/to", "in_the_future", "must have passed: the schedule itself starts what is to come"))
    first = None
    if not faults:
        due = list(islice(due_between(timetable_of(schedule), from_at, to_at), BACKFILL_MAX + 1))
        if not due:
            faults.append(Fault("", "nothing_due", "the schedule was never due in that time"))
        elif len(due) > BACKFILL_MAX:
            faults.append(Fault("", "too_many", f"more than {BACKFILL_MAX} due times; ask for a shorter time"))
        else:
            first = due[0]
    if faults:
        raise InvalidSchedule(faults)
    return Backfill.objects.create(
        schedule=schedule,
        from_at=from_at,
        to_at=to_at,
        max_concurrency=max_concurrency,
        next_at=first,
        requested_by=requested_by[:150],
    )


def cancel_backfill(backfill_id: int) -> Backfill:
    """Start no more of it. What it has started goes on; one that is over stays as it is."""
    with transaction.atomic():
        found = Backfill.objects.select_for_update(of=("self",)).get(pk=backfill_id)
        if found.finished_at is None:
            found.cancelled, found.next_at, found.finished_at = True, None, timezone.now()
            found.save(update_fields=["cancelled", "next_at", "finished_at"])
    return found


def due_between(timetable: Timetable, from_at: datetime, to_at: datetime) -> Iterator[datetime]:
    """The due times of a range, both ends included. A cron line was due before the schedule was made, too."""
    return takewhile(lambda due_at: due_at <= to_at, timetable.times(from_at - datetime.resolution))


def _locked(schedule_id: int) -> Schedule:
    return Schedule.objects.select_for_update(of=("self",)).get(pk=schedule_id)


def running(schedule: Schedule) -> bool:
    """Whether the one before still runs: any job that this schedule started, other than to make up for the past, and
    that is neither over nor failed. A failed job waits for a person, who may be long in coming, so it holds up nothing.
    """
    started = ScheduleRun.objects.filter(schedule=schedule, result=ScheduleRun.Result.STARTED, backfill__isnull=True)
    newest = list(started.order_by("-due_at").values_list("job_id", flat=True)[:NEWEST])
    return bool(Job.objects.filter(pk__in=newest, status__in=RUNNING).exists())


def start(schedule: Schedule, due: list[datetime]) -> list[tuple[datetime, Job | None, str]]:
    """Submit one job for each due time, together where all of them can be; each with its job, or why there is none."""
    try:
        submissions = [submission_of(schedule, due_at) for due_at in due]
        with transaction.atomic():
            jobs = submit_jobs(submissions, submitted_by=None)
    except (IntakeError, EngineError) as error:
        if len(due) == 1:
            return [(due[0], None, _reason(error))]
        return [each for due_at in due for each in start(schedule, [due_at])]
    return [(due_at, job, "") for due_at, job in zip(due, jobs, strict=True)]


def _reason(error: Exception) -> str:
    if isinstance(error, InvalidSubmission):
        return " ".join(f"{fault.pointer.removeprefix('/jobs/0')} {fault.detail}".strip() for fault in error.faults)
    return f"{type(error).__name__}: {error}"
