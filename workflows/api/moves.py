"""Moving live jobs to another version: a dry run, and the move of one or of many."""

from __future__ import annotations

import uuid
from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from workflows import policy
from workflows.models import BulkRepair, JobStatus
from workflows.operations import migrate, moving

from .bodies import Body
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
        "jobs": {"type": "array", "items": {"type": "string", "format": "uuid"}, "maxItems": moving.MAX_IDS},
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
    repair = serializers.UUIDField(required=False, help_text="The repair of many that moves them.")


class DefinitionMigrateView(APIView):
    """Move the live jobs of a workflow."""

    required_scopes = {"POST": "operate"}

    @extend_schema(
        operation_id="definitions_migrate",
        request=MIGRATE.openapi,
        responses={200: MigrationSerializer, 202: MigrationSerializer, **problems(400, 413, 415, 422)},
    )
    def post(self, request: Request, name: str) -> Response:
        """Say what moving the live jobs to a version would do, or with `"dry_run": false` move them.

        More than 100 are moved by the workers: the answer is 202, and the repair at its `Location` tells how far
        they are.
        """
        if not policy.may_operate(request.user):
            raise PermissionDenied("Only operators move jobs.")
        body = MIGRATE.read(request)
        versions = body.get("from", [])
        narrowed = {
            "versions": versions if isinstance(versions, list) else [versions],
            "status": [JobStatus(status) for status in body.get("status", [])],
            "correlation_id": body.get("correlation_id", ""),
            "jobs": [uuid.UUID(job) for job in body.get("jobs", [])],
        }
        to, mapping = body["to"], body.get("mapping", {})
        if body.get("dry_run", True):
            told = migrate.dry_run(name, to, mapping, migrate.live_jobs(name, to, **narrowed))
            return Response(_shown(told, dry_run=True))
        reason = body.get("reason", "")
        done = moving.move_live_jobs(name, to, mapping, requested_by=request.user, reason=reason, **narrowed)
        if isinstance(done, BulkRepair):
            where = request.build_absolute_uri(reverse("api:repair", args=[done.pk]))
            fields = {"workflow": name, "to": to, "total": done.summary["count"], "repair": done.pk, "dry_run": False}
            return Response(MigrationSerializer(fields).data, status=202, headers={"Location": where})
        return Response(_shown(done, dry_run=False))


def _shown(found: migrate.DryRun | migrate.Moved, *, dry_run: bool) -> dict[str, Any]:
    fields = {name: getattr(found, name) for name in found.__slots__}
    return dict(MigrationSerializer({**fields, "dry_run": dry_run}).data)


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
