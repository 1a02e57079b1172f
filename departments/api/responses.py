"""Answers to external tasks over REST, in JSON or XML."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from departments import actions
from departments.exceptions import InvalidAnswer
from workflows.api.bodies import Body
from workflows.api.parsers import ParsedXML, StrictJSONParser, StrictXMLParser, TextXMLParser
from workflows.api.schema import problems
from workflows.engine.faults import Fault

from .problems import DepartmentsView
from .serializers import ResponseSerializer

RESPONSE = Body(
    {
        "status": {"type": "string", "maxLength": 100, "description": "Becomes the task's outcome."},
        "data": {"description": "Becomes the task's output."},
        "response_id": {
            "type": ["string", "null"],
            "maxLength": 200,
            "description": "The sender's own key: a repeated one changes nothing.",
        },
    },
    required=("status",),
)


class TaskResponse(DepartmentsView):
    """The answer to a task that waits for one from outside."""

    parser_classes = [StrictJSONParser, StrictXMLParser, TextXMLParser]
    required_scopes = {"POST": "respond"}

    @extend_schema(
        operation_id="jobs_tasks_response",
        request={"application/json": RESPONSE.schema, "application/xml": RESPONSE.schema},
        responses={200: ResponseSerializer, 201: ResponseSerializer, **problems(400, 404, 409, 413, 415, 422)},
    )
    def post(self, request: Request, job_id: UUID, task: str) -> Response:
        """Answer the task: `201`, and the job goes on; `200` where this `response_id` was taken before."""
        body = RESPONSE.check(_fields(request.data))
        xml = request.data if isinstance(request.data, ParsedXML) else None
        response, created = actions.respond_external(
            job_id,
            task,
            request.user,
            status=body["status"],
            data=body.get("data"),
            response_id=body.get("response_id"),
            format="json" if xml is None else "xml",
            body="" if xml is None else xml.text,
        )
        return Response(ResponseSerializer(response).data, status=201 if created else 200)


def _fields(data: Any) -> Any:
    """The fields of an answer. Attributes of an XML root, such as a namespace, say nothing about it."""
    if not isinstance(data, ParsedXML):
        return data
    if data.root != "response":
        raise InvalidAnswer([Fault("", "unexpected_root", "must be a <response> element")])
    return {name: value for name, value in data.items() if not name.startswith("@")}
