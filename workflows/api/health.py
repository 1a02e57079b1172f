"""Is it alive, is it ready, and how full is it."""

from __future__ import annotations

from datetime import timedelta

from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Count, Min, Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from rest_framework.exceptions import PermissionDenied
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from workflows import policy
from workflows.models import Job, JobStatus, ServiceRun, Worker
from workflows.operations.letters import open_counts
from workflows.operations.stranded import Stranded

WORKER_SEEN_WITHIN = timedelta(seconds=60)


@never_cache
def livez(request: HttpRequest) -> HttpResponse:
    """The process answers. Asks nothing else, so that a database that is away restarts no web server."""
    return JsonResponse({"status": "alive"})


_migrated: set[str] = set()


@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """200 where a request could be served and worked on, else 503 with the reasons."""
    reasons = []
    try:
        reasons += _unmigrated()
        if not Worker.objects.filter(seen_at__gte=timezone.now() - WORKER_SEEN_WITHIN).exists():
            reasons.append(f"no worker was seen in the last {WORKER_SEEN_WITHIN.seconds} seconds")
    except DatabaseError:
        reasons.append("the database does not answer")
    status = "not ready" if reasons else "ready"
    return JsonResponse({"status": status, "reasons": reasons}, status=503 if reasons else 200)


def _unmigrated() -> list[str]:
    """Databases that lack migrations. One that had them all is not asked again: a release starts new processes."""
    found = []
    for alias in connections:
        if alias in _migrated:
            continue
        executor = MigrationExecutor(connections[alias])
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            found.append(f"the database {alias!r} lacks migrations")
        else:
            _migrated.add(alias)
    return found


class PlainTextRenderer(BaseRenderer):
    """The text format of Prometheus."""

    media_type = "text/plain"
    format = "txt"
    charset = "utf-8"

    def render(self, data: object, *args: object, **kwargs: object) -> bytes:
        return str(data).encode()


class MetricsView(APIView):
    """Numbers for Prometheus, for operators and their tokens alone."""

    schema = None
    renderer_classes = (PlainTextRenderer,)

    def get(self, request: Request) -> Response:
        """Jobs by status, the age of the oldest claimable one, leases, workers."""
        if not policy.may_operate(request.user):
            raise PermissionDenied("Only operators read the metrics.")
        return Response("\n".join(_metrics()) + "\n")


def _metrics() -> list[str]:
    now = timezone.now()
    part = ~Q(fragment="")
    found = Job.objects.order_by().values("status")
    found = found.annotate(whole=Count("pk", filter=~part), parts=Count("pk", filter=part))
    counts = {row["status"]: (row["whole"], row["parts"]) for row in found}
    oldest = Job.objects.claimable().aggregate(oldest=Min("run_at"))["oldest"]
    workers = Worker.objects.filter(seen_at__gte=now - WORKER_SEEN_WITHIN).count()
    lines = []
    names = (("workflow_jobs", "Jobs by status."), ("workflow_job_parts", "Items of maps and routed tasks by status."))
    for place, (name, text) in enumerate(names):
        lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
        lines += [f'{name}{{status="{status}"}} {counts.get(status, (0, 0))[place]}' for status in JobStatus.values]
    gauges = [
        ("workflow_claimable_age_seconds", "How long the oldest claimable job waits.", _age(oldest, now)),
        ("workflow_jobs_leased", "Jobs that a worker holds.", Job.objects.leased().count()),
        ("workflow_workers", "Workers seen in the last minute.", workers),
    ]
    for name, text, value in gauges:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", f"{name} {value}"]
    lines += ["# HELP workflow_dead_letters Failures that wait for a person.", "# TYPE workflow_dead_letters gauge"]
    for plugin, error, count in open_counts():
        lines.append(f'workflow_dead_letters{{plugin="{_label(plugin)}",error="{_label(error)}"}} {count}')
    lines += ["# HELP workflow_jobs_held Jobs that are held, by what.", "# TYPE workflow_jobs_held gauge"]
    held = Job.objects.held().order_by().values_list("hold").annotate(Count("pk"))
    lines += [f'workflow_jobs_held{{hold="{_label(hold)}"}} {count}' for hold, count in sorted(held)]
    lines += ["# HELP workflow_findings What `verify` found last.", "# TYPE workflow_findings gauge"]
    found = ServiceRun.objects.filter(name=Stranded.name).values_list("counts", flat=True).first() or {}
    lines += [f'workflow_findings{{check="{_label(check)}"}} {count}' for check, count in sorted(found.items())]
    return lines


def _label(value: str) -> str:
    """A text as the value of a label."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _age(oldest: object, now: object) -> float:
    return max(0.0, (now - oldest).total_seconds()) if oldest is not None else 0.0  # type: ignore[operator]
