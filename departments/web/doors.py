"""What every view of the inbox needs to know about who asks, and for which part of the page."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url
from django.urls import reverse

View = Callable[..., HttpResponse]
POLLED = "inbox-changes"


def signed_in(view: View) -> View:
    """Let only people in who are signed in. A page leads to the sign-in; a part of a page answers 401, and the browser
    says so without losing what was typed."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        match = request.resolver_match
        if request.htmx or (match and match.url_name == POLLED):  # type: ignore[attr-defined]
            return HttpResponse(status=401)
        back = request.get_full_path() if request.method in ("GET", "HEAD") else reverse("inbox")
        return redirect(f"{resolve_url('login')}?{urlencode({'next': back})}")

    return guarded


def fragment_of(request: HttpRequest) -> str:
    """The part of the page that htmx asks for: its target's id; empty for a whole page."""
    htmx: Any = request.htmx  # type: ignore[attr-defined]
    if not htmx or htmx.history_restore_request:
        return ""
    return str(htmx.target or "")
