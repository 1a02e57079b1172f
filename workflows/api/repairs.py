"""Repairs of one job by its operators, and of many at once."""

from __future__ import annotations

import uuid
from typing import Any

import django_filters
from django.urls import reverse
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from workflows import operations, policy
from workflows.engine.events import UNSET
from workflows.execution.exceptions import JobArchived
from workflows.models import BulkRepair, BulkRepairItem, Job
from workflows.operations import bulk
from workflows.operations.choice import FILTER
from workflows.operations.verbs import VERBS

from .bodies import ANY_JSON, NAME, Body
from .jobs import full_job, readable_job
from .pagination import KeysetPagination
from .schema import problems
from .serializers import AnyJSONField, JobSerializer

REASON = {"type": "string", "maxLength": 500, "description": "Why; kept in the history."}
TASK = {**NAME, "maxLength": 120, "description": "A task, or `undo:<task>`, the undoing of one."}
CANCEL = Body({"reason": REASON, "compensate": {"type": "boolean"}})
RETRY = Body({"task": TASK, "input": ANY_JSON, "reason": REASON})
SKIP = Body({"task": TASK, "output": ANY_JSON, "outcome": NAME, "reason": REASON}, required=("task",))
BULK = Body(
    {
        "verb": {"enum": list(VERBS)},
        "filter": {"type": "object", "properties": FILTER["properties"]},
        "arguments": {"type": "object", "description": "What goes with the verb, as for one job."},
        "reason": REASON,
        "first_alone": {"type": "boolean", "description": "Repair one, and the rest only if that one passed."},
    },
    required=("verb", "filter"),
)
RESTART = Body({"task": TASK, "reason": REASON}, required=("task",))

REPAIRED = {200: JobSerializer, **problems(400, 403, 404, 409, 413, 415, 422)}


class RepairView(APIView):
    """Base of the operators' repairs: who may not see the job gets 404, who may but is no operator 403."""

    required_scopes = {"POST": "operate"}

    def authorized(self, request: Request, job_id: uuid.UUID) -> uuid.UUID:
        """The id, where the caller may repair the job."""
        job = readable_job(request, job_id)
        if not policy.may_operate(request.user):
            raise PermissionDenied("Only operators repair jobs.")
        if job.archive is not None:
            raise JobArchived(job)
        return job.pk

    def answer(self, job: Job) -> Response:
        """The job as it is after the repair."""
        return Response(JobSerializer(full_job(job.pk, Job.objects.all())).data)


class JobCancelView(RepairView):
    """Cancel."""

    @extend_schema(operation_id="jobs_cancel", request=CANCEL.openapi, responses=REPAIRED)
    def post(self, request: Request, job_id: uuid.UUID) -> Response:
        """End the job: what it waits for is withdrawn. With `compensate` it first undoes what it has done."""
        pk = self.authorized(request, job_id)
        return self.answer(operations.cancel_job(pk, actor=request.user.get_username(), **CANCEL.read(request)))


class JobRetryView(RepairView):
    """Retry."""

    @extend_schema(operation_id="jobs_retry", request=RETRY.openapi, responses=REPAIRED)
    def post(self, request: Request, job_id: uuid.UUID) -> Response:
        """Start the failed tasks again: the named one, if wanted with another input, or all."""
        pk = self.authorized(request, job_id)
        body = {"input": UNSET, **RETRY.read(request)}
        return self.answer(operations.retry_job(pk, actor=request.user.get_username(), **body))


class JobSkipView(RepairView):
    """Skip."""

    @extend_schema(operation_id="jobs_skip", request=SKIP.openapi, responses=REPAIRED)
    def post(self, request: Request, job_id: uuid.UUID) -> Response:
        """Finish a failed or waiting task by hand, with an output and an outcome; the job goes on behind it."""
        pk = self.authorized(request, job_id)
        return self.answer(operations.skip_task(pk, actor=request.user.get_username(), **SKIP.read(request)))


class JobRestartView(RepairView):
    """Restart."""

    @extend_schema(operation_id="jobs_restart", request=RESTART.openapi, responses=REPAIRED)
    def post(self, request: Request, job_id: uuid.UUID) -> Response:
        """Start a task again that the job has reached, and with it everything downstream of it."""
        pk = self.authorized(request, job_id)
        return self.answer(operations.restart_job(pk, actor=request.user.get_username(), **RESTART.read(request)))


# ---- many at once ---------------------------------------------------------------------------------------------------


class ProgressSerializer(serializers.Serializer[Any]):
    """How many of the jobs wait, were repaired, and were refused."""

    waiting = serializers.IntegerField()
    done = serializers.IntegerField()
    refused = serializers.IntegerField()
    total = serializers.IntegerField()


class BulkSerializer(serializers.ModelSerializer[BulkRepair]):
    """A repair of many jobs. `summary` is what its preview said."""

    arguments = AnyJSONField(read_only=True)
    filter = AnyJSONField(read_only=True)
    summary = AnyJSONField(read_only=True)
    progress = serializers.SerializerMethodField()
    requested_by = serializers.CharField(source="requested_by.username")

    class Meta:
        model = BulkRepair
        fields = [
            *("id", "verb", "arguments", "filter", "reason", "first_alone", "status", "detail", "summary", "progress"),
            *("requested_by", "created_at", "finished_at"),
        ]

    @extend_schema_field(ProgressSerializer)
    def get_progress(self, repair: BulkRepair) -> dict[str, int]:
        return bulk.progress(repair)


