"""The verbs of the inbox. Each reads the form, makes one call, and shows the answer: a part of the page to htmx, a
redirect to a browser without JavaScript."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from departments import actions, answers
from departments.exceptions import (
    DepartmentsError,
    InvalidAnswer,
    ItemConflict,
    NotAllowed,
    NotVisible,
    VersionMismatch,
)
from departments.models import WorkItem

from . import bands, listing
from .choice import Choice
from .doors import signed_in
from .fields import fields_of, keep_all, read, show_faults
from .presentation import needs_comment, past, words
from .screen import Notice, Screen, Typed, ended_sentence

NEXT_TRIES = 4


class Act:
    """One act of one person on one item: what was posted, and how the answer is shown."""

    def __init__(self, request: HttpRequest, item_id: UUID) -> None:
        self.request = request
        self.item_id = item_id
        self.screen = Screen(request, Choice.read_query(request.POST.get("list", "")))
        self.comment = request.POST.get("comment", "").replace("\r\n", "\n")
        version = request.POST.get("version", "")
        self.version = int(version) if version.isascii() and version.isdigit() and len(version) < 10 else None

    def typed(self, item: WorkItem) -> Typed:
        """What was typed, to be shown again."""
        fields = fields_of(item.form)
        keep_all(fields, self.request.POST)
        return Typed(fields, self.comment)

    def show(
        self,
        item: WorkItem | None,
        *,
        typed: Typed | None = None,
        notice: Notice | None = None,
        toast: str = "",
        gone: UUID | None = None,
        status: int = 200,
    ) -> HttpResponse:
        """The pane with its row, the rail's counts and a toast; without htmx, a redirect or the whole page."""
        pane = self.screen.pane(item, typed, notice) if item else {"list_url": self.screen.choice.url()}
        if not self.request.htmx:  # type: ignore[attr-defined]
            if status == 200:
                if toast:
                    messages.success(self.request, toast)
                return redirect(self.screen.choice.url(item=item.pk if item else None))
            return render(self.request, "inbox/inbox.html", self.screen.page(None, pane), status=status)
        if status == 422:
            # Nothing has changed, so nothing around the item is drawn again.
            return render(self.request, "inbox/_pane.html", pane, status=status)
        context = {**self.screen.rail(), **pane, "toast": toast, "gone": gone, "acted": True}
        if item:
            item.document_count = len(pane["documents"])  # type: ignore[attr-defined]
            context["row"] = self.screen.rows().row(item)
        return render(self.request, "inbox/_acted.html", context, status=status)

    def missing(self) -> HttpResponse:
        """There is no such item, or not for this person: the two look alike."""
        context = {"missing": True, "list_url": self.screen.choice.url(), "choice": self.screen.choice}
        if self.request.htmx:  # type: ignore[attr-defined]
            return render(self.request, "inbox/_pane.html", context, status=404)
        return render(self.request, "inbox/inbox.html", self.screen.page(None, context), status=404)

    def refused(self, error: DepartmentsError) -> HttpResponse:
        """Why it did not happen: who, when, what; with what was typed still there."""
        try:
            item = self.screen.find(self.item_id)
        except NotVisible:
            return self.missing()
        typed = self.typed(item)
        if isinstance(error, InvalidAnswer):
            typed.errors = show_faults(typed.fields or [], error.faults)
            typed.comment_error = next((text for anchor, text in typed.errors if anchor == "comment"), "")
            return self.show(item, typed=typed, status=422)
        notice = Notice("conflict" if not isinstance(error, NotAllowed) else "error", _told(error, item))
        if not item.is_active:
            notice.kept, typed.comment = self.comment.strip(), self.comment
        return self.show(item, typed=typed, notice=notice, status=403 if isinstance(error, NotAllowed) else 409)


