"""Working calendars over REST: configuration by script."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from workflows import policy
from workflows.engine.calendar import MAX_HOLIDAYS
from workflows.engine.exceptions import InvalidCalendar
from workflows.models import Calendar

from .bodies import Body
from .pagination import CodePagination
from .problems import Problem
from .schema import problems
from .serializers import AnyJSONField

FIELDS: dict[str, Any] = {
    "name": {"type": "string", "minLength": 1, "maxLength": 200},
    "time_zone": {"type": "string", "maxLength": 64, "description": "IANA name, such as Europe/Berlin."},
    "hours": {
        "type": "object",
        "description": 'Spans of each weekday, as in {"mon": [["09:00", "12:00"], ["13:00", "17:00"]]}.',
    },
    "holidays": {
        "type": "array",
        "items": {"type": "string", "format": "date"},
        "maxItems": MAX_HOLIDAYS,
        "description": "Dates on which nobody works.",
    },
}
CODE = {"type": "string", "pattern": "^[-a-zA-Z0-9_]{1,100}$"}
CREATE = Body({"code": CODE, **FIELDS}, required=("code", "name", "hours"))
CHANGE = Body(FIELDS)


class CalendarSerializer(serializers.ModelSerializer[Calendar]):
    """A calendar."""

    hours = AnyJSONField(read_only=True)
    holidays = AnyJSONField(read_only=True)

    class Meta:
        model = Calendar
        fields = ["code", "name", "time_zone", "hours", "holidays"]


class ConfiguratorsView(GenericAPIView[Any]):
    """What all of these share: a superuser, or a member of the group `configurators`."""

    required_scopes = {"POST": "configure", "PATCH": "configure", "DELETE": "configure"}
    what = "calendars"

    def check_permissions(self, request: Request) -> None:
        super().check_permissions(request)
        if not policy.may_configure(request.user):
            raise PermissionDenied(f"Only superusers and configurators see and change {self.what}.")


class CalendarsView(ConfiguratorsView):
    """All calendars."""

    serializer_class = CalendarSerializer
    pagination_class = CodePagination
    queryset = Calendar.objects.all()

    @extend_schema(operation_id="calendars_list", responses={200: CalendarSerializer(many=True), **problems(400)})
    def get(self, request: Request) -> Response:
        """A page of calendars by code."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(CalendarSerializer(page, many=True).data)

    @extend_schema(
        operation_id="calendars_create",
        request=CREATE.openapi,
        responses={201: CalendarSerializer, **problems(409, 422)},
        filters=False,
    )
    def post(self, request: Request) -> Response:
        """A new calendar."""
        calendar = Calendar(**CREATE.read(request))
        try:
            _save(calendar)
        except IntegrityError:
            raise Problem(409, f"There is a calendar {calendar.code!r} already.") from None
        where = request.build_absolute_uri(f"{calendar.code}/")
        return Response(CalendarSerializer(calendar).data, status=201, headers={"Location": where})


class CalendarView(ConfiguratorsView):
    """One calendar."""

    @extend_schema(operation_id="calendars_read", responses={200: CalendarSerializer, **problems(404)})
    def get(self, request: Request, code: str) -> Response:
        """The calendar."""
        return Response(CalendarSerializer(_calendar(code)).data)

    @extend_schema(
        operation_id="calendars_change",
        request=CHANGE.openapi,
        responses={200: CalendarSerializer, **problems(404, 422)},
    )
    def patch(self, request: Request, code: str) -> Response:
        """Change it. What is due already keeps its time; what is counted from now on is counted on the new hours."""
        body = CHANGE.read(request)
        with transaction.atomic():
            calendar = _calendar(code, locked=True)
            for name, value in body.items():
                setattr(calendar, name, value)
            _save(calendar)
        return Response(CalendarSerializer(calendar).data)


def _calendar(code: str, *, locked: bool = False) -> Calendar:
    calendars = Calendar.objects.select_for_update() if locked else Calendar.objects
    found: Calendar | None = calendars.filter(code=code).first()
    if found is None:
        raise Http404
    return found


def _save(calendar: Calendar) -> None:
    faults = calendar.faults()
    if faults:
        raise InvalidCalendar(faults)
    with transaction.atomic():
        calendar.save()
