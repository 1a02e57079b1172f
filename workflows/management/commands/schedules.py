"""`manage.py schedules …`: what the clock submits, from the shell."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workflows.engine.durations import format_timestamp, parse_timestamp
from workflows.engine.exceptions import InvalidTimestamp
from workflows.intake import schedules
from workflows.intake.exceptions import IntakeError
from workflows.models import Backfill, Schedule

ACTOR = "manage.py"
LISTED = 1_000


class Command(BaseCommand):
    help = "Lists, makes, pauses, resumes, starts, backfills and deletes schedules."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        verbs.add_parser("list", help="every schedule: name, workflow, times, state, when it is due next")
        create = verbs.add_parser("create", help="make one")
        create.add_argument("workflow")
        create.add_argument("--name", default="", help="made from the workflow where it is missing")
        times = create.add_mutually_exclusive_group(required=True)
        times.add_argument("--cron", default="", help='minute hour day month weekday, such as "30 2 * * *"')
        times.add_argument("--every", default="", help="ISO 8601 duration, such as PT15M")
        create.add_argument("--time-zone", default="UTC")
        create.add_argument("--input", default="{}", help="JSON")
        create.add_argument("--workflow-version", type=int, help="the newest at each start where it is missing")
        create.add_argument("--priority", type=int)
        create.add_argument("--overlap", choices=Schedule.Overlap.values, default=Schedule.Overlap.SKIP.value)
        create.add_argument("--catch-up", default="PT1H", help="due times missed by more are not made up for")
        for verb, does in (
            ("pause", "start nothing more"),
            ("resume", "go on with the next due time"),
            ("trigger", "start one job now"),
            ("delete", "delete it; the jobs that it started stay"),
        ):
            verbs.add_parser(verb, help=does).add_argument("name")
        backfill = verbs.add_parser("backfill", help="make up for a range of the past")
        backfill.add_argument("name")
        backfill.add_argument("--from", dest="from_at", required=True, help="such as 2026-01-31T00:00:00Z")
        backfill.add_argument("--to", dest="to_at", required=True)
        backfill.add_argument("--max-concurrency", type=int, default=1, help="how many jobs run at once")
        cancel = verbs.add_parser("cancel-backfill", help="start no more of a backfill")
        cancel.add_argument("number", type=int)

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        try:
            self.stdout.write(getattr(self, "_" + verb.replace("-", "_"))(**options))
        except (IntakeError, InvalidTimestamp) as error:
            raise CommandError(str(error)) from None

    def _list(self, **options: Any) -> str:
        return "\n".join(_line(schedule) for schedule in Schedule.objects.order_by("name")[:LISTED])

    def _create(self, *, input: str, workflow_version: int | None, **options: Any) -> str:
        try:
            given = json.loads(input)
        except ValueError as error:
            raise CommandError(f"The input is no JSON: {error}") from None
        fields = {name: value for name, value in options.items() if name in schedules.FIELDS}
        return _line(schedules.create({**fields, "input": given, "version": workflow_version}, created_by=ACTOR))

    def _pause(self, *, name: str, **options: Any) -> str:
        return _line(schedules.pause(_find(name).pk))

    def _resume(self, *, name: str, **options: Any) -> str:
        return _line(schedules.resume(_find(name).pk))

    def _trigger(self, *, name: str, **options: Any) -> str:
        return f"started {schedules.trigger(_find(name).pk).job_id}"

    def _delete(self, *, name: str, **options: Any) -> str:
        _find(name).delete()
        return f"deleted {name}"

    def _backfill(self, *, name: str, from_at: str, to_at: str, max_concurrency: int, **options: Any) -> str:
        found = schedules.backfill(
            _find(name).pk,
            parse_timestamp(from_at),
            parse_timestamp(to_at),
            max_concurrency=max_concurrency,
            requested_by=ACTOR,
        )
        return f"backfill {found.pk} of {name}: {_when(found.from_at)} to {_when(found.to_at)}"

    def _cancel_backfill(self, *, number: int, **options: Any) -> str:
        if not Backfill.objects.filter(pk=number).exists():
            raise CommandError(f"There is no backfill {number}.")
        return f"backfill {schedules.cancel_backfill(number).pk} starts no more"


def _find(name: str) -> Schedule:
    found = Schedule.objects.filter(name=name).first()
    if found is None:
        raise CommandError(f"There is no schedule {name!r}. See: manage.py schedules list")
    return found


def _line(schedule: Schedule) -> str:
    times = schedule.cron or f"every {schedule.every}"
    state = "paused" if schedule.paused else f"next {_when(schedule.next_at)}"
    error = f"  error: {schedule.error}" if schedule.error else ""
    return f"{schedule.name}  {schedule.workflow}  {times}  {schedule.time_zone}  {schedule.overlap}  {state}{error}"


def _when(moment: datetime | None) -> str:
    return "never" if moment is None else format_timestamp(moment)
