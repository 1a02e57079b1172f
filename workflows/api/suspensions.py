"""Suspending and resuming, by operators: one job, a workflow, everything."""

from __future__ import annotations

import uuid
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from workflows import operations, policy
from workflows.engine.faults import Fault
from workflows.models import Suspension
from workflows.operations import suspend as suspending
from workflows.operations.exceptions import SuspensionConflict, WorkflowNotFound

from .bodies import NAME, Body
from .pagination import KeysetPagination
from .problems import Problem, invalid
from .repairs import REASON, REPAIRED, RepairView
from .schema import problems

JOB = Body({"reason": REASON})
SUSPEND = Body(
    {"workflow": {**NAME, "description": "Name of a workflow; * is everything."}, "reason": REASON}, ("workflow",)
)


class JobSuspendView(RepairView):
    """Suspend."""

    @extend_schema(operation_id="jobs_suspend", request=JOB.openapi, responses=REPAIRED)
    def post(self, request: Request, job_id: uuid.UUID) -> Response:
        """Hold the job: no worker claims it until it is resumed. Answers that come meanwhile are kept."""
        pk = self.authorized(request, job_id)
        return self.answer(operations.suspend_job(pk, actor=request.user.get_username(), **JOB.read(request)))


class JobResumeView(RepairView):
    """Resume."""

    @extend_schema(operation_id="jobs_resume", request=JOB.openapi, responses=REPAIRED)
    def post(self, request: Request, job_id: uuid.UUID) -> Response:
        """Let the job go on from where it stood, in its old place in the queue."""
        pk = self.authorized(request, job_id)
        return self.answer(operations.resume_job(pk, actor=request.user.get_username(), **JOB.read(request)))


class SuspensionSerializer(serializers.ModelSerializer[Suspension]):
    """A suspension that stands."""

    class Meta:
        model = Suspension
        fields = ["workflow", "reason", "suspended_by", "suspended_at"]


class ResumedSerializer(serializers.ModelSerializer[Suspension]):
    """A suspension that is over."""

    resumed_jobs = serializers.IntegerField(help_text="Held jobs that were let go at once; others follow.")

    class Meta:
        model = Suspension
        fields = ["workflow", "suspended_by", "suspended_at", "resumed_by", "resumed_at", "resumed_jobs"]


class StandingSerializer(SuspensionSerializer):
    """One suspension."""

    leased = serializers.SerializerMethodField(help_text="Jobs of it that workers still hold; at 0 it is drained.")

    class Meta(SuspensionSerializer.Meta):
        fields = [*SuspensionSerializer.Meta.fields, "leased"]

    def get_leased(self, suspension: Suspension) -> int:
        return suspending.leases_left(suspension.workflow)


class SuspensionPagination(KeysetPagination):
    """The newest first."""

    read_key = int


class OperatorsView(GenericAPIView[Any]):
    """What both share: for operators."""

    required_scopes = {"GET": "read", "POST": "operate", "DELETE": "operate"}

    def check_permissions(self, request: Request) -> None:
        super().check_permissions(request)
        if not policy.may_operate(request.user):
            raise PermissionDenied("Only operators see and change what is suspended.")


class SuspensionsView(OperatorsView):
    """What is suspended."""

    serializer_class = SuspensionSerializer
    pagination_class = SuspensionPagination
    queryset = Suspension.objects.none()

    @extend_schema(operation_id="suspensions_list", responses={200: SuspensionSerializer(many=True), **problems(400)})
    def get(self, request: Request) -> Response:
        """A page of the suspensions that stand, the newest first."""
        page = self.paginate_queryset(self.filter_queryset(Suspension.objects.active()))
        return self.get_paginated_response(SuspensionSerializer(page, many=True).data)

    @extend_schema(
        operation_id="suspensions_create",
        request=SUSPEND.openapi,
        responses={201: StandingSerializer, **problems(409, 422)},
        filters=False,
    )
    def post(self, request: Request) -> Response:
        """Suspend a workflow, or everything. Workers finish the steps they are at and begin no other of it."""
        body = SUSPEND.read(request)
        try:
            made = suspending.suspend(
                body["workflow"], actor=request.user.get_username(), reason=body.get("reason", "")
            )
        except WorkflowNotFound as error:
            raise invalid([Fault("/workflow", "unknown_workflow", str(error))]) from None
        except SuspensionConflict as error:
            raise Problem(409, str(error)) from None
        where = request.build_absolute_uri(f"{made.workflow}/")
        return Response(StandingSerializer(made).data, status=201, headers={"Location": where})


class SuspensionView(OperatorsView):
    """One suspension."""

    @extend_schema(operation_id="suspensions_read", responses={200: StandingSerializer, **problems(404)})
    def get(self, request: Request, workflow: str) -> Response:
        """The suspension that stands, and how many leases are left under it."""
        found = Suspension.objects.active().filter(workflow=workflow).first()
        if found is None:
            raise NotFound
        return Response(StandingSerializer(found).data)

    @extend_schema(
        operation_id="suspensions_delete",
        request=JOB.openapi,
        responses={200: ResumedSerializer, **problems(404, 422)},
    )
    def delete(self, request: Request, workflow: str) -> Response:
        """Resume it: held jobs go on in their old places. Who suspended it, who resumed it and why is kept."""
        body = JOB.read(request) if request.data else {}
        try:
            over, count = suspending.resume(workflow, actor=request.user.get_username(), **body)
        except SuspensionConflict:
            raise NotFound from None
        over.resumed_jobs = count  # type: ignore[attr-defined]
        return Response(ResumedSerializer(over).data)
