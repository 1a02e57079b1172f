"""Dead letters in the admin: grouped by cause, with the jobs of each and the way to their repair."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone

from workflows import policy
from workflows.models import DeadLetter
from workflows.operations import letters

from .forms import ReadOnlyAdmin

PAGE = 50
DAYS = 14


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    """What failed and waits for a person, by cause; below each its jobs."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return policy.may_operate(request.user)

    def has_view_permission(self, request: HttpRequest, obj: DeadLetter | None = None) -> bool:
        return policy.may_operate(request.user)

    def get_urls(self) -> list[Any]:
        group = self.admin_site.admin_view(self.group_view)
        return [path("cause/<slug:fingerprint>/", group, name="workflows_deadletter_group"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The causes, the one that failed a job last first."""
        self._for_operators(request)
        chosen = letters.open_letters()
        page = Paginator(letters.grouped(chosen).order_by("-last"), PAGE).get_page(request.GET.get("p"))
        groups = letters.described(list(page.object_list), chosen)
        weeks = {cause["fingerprint"]: cause for cause in self._lately().causes}
        for group in groups:
            group["bars"] = _bars(weeks.get(group["fingerprint"], {}).get("points", []))
        context = {"title": "Dead letters by cause", "groups": groups, "page": page, "days": DAYS}
        return self._page(request, "groups.html", context)

    def group_view(self, request: HttpRequest, fingerprint: str) -> HttpResponse:
        """The jobs of one cause."""
        self._for_operators(request)
        rows = DeadLetter.objects.filter(fingerprint=fingerprint)
        newest = rows.order_by("-id").first()
        if newest is None:
            raise Http404
        waiting = rows.filter(resolved_at__isnull=True)
        page = Paginator(waiting.select_related("job").order_by("-id"), PAGE).get_page(request.GET.get("p"))
        context = {
            **{"title": newest.error, "newest": newest, "page": page, "letters": page.object_list},
            **{"count": page.paginator.count, "resolved": rows.filter(resolved_at__isnull=False).count()},
            "workflows": letters.described(list(letters.grouped(waiting)), waiting),
        }
        return self._page(request, "group.html", context)

    def _lately(self) -> letters.Patterns:
        now = timezone.now()
        return letters.patterns(since=now - timedelta(days=DAYS), now=now)

    def _for_operators(self, request: HttpRequest) -> None:
        if not policy.may_operate(request.user):
            raise PermissionDenied

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> TemplateResponse:
        shared = {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, f"admin/workflows/deadletter/{name}", {**shared, **context})


def _bars(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The failures of the last days as bars of a drawing 24 units high: one for each day, today the last."""
    today = timezone.now().date()
    days = [today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    counts = {point["at"].date(): point["count"] for point in points}
    most = max(counts.values(), default=1)
    bars = []
    for place, day in enumerate(days):
        count = counts.get(day, 0)
        height = 1 if not count else max(3, round(22 * count / most))
        bars.append({"x": place * 8, "y": 24 - height, "height": height, "day": day, "count": count})
    return bars
