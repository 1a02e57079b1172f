"""Dead letters: what failed, grouped by cause, and how it went over time."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from workflows import policy
from workflows.models import DeadLetter
from workflows.operations import letters
from workflows.operations.exceptions import InvalidRequest

from .filters import MomentFilter, refuse_parameters
from .pagination import KeysetPagination
from .schema import problems


class LetterFilter(django_filters.FilterSet):
    """The filters of every list of dead letters."""

    workflow = django_filters.CharFilter(max_length=100)
    plugin = django_filters.CharFilter(max_length=120, help_text="The plugin, or the type of the task.")
    error = django_filters.CharFilter(max_length=200)

    class Meta:
        model = DeadLetter
        fields: list[str] = []


class FailedFilter(LetterFilter):
    """The same, and by the time of the failure."""

    failed_after = MomentFilter("failed_at", "gte", help_text="At this time or later.")
    failed_before = MomentFilter("failed_at", "lt", help_text="Before this time.")


class SomeLettersFilter(FailedFilter):
    """The same, and by what became of them."""

    STATES = (("open", "open"), ("resolved", "resolved"), ("all", "all"))
    state = django_filters.ChoiceFilter(choices=STATES, method="filter_state", help_text="Default: open.")

    def filter_state(self, queryset: QuerySet[DeadLetter], name: str, value: str) -> QuerySet[DeadLetter]:
        """Open ones, resolved ones, or all."""
        return queryset if value == "all" else queryset.filter(resolved_at__isnull=value == "open")


class PatternFilter(LetterFilter):
    """The same, and over which time."""

    by = django_filters.ChoiceFilter(
        choices=[("day", "day"), ("hour", "hour")], method="keep", help_text="Default: day."
    )
    since = MomentFilter(method="keep", help_text="Default: 30 days ago; by hour, 48 hours ago.")
    until = MomentFilter(method="keep", help_text="Default: now.")

    def keep(self, queryset: QuerySet[DeadLetter], name: str, value: Any) -> QuerySet[DeadLetter]:
        """These say how the rows are counted, and over which of them."""
        return queryset


class GroupPagination(KeysetPagination):
    """The cause that failed a job last comes first."""

    key = "last"
    read_key = int


class LetterPagination(KeysetPagination):
    """The newest letter first."""

    read_key = int


class InWorkflowSerializer(serializers.Serializer[Any]):
    """How many of a group are jobs of one version of a workflow."""

    workflow = serializers.CharField()
    version = serializers.IntegerField()
    count = serializers.IntegerField()


class ExampleSerializer(serializers.Serializer[Any]):
    """The newest failure of a group."""

    job = serializers.UUIDField()
    task = serializers.CharField(allow_blank=True, help_text="Empty where the job as a whole failed.")
    cause = serializers.CharField(allow_blank=True)


class CauseSerializer(serializers.Serializer[Any]):
    """What makes failures one group."""

    fingerprint = serializers.CharField()
    plugin = serializers.CharField(allow_blank=True, help_text="The plugin, or the type of the task that failed.")
    error = serializers.CharField()
    message = serializers.CharField(
        allow_blank=True, help_text="The cause without what differs from job to job, such as numbers and ids."
    )
    count = serializers.IntegerField()


class GroupSerializer(CauseSerializer):
    """Open dead letters with one cause."""

    first_failed_at = serializers.DateTimeField()
    last_failed_at = serializers.DateTimeField()
    workflows = InWorkflowSerializer(many=True)
    example = ExampleSerializer()


class LetterSerializer(serializers.ModelSerializer[DeadLetter]):
    """One time that a job failed, and what became of it."""

    job = serializers.UUIDField(source="job_id")

    class Meta:
        model = DeadLetter
        fields = [
            *("id", "job", "workflow", "version", "task", "plugin", "error", "cause", "failed_at"),
            *("resolved_at", "resolution", "resolved_by"),
        ]


class PointSerializer(serializers.Serializer[Any]):
    """Failures of one cause in one day or hour."""

    at = serializers.DateTimeField()
    count = serializers.IntegerField()
    open = serializers.IntegerField(help_text="Those of them that still wait for a person.")


class PatternSerializer(CauseSerializer):
    """One cause over time."""

    open = serializers.IntegerField()
    points = PointSerializer(many=True)


class PatternsSerializer(serializers.Serializer[Any]):
    """Failures over time, by cause."""

    by = serializers.ChoiceField(choices=["day", "hour"])
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    causes = PatternSerializer(many=True)


class LettersView(GenericAPIView[DeadLetter]):
    """Base: operators alone see dead letters."""

    required_scopes = {"GET": "operate"}
    queryset = DeadLetter.objects.none()

    def check_permissions(self, request: Request) -> None:
        """403 for everybody else."""
        super().check_permissions(request)
        if not policy.may_operate(request.user):
            raise PermissionDenied("Only operators see the dead letters.")


class DeadLettersView(LettersView):
    """What waits for a person, by cause."""

    serializer_class = GroupSerializer
    filterset_class = FailedFilter
    pagination_class = GroupPagination

    @extend_schema(operation_id="dead_letters_list", responses={200: GroupSerializer(many=True), **problems(400)})
    def get(self, request: Request) -> Response:
        """Open dead letters grouped by cause; the cause that failed a job last comes first."""
        chosen = self.filter_queryset(letters.open_letters())
        page = self.paginate_queryset(letters.grouped(chosen)) or []
        return self.get_paginated_response(GroupSerializer(letters.described(page, chosen), many=True).data)


class DeadLetterGroupView(LettersView):
    """The jobs of one cause."""

    serializer_class = LetterSerializer
    filterset_class = SomeLettersFilter
    pagination_class = LetterPagination

    @extend_schema(
        operation_id="dead_letters_group", responses={200: LetterSerializer(many=True), **problems(400, 404)}
    )
    def get(self, request: Request, fingerprint: str) -> Response:
        """The failures of one cause, the newest first; by default those that still wait for a person."""
        rows = DeadLetter.objects.filter(fingerprint=fingerprint)
        if not rows.exists():
            raise Http404
        if "state" not in request.query_params:
            rows = rows.filter(resolved_at__isnull=True)
        page = self.paginate_queryset(self.filter_queryset(rows.order_by()))
        return self.get_paginated_response(LetterSerializer(page, many=True).data)


class DeadLetterPatternsView(LettersView):
    """Failures over time."""

    serializer_class = PatternsSerializer
    filterset_class = PatternFilter
    pagination_class = None

    @extend_schema(operation_id="dead_letters_patterns", responses={200: PatternsSerializer, **problems(400)})
    def get(self, request: Request) -> Response:
        """How often each cause failed jobs, by day or hour (UTC), mended since or not: the 50 most frequent causes."""
        chosen = self.filter_queryset(DeadLetter.objects.order_by())
        span = PatternFilter(request.query_params).form
        span.is_valid()
        how = {name: span.cleaned_data[name] for name in ("since", "until")}
        try:
            by = span.cleaned_data["by"] or "day"
            found = letters.patterns(by=by, now=timezone.now(), letters=chosen, **how)
        except InvalidRequest as error:
            raise refuse_parameters({f.pointer.strip("/"): (f.code, f.detail) for f in error.faults}) from None
        return Response(PatternsSerializer(found).data)
