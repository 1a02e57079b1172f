"""Trying a definition before it is used: simulation of one input, and a back-test over past jobs."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from workflows import policy
from workflows.engine.durations import parse_timestamp
from workflows.engine.exceptions import InvalidTimestamp
from workflows.engine.faults import Fault
from workflows.operations import backtest as backtesting
from workflows.operations import simulate as simulating

from .bodies import ANY_JSON, Body
from .problems import invalid
from .schema import problems
from .serializers import AnyJSONField, WaitingForSerializer
from .versions import ConfigureView

WHICH = {"description": "A number, or `draft`.", "oneOf": [{"type": "integer", "minimum": 0}, {"const": "draft"}]}
DOCUMENT = {"type": "object", "description": "A document to try, kept nowhere."}
SIMULATE = Body(
    {
        "version": WHICH,
        "document": DOCUMENT,
        "input": ANY_JSON,
        "outcomes": {
            "type": "object",
            "description": "By task, one answer for each iteration.",
            "maxProperties": 1000,
            "additionalProperties": {"type": "array", "items": simulating.ANSWER, "maxItems": 1000},
        },
        "now": {"type": "string", "format": "date-time", "description": "When the job would be submitted."},
    },
    required=("input",),
)
BACKTEST = Body(
    {
        "version": WHICH,
        "document": DOCUMENT,
        "against": {"type": "integer", "minimum": 0, "description": "Without it, what each job itself ran on."},
        "limit": {"type": "integer", "minimum": 1, "maximum": backtesting.MAX_JOBS},
    }
)


class AskedSerializer(serializers.Serializer[Any]):
    """Who would be asked, and until when."""

    department = serializers.CharField(allow_null=True)
    queue = serializers.CharField(allow_null=True)
    assignee = serializers.CharField(allow_null=True)
    title = serializers.CharField()
    outcomes = serializers.ListField(child=serializers.CharField())
    quorum = AnyJSONField()
    constraints = AnyJSONField()
    due_at = serializers.DateTimeField(allow_null=True)
    calendar = serializers.CharField(allow_null=True, help_text="The calendar on which it is due; null: the clock.")


class SimulatedStepSerializer(serializers.Serializer[Any]):
    """One run of one task."""

    task = serializers.CharField()
    type = serializers.CharField()
    iteration = serializers.IntegerField()
    at = serializers.DateTimeField()
    result = serializers.CharField(help_text="completed, failed, caught or withdrawn")
    outcome = serializers.CharField(allow_null=True)
    output = AnyJSONField()
    error = serializers.CharField(allow_null=True)
    cause = serializers.CharField(allow_null=True)
    assumed = serializers.CharField(allow_blank=True, help_text="What was assumed, where the request does not say.")
    asked = AskedSerializer(allow_null=True)


class SimulationSerializer(serializers.Serializer[Any]):
    """What a job would do."""

    workflow = serializers.CharField()
    version = serializers.IntegerField(allow_null=True)
    status = serializers.CharField()
    started_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField()
    path = SimulatedStepSerializer(many=True)
    output = AnyJSONField()
    error = AnyJSONField()
    waiting_for = WaitingForSerializer(many=True)
    published = serializers.ListField(child=serializers.DictField())
    assumptions = serializers.ListField(child=serializers.CharField())
    stopped = serializers.CharField(allow_blank=True, help_text="Why it went no further; empty where it ended.")


class ChangedJobSerializer(serializers.Serializer[Any]):
    """A past job that would go another way, or that cannot be told."""

    job = serializers.UUIDField()
    version = serializers.IntegerField()
    correlation_id = serializers.CharField(allow_blank=True)
    verdict = serializers.CharField(help_text="path, decider, outcome or unknown")
    detail = serializers.CharField()
    task = serializers.CharField(allow_blank=True)
    before = AnyJSONField()
    after = AnyJSONField()


class BacktestSerializer(serializers.Serializer[Any]):
    """A new version over past jobs."""

    workflow = serializers.CharField()
    version = serializers.IntegerField(allow_null=True)
    against = serializers.IntegerField(allow_null=True)
    examined = serializers.IntegerField()
    unchanged = serializers.IntegerField()
    changed = serializers.IntegerField()
    unknown = serializers.IntegerField()
    jobs = ChangedJobSerializer(many=True)


class TryView(ConfigureView):
    """Base of both: reads, and keeps nothing."""

    required_scopes = {"POST": "read"}

    def which(self, body: dict[str, Any]) -> dict[str, Any]:
        """What is to be tried. Problem (422) where the body names two."""
        if "version" in body and "document" in body:
            raise invalid([Fault("/document", "conflict", "Give either a version or a document.")])
        return {key: body[key] for key in ("version", "document") if key in body}


class DefinitionSimulateView(TryView):
    """Simulate."""

    @extend_schema(
        operation_id="definitions_simulate",
        request=SIMULATE.openapi,
        responses={200: SimulationSerializer, **problems(400, 404, 413, 415, 422)},
    )
    def post(self, request: Request, name: str) -> Response:
        """Walk an input through a version, the draft or a document: path, who would decide, due dates, result."""
        body = SIMULATE.read(request)
        now = None
        if "now" in body:
            try:
                now = parse_timestamp(body["now"])
            except InvalidTimestamp as error:
                raise invalid([Fault("/now", "format", str(error))]) from None
        outcomes = body.get("outcomes")
        done = simulating.simulate(name, body["input"], outcomes=outcomes, now=now, **self.which(body))
        return Response(SimulationSerializer(done).data)


class DefinitionBacktestView(TryView):
    """Back-test."""

    @extend_schema(
        operation_id="definitions_backtest",
        request=BACKTEST.openapi,
        responses={200: BacktestSerializer, **problems(400, 404, 413, 415, 422)},
    )
    def post(self, request: Request, name: str) -> Response:
        """Run a version over the inputs and answers of past jobs that the caller may see, the newest first."""
        body = BACKTEST.read(request)
        jobs = policy.visible_jobs(request.user)
        done = backtesting.backtest(
            name, jobs, against=body.get("against"), limit=body.get("limit", 100), **self.which(body)
        )
        return Response(BacktestSerializer(done).data)
