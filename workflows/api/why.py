"""Why a job waits."""

from __future__ import annotations

import uuid
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from workflows import policy
from workflows.operations.explain import why

from .jobs import readable_job
from .schema import problems


class BeforeSerializer(serializers.Serializer[Any]):
    """How long such waits took lately."""

    p50 = serializers.FloatField(help_text="Median, in seconds.")
    p90 = serializers.FloatField(help_text="Nine of ten took no longer, in seconds.")
    count = serializers.IntegerField(help_text="Of how many.")


class ReasonSerializer(serializers.Serializer[Any]):
    """One reason."""

    code = serializers.CharField()
    text = serializers.CharField()
    task = serializers.CharField(allow_null=True)
    iteration = serializers.IntegerField(allow_null=True)
    since = serializers.DateTimeField(allow_null=True)
    until = serializers.DateTimeField(allow_null=True, help_text="When time alone moves it.")
    moves = serializers.CharField(help_text="What would move it.")
    before = BeforeSerializer(allow_null=True)
    link = serializers.CharField(allow_blank=True, help_text="A page of this server about it.")
    jobs = serializers.ListField(child=serializers.UUIDField(), help_text="Jobs it is about, such as failed children.")


class WhySerializer(serializers.Serializer[Any]):
    """Why a job does not move now."""

    id = serializers.UUIDField()
    status = serializers.CharField()
    reasons = ReasonSerializer(many=True)


class JobWhyView(APIView):
    """Why is it waiting?"""

    @extend_schema(operation_id="jobs_why", responses={200: WhySerializer, **problems(404)})
    def get(self, request: Request, job_id: uuid.UUID) -> Response:
        """In words and codes: what it waits for, since when, what would move it, how long such waits took before."""
        job = readable_job(request, job_id)
        reasons = why(job)
        named = [other for reason in reasons for other in reason.jobs]
        if named and not policy.may_operate(request.user):
            # What holds a job may be somebody else's: its id is for those who may see it.
            visible = policy.visible_jobs(request.user)
            known = {str(pk) for pk in visible.filter(pk__in=named).values_list("pk", flat=True)}
            for reason in reasons:
                reason.jobs = [other for other in reason.jobs if other in known]
        return Response(WhySerializer({"id": job.pk, "status": job.status, "reasons": reasons}).data)