@require_POST
@signed_in
def claim(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Take an item."""
    return _hold(request, item_id, actions.claim, "Claimed")


@require_POST
@signed_in
def release(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Give an item back."""
    return _hold(request, item_id, actions.release, "Released")


def _hold(request: HttpRequest, item_id: UUID, verb: Any, said: str) -> HttpResponse:
    act = Act(request, item_id)
    try:
        verb(item_id, request.user, version=act.version)
    except DepartmentsError as error:
        return act.refused(error)
    item = act.screen.find(item_id)
    return act.show(item, typed=act.typed(item), toast=f"{said} {_name(item)}.")


@require_POST
@signed_in
def comment(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Say something about an item."""
    act = Act(request, item_id)
    try:
        actions.comment(item_id, request.user, act.comment)
    except DepartmentsError as error:
        return act.refused(error)
    item = act.screen.find(item_id)
    typed = act.typed(item)
    typed.comment = ""
    return act.show(item, typed=typed, toast="Comment added.")


@require_POST
@signed_in
def complete(request: HttpRequest, item_id: UUID) -> HttpResponse:
    """Decide an item; the next one is open in the answer."""
    act = Act(request, item_id)
    try:
        item = act.screen.find(item_id)
    except NotVisible:
        return act.missing()
    outcome = request.POST.get("outcome", "")
    fields = fields_of(item.form)
    answer = read(fields, request.POST)
    if item.is_active and act.version in (None, item.version):
        errors = _unready(item, outcome, act, fields, answer)
        if errors is not None:
            return errors
    try:
        decided = actions.complete(
            item_id,
            request.user,
            outcome,
            data=answer.data if fields else None,
            comment=act.comment,
            version=act.version,
        )
    except InvalidAnswer as error:
        return _not_accepted(act, item, fields, [*answer.faults, *error.faults])
    except DepartmentsError as error:
        return act.refused(error)
    following = listing.next_item(act.screen.scope, decided)
    opened = act.screen.find(following.pk) if following else None
    if decided.is_active:  # one vote of several: others go on seeing it
        return act.show(opened, toast=f"You voted “{words(outcome)}” on {_name(decided)}.")
    return act.show(opened, toast=f"{past(decided.outcome)} {_name(decided)}.", gone=decided.pk)


def _unready(item: WorkItem, outcome: str, act: Act, fields: list[Any], answer: Any) -> HttpResponse | None:
    """The refusal of a decision that is not ready to be made, or None.

    Refusing and returning need a reason; what cannot be read as its type is told in the words of the form.
    """
    missing = needs_comment(outcome) and outcome in item.outcomes and not act.comment.strip()
    if not (missing or answer.faults):
        return None
    faults = list(answer.faults)
    try:
        answers.require_decision(item, outcome, answer.data if fields else None, act.comment)
    except InvalidAnswer as error:
        faults += error.faults
    said = f"Say why: a comment is required to {words(outcome).lower()}." if missing else ""
    return _not_accepted(act, item, fields, faults, said)


def _not_accepted(
    act: Act, item: WorkItem, fields: list[Any], faults: list[Any], comment_error: str = ""
) -> HttpResponse:
    errors = show_faults(fields, faults)
    if comment_error:
        errors.append(("comment", comment_error))
    comment_error = comment_error or next((text for anchor, text in errors if anchor == "comment"), "")
    return act.show(item, typed=Typed(fields, act.comment, errors, comment_error), status=422)


@require_POST
@signed_in
def claim_next(request: HttpRequest) -> HttpResponse:
    """Take the next best unclaimed item: late first, then by priority, due time and age.

    Of two people at once one gets the first item and the other the second: the loser of a claim goes on to the next.
    """
    screen = Screen(request, Choice.read_query(request.POST.get("list", "")))
    for _ in range(NEXT_TRIES):
        candidates = listing.best_candidates(screen.scope, timezone.now())
        for candidate in candidates:
            try:
                actions.claim(candidate.pk, request.user, version=candidate.version)
            except (ItemConflict, VersionMismatch, NotVisible, NotAllowed):
                continue
            act = Act(request, candidate.pk)
            item = act.screen.find(candidate.pk)
            return act.show(item, toast=f"Claimed {_name(item)}.")
        if not candidates:
            break
    messages.info(request, "Nothing is unclaimed here.")
    if request.htmx:  # type: ignore[attr-defined]
        answer = render(request, "inbox/_toasts.html", {"oob": True})
        answer["HX-Reswap"] = "none"
        return answer
    return redirect(screen.choice.url())


def _name(item: WorkItem) -> str:
    """An item in a short sentence: its reference, else its title."""
    return item.reference or item.title


def _told(error: DepartmentsError, item: WorkItem) -> str:
    """A conflict as the person who came second reads it."""
    if isinstance(error, NotAllowed):
        return error.detail
    if not item.is_active:
        return ended_sentence(item, timezone.now())
    if item.assignee_id is not None and isinstance(error, ItemConflict) and error.code == "claimed":
        when = f" at {bands.shortly(item.claimed_at, timezone.now())}" if item.claimed_at else ""
        return f"{item.assignee} claimed this{when}. They or a lead of {item.department} can release it."
    if isinstance(error, VersionMismatch):
        return "This changed since you opened it. It is shown as it is now: review it, then decide."
    return error.detail
