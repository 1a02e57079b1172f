"""Moving live jobs to another version: a dry run, and the move of one or of many."""

from __future__ import annotations

import uuid
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from workflows import policy
from workflows.engine.faults import Fault
from workflows.models import JobStatus
from workflows.operations import migrate

from .bodies import Body
from .problems import invalid
from .repairs import RepairView
from .schema import problems
from .serializers import JobSerializer

REASON = {"type": "string", "maxLength": 500, "description": "Why; kept in the history."}
TO = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1, "description": "The version to move to."}
MAPPING = {
    "type": "object",
    "description": "Which task goes on as which, where the names differ.",
    "additionalProperties": {"type": "string"},
    "maxProperties": 1000,
}
FROM = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
MIGRATE = Body(
    {
        "from": {
            "oneOf": [FROM, {"type": "array", "items": FROM, "maxItems": 100}],
            "description": "Else: all others.",
        },
        "to": TO,
        "mapping": MAPPING,
        "dry_run": {"type": "boolean", "description": "Only say what would happen; so it is unless this is false."},
        "reason": REASON,
        "status": {"type": "array", "items": {"enum": [str(status) for status in migrate.LIVE]}, "maxItems": 4},
        "correlation_id": {"type": "string", "maxLength": 200},
        "jobs": {"type": "array", "items": {"type": "string", "format": "uuid"}, "maxItems": migrate.MAX_AT_ONCE},
    },
    required=("to",),
)
MIGRATE_ONE = Body({"to": TO, "mapping": MAPPING, "reason": REASON}, required=("to",))


class VerdictSerializer(serializers.Serializer[Any]):
    """What holds for some of the jobs."""

    code = serializers.CharField(allow_blank=True)
    task = serializers.CharField(allow_blank=True)
    detail = serializers.CharField(allow_blank=True)
    count = serializers.IntegerField()
    examples = serializers.ListField(child=serializers.UUIDField(), help_text="The first few of them.")
    notes = serializers.ListField(child=serializers.CharField(), help_text="What jobs pass, keep or lose.")


class MigrationSerializer(serializers.Serializer[Any]):
    """A dry run (`clean`, `needs_mapping`, `cannot`), or what a move did (`moved`, `refused`)."""

    workflow = serializers.CharField()
    to = serializers.IntegerField()
    dry_run = serializers.BooleanField()
    total = serializers.IntegerField()
    examined = serializers.IntegerField(required=False, help_text="Less than the total where that is above 10,000.")
    clean = VerdictSerializer(required=False)
    needs_mapping = VerdictSerializer(many=True, required=False)
    cannot = VerdictSerializer(many=True, required=False)
    moved = serializers.IntegerField(required=False)
    refused = VerdictSerializer(many=True, required=False)


class DefinitionMigrateView(APIView):
    """Move the live jobs of a workflow."""

    required_scopes = {"POST": "operate"}

    @extend_schema(
        operation_id="definitions_migrate",
        request=MIGRATE.openapi,
        responses={200: MigrationSerializer, **problems(400, 413, 415, 422)},
    )
    def post(self, request: Request, name: str) -> Response:
        """Say what moving the live jobs to a version would do, or with `"dry_run": false` move up to 1,000 of them."""
        if not policy.may_operate(request.user):
            raise PermissionDenied("Only operators move jobs.")
        body = MIGRATE.read(request)
        versions = body.get("from", [])
        jobs = migrate.live_jobs(
            name,
            body["to"],
            versions=versions if isinstance(versions, list) else [versions],
            status=[JobStatus(status) for status in body.get("status", [])],
            correlation_id=body.get("correlation_id", ""),
            jobs=[uuid.UUID(job) for job in body.get("jobs", [])],
        )
        mapping = body.get("mapping", {})
        dry = body.get("dry_run", True)
        if dry:
            found: Any = migrate.dry_run(name, body["to"], mapping, jobs)
        else:
            if jobs.count() > migrate.MAX_AT_ONCE:
                detail = f"More than {migrate.MAX_AT_ONCE} jobs: narrow them, or use manage.py migrate_jobs."
                raise invalid([Fault("/jobs", "too_many", detail)])
            actor = request.user.get_username()
            found = migrate.migrate_jobs(name, body["to"], mapping, jobs, actor=actor, reason=body.get("reason", ""))
        fields = {field: getattr(found, field) for field in found.__slots__}
        return Response(MigrationSerializer({**fields, "dry_run": dry}).data)


class JobMigrateView(RepairView):
    """Move one job."""

    @extend_schema(
        operation_id="jobs_migrate",
        request=MIGRATE_ONE.openapi,
        responses={200: JobSerializer, **problems(400, 404, 409, 413, 415, 422)},
    )
    def post(self, request: Request, job_id: uuid.UUID) -> Response:
        """Move the job to another version of its workflow. A conflict names every task that is in the way."""
        pk = self.authorized(request, job_id)
        body = MIGRATE_ONE.read(request)
        actor = request.user.get_username()
        job = migrate.migrate_job(
            pk, body["to"], mapping=body.get("mapping"), actor=actor, reason=body.get("reason", "")
        )
        return self.answer(job)
