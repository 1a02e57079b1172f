"""Failpoints: named places where a test lets the process die, raise, stand still, or lose its database.

They are there only where Django starts with the setting WORKFLOW_FAILPOINTS, which tests of faults set for processes of
their own. Without it `failpoint` is an empty function, and nothing can be armed. docs/decisions/0024-failpoints.md says
why they are as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from django.conf import settings
from django.db import transaction

POINTS: Mapping[str, str] = {
    "claim.committed": "jobs are leased, and nothing of them has begun",
    "step.before_effect": "the input of a step is made; its plugin, or its call, has not begun",
    "comp.before": "the same, where the step undoes another one",
    "effect.returned": "the plugin, or the call, has answered; nothing of it is written",
    "attach.blob_written": "the content of a document is in the storage; its row is not written",
    "audit.appended": "rows of the history are written, with what goes with them",
    "ckpt.before_commit": "a step is to be committed: everything of it is written, where that takes several statements",
    "ckpt.after_commit": "the commit of a step stands; nothing that follows it has been done",
    "park.after_commit": "the commit of a step stands, and its job waits for an answer",
    "resume.before_commit": "a door has written a fact for a job, and made it ready; its transaction is open",
    "outbox.sent": "messages have become events; they do not count as published yet",
    "outbox.marked": "messages are marked as published; the relay's transaction is open",
    "inbox.recorded": "events are written; the transaction of whoever brought them is open",
    "submit.committed_before_reply": "submitted jobs are committed; the client has not been told",
    "hb.sent": "a worker's leases are extended; nobody has noted that they are",
    "reap.selected": "the rescuer has found and locked abandoned jobs, and handed none of them back",
}
"""Every failpoint, with what is true when it is reached."""

PRESENT = bool(getattr(settings, "WORKFLOW_FAILPOINTS", False))
"""Whether this process has failpoints. It is asked once, when Django starts."""

_armed: dict[str, Callable[[], None]] = {}


class FailpointsAbsent(RuntimeError):
    """There are no failpoints in this process: it was started without WORKFLOW_FAILPOINTS."""


def arm(name: str, act: Callable[[], None]) -> None:
    """Let `act` be called the next time that the failpoint is reached, once, in the thread that reaches it.

    Raises FailpointsAbsent where the process has none, and KeyError where there is none of this name.
    """
    if not PRESENT:
        raise FailpointsAbsent("Set WORKFLOW_FAILPOINTS before Django starts.")
    POINTS[name]
    _armed[name] = act


def _act(name: str) -> None:
    act = _armed.pop(name, None)  # one step: of two threads that are here at once, one acts
    if act is not None:
        act()


def _act_after_commit(name: str) -> None:
    transaction.on_commit(partial(_act, name))


def _nothing(name: str) -> None:
    return None


failpoint: Callable[[str], None] = _act if PRESENT else _nothing
"""`failpoint(name)` stands where the name says; it does what the failpoint was armed with, if it was."""

failpoint_after_commit: Callable[[str], None] = _act_after_commit if PRESENT else _nothing
"""The same for what is true once the transaction that is open now is committed; at once, where none is open."""
