"""Pages by key: stable while rows come and go, and as fast on the last page as on the first."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.core import signing
from django.db.models import QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from .filters import refuse_parameters

DEFAULT_SIZE = 50
MAX_SIZE = 200


class KeysetPagination(BasePagination):
    """A page of rows ordered by one unique key. The cursor is signed and holds for the path that gave it.

    Subclasses say which key, in which direction, and how its text is read.
    """

    key = "id"
    descending = True
    read_key: Callable[[str], Any] = staticmethod(uuid.UUID)
    parameters = ("cursor", "page_size")

    def paginate_queryset(
        self, queryset: QuerySet[Any], request: Request, view: APIView | None = None
    ) -> list[Any] | None:
        """The rows of the page that the request asks for, in one query. Problem (400) for a cursor that is not ours."""
        self.request = request
        size = self._size(request)
        backwards, edge = self._cursor(request)
        falling = self.descending != backwards
        rows = self._rows(queryset, edge, falling, size + 1)
        more, rows = len(rows) > size, rows[:size]
        if backwards:
            rows.reverse()
        before = more if backwards else edge is not None
        after = True if backwards else more
        self.previous = self._link("previous", rows[0]) if before and rows else None
        self.next = self._link("next", rows[-1]) if after and rows else None
        return rows

    def _rows(self, queryset: QuerySet[Any], edge: Any, falling: bool, most: int) -> list[Any]:
        """The rows beyond the edge, in order, so many at most."""
        if edge is not None:
            queryset = queryset.filter(**{f"{self.key}__{'lt' if falling else 'gt'}": edge})
        return list(queryset.order_by(f"-{self.key}" if falling else self.key)[:most])

    def get_paginated_response(self, data: Any) -> Response:
        """The page, with links to its neighbours."""
        return Response({"next": self.next, "previous": self.previous, "results": data})

    def _size(self, request: Request) -> int:
        text = request.query_params.get("page_size")
        if text is None:
            return DEFAULT_SIZE
        if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= MAX_SIZE):
            raise refuse_parameters({"page_size": ("out_of_range", f"must be a whole number from 1 to {MAX_SIZE}")})
        return int(text)

    def _cursor(self, request: Request) -> tuple[bool, Any]:
        text = request.query_params.get("cursor")
        if text is None:
            return False, None
        try:
            direction, edge = signing.loads(text, salt=self._salt(request))
            return direction == "previous", self.read_key(edge)
        except (signing.BadSignature, ValueError, TypeError):
            raise refuse_parameters({"cursor": ("invalid_cursor", "is none that this list gave")}) from None

    def _link(self, direction: str, row: Any) -> str:
        edge = row[self.key] if isinstance(row, dict) else getattr(row, self.key)
        cursor = signing.dumps([direction, str(edge)], salt=self._salt(self.request))
        return replace_query_param(self.request.build_absolute_uri(), "cursor", cursor)

    @staticmethod
    def _salt(request: Request) -> str:
        return f"workflows.cursor:{request.path}"

    # ---- for the OpenAPI document

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """How a page looks."""
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        """The two parameters of every list."""
        size = {"type": "integer", "minimum": 1, "maximum": MAX_SIZE, "default": DEFAULT_SIZE}
        return [
            {
                "name": "cursor",
                "in": "query",
                "schema": {"type": "string"},
                "description": "From `next` or `previous`.",
            },
            {"name": "page_size", "in": "query", "schema": size},
        ]


class HistoryPagination(KeysetPagination):
    """A job's history, oldest first. That of an archived job is a list, in order."""

    key = "sequence"
    descending = False
    read_key = int

    def _rows(self, queryset: Any, edge: Any, falling: bool, most: int) -> list[Any]:
        if not isinstance(queryset, list):
            return super()._rows(queryset, edge, falling, most)
        rows = [row for row in queryset if edge is None or (row.sequence < edge if falling else row.sequence > edge)]
        return (rows[::-1] if falling else rows)[:most]


class CodePagination(KeysetPagination):
    """By code, in the order of the alphabet."""

    key = "code"
    descending = False
    read_key = str


class NamePagination(KeysetPagination):
    """By name, in the order of the alphabet."""

    key = "name"
    descending = False
    read_key = str


class VersionPagination(KeysetPagination):
    """By version, the newest first."""

    key = "version"
    read_key = int
