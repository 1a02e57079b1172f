"""The departments' errors as problem details."""

from __future__ import annotations

from typing import Any

from rest_framework.generics import GenericAPIView
from rest_framework.permissions import BasePermission
from rest_framework.response import Response

from departments.configuration import DepartmentExists
from departments.exceptions import (
    DepartmentsError,
    InvalidAnswer,
    ItemConflict,
    NotAllowed,
    NotVisible,
    VersionMismatch,
)
from departments.models import WorkItem
from workflows.api.authentication import HasScope
from workflows.api.problems import Problem, invalid


class DepartmentsView(GenericAPIView[Any]):
    """A view whose actions raise the departments' errors; each becomes the problem that the contract names."""

    queryset: Any = WorkItem.objects.none()
    permission_classes: list[type[BasePermission]] = [HasScope]

    def handle_exception(self, exc: Exception) -> Response:
        return super().handle_exception(as_problem(exc) if isinstance(exc, DepartmentsError) else exc)


def as_problem(error: DepartmentsError) -> Exception:
    """404, 403, 409 with who, when and what, 412 with the present version, or 422 with every fault."""
    if isinstance(error, NotVisible):
        return Problem(404, error.detail)
    if isinstance(error, NotAllowed):
        return Problem(403, error.detail)
    if isinstance(error, InvalidAnswer):
        return invalid(error.faults)
    if isinstance(error, VersionMismatch):
        return Problem(412, error.detail, extra={"item": {"id": str(error.item.pk), "version": error.item.version}})
    if isinstance(error, ItemConflict):
        return Problem(409, error.detail, extra={"code": error.code, **_now(error.item)})
    if isinstance(error, DepartmentExists):
        return Problem(409, error.detail, extra={"code": error.code})
    return error


def _now(item: Any) -> dict[str, Any]:
    """Who decided it, when and what; and in `item` where it stands (`status` by itself is the HTTP status)."""
    if item is None:
        return {}
    return {
        "decided_by": item.decided_by.get_username() if item.decided_by else None,
        "decided_at": item.decided_at,
        "outcome": item.outcome,
        "item": {
            "id": str(item.pk),
            "status": item.status,
            "version": item.version,
            "assignee": item.assignee.get_username() if item.assignee else None,
            "claimed_at": item.claimed_at,
        },
    }
