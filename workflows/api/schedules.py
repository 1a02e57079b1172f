"""Schedules over REST: what the clock submits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import OuterRef, Subquery
from django.http import Http404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.engine.durations import parse_timestamp
from workflows.engine.exceptions import InvalidTimestamp
from workflows.engine.faults import Fault
from workflows.intake import schedules
from workflows.models import Backfill, Schedule, ScheduleRun

from .bodies import SUBMISSION, Body
from .calendars import ConfiguratorsView
from .pagination import KeysetPagination, NamePagination
from .problems import invalid
from .schema import problems
from .serializers import AnyJSONField

NULL = {"type": "null"}
MOMENT = {"type": "string", "format": "date-time"}
FIELDS: dict[str, Any] = {
    "name": {"type": "string", "description": "Made from the workflow where it is missing."},
    "workflow": SUBMISSION["workflow"],
    "version": {"anyOf": [SUBMISSION["version"], NULL], "description": "null: the newest at each start."},
    "input": {"description": "Of every job; may hold ${schedule.due_at} and ${schedule.name}."},
    "priority": {"anyOf": [SUBMISSION["priority"], NULL], "description": "null: the workflow's own."},
    "cron": {"type": ["string", "null"], "maxLength": 200, "description": "minute hour day month weekday"},
    "every": {"type": ["string", "null"], "maxLength": 50, "description": "ISO 8601 duration, such as PT15M."},
    "time_zone": {"type": "string", "maxLength": 64, "description": "IANA name, such as Europe/Berlin."},
    "overlap": {"enum": Schedule.Overlap.values},
    "catch_up": {"type": "string", "maxLength": 50, "description": "Due times missed by more are not made up for."},
    "starts_at": {"anyOf": [MOMENT, NULL]},
    "ends_at": {"anyOf": [MOMENT, NULL]},
}
CREATE = Body(FIELDS, required=("workflow",))
CHANGE = Body(FIELDS)
BACKFILL = Body(
    {"from": MOMENT, "to": MOMENT, "max_concurrency": {"type": "integer", "minimum": 1, "default": 1}},
    required=("from", "to"),
)
NOTHING = Body({})


class RunSerializer(serializers.ModelSerializer[ScheduleRun]):
    """What became of one due time."""

    job = serializers.UUIDField(source="job_id", allow_null=True)
    backfill = serializers.IntegerField(source="backfill_id", allow_null=True)

    class Meta:
        model = ScheduleRun
        fields = ["due_at", "result", "job", "error", "backfill", "at"]


class BackfillSerializer(serializers.ModelSerializer[Backfill]):
    """A range of the past that is made up for."""

    class Meta:
        model = Backfill
        fields = [
            *("id", "from", "to", "max_concurrency", "started", "next_at", "cancelled", "requested_by"),
            *("created_at", "finished_at"),
        ]
        extra_kwargs = {"from": {"source": "from_at"}, "to": {"source": "to_at"}}

    def build_field(self, field_name: str, info: Any, model_class: Any, nested_depth: int) -> Any:
        # `from` is no name that a class body could give a field.
        column = {"from": "from_at", "to": "to_at"}.get(field_name, field_name)
        return super().build_field(column, info, model_class, nested_depth)


class ScheduleSerializer(serializers.ModelSerializer[Schedule]):
    """A schedule, when it is due next, and what became of the last due time."""

    input = AnyJSONField(read_only=True)
    cron = serializers.SerializerMethodField()
    every = serializers.SerializerMethodField()
    next = serializers.SerializerMethodField()
    last_run = serializers.SerializerMethodField()

    class Meta:
        model = Schedule
        fields = [
            *("id", "name", "workflow", "version", "input", "priority", "cron", "every", "time_zone", "overlap"),
            *("catch_up", "starts_at", "ends_at", "paused", "next_at", "next", "last_run", "error"),
            *("created_by", "created_at", "updated_at"),
        ]

    def get_cron(self, schedule: Schedule) -> str | None:
        return schedule.cron or None

    def get_every(self, schedule: Schedule) -> str | None:
        return schedule.every or None

    def get_next(self, schedule: Schedule) -> list[str]:
        moment = serializers.DateTimeField()
        return [moment.to_representation(at) for at in schedules.upcoming(schedule)]

    @extend_schema_field(RunSerializer(allow_null=True))
    def get_last_run(self, schedule: Schedule) -> Any:
        run = getattr(schedule, "last_run", None)
        return None if run is None else RunSerializer(run).data


class DuePagination(KeysetPagination):
    """The runs of a schedule, the latest due time first."""

    key = "due_at"
    read_key = staticmethod(lambda text: parse_timestamp(text))


class NumberPagination(KeysetPagination):
    """The newest first, by number."""

    read_key = int


def shown(found: list[Schedule]) -> list[Schedule]:
    """The schedules with the last run of each: one statement for any number."""
    newest = ScheduleRun.objects.filter(schedule=OuterRef("pk")).order_by("-due_at").values("pk")[:1]
    numbers = Schedule.objects.filter(pk__in=[each.pk for each in found]).values_list(Subquery(newest), flat=True)
    last = {run.schedule_id: run for run in ScheduleRun.objects.filter(pk__in=numbers)} if found else {}
    for each in found:
        each.last_run = last.get(each.pk)  # type: ignore[attr-defined]
    return found


class SchedulesView(ConfiguratorsView):
    """All schedules."""

    what = "schedules"
    serializer_class = ScheduleSerializer
    pagination_class = NamePagination
    queryset = Schedule.objects.all()

    @extend_schema(operation_id="schedules_list", responses={200: ScheduleSerializer(many=True), **problems(400)})
    def get(self, request: Request) -> Response:
        """A page of schedules by name."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(ScheduleSerializer(shown(page or []), many=True).data)

    @extend_schema(
        operation_id="schedules_create",
        request=CREATE.openapi,
        responses={201: ScheduleSerializer, **problems(409, 422)},
        filters=False,
    )
    def post(self, request: Request) -> Response:
        """A new schedule: either `cron` or `every` says when."""
        schedule = schedules.create(columns(CREATE.read(request)), created_by=request.user.get_username())
        where = request.build_absolute_uri(f"{schedule.name}/")
        return Response(one(schedule), status=201, headers={"Location": where})


