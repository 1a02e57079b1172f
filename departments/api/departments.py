"""Departments over REST: configuration by script."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from departments.configuration import change_department, create_department
from departments.exceptions import NotAllowed, NotVisible
from departments.models import Department, Membership
from workflows.api.bodies import Body
from workflows.api.pagination import CodePagination
from workflows.api.schema import problems
from workflows.policy import may_configure

from .problems import DepartmentsView
from .serializers import DepartmentSerializer

MEMBERS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "username": {"type": "string"},
            "role": {"enum": Membership.Role.values, "default": Membership.Role.MEMBER.value},
        },
        "required": ["username"],
        "additionalProperties": False,
    },
}
CALENDAR = {"type": ["string", "null"], "maxLength": 100, "description": "Code of a calendar; null: around the clock."}
NAME = {"type": "string", "minLength": 1, "maxLength": 200}
CREATE = Body(
    {"code": {"type": "string", "maxLength": 100}, "name": NAME, "members": MEMBERS, "calendar": CALENDAR},
    required=("code", "name"),
)
CHANGE = Body({"name": NAME, "calendar": CALENDAR, "members": {**MEMBERS, "description": "Replaces the whole list."}})


class ConfigurationView(DepartmentsView):
    """What all of these share: a superuser, or a member of the group `configurators`."""

    required_scopes = {"POST": "configure", "PATCH": "configure"}

    def check_permissions(self, request: Request) -> None:
        super().check_permissions(request)
        if not may_configure(request.user):
            raise NotAllowed("Only superusers and configurators see and change how departments are set up.")


class DepartmentList(ConfigurationView):
    """All departments."""

    serializer_class = DepartmentSerializer
    pagination_class = CodePagination

    def get_queryset(self) -> QuerySet[Department]:
        return Department.objects.select_related("calendar").prefetch_related("memberships__user")

    @extend_schema(operation_id="departments_list", responses={200: DepartmentSerializer(many=True), **problems(400)})
    def get(self, request: Request) -> Response:
        """A page of departments."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(DepartmentSerializer(page, many=True).data)

    @extend_schema(
        operation_id="departments_create",
        request=CREATE.openapi,
        responses={201: DepartmentSerializer, **problems(409, 422)},
    )
    def post(self, request: Request) -> Response:
        """A new department."""
        department = create_department(**CREATE.read(request))
        return Response(
            DepartmentSerializer(department).data,
            status=201,
            headers={"Location": request.build_absolute_uri(f"{department.code}/")},
        )


class DepartmentDetail(ConfigurationView):
    """One department."""

    @extend_schema(operation_id="departments_retrieve", responses={200: DepartmentSerializer, **problems(404)})
    def get(self, request: Request, code: str) -> Response:
        """The department with its members."""
        return Response(DepartmentSerializer(_department(code)).data)

    @extend_schema(
        operation_id="departments_change",
        request=CHANGE.openapi,
        responses={200: DepartmentSerializer, **problems(404, 422)},
    )
    def patch(self, request: Request, code: str) -> Response:
        """Change its name, its members, its calendar; `members` replaces the whole list."""
        change_department(_department(code), **CHANGE.read(request))
        return Response(DepartmentSerializer(_department(code)).data)


def _department(code: str) -> Department:
    """The department with its people. NotVisible where there is none."""
    found = (
        Department.objects.select_related("calendar").prefetch_related("memberships__user").filter(code=code).first()
    )
    if found is None:
        raise NotVisible("There is no such department.")
    return found
