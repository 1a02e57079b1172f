"""Versions of a workflow: all of them, what is different between two, retiring, restoring, rolling back; and drafts."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from workflows import policy
from workflows.engine.difference import Change
from workflows.engine.faults import Fault
from workflows.intake import drafts
from workflows.intake.exceptions import NoSuchVersion
from workflows.intake.publishing import Published
from workflows.models import Definition

from .bodies import Body
from .conditional import with_etag
from .pagination import VersionPagination
from .problems import Problem, invalid
from .schema import problems
from .seen import IF_MATCH, entity_tag, seen_version
from .serializers import ANY, AnyJSONField, DefinitionListSerializer, DefinitionSerializer, FaultSerializer

TEXT = {"type": "string", "maxLength": 500}
NOTE = Body({"note": {**TEXT, "description": "What is new in this version."}})
REASON = Body({"reason": {**TEXT, "description": "Why; kept with the version."}})
NOTHING = Body({})
VERSION = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
DRAFT = Body(
    {
        "document": {**ANY, "description": "The document, whatever its faults; they are in the answer."},
        "note": {**TEXT, "description": "What is new; publishing takes it over."},
        "based_on": {**VERSION, "description": "Over which version it is meant; without it as it was, or the newest."},
    },
    required=("document",),
)


class ChangeSerializer(serializers.Serializer[Change]):
    """One difference between two documents."""

    kind = serializers.CharField(help_text="task.changed, task.added, transition.removed, input.changed and their like")
    sentence = serializers.CharField()
    pointers = serializers.ListField(child=serializers.CharField())
    task = serializers.CharField(allow_blank=True)
    was = serializers.CharField(allow_blank=True, help_text="The old name of a task that looks renamed.")


class DifferenceSerializer(serializers.Serializer[Any]):
    """What is different from one version, or the draft, to another."""

    name = serializers.CharField()
    changes = ChangeSerializer(many=True)


class DraftSerializer(serializers.Serializer[Any]):
    """The draft of a workflow, with everything that publishing it now would be refused for."""

    name = serializers.CharField(source="draft.name")
    revision = serializers.IntegerField(source="draft.revision", help_text="The ETag of the draft.")
    based_on = serializers.IntegerField(source="draft.based_on")
    note = serializers.CharField(source="draft.note", allow_blank=True)
    document = AnyJSONField(source="draft.document")
    updated_by = serializers.CharField(source="draft.updated_by", allow_blank=True)
    created_at = serializers.DateTimeField(source="draft.created_at")
    updated_at = serializers.DateTimeField(source="draft.updated_at")
    valid = serializers.SerializerMethodField()
    errors = FaultSerializer(source="faults", many=True)

    def get_valid(self, saved: drafts.SavedDraft) -> bool:
        return not saved.faults


class ConfigureView(APIView):
    """Base of what only configurators do with definitions."""

    required_scopes = {"GET": "read", "PUT": "configure", "POST": "configure", "DELETE": "configure"}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Turn away who may not configure, before anything is read."""
        super().initial(request, *args, **kwargs)
        if not policy.may_configure(request.user):
            raise PermissionDenied("Only configurators do this.")


def published_answer(request: Request, published: Published) -> Response:
    """The version that was made, 201; or the newest, 200, where the document equals it."""
    definition = published.definition
    where = reverse("api:definition-version", args=[definition.name, definition.version])
    return Response(
        DefinitionSerializer(definition).data,
        status=201 if published.created else 200,
        headers={"Location": request.build_absolute_uri(where)},
    )


class DefinitionVersionsView(GenericAPIView[Definition]):
    """All versions of one workflow."""

    required_scopes = {"GET": "read"}
    serializer_class = DefinitionListSerializer
    pagination_class = VersionPagination
    queryset = Definition.objects.none()

    @extend_schema(
        operation_id="definitions_versions", responses={200: DefinitionListSerializer(many=True), **problems(400, 404)}
    )
    def get(self, request: Request, name: str) -> Response:
        """A page of versions, the newest first, without their documents."""
        rows: QuerySet[Definition] = Definition.objects.with_retired().filter(name=name).defer("document")
        page = self.paginate_queryset(self.filter_queryset(rows))
        if not page and not Definition.objects.filter(name=name).exists():
            raise NoSuchVersion(name)
        return self.get_paginated_response(DefinitionListSerializer(page, many=True).data)


class DefinitionDiffView(APIView):
    """What is different between two versions."""

    required_scopes = {"GET": "read"}

    @extend_schema(
        operation_id="definitions_diff",
        parameters=[
            OpenApiParameter("from", str, required=True, description="The number of a version, or `draft`."),
            OpenApiParameter("to", str, required=True, description="The number of a version, or `draft`."),
        ],
        responses={200: DifferenceSerializer, **problems(404, 422)},
    )
    def get(self, request: Request, name: str) -> Response:
        """The differences in words, each with pointers to its places."""
        ends = [_version_of(request, key) for key in ("from", "to")]
        if "draft" in ends and not policy.may_configure(request.user):
            raise PermissionDenied("Only configurators see drafts.")
        changes = drafts.compare(name, *ends)
        return Response(DifferenceSerializer({"name": name, "changes": changes}).data)