class ScheduleView(ConfiguratorsView):
    """One schedule, by its number or its name."""

    what = "schedules"

    @extend_schema(operation_id="schedules_read", responses={200: ScheduleSerializer, **problems(404)})
    def get(self, request: Request, key: str) -> Response:
        """The schedule, with its next five due times."""
        return Response(one(find(key)))

    @extend_schema(
        operation_id="schedules_change",
        request=CHANGE.openapi,
        responses={200: ScheduleSerializer, **problems(404, 409, 422)},
    )
    def patch(self, request: Request, key: str) -> Response:
        """Change it. New times hold from now on."""
        schedule = find(key)
        return Response(one(schedules.change(schedule.pk, columns(CHANGE.read(request)))))

    @extend_schema(operation_id="schedules_delete", responses={204: None, **problems(404)})
    def delete(self, request: Request, key: str) -> Response:
        """Delete it, with the record of its runs. The jobs that it started stay."""
        find(key).delete()
        return Response(status=204)


class Verb(ConfiguratorsView):
    """What all verbs share."""

    what = "schedules"


class PauseView(Verb):
    """Starting nothing more."""

    @extend_schema(
        operation_id="schedules_pause", request=None, responses={200: ScheduleSerializer, **problems(404, 422)}
    )
    def post(self, request: Request, key: str) -> Response:
        """Start nothing more until it is resumed."""
        NOTHING.read(request)
        return Response(one(schedules.pause(find(key).pk)))


class ResumeView(Verb):
    """Going on."""

    @extend_schema(
        operation_id="schedules_resume", request=None, responses={200: ScheduleSerializer, **problems(404, 422)}
    )
    def post(self, request: Request, key: str) -> Response:
        """Go on with the next due time; those that came during the pause are not made up for."""
        NOTHING.read(request)
        return Response(one(schedules.resume(find(key).pk)))


