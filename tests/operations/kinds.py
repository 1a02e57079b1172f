"""One job of each kind there is, brought to where it stands by the doors, the workers and the services: nothing of it
is written by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.test import TestCase
from django.utils import timezone

from departments import actions
from departments.models import WorkItem
from tests.departments.makers import member
from tests.execution.jobs import chain, publish, register
from tests.factories import DepartmentFactory
from workflows import registry
from workflows.execution.definitions import get_definition
from workflows.execution.lateness import Lateness
from workflows.execution.rescue import Rescuer
from workflows.execution.respond import add_history
from workflows.execution.timers import Timers
from workflows.execution.worker import drain
from workflows.intake.documents import store_document
from workflows.intake.events import receive_event
from workflows.intake.schedules import create
from workflows.intake.submit import Submission, submit_job
from workflows.messaging.relay import Relay
from workflows.models import Calendar, Job, Limit, Subscription, Worker
from workflows.models.statements import claim
from workflows.operations import (
    cancel_job,
    migrate,
    restart_job,
    resume_job,
    retry_job,
    skip_task,
    suspend_job,
)

ECHO = {"type": "plugin", "plugin": "echo"}
PARKS = {"type": "plugin", "plugin": "parks"}
REFUSES = {"type": "plugin", "plugin": "refuses"}
RAISES = {"type": "plugin", "plugin": "raises"}
ASK = {"type": "human", "department": "claims", "outcomes": ["approve", "reject"]}


def document(name: str, *edges: dict[str, Any], tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "tasks": tasks, "transitions": list(edges), **more}


def edge(source: str, target: str, **more: Any) -> dict[str, Any]:
    return {"from": source, "to": target, **more}


class Kinds:
    """The jobs by name. `job(name)` is one of them as it is now."""

    def __init__(self, notes: str) -> None:
        self.jobs: dict[str, Any] = {}
        registry.forget()
        get_definition.cache_clear()
        for job_type, plugin in (
            ("echo", "Echo"),
            ("parks", "Parks"),
            ("raises", "Raises"),
            ("refuses", "AnswersFailed"),
        ):
            register(job_type, plugin)
        register("flaky", "FailsByName", times=1)
        register("undoes", "Undoes", file=notes)
        self.claims = DepartmentFactory(code="claims")
        self.clerk = member(self.claims, "clerk")
        self.second = member(self.claims, "second")

    def job(self, name: str) -> Job:
        return Job.objects.select_related("data").get(pk=self.jobs[name])

    def item(self, name: str) -> WorkItem:
        return WorkItem.objects.filter(job=self.jobs[name]).order_by("-id")[0]

    def submit(self, name: str, document: dict[str, Any], given: Any = None, **more: Any) -> Job:
        """Publish the document and submit one job of it, as a client would."""
        definition = publish({**document, "name": name})
        submission = Submission(definition.name, {} if given is None else given, **more)
        key = f"key of {name}"
        self.jobs[name] = submit_job(submission, submitted_by=self.clerk, idempotency_key=key).job.pk
        # SQLite's clock counts in milliseconds: what was submitted in this one is not claimed before the next.
        time.sleep(0.002)
        return self.job(name)

    def work(self, *queues: str) -> None:
        for queue in queues or ("default",):
            drain(queue)

    def status(self, name: str, wanted: str) -> None:
        job = self.job(name)
        assert job.status == wanted, (name, job.status, job.data.error)


def every_kind(notes: str) -> Kinds:
    """Make them all. What would follow a commit is done at once, as in a server."""
    kinds = Kinds(notes)
    for make in (_ordinary, _waiting, _answered, _mended, _children, _stopped, _timed, _left):
        with TestCase.captureOnCommitCallbacks(execute=True):
            make(kinds)
    Relay().run_once()
    return kinds


def _do(act: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """One act, and what follows its commit."""
    with TestCase.captureOnCommitCallbacks(execute=True):
        return act(*args, **kwargs)


def _ordinary(kinds: Kinds) -> None:
    kinds.submit("done", chain("done", "echo", "echo"))
    told = {"told": {"type": "emit", "event": "told", "data": {"n": 1}}, "after": ECHO}
    kinds.submit("emitted", document("emitted", edge("told", "after"), tasks=told))
    caught = {"breaks": RAISES, "sorry": ECHO, "never": ECHO}
    edges = (edge("breaks", "sorry", on_error=["*"]), edge("breaks", "never"))
    kinds.submit("caught", document("caught", *edges, tasks=caught))
    kinds.submit("failed", chain("failed", "echo", "raises"))
    kinds.submit("given_up", document("given_up", tasks={"no": {"type": "fail", "error": "No"}, "ask": ASK}))
    undone = {"reserve": {**ECHO, "compensate": "undoes"}, "pay": {**ECHO, "compensate": "undoes"}, "no": RAISES}
    edges = (edge("reserve", "pay"), edge("pay", "no"))
    kinds.submit("compensated", document("compensated", *edges, tasks=undone, on_failure="compensate"))
    kinds.work()
    for name, status in (("done", "DONE"), ("emitted", "DONE"), ("caught", "DONE")):
        kinds.status(name, status)
    for name, status in (("failed", "FAIL"), ("given_up", "FAIL"), ("compensated", "CANC")):
        kinds.status(name, status)


WAITS: dict[str, dict[str, Any]] = {
    "asked": ASK,
    "external": {"type": "external", "queue": "partner", "message": {"n": 1}},
    "event": {"type": "event", "event": "paid", "correlation_key": "k"},
    "parked": PARKS,
    "later": {"type": "wait", "for": "PT1H"},
    "retrying": {**RAISES, "retry": [{"errors": ["*"], "interval": "PT1H", "max_attempts": 3}]},
    "timed": {**ASK, "timeout": "PT2H"},
}
"""Each the only task of a job of this name that waits."""


def _waiting(kinds: Kinds) -> None:
    for name, task in WAITS.items():
        kinds.submit(name, document(name, tasks={"wait": task, "by": ECHO}))
    kinds.submit("both", document("both", tasks={"one": ASK, "two": WAITS["event"], "three": PARKS}))
    promised = document("promised", tasks={"wait": WAITS["external"]}, sla={"due": "PT1H"})
    kinds.submit("promised", promised)
    kinds.work()
    for name in (*WAITS, "both", "promised"):
        kinds.status(name, "PEND")
    assert kinds.job("promised").due_paused_at is not None


def _answered(kinds: Kinds) -> None:
    back = {"ask": ASK, "end": ECHO}
    edges = (
        edge("ask", "ask", when="outcome == 'reject'", loop={"max_iterations": 3}),
        edge("ask", "end", when="outcome == 'approve'"),
    )
    kinds.submit("decided", document("decided", *edges, tasks=back))
    votes = {**ASK, "quorum": {"need": 2, "of": 2}, "constraints": {"not_initiator": True}}
    kinds.submit("voted", document("voted", tasks={"ask": votes}))
    kinds.submit("answered", document("answered", tasks={"wait": WAITS["external"]}))
    kinds.submit("paid", document("paid", tasks={"wait": {**WAITS["event"], "correlation_key": "p"}}))
    kinds.submit("responded", document("responded", tasks={"wait": PARKS}))
    kinds.submit("told", document("told", tasks={"ask": ASK}))
    kinds.work()
    _do(actions.complete, kinds.item("decided").pk, kinds.clerk, "reject")
    kinds.work()
    _do(actions.complete, kinds.item("decided").pk, kinds.clerk, "approve")
    for voter in (kinds.second, member(kinds.claims, "third")):
        _do(actions.complete, kinds.item("voted").pk, voter, "approve")
    chief = member(kinds.claims, "chief", is_superuser=True)
    for name in ("answered", "responded"):
        _do(actions.respond_external, kinds.jobs[name], "wait", chief, status="ok", data={"n": 1})
    event = {"specversion": "1.0", "id": "1", "source": "/bank", "type": "paid", "correlationkey": "p", "data": {}}
    Subscription.objects.create(name="on-paid", type="paid", workflow="done")
    _do(receive_event, event, received_by=kinds.clerk)
    kinds.work()
    for name in ("decided", "voted", "answered", "paid", "responded"):
        kinds.status(name, "DONE")
    _do(actions.comment, kinds.item("decided").pk, kinds.clerk, "said after the end")


def _mended(kinds: Kinds) -> None:
    for name in ("retried", "skipped", "cancelled"):
        kinds.submit(name, chain(name, "echo", "raises", "echo"))
    kinds.submit("flaky", chain("flaky", "flaky"))
    kinds.submit("restarted", document("restarted", edge("one", "ask"), tasks={"one": ECHO, "ask": ASK}))
    kinds.submit(
        "undone", document("undone", edge("one", "ask"), tasks={"one": {**ECHO, "compensate": "undoes"}, "ask": ASK})
    )
    kinds.submit("migrated", document("migrated", edge("one", "ask"), tasks={"one": ECHO, "ask": ASK}))
    kinds.submit("withdrawn", document("withdrawn", tasks={"ask": ASK, "event": WAITS["event"], "two": PARKS}))
    limit = edge("one", "one", loop={"max_iterations": 1})
    kinds.submit("exceeded", document("exceeded", limit, tasks={"one": ECHO, "two": PARKS}))
    kinds.work()
    retry_job(kinds.jobs["retried"], actor="clerk")
    retry_job(kinds.jobs["flaky"], actor="clerk")
    retry_job(kinds.jobs["exceeded"], actor="clerk")
    skip_task(kinds.jobs["skipped"], "step2", actor="clerk", output={"by": "hand"})
    cancel_job(kinds.jobs["cancelled"], actor="clerk")
    restart_job(kinds.jobs["restarted"], "one", actor="clerk")
    cancel_job(kinds.jobs["undone"], actor="clerk", compensate=True)
    cancel_job(kinds.jobs["withdrawn"], actor="clerk", reason="no longer wanted")
    publish(document("migrated", edge("one", "look"), tasks={"one": ECHO, "look": ASK}))
    migrate.migrate_job(kinds.jobs["migrated"], 2, mapping={"ask": "look"}, actor="clerk")
    kinds.work()
    for name, status in (("retried", "FAIL"), ("flaky", "DONE"), ("skipped", "DONE"), ("cancelled", "CANC")):
        kinds.status(name, status)
    for name, status in (("restarted", "PEND"), ("undone", "CANC"), ("migrated", "PEND"), ("withdrawn", "CANC")):
        kinds.status(name, status)


def _children(kinds: Kinds) -> None:
    publish(document("child", tasks={"c": ECHO}))
    publish(document("asking", tasks={"c": ASK}))
    items = {"type": "map", "items": "${[1, 2, 3]}"}
    kinds.submit("mapped", document("mapped", tasks={"m": {**items, "task": ECHO}}))
    kinds.submit("mapping", document("mapping", tasks={"m": {**items, "task": PARKS, "max_concurrency": 2}}))
    kinds.submit("called", document("called", tasks={"w": {"type": "workflow", "workflow": "child", "input": {}}}))
    kinds.submit("calling", document("calling", tasks={"w": {"type": "workflow", "workflow": "asking", "input": {}}}))
    kinds.submit("elsewhere", document("elsewhere", tasks={"q": {**ECHO, "queue": "partners"}}))
    kinds.submit("queued", document("queued", tasks={"q": {**ECHO, "queue": "nobody"}}))
    kinds.submit("map_failed", document("map_failed", tasks={"m": {**items, "task": RAISES}}))
    kinds.submit(
        "map_retried", document("map_retried", tasks={"m": {**items, "task": {"type": "plugin", "plugin": "refuses"}}})
    )
    kinds.submit("map_cancelled", document("map_cancelled", tasks={"m": {**items, "task": PARKS}}))
    for _ in range(4):
        _do(kinds.work, "default", "partners")
    _do(retry_job, kinds.jobs["map_retried"], actor="clerk")
    _do(cancel_job, kinds.jobs["map_cancelled"], actor="clerk")
    for _ in range(2):
        _do(kinds.work, "default", "partners")
    for name in ("mapped", "called", "elsewhere"):
        kinds.status(name, "DONE")
    for name, status in (("mapping", "PEND"), ("calling", "PEND"), ("queued", "PEND"), ("map_failed", "FAIL")):
        kinds.status(name, status)
    kinds.status("map_cancelled", "CANC")
    kinds.status("map_retried", "FAIL")


def _stopped(kinds: Kinds) -> None:
    kinds.submit("suspended", chain("suspended", "echo"))
    suspend_job(kinds.jobs["suspended"], actor="clerk")
    kinds.submit("resumed", chain("resumed", "echo"))
    suspend_job(kinds.jobs["resumed"], actor="clerk")
    resume_job(kinds.jobs["resumed"], actor="clerk")
    kinds.submit("suspended_and_cancelled", chain("suspended_and_cancelled", "echo"))
    suspend_job(kinds.jobs["suspended_and_cancelled"], actor="clerk")
    cancel_job(kinds.jobs["suspended_and_cancelled"], actor="clerk")
    Limit.objects.create(code="resource:bank", rate_limit=1, rate_per=3600)
    limited = {"bank": {**ECHO, "resource": "bank"}}
    kinds.submit("first", document("first", tasks=limited))
    kinds.submit("held", document("held", tasks=limited, timeout="PT1H"))
    kinds.submit("one_at_a_time", document("one_at_a_time", tasks={"ask": ASK}, max_concurrency=1))
    kinds.work()
    assert kinds.job("held").hold == "resource:bank"
    assert kinds.job("suspended").hold == "suspended"
    kinds.status("suspended_and_cancelled", "CANC")


def _timed(kinds: Kinds) -> None:
    kinds.submit(
        "waited", document("waited", edge("wait", "by"), tasks={"wait": {"type": "wait", "for": "PT0.01S"}, "by": ECHO})
    )
    quick = {**ASK, "timeout": "PT0.01S"}
    kinds.submit("timed_out", document("timed_out", tasks={"ask": quick}))
    Calendar.objects.create(code="office", name="Office", hours={"mon": [["09:00", "17:00"]]})
    kinds.submit("late", document("late", tasks={"ask": ASK}, sla={"due": "PT0.01S"}))
    kinds.work()
    time.sleep(0.02)
    Timers().run_once()
    Lateness().run_once()
    kinds.work()
    kinds.status("waited", "DONE")
    kinds.status("timed_out", "FAIL")
    assert kinds.job("late").due_breached_at is not None


def _left(kinds: Kinds) -> None:
    """What stands still in the middle, made last so that nobody works on it."""
    kinds.submit("expired", chain("expired", "echo"))
    for _ in range(2):
        (lost,) = [job for job in claim("default", "gone", 50, 1) if job.id == kinds.jobs["expired"]]
        Job.objects.filter(pk=lost.id).update(claimed_until=timezone.now() - timedelta(seconds=1))
        Rescuer().run_once()
    with transaction.atomic():
        add_history(kinds.jobs["expired"], "job.noted", actor="clerk")
    kinds.work()
    kinds.status("expired", "DONE")
    kinds.submit("leased", chain("leased", "echo"))
    Worker.objects.create(name="worker", queue="default", host="here", pid=1)
    assert kinds.jobs["leased"] in {job.id for job in claim("default", "worker", 50, 30)}
    # An answer that no worker has seen yet.
    _do(actions.complete, kinds.item("told").pk, kinds.clerk, "approve")
    kinds.status("told", "READY")
    kinds.submit("new", chain("new", "echo"))
    kinds.submit("scheduled", chain("scheduled", "echo"), run_at=timezone.now() + timedelta(days=1))
    kinds.submit("cancelled_new", chain("cancelled_new", "echo"))
    cancel_job(kinds.jobs["cancelled_new"], actor="clerk")
    kinds.submit("typed", chain("typed", "echo"))
    kinds.jobs["typed"] = submit_job(Submission("echo", {}), submitted_by=kinds.clerk).job.pk
    letter = store_document("letter.txt", b"Dear reader", uploaded_by=kinds.clerk)
    kinds.submit("attached", chain("attached", "echo"), documents=[letter.pk])
    create({"workflow": "done", "every": "PT10M"}, created_by="clerk")
