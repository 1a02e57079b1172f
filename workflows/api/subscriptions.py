"""Subscriptions and the schemas of events: configuration by script."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import Http404
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from workflows import policy
from workflows.intake.subscriptions import AlreadyThere, change, create
from workflows.models import EventSchema, Subscription

from .bodies import ANY_JSON, NAME, Body
from .pagination import NamePagination
from .problems import Problem
from .schema import problems
from .serializers import AnyJSONField

Row = TypeVar("Row", bound=Model)

TEXT = {"type": "string", "maxLength": 10_000}
TYPE = {"type": "string", "minLength": 1, "maxLength": 200}
SUBSCRIPTION: dict[str, Any] = {
    "type": {**TYPE, "description": "Type of the events, exactly."},
    "when": {**TEXT, "description": "A condition over `event`; all events where it is empty."},
    "workflow": NAME,
    "version": {
        "type": ["integer", "null"],
        "minimum": 0,
        "maximum": 2**31 - 1,
        "description": "The newest when the event comes, where it is null.",
    },
    "input": {"description": "A mapping over `event`; its data where it is null."},
    "correlation_id": {"type": "string", "maxLength": 300, "description": "A mapping; the key where it is empty."},
    "enabled": {"type": "boolean"},
}
SCHEMA: dict[str, Any] = {
    "schema": {**ANY_JSON, "description": "JSON Schema 2020-12 of the data of these events."},
    "description": {"type": "string", "maxLength": 500},
}
CREATE_SUBSCRIPTION = Body({"name": NAME, **SUBSCRIPTION}, required=("name", "type", "workflow"))
CHANGE_SUBSCRIPTION = Body(SUBSCRIPTION)
CREATE_SCHEMA = Body({"type": TYPE, **SCHEMA}, required=("type", "schema"))
CHANGE_SCHEMA = Body(SCHEMA)


class SubscriptionSerializer(serializers.ModelSerializer[Subscription]):
    """A subscription."""

    input = AnyJSONField(read_only=True)

    class Meta:
        model = Subscription
        fields = ["name", "type", "when", "workflow", "version", "input", "correlation_id", "enabled", "created_at"]


class EventSchemaSerializer(serializers.ModelSerializer[EventSchema]):
    """The schema of a type of events."""

    schema = AnyJSONField(read_only=True)

    class Meta:
        model = EventSchema
        fields = ["type", "schema", "description", "created_at", "updated_at"]


class TypePagination(NamePagination):
    """By type, in the order of the alphabet."""

    key = "type"


class ConfiguratorsView(GenericAPIView[Row], Generic[Row]):
    """What these views share: superusers and configurators see and change the rows, each known by its `key`."""

    required_scopes = {"GET": "configure", "POST": "configure", "PATCH": "configure", "DELETE": "configure"}
    key: ClassVar[str]
    route: ClassVar[str]
    shape: ClassVar[Body]

    def check_permissions(self, request: Request) -> None:
        super().check_permissions(request)
        if not policy.may_configure(request.user):
            raise PermissionDenied("Only superusers and configurators see and change what events do.")

    def listed(self, request: Request) -> Response:
        """A page of rows."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def created(self, request: Request, row: Row) -> Response:
        """The new row, from the body. Problem (409) where there is one of that key."""
        body = self.shape.read(request)
        try:
            create(row, body)
        except AlreadyThere as error:
            raise Problem(409, str(error)) from None
        where = request.build_absolute_uri(reverse(f"api:{self.route}", args=[body[self.key]]))
        return Response(self.get_serializer(row).data, status=201, headers={"Location": where})

    def row(self, value: str) -> Row:
        """The row of a key. Http404 where there is none."""
        found: Row | None = self.get_queryset().filter(**{self.key: value}).first()
        if found is None:
            raise Http404
        return found

    def changed(self, request: Request, value: str) -> Response:
        """The row with what the body says of it."""
        row = self.row(value)
        change(row, self.shape.read(request))
        return Response(self.get_serializer(row).data)

    def removed(self, value: str) -> Response:
        """Nothing more of it: what it has started is not touched."""
        self.row(value).delete()
        return Response(status=204)


