"""Events: send, list, read, handle again."""

from __future__ import annotations

import uuid
from typing import Any

import django_filters
from django.db.models import QuerySet
from django.http import Http404
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from workflows import policy
from workflows.engine.faults import Fault
from workflows.intake import cloudevents
from workflows.intake.events import MAX_BATCH, receive_event, receive_events, retry_event
from workflows.intake.exceptions import InvalidSubmission
from workflows.intake.submit import submit_job
from workflows.models import Event, EventWaiter, SubscriptionRun

from .filters import BOOLEANS, MomentFilter
from .jobs import SUBMIT, submission_of, submitted_job
from .pagination import KeysetPagination
from .parsers import StrictJSONParser
from .problems import Problem, invalid
from .schema import problems
from .serializers import AnyJSONField, JobSerializer

JOB_SUBMIT = "job.submit"
"""The type of the event that is a submission: its data is the body of `POST /jobs/`, its id the idempotency key."""
SHOWN = 100
"""So many of those whom an event woke, and of the jobs it started, are on its page."""


class StructuredParser(StrictJSONParser):
    """One event as one JSON document."""

    media_type = cloudevents.JSON_TYPE


class BatchParser(StrictJSONParser):
    """A list of such documents."""

    media_type = cloudevents.BATCH_TYPE


class EventFilter(django_filters.FilterSet):
    """The filters of the list of events."""

    type = django_filters.CharFilter(max_length=200)
    key = django_filters.CharFilter(max_length=200)
    source = django_filters.CharFilter(max_length=300)
    handled = django_filters.ChoiceFilter(
        choices=BOOLEANS, method="filter_handled", help_text="Whether waiters and subscriptions were served."
    )
    failed = django_filters.ChoiceFilter(
        choices=BOOLEANS, method="filter_failed", help_text="Refused, or without a subscription that should start."
    )
    received_after = MomentFilter("received_at", "gte", help_text="At this time or later.")
    received_before = MomentFilter("received_at", "lt", help_text="Before this time.")

    class Meta:
        model = Event
        fields: list[str] = []

    def filter_handled(self, queryset: QuerySet[Event], name: str, value: str) -> QuerySet[Event]:
        """Handled events, or those that are not yet."""
        return queryset.filter(handled_at__isnull=value == "false")

    def filter_failed(self, queryset: QuerySet[Event], name: str, value: str) -> QuerySet[Event]:
        """Events with an error, or without."""
        return queryset.exclude(error="") if value == "true" else queryset.filter(error="")


class EventListSerializer(serializers.ModelSerializer[Event]):
    """An event in a list, without its data."""

    class Meta:
        model = Event
        fields = [
            *("id", "source", "event_id", "type", "subject", "key", "time"),
            *("received_at", "expires_at", "handled_at", "refused", "error"),
        ]
        extra_kwargs = {"id": {"help_text": "This server's id; the sender's is event_id."}}


class ReceivedSerializer(EventListSerializer):
    """What became of an event that was sent."""

    duplicate = serializers.BooleanField(help_text="It was known by its source and id, and nothing was changed.")

    class Meta(EventListSerializer.Meta):
        fields = [*EventListSerializer.Meta.fields, "duplicate"]


class ReceivedBatchSerializer(serializers.Serializer[Any]):
    """The events of a batch, in the order they were given."""

    events = ReceivedSerializer(many=True)


class WokeSerializer(serializers.ModelSerializer[EventWaiter]):
    """A task that an event woke."""

    job = serializers.UUIDField(source="job_id")
    at = serializers.DateTimeField(source="closed_at")

    class Meta:
        model = EventWaiter
        fields = ["job", "task", "iteration", "at"]


class StartedSerializer(serializers.ModelSerializer[SubscriptionRun]):
    """A job that an event started."""

    job = serializers.UUIDField(source="job_id")

    class Meta:
        model = SubscriptionRun
        fields = ["subscription", "job", "at"]


