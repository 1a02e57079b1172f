"""Where a case stands: why its job waits, for the people of the departments it goes through.

A part of its own, asked for after the item is shown: the item's page costs no more for it.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from departments.exceptions import NotVisible
from workflows.models import find_job
from workflows.operations.explain import Reason, why

from .doors import fragment_of, signed_in
from .screen import Screen


@require_safe
@never_cache
@signed_in
def item_why(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Why the job of an item waits, as a part of the item's page; as a page of its own without scripts."""
    try:
        item = Screen(request).find(item_id)
    except NotVisible:
        raise Http404("There is no such item.") from None
    job = find_job(item.job_id)
    context = {"item": item, "reasons": [_shown(reason) for reason in why(job)]}
    return render(request, "inbox/_why.html" if fragment_of(request) == "job-why" else "inbox/why.html", context)


def _shown(reason: Reason) -> dict[str, Any]:
    before = None
    if reason.before is not None:
        before = {"half": duration(reason.before.p50), "nine": duration(reason.before.p90)}
    return {"text": reason.text, "since": reason.since, "before": before}


def duration(seconds: float) -> str:
    """Seconds in words, in the largest unit that fits."""
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count} {word}{'' if count == 1 else 's'}"
    return "less than a second"
