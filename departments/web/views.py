"""The pages of the inbox that read. Each address is a whole page; htmx asks for a part of it by naming a target."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_safe

from departments.exceptions import NotVisible
from workflows.intake.documents import open_document
from workflows.models import Document

from . import changes as changes_of
from .doors import fragment_of, signed_in
from .listing import Cursor
from .screen import Screen


@require_safe
@never_cache
@signed_in
def inbox(request: HttpRequest) -> HttpResponse:
    """The inbox: the list that the address names, and the item that it opens."""
    screen = Screen(request)
    wanted = fragment_of(request)
    after = Cursor.decode(request.GET.get("after"))
    if wanted == "more":
        return render(request, "inbox/_rows.html", screen.list(after, {}))
    pane, status = _pane(screen, request.GET.get("item", ""))
    if wanted == "pane":
        return render(request, "inbox/_pane.html", {"choice": screen.choice, **pane}, status=status)
    return render(request, "inbox/inbox.html", screen.page(after, pane), status=status)


def _pane(screen: Screen, item_id: str) -> tuple[dict[str, Any], int]:
    """The context and the status of the pane: an item, a refusal, or nothing chosen."""
    if not item_id:
        return {}, 200
    try:
        item = screen.find(UUID(item_id))
    except (ValueError, NotVisible):
        return {"missing": True, "list_url": screen.choice.url()}, 404
    return screen.pane(item), 200


@require_GET
@never_cache
@signed_in
def changes(request: HttpRequest) -> HttpResponse:
    """What changed in a list since the browser last asked: 204 where nothing did."""
    since = changes_of.Since.decode(request.GET.get("since"))
    if since is None:
        return JsonResponse({"detail": "`since` is the cursor that the page or the last answer gave."}, status=400)
    screen = Screen(request)
    until = Cursor.decode(request.GET.get("until"))
    found = changes_of.changes(screen.scope, since, until, screen.rows())
    return HttpResponse(status=204) if found is None else JsonResponse(found)


@require_safe
@signed_in
def item(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """The short address of an item, for links from outside: it leads to the inbox with the item open."""
    return redirect(Screen(request).choice.url(item=item_id))


@require_safe
@signed_in
def document(request: HttpRequest, item_id: UUID, document_id: UUID) -> HttpResponse:
    """One document of an item's job, as a download: it is never shown as part of our own pages."""
    try:
        found = Screen(request).find(item_id)
    except NotVisible:
        raise Http404("There is no such document.") from None
    row = Document.objects.filter(pk=document_id, job_id=found.job_id).first()
    if row is None:
        raise Http404("There is no such document.")
    try:
        content = open_document(row)
    except FileNotFoundError:
        raise Http404("The document's content is missing from the storage.") from None
    answer = FileResponse(content, as_attachment=True, filename=row.name, content_type=row.media_type)
    answer["Content-Length"] = row.size
    answer["Cache-Control"] = "private, no-store"
    return answer
