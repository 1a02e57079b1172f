"""Work items over REST: the list, one item, and the verbs of the inbox."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Prefetch
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from departments import actions
from departments.exceptions import NotVisible
from departments.models import Vote, WorkItem, WorkItemQuerySet
from departments.policy import visible_items
from workflows.api.bodies import Body
from workflows.api.conditional import with_etag
from workflows.api.pagination import KeysetPagination
from workflows.api.schema import problems
from workflows.api.seen import IF_MATCH, entity_tag, seen_version

from .filters import WorkItemFilter
from .problems import DepartmentsView
from .serializers import CommentSerializer, WorkItemSerializer

TEXT = {"type": "string"}
NOTHING = Body({})
ASSIGN = Body({"assignee": {**TEXT, "description": "A member of the item's department."}}, required=("assignee",))
FORWARD = Body({"department": {**TEXT, "description": "Its code."}, "comment": TEXT}, required=("department",))
COMMENT = Body({"text": {**TEXT, "maxLength": 4000}}, required=("text",))
COMPLETE = Body(
    {
        "outcome": {**TEXT, "description": "One of the item's outcomes."},
        "data": {"type": "object", "description": "The fields of the item's form."},
        "comment": {**TEXT, "maxLength": 4000},
    },
    required=("outcome",),
)
ANSWERS: dict[Any, Any] = {200: WorkItemSerializer, **problems(400, 404, 409, 412, 422)}


class WorkItemList(DepartmentsView):
    """The items that the caller may see."""

    serializer_class = WorkItemSerializer
    filterset_class = WorkItemFilter
    pagination_class = KeysetPagination

    def get_queryset(self) -> WorkItemQuerySet:
        return shown_items(self.request.user)

    @extend_schema(operation_id="work_items_list", responses={200: WorkItemSerializer(many=True), **problems(400)})
    def get(self, request: Request) -> Response:
        """A page of work items, newest first, in every status."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(WorkItemSerializer(page, many=True).data)


class WorkItemDetail(DepartmentsView):
    """One work item."""

    @extend_schema(operation_id="work_items_read", responses={200: WorkItemSerializer, 304: None, **problems(404)})
    def get(self, request: Request, item_id: UUID) -> Response:
        """The item; `304` where the caller has this version already."""
        item = shown_items(request.user).filter(pk=item_id).first()
        if item is None:
            raise NotVisible
        return with_etag(request, WorkItemSerializer(item).data, etag=entity_tag(item.version))


class WorkItemVerb(DepartmentsView):
    """What all verbs share: a POST that needs a token for work."""

    required_scopes = {"POST": "work"}


class Claim(WorkItemVerb):
    """Taking an item."""

    @extend_schema(operation_id="work_items_claim", request=None, parameters=[IF_MATCH], responses=ANSWERS)
    def post(self, request: Request, item_id: UUID) -> Response:
        """Take the item. Claiming what one holds changes nothing."""
        NOTHING.read(request)
        return shown(actions.claim(item_id, request.user, version=seen_version(request)))


class Release(WorkItemVerb):
    """Giving an item back."""

    @extend_schema(operation_id="work_items_release", request=None, parameters=[IF_MATCH], responses=ANSWERS)
    def post(self, request: Request, item_id: UUID) -> Response:
        """Give the item back to its department."""
        NOTHING.read(request)
        return shown(actions.release(item_id, request.user, version=seen_version(request)))


class Assign(WorkItemVerb):
    """Handing an item to somebody."""

    @extend_schema(operation_id="work_items_assign", request=ASSIGN.openapi, parameters=[IF_MATCH], responses=ANSWERS)
    def post(self, request: Request, item_id: UUID) -> Response:
        """Hand the item to a member of its department: by a lead, or by anyone to themselves."""
        assignee = ASSIGN.read(request)["assignee"]
        return shown(actions.assign(item_id, request.user, assignee, version=seen_version(request)))


class Forward(WorkItemVerb):
    """Sending an item elsewhere."""

    @extend_schema(operation_id="work_items_forward", request=FORWARD.openapi, parameters=[IF_MATCH], responses=ANSWERS)
    def post(self, request: Request, item_id: UUID) -> Response:
        """Send the item to another department. The answer shows it even where the caller sees it no more."""
        body = FORWARD.read(request)
        return shown(actions.forward(item_id, request.user, **body, version=seen_version(request)))


class CommentOn(WorkItemVerb):
    """Saying something about an item."""

    @extend_schema(
        operation_id="work_items_comment",
        request=COMMENT.openapi,
        responses={201: CommentSerializer, **problems(404, 422)},
    )
    def post(self, request: Request, item_id: UUID) -> Response:
        """Add a comment; the item's version stays."""
        row = actions.comment(item_id, request.user, COMMENT.read(request)["text"])
        return Response(CommentSerializer(row).data, status=201)


class Complete(WorkItemVerb):
    """Deciding an item."""

    @extend_schema(
        operation_id="work_items_complete", request=COMPLETE.openapi, parameters=[IF_MATCH], responses=ANSWERS
    )
    def post(self, request: Request, item_id: UUID) -> Response:
        """Decide the item: of any number at once, exactly one takes effect. The rest are told who, when and what.

        Where several decide together this is your vote, and the answer shows how the votes stand.
        """
        body = COMPLETE.read(request)
        return shown(actions.complete(item_id, request.user, **body, version=seen_version(request)))


def shown_items(user: Any) -> WorkItemQuerySet:
    """The items that a user may see, with all that is shown of them: two statements for any number."""
    votes = Prefetch("votes", Vote.objects.select_related("voter").order_by("id"))
    return visible_items(user).select_related("department", "assignee", "decided_by").prefetch_related(votes)


def shown(item: WorkItem) -> Response:
    """An item with the entity tag that `If-Match` takes."""
    return Response(WorkItemSerializer(item).data, headers={"ETag": entity_tag(item.version)})
