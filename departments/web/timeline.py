"""The history of a job in plain sentences: what happened, who did it, when. Newest last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from workflows.models import ArchivedJob, History

from .bands import exactly, shortly
from .presentation import past, tone_of, words

ENTRIES_MAX = 200
HIDDEN = frozenset({"task.completed", "task.withdrawn", "response.ignored"})
"""Shown only where nothing said it before: a decision is told by the decision."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: an icon, a sentence, perhaps what was said, and when."""

    sequence: int
    icon: str
    tone: str
    text: str
    quote: str
    when: str
    exact: str
    iso: str
    round: int | None


def timeline_of(job_id: Any, now: datetime, *, archived: bool = False) -> tuple[list[Entry], bool]:
    """The last entries of a job's history, oldest first, and whether earlier ones were left out. One query."""
    if archived:
        history = ArchivedJob.objects.get(pk=job_id).history()
        return entries(history[-ENTRIES_MAX:], now), len(history) > ENTRIES_MAX
    rows = list(
        History.objects.filter(job_id=job_id)
        .only("sequence", "at", "event", "task", "iteration", "actor", "data", "to_status", "job_id")
        .order_by("-sequence")[: ENTRIES_MAX + 1]
    )
    cut = len(rows) > ENTRIES_MAX
    return entries(reversed(rows[:ENTRIES_MAX]), now), cut


def entries(rows: Iterable[History], now: datetime) -> list[Entry]:
    """Rows of the history as lines."""
    told: set[tuple[str, int | None]] = set()
    lines = []
    for row in rows:
        if row.event in ("item.decided", "task.responded"):
            told.add((row.task, row.iteration))
        elif row.event in HIDDEN and (row.task, row.iteration) in told:
            continue
        lines.append(_entry(row, now))
    return lines


def _entry(row: History, now: datetime) -> Entry:
    data = row.data if isinstance(row.data, Mapping) else {}
    icon, tone, text = _sentence(row, data)
    quote = data.get("comment") or data.get("reason") or data.get("cause") or ""
    return Entry(
        sequence=row.sequence,
        icon=icon,
        tone=tone,
        text=text,
        quote=quote if isinstance(quote, str) else "",
        when=shortly(row.at, now),
        exact=exactly(row.at),
        iso=row.at.isoformat(),
        round=row.iteration if row.iteration and row.iteration > 1 else None,
    )


def _sentence(row: History, data: Mapping[str, Any]) -> tuple[str, str, str]:
    """Icon, tone and sentence of one event; an event that is not known is named as it is."""
    who, task = row.actor or "The system", words(row.task)
    outcome = data.get("outcome")
    outcome = outcome if isinstance(outcome, str) else ""
    if row.event in ("item.decided", "task.responded"):
        tone = tone_of(outcome)
        icon = {"approve": "tick", "reject": "cross", "return": "return"}.get(tone, "dot")
        kind = {"approve": "approved", "reject": "rejected", "return": "returned"}.get(tone, "done")
        said = past(outcome)
        verb = "answered “" + words(outcome) + "” for" if said.startswith("Answered") else said.lower()
        return icon, kind, f"{who} {verb} {task}."
    known = {
        "job.submitted": ("dot", "", f"{who} submitted the request."),
        "job.started": ("dot", "", "Work began."),
        "job.done": ("tick", "approved", "The request is finished."),
        "job.failed": (
            "warning",
            "error",
            f"The request stopped: {data.get('error') or data.get('name') or 'an error'}.",
        ),
        "job.cancelled": ("ended", "", f"{who} cancelled the request."),
        "task.completed": ("dot", "", f"{task} is done{f', with “{words(outcome)}”' if outcome else ''}."),
        "task.failed": ("warning", "error", f"{task} failed: {data.get('error') or 'an error'}."),
        "task.caught": ("warning", "", f"{task} failed ({data.get('error') or 'an error'}); it goes on another way."),
        "task.retrying": ("warning", "", f"{task} failed ({data.get('error') or 'an error'}) and will be tried again."),
        "task.retried": ("return", "", f"{who} started {task} again."),
        "task.parked": ("open", "", f"{task} waits{_for_whom(data)}."),
        "task.skipped": ("ended", "", f"{who} skipped {task}." if row.actor else f"{task} was not needed."),
        "task.withdrawn": ("ended", "", f"{task} was withdrawn."),
        "loop.taken": ("return", "returned", f"It goes back to {words(str(data.get('to') or ''))}."),
        "response.ignored": ("ended", "", f"An answer for {task} came too late and changed nothing."),
        "item.claimed": ("mine", "", f"{who} claimed {task}."),
        "item.released": ("open", "", f"{who} released {task}."),
        "item.assigned": ("mine", "", f"{who} handed {task} to {data.get('assignee') or 'a colleague'}."),
        "item.forwarded": ("dot", "", f"{who} sent {task} to {words(str(data.get('target') or ''))}."),
        "item.voted": ("tick", "", f"{who} voted “{words(outcome)}” on {task}."),
        "item.escalated": ("warning", "returned", f"{task} waited too long{_escalated_to(data)}."),
        "sla.paused": ("dot", "", "The time of the request stands still: it waits for others."),
        "sla.resumed": ("dot", "", "The time of the request goes on."),
        "sla.breached": ("warning", "error", "The request is late."),
        "item.commented": ("comment", "", f"{who} commented on {task}."),
    }
    return known.get(row.event) or ("dot", "", f"{words(row.event)}{f' ({task})' if task else ''}, by {who}.")


def _escalated_to(data: Mapping[str, Any]) -> str:
    target = data.get("target")
    return f" and went to {words(target)}" if isinstance(target, str) and target else " and was escalated"


def _for_whom(data: Mapping[str, Any]) -> str:
    department = data.get("department") or data.get("queue")
    return f" for {words(department)}" if isinstance(department, str) and department else ""
