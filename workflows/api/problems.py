"""Errors as problem details (RFC 9457): whatever goes wrong, the answer is `application/problem+json`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template import loader
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.response import Response

from workflows.engine.exceptions import InvalidCalendar, InvalidDefinition
from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import pointer_to
from workflows.execution.exceptions import JobArchived, JobNotFound
from workflows.intake.exceptions import (
    DraftChanged,
    IdempotencyConflict,
    InvalidDocument,
    InvalidSchedule,
    InvalidSubmission,
    NoSuchVersion,
    ScheduleExists,
    VersionPublished,
)
from workflows.operations.exceptions import BulkNotFound, CannotMigrate, InvalidRequest, WrongStage, WrongState

logger = logging.getLogger("workflows.api")

MEDIA_TYPE = "application/problem+json"
Errors = list[dict[str, Any]]
UNAVAILABLE = "The database is not available now. Nothing was lost: send the request again in a few seconds."
RETRY_AFTER = {"Retry-After": "5"}

TITLES = {
    400: ("bad-request", "The request cannot be read"),
    401: ("not-authenticated", "Who are you?"),
    403: ("not-allowed", "You may not do this"),
    404: ("not-found", "There is no such thing"),
    405: ("method-not-allowed", "This cannot be done here"),
    406: ("not-acceptable", "No representation that you accept"),
    409: ("conflict", "The state does not allow this"),
    412: ("precondition-failed", "It was changed meanwhile"),
    413: ("too-large", "The body is too large"),
    415: ("unsupported-media-type", "This media type is not taken"),
    422: ("invalid", "The content is not valid"),
    428: ("precondition-required", "Say which version you saw"),
    429: ("too-many-requests", "Too many requests"),
    500: ("server-error", "Something went wrong here"),
    503: ("unavailable", "Not available now"),
    507: ("storage-full", "The file could not be kept"),
}


class Problem(exceptions.APIException):
    """Raise this to answer with a problem: a status, a sentence, and for bad input its errors.

    `extra` are further members of the answer; `slug` makes a type of its own, `/problems/<slug>`.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        slug: str | None = None,
        errors: Errors | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status_code = status
        self.sentence = detail
        self.slug = slug
        self.errors = errors
        self.extra = dict(extra or {})


def body_of(
    status: int,
    detail: str,
    *,
    slug: str | None = None,
    errors: Errors | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The members of a problem."""
    own, title = TITLES.get(status, (f"status-{status}", HTTPStatus(status).phrase))
    body: dict[str, Any] = {"type": f"/problems/{slug or own}", "title": title, "status": status, "detail": detail}
    if errors is not None:
        body["errors"] = errors
    return {**body, **(extra or {})}


def problem(
    status: int,
    detail: str,
    *,
    slug: str | None = None,
    errors: Errors | None = None,
    extra: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An answer that is a problem. `errors` is a list of `{"pointer", "code", "detail"}`."""
    body = body_of(status, detail, slug=slug, errors=errors, extra=extra)
    return Response(body, status=status, headers=dict(headers or {}), content_type=MEDIA_TYPE)


def errors_of(faults: Iterable[Fault]) -> Errors:
    """Faults as the `errors` of a problem."""
    return [{"pointer": fault.pointer, "code": fault.code, "detail": fault.detail} for fault in faults]


def invalid(faults: Iterable[Fault], detail: str = "") -> Problem:
    """The problem of a body that is well formed but not valid: 422 with every fault."""
    errors = errors_of(faults)
    many = f"The request has {len(errors)} faults; see errors."
    return Problem(422, detail or ("The request has a fault; see errors." if len(errors) == 1 else many), errors=errors)


def conflict_of(job: Any, detail: str, **extra: Any) -> Problem:
    """The problem of a job that is not in a state for this, with the state it is in."""
    state = {"id": str(job.pk), "status": job.status, "finished_at": job.finished_at}
    return Problem(409, detail, extra={"job": state, **extra})


# ---- one handler for all --------------------------------------------------------------------------------------------


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response:
    """REST framework's hook: every exception of a view becomes a problem, and an unforeseen one leaks nothing."""
    # REST framework's views import the parsers, which import this module: it cannot import the views in turn.
    from rest_framework.views import set_rollback

    set_rollback()
    if isinstance(error, OperationalError | InterfaceError):
        logger.warning("the database is not available: %s", error)
        return problem(503, UNAVAILABLE, headers=RETRY_AFTER)
    known = _translated(error)
    if isinstance(known, Problem):
        return problem(known.status_code, known.sentence, slug=known.slug, errors=known.errors, extra=known.extra)
    if isinstance(known, exceptions.APIException):
        return _from_rest_framework(known)
    request = context.get("request")
    logger.exception("unhandled error in %s", getattr(request, "path", "?"), exc_info=error)
    got_request_exception.send(sender=exception_handler, request=getattr(request, "_request", request))
    return problem(500, "The server could not handle the request. The operators find the reason in their log.")


def _translated(error: Exception) -> Exception:
    """The problem that an error of a lower floor is at this door."""
    if isinstance(error, InvalidSubmission | InvalidDefinition | InvalidCalendar | InvalidSchedule | InvalidRequest):
        return invalid(error.faults)
    if isinstance(error, IdempotencyConflict):
        errors = [
            {"pointer": field, "code": "differs", "detail": "differs from the first use"} for field in error.fields
        ]
        job = {"id": str(error.job.pk), "status": error.job.status, "created_at": error.job.created_at}
        return Problem(409, str(error), slug="idempotency-conflict", errors=errors, extra={"job": job})
    if isinstance(error, CannotMigrate):
        errors = [
            {"pointer": f"/mapping/{obstacle.task}" if obstacle.task else "", "code": obstacle.code, "detail": detail}
            for obstacle in error.obstacles
            if (detail := obstacle.detail)
        ]
        return conflict_of(error.job, error.detail, errors=errors)
    if isinstance(error, WrongState):
        known = {"by": error.by or None, "at": error.at} if error.at else {}
        return conflict_of(error.job, error.detail, **known)
    if isinstance(error, InvalidDocument):
        if error.code == "too_large":
            return Problem(413, error.detail)
        status = 415 if error.code in ("unsupported_type", "wrong_type") else 422
        return Problem(status, error.detail, errors=[{"pointer": "/file", "code": error.code, "detail": error.detail}])
    if isinstance(error, JobArchived):
        return conflict_of(error.job, str(error), archived_at=error.job.archived_at)
    if isinstance(error, ScheduleExists):
        return Problem(409, str(error))
    if isinstance(error, WrongStage):
        return Problem(409, str(error))
    if isinstance(error, Http404 | JobNotFound | NoSuchVersion | BulkNotFound):
        return exceptions.NotFound()
    if isinstance(error, DraftChanged):
        return Problem(412, str(error))
    if isinstance(error, VersionPublished):
        return Problem(409, str(error), slug="version-published")
    if isinstance(error, PermissionDenied):
        return exceptions.PermissionDenied()
    if isinstance(error, RequestDataTooBig):
        return Problem(413, "The body is too large.")
    if isinstance(error, SuspiciousOperation):
        return Problem(400, "The request cannot be read.")
    return error


def _from_rest_framework(error: exceptions.APIException) -> Response:
    """A problem from one of REST framework's own exceptions, with the headers it asks for."""
    headers = {}
    if header := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = header
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait))
    if isinstance(error, exceptions.ValidationError):
        faults = list(_faults_in(error.get_full_details(), ()))
        return problem(422, "The request is not valid; see errors.", errors=errors_of(faults))
    detail = "There is no such resource, or not for you." if error.status_code == 404 else str(error.detail)
    return problem(error.status_code, detail, headers=headers)