class EventSerializer(EventListSerializer):
    """An event with its data and what came of it, in two more queries."""

    data = AnyJSONField(read_only=True)
    woke = serializers.SerializerMethodField(help_text=f"The first {SHOWN} of them.")
    started = serializers.SerializerMethodField(help_text=f"The first {SHOWN} of them.")

    class Meta(EventListSerializer.Meta):
        fields = [*EventListSerializer.Meta.fields, "data", "woke", "started"]

    @extend_schema_field(WokeSerializer(many=True))
    def get_woke(self, event: Event) -> list[dict[str, Any]]:
        return list(WokeSerializer(event.waiters.order_by("id")[:SHOWN], many=True).data)

    @extend_schema_field(StartedSerializer(many=True))
    def get_started(self, event: Event) -> list[dict[str, Any]]:
        return list(StartedSerializer(event.runs.order_by("id")[:SHOWN], many=True).data)


def _visible_event(request: Request, event_id: uuid.UUID) -> Event:
    """The event, where the caller may see it; a foreign one and an absent one are the same 404."""
    event = policy.visible_events(request.user).filter(pk=event_id).first()
    if event is None:
        raise Http404
    return event


_BODIES = {
    cloudevents.JSON_TYPE: cloudevents.SCHEMA,
    cloudevents.BATCH_TYPE: {"type": "array", "items": cloudevents.SCHEMA, "maxItems": MAX_BATCH},
    "application/json": {"description": "The data of an event whose attributes are in the headers."},
}
_HEADERS = [
    OpenApiParameter(f"ce-{name}", OpenApiTypes.STR, OpenApiParameter.HEADER, description=f"In the binary mode: {what}")
    for name, what in (
        ("specversion", "1.0"),
        ("id", "unique for its source"),
        ("source", "a URI reference"),
        ("type", "what happened"),
        ("subject", "what it happened to"),
        ("time", "when, RFC 3339"),
        ("correlationkey", "whom it concerns; the subject where it is missing"),
        ("timetolive", "an ISO 8601 duration"),
    )
]
_RECEIVED = PolymorphicProxySerializer(
    "ReceivedEvent",
    serializers=[ReceivedSerializer, ReceivedBatchSerializer, JobSerializer],
    resource_type_field_name=None,
)