class SubscriptionsView(ConfiguratorsView[Subscription]):
    """All subscriptions."""

    key, route, shape = "name", "subscription", CREATE_SUBSCRIPTION
    serializer_class = SubscriptionSerializer
    pagination_class = NamePagination

    def get_queryset(self) -> QuerySet[Subscription]:
        return Subscription.objects.all()

    @extend_schema(
        operation_id="subscriptions_list", responses={200: SubscriptionSerializer(many=True), **problems(400, 403)}
    )
    def get(self, request: Request) -> Response:
        """A page of subscriptions by name."""
        return self.listed(request)

    @extend_schema(
        operation_id="subscriptions_create",
        request=CREATE_SUBSCRIPTION.openapi,
        responses={201: SubscriptionSerializer, **problems(400, 409, 413, 415, 422)},
        filters=False,
    )
    def post(self, request: Request) -> Response:
        """Let events of a type start a workflow, from now on."""
        return self.created(request, Subscription())


class SubscriptionView(ConfiguratorsView[Subscription]):
    """One subscription."""

    key, route, shape = "name", "subscription", CHANGE_SUBSCRIPTION
    serializer_class = SubscriptionSerializer

    def get_queryset(self) -> QuerySet[Subscription]:
        return Subscription.objects.all()

    @extend_schema(operation_id="subscriptions_read", responses={200: SubscriptionSerializer, **problems(403, 404)})
    def get(self, request: Request, name: str) -> Response:
        """The subscription."""
        return Response(self.get_serializer(self.row(name)).data)

    @extend_schema(
        operation_id="subscriptions_change",
        request=CHANGE_SUBSCRIPTION.openapi,
        responses={200: SubscriptionSerializer, **problems(400, 404, 413, 415, 422)},
    )
    def patch(self, request: Request, name: str) -> Response:
        """Change it; `{"enabled": false}` stops it."""
        return self.changed(request, name)

    @extend_schema(operation_id="subscriptions_remove", responses={204: None, **problems(403, 404)})
    def delete(self, request: Request, name: str) -> Response:
        """Remove it. Jobs that it started go on."""
        return self.removed(name)


class EventSchemasView(ConfiguratorsView[EventSchema]):
    """The schemas of all types of events that have one."""

    key, route, shape = "type", "event-schema", CREATE_SCHEMA
    serializer_class = EventSchemaSerializer
    pagination_class = TypePagination

    def get_queryset(self) -> QuerySet[EventSchema]:
        return EventSchema.objects.all()

    @extend_schema(
        operation_id="event_schemas_list", responses={200: EventSchemaSerializer(many=True), **problems(400, 403)}
    )
    def get(self, request: Request) -> Response:
        """A page of schemas by type."""
        return self.listed(request)

    @extend_schema(
        operation_id="event_schemas_create",
        request=CREATE_SCHEMA.openapi,
        responses={201: EventSchemaSerializer, **problems(400, 409, 413, 415, 422)},
        filters=False,
    )
    def post(self, request: Request) -> Response:
        """Say what the data of a type of events must be, from now on."""
        return self.created(request, EventSchema())


class EventSchemaView(ConfiguratorsView[EventSchema]):
    """The schema of one type of events."""

    key, route, shape = "type", "event-schema", CHANGE_SCHEMA
    serializer_class = EventSchemaSerializer

    def get_queryset(self) -> QuerySet[EventSchema]:
        return EventSchema.objects.all()

    @extend_schema(operation_id="event_schemas_read", responses={200: EventSchemaSerializer, **problems(403, 404)})
    def get(self, request: Request, type: str) -> Response:
        """The schema."""
        return Response(self.get_serializer(self.row(type)).data)

    @extend_schema(
        operation_id="event_schemas_change",
        request=CHANGE_SCHEMA.openapi,
        responses={200: EventSchemaSerializer, **problems(400, 404, 413, 415, 422)},
    )
    def patch(self, request: Request, type: str) -> Response:
        """Change it. Events that were taken before are not looked at again."""
        return self.changed(request, type)

    @extend_schema(operation_id="event_schemas_remove", responses={204: None, **problems(403, 404)})
    def delete(self, request: Request, type: str) -> Response:
        """Remove it: any data is taken again."""
        return self.removed(type)