def _version_of(request: Request, key: str) -> int | str:
    text = request.query_params.get(key, "")
    if text == "draft":
        return text
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    raise invalid([Fault(f"/{key}", "bad_version", "Say the number of a version, or draft.")])


class DefinitionRetireView(ConfigureView):
    """Retire a version."""

    @extend_schema(
        operation_id="definitions_retire",
        request=REASON.openapi,
        responses={200: DefinitionSerializer, **problems(404, 422)},
    )
    def post(self, request: Request, name: str, version: int) -> Response:
        """Let no new job start on this version. Jobs that run on it go on; the newest of the others takes its place."""
        reason = REASON.read(request).get("reason", "")
        drafts.retire(name, version, by=request.user.get_username(), reason=reason)
        return _version_answer(name, version)


class DefinitionRestoreView(ConfigureView):
    """Restore a version."""

    @extend_schema(
        operation_id="definitions_restore",
        request=NOTHING.openapi,
        responses={200: DefinitionSerializer, **problems(404, 422)},
    )
    def post(self, request: Request, name: str, version: int) -> Response:
        """Let jobs start on a retired version again."""
        NOTHING.read(request)
        drafts.restore(name, version, by=request.user.get_username())
        return _version_answer(name, version)


class DefinitionRollbackView(ConfigureView):
    """Roll back to a version."""

    @extend_schema(
        operation_id="definitions_rollback",
        request=NOTE.openapi,
        responses={200: DefinitionSerializer, 201: DefinitionSerializer, **problems(404, 422)},
    )
    def post(self, request: Request, name: str, version: int) -> Response:
        """Publish the document of this version again, as the next one; 200 where the newest equals it."""
        note = NOTE.read(request).get("note", "")
        return published_answer(request, drafts.roll_back(name, version, by=request.user.get_username(), note=note))


def _version_answer(name: str, version: int) -> Response:
    return Response(DefinitionSerializer(Definition.objects.with_retired().get(name=name, version=version)).data)


class DefinitionDraftView(ConfigureView):
    """The draft of one workflow."""

    @extend_schema(operation_id="definitions_draft_read", responses={200: DraftSerializer, 304: None, **problems(404)})
    def get(self, request: Request, name: str) -> Response:
        """The draft with its faults. Its ETag is what `If-Match` asks for when it is saved."""
        saved = drafts.read_draft(name)
        return with_etag(request, DraftSerializer(saved).data, etag=entity_tag(saved.draft.revision))

    @extend_schema(
        operation_id="definitions_draft_save",
        request=DRAFT.openapi,
        parameters=[IF_MATCH],
        responses={200: DraftSerializer, 201: DraftSerializer, **problems(400, 412, 413, 415, 422, 428)},
    )
    def put(self, request: Request, name: str) -> Response:
        """Keep a document as the draft, faults and all. A draft that is there is only replaced with `If-Match`."""
        body = DRAFT.read(request)
        # Nothing said: it is meant to be new. A draft that is there already must have been seen.
        revision = seen_version(request) if "If-Match" in request.headers else drafts.NEW
        if revision == drafts.NEW and drafts.has_draft(name):
            raise Problem(428, "There is a draft already. Say in If-Match which revision you saw.")
        saved = drafts.save_draft(name, revision=revision, by=request.user.get_username(), **body)
        status = 201 if saved.draft.revision == 1 else 200
        tag = {"ETag": entity_tag(saved.draft.revision)}
        return Response(DraftSerializer(saved).data, status=status, headers=tag)

    @extend_schema(
        operation_id="definitions_draft_discard",
        parameters=[IF_MATCH],
        responses={204: None, **problems(400, 404, 412)},
    )
    def delete(self, request: Request, name: str) -> Response:
        """Throw the draft away."""
        drafts.discard_draft(name, revision=seen_version(request))
        return Response(status=204)


class DefinitionDraftPublishView(ConfigureView):
    """Publish the draft."""

    @extend_schema(
        operation_id="definitions_draft_publish",
        request=NOTE.openapi,
        parameters=[IF_MATCH],
        responses={200: DefinitionSerializer, 201: DefinitionSerializer, **problems(400, 404, 409, 412, 422)},
    )
    def post(self, request: Request, name: str) -> Response:
        """Make the draft the next version. Refused with every fault, or where a version came in between (409)."""
        note = NOTE.read(request).get("note")
        revision = seen_version(request)
        published = drafts.publish_draft(name, revision=revision, by=request.user.get_username(), note=note)
        return published_answer(request, published)
