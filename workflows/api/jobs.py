"""Jobs: submit, list, read."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from workflows import policy
from workflows.engine.durations import parse_timestamp
from workflows.engine.exceptions import InvalidTimestamp
from workflows.engine.faults import Fault
from workflows.intake.submit import MAX_BATCH, Submission, Submitted, submit_job, submit_jobs
from workflows.models import History, Job
from workflows.models.failpoints import failpoint

from .bodies import SUBMISSION, Body
from .conditional import with_etag
from .filters import JobFilter
from .pagination import HistoryPagination, KeysetPagination
from .problems import invalid
from .schema import problems
from .serializers import BatchSerializer, HistorySerializer, JobListSerializer, JobSerializer, just_born, listed

SUBMIT = Body(SUBMISSION, required=("workflow", "input"))
BATCH = Body({"jobs": {"type": "array", "minItems": 1, "maxItems": MAX_BATCH, "items": SUBMIT.schema}}, ("jobs",))

KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="The same key and body give the first job again (200); another body is a conflict (409).",
)


def submission_of(body: dict[str, Any], pointer: str = "") -> Submission:
    """A submission from a body of the right shape. Problem (422) where its time is none."""
    run_at = None
    if "run_at" in body:
        try:
            run_at = parse_timestamp(body["run_at"])
        except InvalidTimestamp as error:
            raise invalid([Fault(f"{pointer}/run_at", "format", str(error))]) from None
    return Submission(
        workflow=body["workflow"],
        input=body["input"],
        version=body.get("version"),
        priority=body.get("priority"),
        run_at=run_at,
        correlation_id=body.get("correlation_id", ""),
        documents=body.get("documents", ()),
    )


def full_job(job_id: uuid.UUID, jobs: QuerySet[Job]) -> Job:
    """The job with all that its page shows, in two queries. Http404 where these jobs do not have it."""
    job = jobs.select_related("data").prefetch_related("task_runs").filter(pk=job_id).first()
    if job is None:
        raise Http404
    return job


def readable_job(request: Request, job_id: uuid.UUID) -> Job:
    """The job, where the caller may see it; one from the archive has its `archive`. A foreign one and an absent one are
    the same 404."""
    job = policy.visible_jobs(request.user).filter(pk=job_id).first()
    return archived_job(request, job_id) if job is None else job


def archived_job(request: Request, job_id: uuid.UUID) -> Job:
    """The job out of the archive, where the caller may see it. Http404 otherwise."""
    archived = policy.visible_archived_jobs(request.user).defer(None).filter(pk=job_id).first()
    if archived is None:
        raise Http404
    return archived.as_job()


def submitted_job(submitted: Submitted) -> Job:
    """The job of a submission with all that its page shows; a repeated one may name a job that is archived by now."""
    return submitted.job if submitted.job.archive is not None else full_job(submitted.job.pk, Job.objects.all())


class JobsView(GenericAPIView[Job]):
    """All jobs that the caller may see, and the door where new ones come in."""

    required_scopes = {"GET": "read", "POST": "submit"}
    serializer_class = JobListSerializer
    filterset_class = JobFilter
    pagination_class = KeysetPagination
    queryset = Job.objects.none()

    def get_queryset(self) -> QuerySet[Job]:
        archived = self.request.query_params.get("archived") == "true"
        see: Callable[[Any], QuerySet[Any]] = policy.visible_archived_jobs if archived else policy.visible_jobs
        jobs = see(self.request.user)
        return jobs if "parent" in self.request.query_params else jobs.filter(fragment="")

    @extend_schema(operation_id="jobs_list", responses={200: JobListSerializer(many=True), **problems(400)})
    def get(self, request: Request) -> Response:
        """A page of jobs, the newest first. Input, output, error and tasks are on the job's own page.

        Jobs that ended long ago are in the archive, and listed with `archived=true` only. The parts that a job runs as
        jobs of their own (the items of a map, a task on another queue) are listed only where their `parent` is named.
        """
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(JobListSerializer(page, many=True).data)

    @extend_schema(
        operation_id="jobs_submit",
        request=SUBMIT.openapi,
        parameters=[KEY],
        responses={200: JobSerializer, 201: JobSerializer, **problems(400, 409, 413, 415, 422)},
        filters=False,
    )
    def post(self, request: Request) -> Response:
        """Capture a job."""
        key = request.headers.get("Idempotency-Key")
        submission = submission_of(SUBMIT.read(request))
        submitted = submit_job(submission, submitted_by=request.user, idempotency_key=key)
        failpoint("submit.committed_before_reply")
        job = submitted.job
        headers = {"Location": request.build_absolute_uri(reverse("api:job", args=[job.pk]))}
        if submitted.created:
            return Response(just_born(job, submission.input), status=201, headers=headers)
        headers["Idempotent-Replayed"] = "true"
        return Response(JobSerializer(submitted_job(submitted)).data, headers=headers)


class JobBatchView(APIView):
    """Many jobs at once."""

    required_scopes = {"POST": "submit"}

    @extend_schema(
        operation_id="jobs_submit_batch",
        request=BATCH.openapi,
        responses={201: BatchSerializer, **problems(400, 413, 415, 422)},
    )
    def post(self, request: Request) -> Response:
        """Capture up to 1,000 jobs: all of them or, where one has a fault, none. Faults are told by index."""
        bodies = BATCH.read(request)["jobs"]
        submissions = [submission_of(body, f"/jobs/{index}") for index, body in enumerate(bodies)]
        jobs = submit_jobs(submissions, submitted_by=request.user)
        return Response({"jobs": [listed(job) for job in jobs]}, status=201)


class JobView(APIView):
    """One job."""

    @extend_schema(operation_id="jobs_read", responses={200: JobSerializer, 304: None, **problems(404)})
    def get(self, request: Request, job_id: uuid.UUID) -> Response:
        """The job with its input, its result, what it waits for and the runs of its tasks."""
        try:
            job = full_job(job_id, policy.visible_jobs(request.user))
        except Http404:
            job = archived_job(request, job_id)
        return with_etag(request, JobSerializer(job).data)


class JobHistoryView(GenericAPIView[History]):
    """What happened to one job."""

    serializer_class = HistorySerializer
    pagination_class = HistoryPagination
    queryset = History.objects.none()

    @extend_schema(operation_id="jobs_history", responses={200: HistorySerializer(many=True), **problems(400, 404)})
    def get(self, request: Request, job_id: uuid.UUID) -> Response:
        """Every move and decision, oldest first."""
        job = readable_job(request, job_id)
        rows: Any = History.objects.filter(job=job) if job.archive is None else job.archive.history()
        rows = self.filter_queryset(rows)
        return self.get_paginated_response(HistorySerializer(self.paginate_queryset(rows), many=True).data)
