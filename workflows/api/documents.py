"""Documents: upload, list, download."""

from __future__ import annotations

import logging
import uuid

from django.db.models import QuerySet
from django.http import FileResponse, Http404
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from workflows import policy
from workflows.intake.documents import open_document, store_document
from workflows.models import Document

from .jobs import readable_job
from .pagination import KeysetPagination
from .parsers import BoundedMultiPartParser
from .problems import Problem
from .schema import problems
from .serializers import DocumentSerializer

logger = logging.getLogger("workflows.api")

UPLOAD = {
    "multipart/form-data": {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary"}},
        "additionalProperties": False,
    }
}


class DocumentsView(APIView):
    """The door where documents come in."""

    required_scopes = {"POST": "submit"}
    parser_classes = (BoundedMultiPartParser,)

    @extend_schema(
        operation_id="documents_upload",
        request=UPLOAD,
        responses={201: DocumentSerializer, **problems(400, 413, 415, 422, 507)},
    )
    def post(self, request: Request) -> Response:
        """Keep a file until a submission names it in `documents`; one that none names is removed after a day."""
        files = request.FILES.getlist("file")
        errors = [
            {"pointer": f"/{name}", "code": "unknown_field", "detail": "is not expected"}
            for name in request.data
            if name != "file"
        ]
        if len(files) != 1:
            errors.append({"pointer": "/file", "code": "required", "detail": "must be one file"})
        if errors:
            raise Problem(422, "The form is not valid; see errors.", errors=errors)
        try:
            document = store_document(files[0].name, files[0], uploaded_by=request.user)
        except OSError:
            logger.exception("a document could not be kept")
            raise Problem(507, "The file could not be kept. Try again later.") from None
        where = request.build_absolute_uri(reverse("api:document", args=[document.pk]))
        return Response(DocumentSerializer(document).data, status=201, headers={"Location": where})


class JobDocumentsView(GenericAPIView[Document]):
    """The documents of one job."""

    serializer_class = DocumentSerializer
    pagination_class = KeysetPagination
    queryset = Document.objects.none()

    def get_queryset(self) -> QuerySet[Document]:
        return Document.objects.filter(job=readable_job(self.request, self.kwargs["job_id"]).pk)

    @extend_schema(operation_id="jobs_documents", responses={200: DocumentSerializer(many=True), **problems(400, 404)})
    def get(self, request: Request, job_id: uuid.UUID) -> Response:
        """What came with the job, and what its steps added."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(DocumentSerializer(page, many=True).data)


class DocumentView(APIView):
    """One document."""

    @extend_schema(operation_id="documents_read", responses={200: DocumentSerializer, **problems(404)})
    def get(self, request: Request, document_id: uuid.UUID) -> Response:
        """Name, type, size and hash."""
        return Response(DocumentSerializer(_visible(request, document_id)).data)


class DocumentContentView(APIView):
    """The content of one document."""

    @extend_schema(
        operation_id="documents_content",
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY, **problems(404)},
    )
    def get(self, request: Request, document_id: uuid.UUID) -> FileResponse:
        """The file, as an attachment."""
        return download(_visible(request, document_id))


def download(document: Document) -> FileResponse:
    """A document as an answer that no browser runs anything of. Http404 where the storage has lost it."""
    try:
        content = open_document(document)
    except FileNotFoundError:
        logger.error("the content of document %s is lost", document.pk)
        raise Http404 from None
    response = FileResponse(content, as_attachment=True, filename=document.name, content_type=document.media_type)
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = "private, no-store"
    return response


def _visible(request: Request, document_id: uuid.UUID) -> Document:
    document = policy.visible_documents(request.user).filter(pk=document_id).first()
    if document is None:
        raise Http404
    return document
