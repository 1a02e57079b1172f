"""Limits over REST: what they are, who has their slots, how many wait."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from workflows import policy
from workflows.models import Limit
from workflows.operations.limits import set_limit, use_of, uses_of

from .bodies import Body
from .pagination import CodePagination
from .schema import problems

_NUMBER = {"type": ["integer", "null"], "minimum": 1, "maximum": 2**31 - 1}
CHANGE = Body(
    {
        "description": {"type": "string", "maxLength": 500},
        "max_concurrency": {**_NUMBER, "description": "How many steps may run at once; null: any number."},
        "rate_limit": {**_NUMBER, "description": "How many may start in `rate_per`; null: any number."},
        "rate_per": {**_NUMBER, "description": "In seconds."},
    }
)


class HolderSerializer(serializers.Serializer[Any]):
    """Who has a slot."""

    job = serializers.UUIDField()
    task = serializers.CharField(allow_blank=True, help_text="Empty: the job as a whole.")
    since = serializers.DateTimeField()


class LimitListSerializer(serializers.ModelSerializer[Limit]):
    """A limit in a list. The context has its `uses`."""

    running = serializers.SerializerMethodField(help_text="How many have a slot now.")
    waiting = serializers.SerializerMethodField(help_text="How many jobs it holds now.")

    class Meta:
        model = Limit
        fields = ["code", "description", "max_concurrency", "rate_limit", "rate_per", "running", "waiting"]

    def get_running(self, limit: Limit) -> int:
        return int(self.context["uses"][limit.code].running)

    def get_waiting(self, limit: Limit) -> int:
        return int(self.context["uses"][limit.code].waiting)


class LimitSerializer(LimitListSerializer):
    """A limit."""

    holders = serializers.SerializerMethodField(help_text="Those who have had their slots longest, up to twenty.")

    class Meta(LimitListSerializer.Meta):
        fields = [*LimitListSerializer.Meta.fields, "holders"]

    @extend_schema_field(HolderSerializer(many=True))
    def get_holders(self, limit: Limit) -> Any:
        return HolderSerializer(self.context["uses"][limit.code].holders, many=True).data


class KeepersView(GenericAPIView[Any]):
    """What both share: for operators and configurators."""

    required_scopes = {"GET": "read", "PATCH": "operate"}

    def check_permissions(self, request: Request) -> None:
        super().check_permissions(request)
        if not (policy.may_operate(request.user) or policy.may_configure(request.user)):
            raise PermissionDenied("Only operators and configurators see and change limits.")


class LimitsView(KeepersView):
    """All limits."""

    serializer_class = LimitListSerializer
    pagination_class = CodePagination
    queryset = Limit.objects.all()

    @extend_schema(operation_id="limits_list", responses={200: LimitListSerializer(many=True), **problems(400)})
    def get(self, request: Request) -> Response:
        """A page of limits by code."""
        page = self.paginate_queryset(self.filter_queryset(Limit.objects.all())) or []
        data = LimitListSerializer(page, many=True, context={"uses": uses_of(page)}).data
        return self.get_paginated_response(data)


class LimitView(KeepersView):
    """One limit."""

    @extend_schema(operation_id="limits_read", responses={200: LimitSerializer, **problems(404)})
    def get(self, request: Request, code: str) -> Response:
        """The limit, with who has its slots and how many wait."""
        limit = Limit.objects.filter(code=code).first()
        if limit is None:
            raise Http404
        return _answer(limit)

    @extend_schema(
        operation_id="limits_change", request=CHANGE.openapi, responses={200: LimitSerializer, **problems(404, 422)}
    )
    def patch(self, request: Request, code: str) -> Response:
        """Change a resource's limit. What runs is not stopped; those who may go on by it do at once."""
        try:
            return _answer(set_limit(code, CHANGE.read(request)))
        except Limit.DoesNotExist:
            raise Http404 from None


def _answer(limit: Limit) -> Response:
    return Response(LimitSerializer(limit, context={"uses": {limit.code: use_of(limit)}}).data)