class EventsView(GenericAPIView[Event]):
    """All events, and the door where they come in."""

    required_scopes = {"GET": "read", "POST": "submit"}
    parser_classes = (StructuredParser, BatchParser, StrictJSONParser)
    serializer_class = EventListSerializer
    filterset_class = EventFilter
    pagination_class = KeysetPagination
    queryset = Event.objects.none()

    @extend_schema(operation_id="events_list", responses={200: EventListSerializer(many=True), **problems(400, 403)})
    def get(self, request: Request) -> Response:
        """A page of events, the newest first. Only for operators; their data is on the event's own page."""
        if not policy.may_operate(request.user):
            raise PermissionDenied("Only operators list events. Whoever sent one can read it.")
        page = self.paginate_queryset(self.filter_queryset(Event.objects.defer("data")))
        return self.get_paginated_response(EventListSerializer(page, many=True).data)

    @extend_schema(
        operation_id="events_send",
        request=_BODIES,
        parameters=_HEADERS,
        responses={200: _RECEIVED, 201: _RECEIVED, **problems(400, 409, 413, 415, 422)},
        filters=False,
    )
    def post(self, request: Request) -> Response:
        """Send CloudEvents 1.0: structured, as a batch of up to 1,000 (all of them or none), or binary.

        It wakes the tasks that wait for its type and key, and starts the workflows that subscribe to it. A repeated
        (source, id) changes nothing (200). An event of type `job.submit` submits its data as `POST /jobs/` would, with
        its id as the idempotency key, and is answered with the job.
        """
        media_type = (request.content_type or "").partition(";")[0].strip().lower()
        if media_type == cloudevents.BATCH_TYPE:
            return self._batch(request)
        document = request.data if media_type == cloudevents.JSON_TYPE else _from_headers(request)
        if isinstance(document, dict) and document.get("type") == JOB_SUBMIT:
            return self._submit(request, document)
        kept = receive_event(document, received_by=request.user)
        event = _with_duplicate(kept.event, not kept.created)
        where = request.build_absolute_uri(reverse("api:event", args=[kept.event.pk]))
        return Response(
            ReceivedSerializer(event).data, status=201 if kept.created else 200, headers={"Location": where}
        )

    def _batch(self, request: Request) -> Response:
        documents = request.data
        if not isinstance(documents, list):
            raise invalid([Fault("", "type", "A batch is a list of events.")])
        faults = [
            Fault(f"/{index}/type", "not_in_batch", "Send it by itself, or many jobs to /api/v1/jobs/batch/.")
            for index, document in enumerate(documents)
            if isinstance(document, dict) and document.get("type") == JOB_SUBMIT
        ]
        if faults:
            raise invalid(faults)
        kept = receive_events(documents, received_by=request.user)
        events = [_with_duplicate(one.event, not one.created) for one in kept]
        created = any(one.created for one in kept)
        return Response({"events": ReceivedSerializer(events, many=True).data}, status=201 if created else 200)

    def _submit(self, request: Request, document: dict[str, Any]) -> Response:
        arrival = cloudevents.read(document)
        try:
            submission = submission_of(SUBMIT.check(arrival.data))
            submitted = submit_job(submission, submitted_by=request.user, idempotency_key=arrival.event_id)
        except InvalidSubmission as error:
            raise invalid(_of_data(fault) for fault in error.faults) from None
        except Problem as problem:
            for told in problem.errors or ():
                told["pointer"] = f"/data{told['pointer']}"
            raise
        job = submitted_job(submitted)
        headers = {"Location": request.build_absolute_uri(reverse("api:job", args=[job.pk]))}
        if not submitted.created:
            headers["Idempotent-Replayed"] = "true"
        return Response(JobSerializer(job).data, status=201 if submitted.created else 200, headers=headers)


def _of_data(fault: Fault) -> Fault:
    """The fault of a submission, as one of the event that carries it."""
    pointer = "/id" if fault.code == "invalid_idempotency_key" else f"/data{fault.pointer}"
    return Fault(pointer, fault.code, fault.detail)


def _with_duplicate(event: Event, duplicate: bool) -> Event:
    event.duplicate = duplicate  # type: ignore[attr-defined]
    return event


def _from_headers(request: Request) -> dict[str, Any]:
    """The document of an event in the binary mode. A body that is not there is no data."""
    data = request.data  # read in any case, so that a body that is no JSON is told before anything else
    if request.META.get("CONTENT_LENGTH") in (None, "", "0"):
        data = None
    return cloudevents.from_headers(request.headers, data)


class EventView(APIView):
    """One event."""

    @extend_schema(operation_id="events_read", responses={200: EventSerializer, **problems(404)})
    def get(self, request: Request, event_id: uuid.UUID) -> Response:
        """The event with its data, whom it woke and what it started: for operators, and for whoever sent it."""
        return Response(EventSerializer(_visible_event(request, event_id)).data)


class EventRetryView(APIView):
    """Handle an event once more."""

    required_scopes = {"POST": "operate"}

    @extend_schema(operation_id="events_retry", request=None, responses={200: EventSerializer, **problems(403, 404)})
    def post(self, request: Request, event_id: uuid.UUID) -> Response:
        """Serve whoever was not served: subscriptions that could not start, or that were added since."""
        _visible_event(request, event_id)
        if not policy.may_operate(request.user):
            raise PermissionDenied("Only operators let an event be handled again.")
        return Response(EventSerializer(retry_event(event_id)).data)