def _faults_in(details: Any, path: tuple[str | int, ...]) -> Iterable[Fault]:
    """REST framework's nested details as a flat list."""
    if isinstance(details, dict) and {"message", "code"} == set(details):
        yield Fault(pointer_to(path), str(details["code"]), str(details["message"]))
    elif isinstance(details, dict):
        for name, inner in details.items():
            yield from _faults_in(inner, path if name == "non_field_errors" else (*path, name))
    else:
        for index, inner in enumerate(details):
            leaf = isinstance(inner, dict) and {"message", "code"} == set(inner)
            yield from _faults_in(inner, path if leaf else (*path, index))


# ---- outside of REST framework --------------------------------------------------------------------------------------


def _plain(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JsonResponse:
    return JsonResponse(body_of(status, detail), status=status, content_type=MEDIA_TYPE, headers=dict(headers or {}))


@csrf_exempt
def no_such_endpoint(request: HttpRequest, path: str = "") -> HttpResponseBase:
    """Answers every path under /api/ that is no endpoint, so that a POST without its slash is not redirected."""
    hint = "" if request.path.endswith("/") else " Paths end with a slash."
    return _plain(404, f"There is no such endpoint.{hint}")


def handler400(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """A request that Django itself refused."""
    if not request.path.startswith("/api/"):
        return defaults.bad_request(request, exception)
    if isinstance(exception, RequestDataTooBig):
        return _plain(413, "The body is too large.")
    return _plain(400, "The request cannot be read.")


def handler404(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """A path that leads nowhere."""
    if request.path.startswith("/api/"):
        return no_such_endpoint(request)
    return defaults.page_not_found(request, exception)


def handler500(request: HttpRequest) -> HttpResponseBase:
    """An error outside of any view. A database that is away is said as such: the client may try again."""
    if isinstance(sys.exc_info()[1], OperationalError | InterfaceError):
        if request.path.startswith("/api/"):
            return _plain(503, UNAVAILABLE, RETRY_AFTER)
        page = loader.get_template("503.html").render()
        return HttpResponse(page, status=503, headers=RETRY_AFTER)
    if request.path.startswith("/api/"):
        return _plain(500, "The server could not handle the request. The operators find the reason in their log.")
    return defaults.server_error(request)
