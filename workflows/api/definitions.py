"""Definitions: publish, list, read, check."""

from __future__ import annotations

from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from workflows import policy
from workflows.intake import publishing
from workflows.models import Definition

from .conditional import with_etag
from .pagination import NamePagination
from .parsers import StrictJSONParser, YAMLParser
from .problems import errors_of
from .schema import problems
from .serializers import DefinitionListSerializer, DefinitionSerializer, ValidationSerializer
from .versions import published_answer

_DOCUMENT = {"type": "object", "description": "A workflow definition."}
DOCUMENT = {"application/json": _DOCUMENT, "application/yaml": _DOCUMENT}


def newest_definitions() -> QuerySet[Definition]:
    """The newest version of every workflow."""
    newest = Definition.objects.filter(name=OuterRef("name")).order_by("-version").values("version")[:1]
    return Definition.objects.with_retired().filter(version=Subquery(newest)).defer("document")


class DefinitionsView(GenericAPIView[Definition]):
    """The newest version of every workflow, and the door where new versions come in."""

    required_scopes = {"GET": "read", "POST": "configure"}
    parser_classes = (StrictJSONParser, YAMLParser)
    serializer_class = DefinitionListSerializer
    pagination_class = NamePagination
    queryset = Definition.objects.none()

    @extend_schema(
        operation_id="definitions_list", responses={200: DefinitionListSerializer(many=True), **problems(400)}
    )
    def get(self, request: Request) -> Response:
        """A page of workflows by name, each in its newest version."""
        page = self.paginate_queryset(self.filter_queryset(newest_definitions()))
        return self.get_paginated_response(DefinitionListSerializer(page, many=True).data)

    @extend_schema(
        operation_id="definitions_publish",
        request=DOCUMENT,
        responses={200: DefinitionSerializer, 201: DefinitionSerializer, **problems(400, 413, 415, 422)},
        filters=False,
    )
    def post(self, request: Request) -> Response:
        """Publish a document as the next version of its workflow; 200 where it equals the newest one."""
        if not policy.may_configure(request.user):
            raise PermissionDenied("Only configurators publish definitions.")
        published = publishing.publish(request.data, published_by=request.user.get_username())
        return published_answer(request, published)


class DefinitionValidateView(APIView):
    """Check without publishing."""

    required_scopes = {"POST": "read"}
    parser_classes = (StrictJSONParser, YAMLParser)

    @extend_schema(
        operation_id="definitions_validate",
        request=DOCUMENT,
        responses={200: ValidationSerializer, **problems(400, 413, 415)},
    )
    def post(self, request: Request) -> Response:
        """Every fault of a document, each with its place and how to mend it."""
        faults = publishing.faults(request.data)
        return Response({"valid": not faults, "errors": errors_of(faults)})


class DefinitionView(APIView):
    """The newest version of one workflow."""

    @extend_schema(operation_id="definitions_read", responses={200: DefinitionSerializer, 304: None, **problems(404)})
    def get(self, request: Request, name: str) -> Response:
        """The newest version, with its document."""
        return _answer(request, Definition.objects.with_retired().newest(name))


class DefinitionVersionView(APIView):
    """One version of one workflow."""

    @extend_schema(
        operation_id="definitions_read_version", responses={200: DefinitionSerializer, 304: None, **problems(404)}
    )
    def get(self, request: Request, name: str, version: int) -> Response:
        """That version, with its document. It never changes."""
        versions = Definition.objects.with_retired().filter(name=name, version=version)
        found = versions.first() if version < 2**31 else None
        return _answer(request, found)


def _answer(request: Request, definition: Definition | None) -> Response:
    if definition is None:
        raise Http404
    data: Any = DefinitionSerializer(definition).data
    return with_etag(request, data)