class TriggerView(Verb):
    """Starting now."""

    @extend_schema(operation_id="schedules_trigger", request=None, responses={201: RunSerializer, **problems(404, 422)})
    def post(self, request: Request, key: str) -> Response:
        """Start one job now, whatever else runs."""
        NOTHING.read(request)
        run = schedules.trigger(find(key).pk, submitted_by=request.user)
        return Response(RunSerializer(run).data, status=201)


class RunsView(ConfiguratorsView):
    """What became of the due times."""

    what = "schedules"
    serializer_class = RunSerializer
    pagination_class = DuePagination
    queryset = ScheduleRun.objects.none()

    @extend_schema(operation_id="schedules_runs", responses={200: RunSerializer(many=True), **problems(400, 404)})
    def get(self, request: Request, key: str) -> Response:
        """A page of runs, the latest due time first."""
        page = self.paginate_queryset(self.filter_queryset(find(key).runs.all()))
        return self.get_paginated_response(RunSerializer(page, many=True).data)


class BackfillsView(ConfiguratorsView):
    """Ranges of the past that are made up for."""

    what = "schedules"
    serializer_class = BackfillSerializer
    pagination_class = NumberPagination
    queryset = Backfill.objects.none()

    @extend_schema(
        operation_id="schedules_backfills", responses={200: BackfillSerializer(many=True), **problems(400, 404)}
    )
    def get(self, request: Request, key: str) -> Response:
        """A page of backfills, the newest first."""
        page = self.paginate_queryset(self.filter_queryset(find(key).backfills.all()))
        return self.get_paginated_response(BackfillSerializer(page, many=True).data)

    @extend_schema(
        operation_id="schedules_backfill",
        request=BACKFILL.openapi,
        responses={201: BackfillSerializer, **problems(404, 422)},
        filters=False,
    )
    def post(self, request: Request, key: str) -> Response:
        """Make up for the due times of a range of the past, so many jobs at once."""
        body = moments(BACKFILL.read(request), "from", "to")
        found = schedules.backfill(
            find(key).pk,
            body["from"],
            body["to"],
            max_concurrency=body.get("max_concurrency", 1),
            requested_by=request.user.get_username(),
        )
        return Response(BackfillSerializer(found).data, status=201)


class BackfillCancelView(Verb):
    """Starting no more of a backfill."""

    @extend_schema(
        operation_id="schedules_backfill_cancel",
        request=None,
        responses={200: BackfillSerializer, **problems(404, 422)},
    )
    def post(self, request: Request, key: str, number: int) -> Response:
        """Start no more of it. What it has started goes on."""
        NOTHING.read(request)
        if number >= 2**31 or not find(key).backfills.filter(pk=number).exists():
            raise Http404
        return Response(BackfillSerializer(schedules.cancel_backfill(number)).data)


def find(key: str) -> Schedule:
    """The schedule of a number or a name, in digits or not. Http404 where there is none."""
    chosen = {"pk": int(key)} if key.isascii() and key.isdigit() and len(key) < 10 else {"name": key}
    found = Schedule.objects.filter(**chosen).first()
    if found is None:
        raise Http404
    return found


def one(schedule: Schedule) -> Any:
    """The representation of one schedule."""
    return ScheduleSerializer(shown([schedule])[0]).data


def columns(body: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a schedule from a body: what is null there is empty here."""
    found = moments(body, "starts_at", "ends_at")
    return {name: "" if name in ("cron", "every") and value is None else value for name, value in found.items()}


def moments(body: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The body with these texts as times. Problem (422) where one is none."""
    found = dict(body)
    for name in names:
        if isinstance(found.get(name), str):
            try:
                found[name] = parse_timestamp(found[name])
            except InvalidTimestamp as error:
                raise invalid([Fault(f"/{name}", "invalid", str(error))]) from None
    return found