class BulkListSerializer(BulkSerializer):
    """One in a list: without its preview and progress, which its own page has."""

    class Meta(BulkSerializer.Meta):
        fields = [name for name in BulkSerializer.Meta.fields if name not in ("summary", "progress", "arguments")]

    progress = None
    summary = None
    arguments = None


class BulkItemSerializer(serializers.ModelSerializer[BulkRepairItem]):
    """One job of a repair of many, and what came of it."""

    job = serializers.UUIDField(source="job_id")

    class Meta:
        model = BulkRepairItem
        fields = ["job", "verdict", "detail", "at"]


class BulkFilter(django_filters.FilterSet):
    """The filter of the list."""

    status = django_filters.ChoiceFilter(choices=BulkRepair.Status.choices)

    class Meta:
        model = BulkRepair
        fields: list[str] = []


class BulkItemFilter(django_filters.FilterSet):
    """The filter of the items."""

    verdict = django_filters.ChoiceFilter(choices=BulkRepairItem.Verdict.choices)

    class Meta:
        model = BulkRepairItem
        fields: list[str] = []


class BulkItemPagination(KeysetPagination):
    """In the order in which they are repaired."""

    descending = False
    read_key = int


class OperatorsView(GenericAPIView[Any]):
    """Base: for operators alone."""

    required_scopes = {"GET": "operate", "POST": "operate"}
    queryset = BulkRepair.objects.none()
    serializer_class = BulkSerializer

    def check_permissions(self, request: Request) -> None:
        """403 for everybody else."""
        super().check_permissions(request)
        if not policy.may_operate(request.user):
            raise PermissionDenied("Only operators repair jobs.")


class BulkRepairsView(OperatorsView):
    """Repairs of many jobs."""

    filterset_class = BulkFilter
    pagination_class = KeysetPagination

    @extend_schema(operation_id="repairs_list", responses={200: BulkListSerializer(many=True), **problems(400)})
    def get(self, request: Request) -> Response:
        """The repairs of many, the newest first."""
        rows = self.filter_queryset(BulkRepair.objects.select_related("requested_by").order_by())
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(BulkListSerializer(page, many=True).data)

    @extend_schema(
        operation_id="repairs_preview",
        request=BULK.openapi,
        responses={201: BulkSerializer, **problems(400, 413, 415, 422)},
        filters=False,
    )
    def post(self, request: Request) -> Response:
        """Choose jobs, and see what the repair would touch. Nothing is repaired before it is started."""
        body = BULK.read(request)
        found = bulk.preview(body.pop("verb"), body.pop("filter"), requested_by=request.user, **body)
        location = request.build_absolute_uri(reverse("api:repair", args=[found.pk]))
        return Response(BulkSerializer(found).data, status=201, headers={"Location": location})


class BulkRepairView(OperatorsView):
    """One repair of many."""

    pagination_class = None
    filter_backends = ()

    @extend_schema(operation_id="repairs_read", responses={200: BulkSerializer, **problems(404)})
    def get(self, request: Request, bulk_id: uuid.UUID) -> Response:
        """What it would touch, and how far it is."""
        return Response(BulkSerializer(bulk.get_bulk(bulk_id)).data)


class BulkStartView(OperatorsView):
    """Start."""

    pagination_class = None
    filter_backends = ()

    @extend_schema(operation_id="repairs_start", request=None, responses={200: BulkSerializer, **problems(404, 409)})
    def post(self, request: Request, bulk_id: uuid.UUID) -> Response:
        """Carry out what was previewed, with the caller as the actor in every history."""
        return Response(BulkSerializer(bulk.start(bulk_id, requested_by=request.user)).data)


class BulkStopView(OperatorsView):
    """Stop."""

    pagination_class = None
    filter_backends = ()

    @extend_schema(operation_id="repairs_stop", request=None, responses={200: BulkSerializer, **problems(404, 409)})
    def post(self, request: Request, bulk_id: uuid.UUID) -> Response:
        """End it: what is repaired stays so, the rest is left as it is."""
        return Response(BulkSerializer(bulk.stop(bulk_id, actor=request.user.get_username())).data)


class BulkItemsView(OperatorsView):
    """The jobs of one."""

    queryset = BulkRepairItem.objects.none()
    serializer_class = BulkItemSerializer
    filterset_class = BulkItemFilter
    pagination_class = BulkItemPagination

    @extend_schema(operation_id="repairs_items", responses={200: BulkItemSerializer(many=True), **problems(400, 404)})
    def get(self, request: Request, bulk_id: uuid.UUID) -> Response:
        """What came of each job."""
        rows = self.filter_queryset(bulk.get_bulk(bulk_id).items.order_by())
        return self.get_paginated_response(BulkItemSerializer(self.paginate_queryset(rows), many=True).data)
