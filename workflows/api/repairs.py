"""Repairs of one job by its operators, and of many at once."""

from __future__ import annotations

import uuid

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from workflows import operations, policy
from workflows.engine.events import UNSET
from workflows.models import Job

from .bodies import ANY_JSON, NAME, Body
from .jobs import full_job, visible_job
from .schema import problems
from .serializers import JobSerializer

REASON = {"type": "string", "maxLength": 500, "description": "Why; kept in the history."}
TASK = {**NAME, "maxLength": 120, "description": "A task, or `undo:<task>`, the undoing of one."}
CANCEL = Body({"reason": REASON, "compensate": {"type": "boolean"}})
RETRY = Body({"task": TASK, "input": ANY_JSON, "reason": REASON})
SKIP = Body({"task": TASK, "output": ANY_JSON, "outcome": NAME, "reason": REASON}, required=("task",))
RESTART = Body({"task": TASK, "reason": REASON}, required=("task",))

_REPAIRED = {200: JobSerializer, **problems(400, 403, 404, 409, 413, 415, 422)}


class RepairView(APIView):
    """Base of the operators' repairs: who may not see the job gets 404, who may but is no operator 403."""

    required_scopes = {"POST": "operate"}

    def authorized(self, request: Request, job_id: uuid.UUID) -> uuid.UUID:
        """The id, where the caller may repair the job."""
        job = visible_job(request, job_id)
        if not policy.may_operate(request.user):
            raise PermissionDenied("Only operators repair jobs.")
        return job.pk

    def answer(self, job: Job) -> Response:
        """The job as it is after the repair."""
        return Response(JobSerializer(full_job(job.pk, Job.objects.all())).data)


class JobCancelView(RepairView):
    """Cancel."""

    @extend_schema(operation_id="jobs_cancel", request=CANCEL.openapi, responses=_REPAIRED)
    def post(self, request: Request, job_id: uuid.UUID) -> Response:
        """End the job: what it waits for is withdrawn. With `compensate` it first undoes what it has done."""
        pk = self.authorized(request, job_id)
        return self.answer(operations.cancel_job(pk, actor=request.user.get_username(), **CANCEL.read(request)))


class JobRetryView(RepairView):
    """Retry."""

    @extend_schema(operation_id="jobs_retry", request=RETRY.openapi, responses=_REPAIRED)
    def post(self, request: Request, job_id: uuid.UUID) -> Response:
        """Start the failed tasks again: the named one, if wanted with another input, or all."""
        pk = self.authorized(request, job_id)
        body = {"input": UNSET, **RETRY.read(request)}
        return self.answer(operations.retry_job(pk, actor=request.user.get_username(), **body))


class JobSkipView(RepairView):
    """Skip."""

    @extend_schema(operation_id="jobs_skip", request=SKIP.openapi, responses=_REPAIRED)
    def post(self, request: Request, job_id: uuid.UUID) -> Response:
        """Finish a failed or waiting task by hand, with an output and an outcome; the job goes on behind it."""
        pk = self.authorized(request, job_id)
        return self.answer(operations.skip_task(pk, actor=request.user.get_username(), **SKIP.read(request)))


class JobRestartView(RepairView):
    """Restart."""

    @extend_schema(operation_id="jobs_restart", request=RESTART.openapi, responses=_REPAIRED)
    def post(self, request: Request, job_id: uuid.UUID) -> Response:
        """Start a task again that the job has reached, and with it everything downstream of it."""
        pk = self.authorized(request, job_id)
        return self.answer(operations.restart_job(pk, actor=request.user.get_username(), **RESTART.read(request)))
