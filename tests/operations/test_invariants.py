"""Every invariant is silent on a database with one job of each kind, and finds the fault that is planted for it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, models, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from departments.models import DepartmentResponse, Vote, WorkItem
from tests.execution.jobs import submit
from workflows.execution.respond import add_history
from workflows.management.commands import verify
from workflows.models import (
    ChildGroup,
    DeadLetter,
    Definition,
    Document,
    Event,
    EventWaiter,
    History,
    IdempotencyKey,
    Job,
    JobData,
    Limit,
    Message,
    PluginRegistration,
    Schedule,
    Signal,
    Slot,
    TaskRun,
    Worker,
)
from workflows.operations import findings
from workflows.operations.findings import Check, Found, Window, examine, still_there, windows
from workflows.operations.invariants import all_checks, states

from .kinds import Kinds, every_kind

pytestmark = pytest.mark.django_db

MANUAL = Path(__file__).parents[2] / "docs" / "verify.md"


@pytest.fixture(scope="module")
def _made(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: Any) -> Iterator[tuple[Kinds, Path]]:
    """Made once for the module, and taken back at its end."""
    folder = tmp_path_factory.mktemp("kinds")
    own = override_settings(
        WORKFLOW_PLUGIN_PACKAGES=["tests.execution"],
        MEDIA_ROOT=folder / "documents",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    )
    with django_db_blocker.unblock(), own, transaction.atomic():
        yield every_kind(str(folder / "notes")), folder
        transaction.set_rollback(True)


@pytest.fixture
def kinds(_made: tuple[Kinds, Path], settings: Any) -> Iterator[Kinds]:
    """The jobs, in a transaction that the test has for itself."""
    made, folder = _made
    settings.MEDIA_ROOT = folder / "documents"
    with transaction.atomic():
        yield made
        transaction.set_rollback(True)


def check_named(name: str) -> Check:
    return next(check for check in all_checks() if check.name == name)


def found() -> dict[str, tuple[str, ...]]:
    return {name: finding.examples for name, finding in examine(all_checks()).items() if finding.count}


def test_a_database_with_a_job_of_every_kind_is_well(kinds: Kinds) -> None:
    standing = set(Job.objects.values_list("status", flat=True))
    assert standing == {"NEW", "READY", "PEND", "DONE", "FAIL", "CANC"}
    assert ChildGroup.objects.filter(closed_at__isnull=True).exists()
    assert ChildGroup.objects.filter(attempt=2).exists()
    assert Signal.objects.exists()
    assert found() == {}


# ---- faults ---------------------------------------------------------------------------------------------------------


def rows(model: type[models.Model]) -> Any:
    """The rows of a model without its manager, which may refuse a change."""
    return models.QuerySet(model)


def long_ago() -> datetime:
    return timezone.now() - timedelta(hours=1)


def set_job(name: str, **values: Any) -> Callable[[Kinds], object]:
    return lambda kinds: rows(Job).filter(pk=kinds.jobs[name]).update(**values)


def of_job(model: type[models.Model], name: str, more: dict[str, Any] | None = None, **values: Any) -> Any:
    """The rows of a job get these values; a function is called for its value."""

    def plant(kinds: Kinds) -> None:
        new = {column: value() if callable(value) else value for column, value in values.items()}
        assert rows(model).filter(job=kinds.jobs[name], **(more or {})).update(**new)

    return plant


def without(model: type[models.Model], name: str, **more: Any) -> Callable[[Kinds], None]:
    """The rows of a job are gone."""

    def plant(kinds: Kinds) -> None:
        gone = rows(model).filter(job=kinds.jobs[name], **more)
        assert gone._raw_delete(using="default")

    return plant


def copied(row: models.Model, **values: Any) -> None:
    """One more row like this one."""
    fields = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    del fields[row._meta.pk.attname]
    key = {"id": rows(type(row)).order_by("-id")[0].pk + 1} if isinstance(row.pk, int) else {}
    rows(type(row)).bulk_create([type(row)(**{**fields, **key, **values})])


def state_of(name: str, **values: Any) -> Callable[[Kinds], None]:
    def plant(kinds: Kinds) -> None:
        data = JobData.objects.get(pk=kinds.jobs[name])
        JobData.objects.filter(pk=data.pk).update(state={**data.state, **values})

    return plant


def slot_of_nobody(kinds: Kinds) -> None:
    limit = Limit.objects.get(code="resource:bank")
    Slot.objects.create(limit=limit, job_id=kinds.jobs["done"], task="step1", fence=3, taken_at=long_ago())


def unread(kinds: Kinds) -> None:
    rows(Job).filter(pk=kinds.jobs["told"]).update(status="PEND")
    Signal.objects.filter(job=kinds.jobs["told"]).update(created_at=long_ago())


def job_gone(kinds: Kinds) -> None:
    with connection.cursor() as cursor:
        where = Job.objects.filter(pk=kinds.jobs["new"]).query.sql_with_params()[1]
        cursor.execute("DELETE FROM workflows_job WHERE id = %s", where)


def wrong_parent(kinds: Kinds) -> None:
    child = Job.objects.filter(parent=kinds.jobs["mapping"])[0]
    rows(Job).filter(pk=child.pk).update(parent=kinds.jobs["done"])


def no_such_item(kinds: Kinds) -> None:
    child = Job.objects.filter(parent=kinds.jobs["mapping"])[0]
    rows(Job).filter(pk=child.pk).update(item_index=99)


def other_beginning(kinds: Kinds) -> None:
    row = History.objects.filter(job=kinds.jobs["decided"], from_status="PEND")[0]
    rows(History).filter(pk=row.pk).update(from_status="FAIL")


def impossible(kinds: Kinds) -> None:
    rows(History).filter(job=kinds.jobs["done"], to_status="DONE").update(from_status="PEND")


def same_fence(kinds: Kinds) -> None:
    first, second = History.objects.filter(job=kinds.jobs["expired"], event="lease.expired")
    assert first.data["fence"] < second.data["fence"]
    rows(History).filter(pk=second.pk).update(data={**second.data, "fence": first.data["fence"]})


def higher_fence(kinds: Kinds) -> None:
    last = History.objects.filter(job=kinds.jobs["expired"], event="lease.expired").last()
    assert last is not None
    rows(History).filter(pk=last.pk).update(data={**last.data, "fence": 1000})


def done_twice(kinds: Kinds) -> None:
    copied(TaskRun.objects.get(job=kinds.jobs["done"], task="step1"), attempt=9)


def new_run(name: str, **values: Any) -> Callable[[Kinds], None]:
    def plant(kinds: Kinds) -> None:
        TaskRun.objects.create(job_id=kinds.jobs[name], sequence=1, **values)

    return plant


def event_came(kinds: Kinds) -> None:
    EventWaiter.objects.filter(job=kinds.jobs["event"]).update(created_at=long_ago())
    expires_at = timezone.now() + timedelta(days=1)
    known = {"received_at": long_ago(), "handled_at": long_ago(), "expires_at": expires_at}
    Event.objects.create(source="/bank", event_id="missed", type="paid", key="k", **known)


def unsettled(kinds: Kinds) -> None:
    group = ChildGroup.objects.get(job=kinds.jobs["mapped"])
    ChildGroup.objects.filter(pk=group.pk).update(closed_at=None, created_at=long_ago())
    rows(Job).filter(group=group).update(finished_at=long_ago())


def ended_unseen(kinds: Kinds) -> None:
    """The last child has ended, and its parent was not told."""
    group = ChildGroup.objects.get(job=kinds.jobs["queued"])
    ChildGroup.objects.filter(pk=group.pk).update(created_at=long_ago())
    rows(Job).filter(group=group).update(status="DONE", finished_at=long_ago())


def overtaken(kinds: Kinds) -> None:
    message = Message.objects.get(job=kinds.jobs["emitted"])
    copied(message, sequence=message.sequence + 1)
    Message.objects.filter(pk=message.pk).update(published_at=None)


def initiator_voted(kinds: Kinds) -> None:
    Vote.objects.filter(item__job=kinds.jobs["voted"], voter=kinds.second).update(voter=kinds.clerk)


def close_item(kinds: Kinds) -> None:
    WorkItem.objects.filter(job=kinds.jobs["both"]).update(status="withdrawn")


def remove_file(kinds: Kinds) -> None:
    document = Document.objects.get(job=kinds.jobs["attached"])
    document.content.storage.delete(document.content.name)


def change_file(content: bytes) -> Callable[[Kinds], None]:
    def plant(kinds: Kinds) -> None:
        Path(Document.objects.get(job=kinds.jobs["attached"]).content.path).write_bytes(content)

    return plant


def stray_file(kinds: Kinds) -> None:
    stray = Path(configured.MEDIA_ROOT) / "2026" / "stray"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"nobody's")
    os.utime(stray, (0, 0))


@dataclass(frozen=True)
class Fault:
    """How a fault is planted. `refused_by` is the constraint that must be taken away before: the database itself
    refuses it."""

    plant: Callable[[Kinds], object]
    refused_by: str = ""
    model: type[models.Model] = Job


ONE_HOUR = timedelta(hours=1)
FAULTS: dict[str, list[Fault]] = {
    "no_wake_up": [
        Fault(of_job(WorkItem, "asked", status="withdrawn")),
        Fault(of_job(EventWaiter, "event", closed_at=timezone.now)),
        Fault(set_job("later", wake_at=None)),
        Fault(of_job(ChildGroup, "mapping", closed_at=timezone.now)),
    ],
    "unread_facts": [Fault(unread)],
    "late_timers": [
        Fault(lambda kinds: set_job("later", wake_at=long_ago())(kinds)),
        Fault(lambda kinds: set_job("held", wake_at=long_ago())(kinds)),
    ],
    "lost_leases": [Fault(lambda kinds: set_job("leased", claimed_until=long_ago())(kinds))],
    "far_run_at": [Fault(lambda kinds: set_job("scheduled", run_at=timezone.now() + timedelta(days=40_000))(kinds))],
    "groundless_holds": [Fault(set_job("new", hold="suspended:nothing"))],
    "slots_of_nobody": [Fault(slot_of_nobody)],
    "missing_constraint": [
        Fault(lambda kinds: lift(Job, "job_group_item")),
        Fault(lambda kinds: lift(TaskRun, "task_run_done_once")),
    ],
    "unknown_status": [Fault(set_job("new", status="RUN"), "job_status_known")],
    "broken_lease": [
        Fault(set_job("asked", claimed_by="me"), "job_lease_whole_and_claimable"),
        Fault(set_job("leased", claimed_until=None), "job_lease_whole_and_claimable"),
        Fault(set_job("leased", fence=0)),
    ],
    "unknown_worker": [Fault(lambda kinds: Worker.objects.all().delete())],
    "endless_lease": [Fault(lambda kinds: set_job("leased", claimed_until=timezone.now() + ONE_HOUR)(kinds))],
    "too_many_claims": [Fault(set_job("leased", claims=9))],
    "broken_end": [
        Fault(set_job("done", hold="suspended")),
        Fault(set_job("done", finished_at=None), "job_finished_at_when_finished"),
        Fault(lambda kinds: set_job("new", finished_at=long_ago())(kinds), "job_finished_at_when_finished"),
        Fault(lambda kinds: set_job("done", wake_at=long_ago())(kinds), "job_wake_only_parked_or_held"),
    ],
    "no_data": [Fault(without(JobData, "new"))],
    "orphans": [Fault(job_gone)],
    "unknown_version": [
        Fault(set_job("done", version=77)),
        Fault(lambda kinds: PluginRegistration.objects.filter(job_type="echo").delete()),
    ],
    "unreported_lateness": [Fault(lambda kinds: set_job("late", due_at=long_ago(), due_breached_at=None)(kinds))],
    "clock_without_due_time": [Fault(set_job("promised", due_at=None))],
    "repeated_key": [
        Fault(
            lambda kinds: copied(IdempotencyKey.objects.get(job=kinds.jobs["done"]), job_id=kinds.jobs["new"]),
            "idempotency_principal_key",
            IdempotencyKey,
        )
    ],
    "failure_without_letter": [Fault(without(DeadLetter, "failed"))],
    "letter_without_failure": [Fault(of_job(DeadLetter, "skipped", resolved_at=None))],
    "repeated_letter": [
        Fault(
            lambda kinds: copied(DeadLetter.objects.get(job=kinds.jobs["failed"])), "dead_letter_open_once", DeadLetter
        )
    ],
    "broken_child": [Fault(wrong_parent), Fault(no_such_item)],
    "gap_in_history": [
        Fault(without(History, "done", sequence=2)),
        Fault(without(History, "done")),
        Fault(set_job("done", history_count=99)),
    ],
    "birth_without_row": [Fault(of_job(History, "done", {"sequence": 1}, to_status=""))],
    "impossible_move": [Fault(impossible, "history_move_allowed", History)],
    "broken_chain": [Fault(other_beginning)],
    "history_ends_elsewhere": [Fault(set_job("new", status="READY"))],
    "work_after_end": [
        Fault(lambda kinds: add_history(kinds.jobs["done"], "task.completed", actor="", task="step1")),
    ],
    "falling_fence": [Fault(same_fence), Fault(higher_fence)],
    "repeated_success": [Fault(done_twice, "task_run_done_once", TaskRun)],
    "run_without_history": [
        Fault(of_job(TaskRun, "done", sequence=99)),
        Fault(of_job(TaskRun, "done", {"task": "step2"}, status="failed")),
    ],
    "run_after_end": [Fault(new_run("done", task="step1", iteration=2, status="waiting"))],
    "unreadable_state": [Fault(state_of("asked", schema_version=99)), Fault(state_of("done", phase="gone"))],
    "state_and_status": [
        Fault(state_of("done", phase="cancelled")),
        Fault(set_job("cancelled_new", status="DONE")),
        Fault(of_job(JobData, "asked", state=None)),
    ],
    "state_and_timer": [Fault(lambda kinds: set_job("later", wake_at=timezone.now() + ONE_HOUR)(kinds))],
    "state_and_runs": [
        Fault(without(TaskRun, "done", task="step2")),
        Fault(without(TaskRun, "asked", task="wait")),
        Fault(of_job(TaskRun, "retrying", {"task": "wait"}, status="failed")),
        Fault(of_job(TaskRun, "failed", {"task": "step2"}, status="done")),
        Fault(without(TaskRun, "caught", task="never")),
        Fault(new_run("asked", task="by", iteration=2, status="waiting")),
    ],
    "wait_without_request": [
        Fault(close_item),
        Fault(of_job(EventWaiter, "both", closed_at=timezone.now)),
        Fault(of_job(ChildGroup, "queued", closed_at=timezone.now)),
        Fault(of_job(WorkItem, "external", iteration=2)),
    ],
    "missing_message": [Fault(without(Message, "emitted"))],
    "waiter_without_wait": [Fault(of_job(EventWaiter, "paid", closed_at=None))],
    "missed_event": [Fault(event_came)],
    "late_waiters": [Fault(of_job(EventWaiter, "event", looked_at=None, created_at=long_ago))],
    "late_events": [
        Fault(lambda kinds: Event.objects.filter(event_id="1").update(handled_at=None, received_at=long_ago()))
    ],
    "group_without_wait": [Fault(of_job(ChildGroup, "mapped", closed_at=None, closing=""))],
    "wrong_number_of_children": [Fault(of_job(ChildGroup, "mapping", started=3))],
    "child_of_closed_group": [Fault(of_job(ChildGroup, "mapping", closed_at=timezone.now))],
    "unsettled_group": [Fault(unsettled), Fault(ended_unseen)],
    "late_schedules": [Fault(lambda kinds: Schedule.objects.update(next_at=long_ago()))],
    "message_without_history": [Fault(of_job(Message, "emitted", sequence=99))],
    "late_messages": [Fault(of_job(Message, "emitted", published_at=None, created_at=long_ago))],
    "message_out_of_order": [Fault(overtaken)],
    "lost_message": [Fault(lambda kinds: Event.objects.filter(type="told").delete())],
    "repeated_event": [Fault(lambda kinds: copied(Event.objects.get(event_id="1")), "event_once", Event)],
    "uncounted_signal": [Fault(set_job("told", signals=0))],
    "signal_after_end": [Fault(lambda kinds: Signal.objects.create(job_id=kinds.jobs["done"], sequence=1, event={}))],
    "item_without_wait": [
        Fault(lambda kinds: WorkItem.objects.filter(pk=kinds.item("decided").pk).update(status="open")),
        Fault(lambda kinds: WorkItem.objects.filter(pk=kinds.item("migrated").pk).update(task="ask")),
    ],
    "item_without_answer": [Fault(without(DepartmentResponse, "decided", iteration=2))],
    "answer_without_decision": [
        Fault(lambda kinds: WorkItem.objects.filter(pk=kinds.item("decided").pk).update(outcome="reject")),
        Fault(lambda kinds: WorkItem.objects.filter(pk=kinds.item("answered").pk).update(status="withdrawn")),
    ],
    "decided_by_initiator": [
        Fault(lambda kinds: WorkItem.objects.filter(job=kinds.jobs["voted"]).update(decided_by=kinds.clerk)),
        Fault(initiator_voted),
    ],
    "late_escalations": [Fault(of_job(WorkItem, "asked", escalate_at=long_ago))],
    "lost_file": [Fault(remove_file), Fault(change_file(b"Dear")), Fault(change_file(b"Dead reader"))],
    "file_without_document": [Fault(stray_file)],
}
"""By check: what it must find. A check that is not here has never been seen to find anything."""

PLANTED = [
    pytest.param(name, fault, id=f"{name}-{number}" if number else name)
    for name, faults in FAULTS.items()
    for number, fault in enumerate(faults)
]


@contextmanager
def files_restored() -> Iterator[None]:
    """What is planted in a file is no part of a transaction."""
    folder = Path(configured.MEDIA_ROOT)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    try:
        yield
    finally:
        for path in folder.rglob("*"):
            if path.is_file():
                path.unlink()
        for path, content in before.items():
            path.write_bytes(content)


def lift(model: type[models.Model], name: str) -> None:
    """Take a constraint away, as long as this transaction lasts."""
    table = model._meta.db_table
    constraint = next(each for each in model._meta.constraints if each.name == name)
    unique = isinstance(constraint, models.UniqueConstraint)
    with connection.cursor() as cursor:
        if unique and constraint.condition is not None:
            connection.check_constraints()  # PostgreSQL: nothing may be left to be looked at for the table
            cursor.execute(f"DROP INDEX {name}")
        elif connection.vendor == "postgresql":
            connection.check_constraints()
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        elif unique:  # SQLite keeps it in the table itself: in its place, one with the same rows and no rules
            cursor.execute(f"ALTER TABLE {table} RENAME TO planted_{table}")
            cursor.execute(f"CREATE TABLE {table} AS SELECT * FROM planted_{table}")  # noqa: S608
        else:
            cursor.execute("PRAGMA ignore_check_constraints = on")


@pytest.fixture
def _checked() -> Iterator[None]:
    yield
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA ignore_check_constraints = off")


@pytest.mark.usefixtures("_checked")
@pytest.mark.parametrize(("name", "fault"), PLANTED)
def test_every_check_finds_the_fault_that_is_planted_for_it(kinds: Kinds, name: str, fault: Fault) -> None:
    if fault.refused_by:
        with pytest.raises(IntegrityError), transaction.atomic():
            fault.plant(kinds)
        lift(fault.model, fault.refused_by)
    assert check_named(name).find().count == 0
    with files_restored():
        fault.plant(kinds)
        finding = check_named(name).find()
    assert finding.count >= 1
    assert finding.examples[0]


def test_every_check_has_a_planted_fault() -> None:
    assert set(FAULTS) == {check.name for check in all_checks()}


def test_every_check_is_in_the_manual_and_nothing_else_is() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", MANUAL.read_text(encoding="utf-8"), re.MULTILINE)
    assert listed == [check.name for check in all_checks()]


def test_an_example_names_the_job_and_says_what_is_wrong_with_it(kinds: Kinds) -> None:
    state_of("done", phase="cancelled")(kinds)
    assert found() == {"state_and_status": (f"done {kinds.jobs['done']}: DONE, and its state says CANC",)}


# ---- how all jobs are gone through ----------------------------------------------------------------------------------


def test_the_windows_hold_every_job_once_and_the_ids_between_them_too(
    kinds: Kinds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "WINDOW", 25)
    monkeypatch.setattr(states, "PORTION", 10)
    held = [list(Job.objects.filter(window.of()).order_by("pk").values_list("pk", flat=True)) for window in windows()]
    assert list(chain.from_iterable(held)) == list(Job.objects.order_by("pk").values_list("pk", flat=True))
    assert {len(portion) for portion in held[:-1]} == {25}
    assert found() == {}
    job_gone(kinds)
    state_of("asked", phase="gone")(kinds)
    assert found().keys() == {"orphans", "unreadable_state"}


def test_only_jobs_born_since_a_moment_are_looked_at_where_that_is_wanted(kinds: Kinds) -> None:
    checks = [check_named("gap_in_history")]
    set_job("done", history_count=99)(kinds)
    born = Job.objects.get(pk=kinds.jobs["done"]).created_at
    assert examine(checks, since=born - timedelta(seconds=1))["gap_in_history"].count == 1
    assert examine(checks, since=born + timedelta(seconds=1))["gap_in_history"].count == 0


def test_the_number_of_statements_does_not_grow_with_the_jobs(kinds: Kinds) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert found() == {}
        return len(captured)

    before = statements()
    for _ in range(20):
        submit(Definition.objects.get(name="done", version=1))
    assert statements() == before


def test_no_more_is_kept_of_what_is_found_than_is_counted(kinds: Kinds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "COUNT_MOST", 4)
    rows(Job).update(history_count=99)
    assert check_named("gap_in_history").find().count == 4
    monkeypatch.setattr(findings, "WINDOW", 3)
    assert check_named("gap_in_history").find().count == 4


def test_a_job_that_goes_on_while_it_is_read_is_not_found(kinds: Kinds, monkeypatch: pytest.MonkeyPatch) -> None:
    real, looks = states._read, []

    def read(ids: Any, parked: Any) -> Any:
        looks.append(len(ids))
        if len(looks) == 1:
            # Between the state and the runs: the answer that was told is decided on, with all that goes with it.
            rows(Job).exclude(pk=kinds.jobs["told"]).filter(status__in=["NEW", "READY"]).update(run_at=far)
            kinds.work()
            kinds.status("told", "DONE")
        return real(ids, parked)

    far = timezone.now() + timedelta(days=1)
    monkeypatch.setattr(states, "_read", read)
    assert examine([check_named("state_and_runs")])["state_and_runs"].count == 0
    assert looks[1:] == [1], "it is looked at once more, alone"


def test_what_is_put_right_before_the_second_look_is_not_told(kinds: Kinds) -> None:
    checks = list(all_checks())
    set_job("done", history_count=99)(kinds)
    set_job("new", hold="suspended:nothing")(kinds)
    Worker.objects.all().delete()
    first = examine(checks)
    told = {name for name, finding in first.items() if finding.count}
    assert told == {"gap_in_history", "groundless_holds", "unknown_worker"}
    stayed = still_there(checks, first, after_seconds=0)
    assert {name: finding.examples for name, finding in stayed.items()} == {
        name: finding.examples for name, finding in first.items()
    }
    rows(Job).filter(pk=kinds.jobs["done"]).update(history_count=History.objects.filter(job=kinds.jobs["done"]).count())
    set_job("new", hold="")(kinds)
    set_job("emitted", history_count=99)(kinds)  # others, which were not there before
    set_job("scheduled", hold="suspended:nothing")(kinds)
    stayed = still_there(checks, first, after_seconds=0)
    assert {name for name, finding in stayed.items() if finding.count} == {"unknown_worker"}


# ---- the command ----------------------------------------------------------------------------------------------------


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("verify", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_says_that_all_is_well(kinds: Kinds) -> None:
    count = sum(1 for check in all_checks() if not check.deep)
    assert run().splitlines()[-1] == f"{count} checks, all well."
    assert "lost_file" not in run()
    assert run("--deep", "--since", "P1D", "--again", "0").splitlines()[-1] == f"{len(all_checks())} checks, all well."
    assert run("--since", "2026-01-31", "lost_file", "orphans").splitlines()[-1] == "2 checks, all well."


def test_the_command_says_what_it_found_in_words_and_as_json(kinds: Kinds) -> None:
    state_of("done", phase="cancelled")(kinds)
    words = f"done {kinds.jobs['done']}: DONE, and its state says CANC"
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("verify", "--again", "0.01", stdout=out)
    assert ended.value.code == 1
    assert words in out.getvalue()
    assert out.getvalue().splitlines()[-1].endswith("checks, 1 found something.")
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("verify", "--json", "state_and_status", "orphans", stdout=out)
    told = json.loads(out.getvalue())
    meaning = "Jobs whose status is not that of their state."
    assert told["ok"] is False
    assert [row for row in told["checks"] if row["count"]] == [
        {"name": "state_and_status", "meaning": meaning, "count": 1, "examples": [words]}
    ]
    assert [row["name"] for row in told["checks"]] == ["orphans", "state_and_status"]


def test_the_checks_are_listed_without_a_look(kinds: Kinds) -> None:
    with CaptureQueriesContext(connection) as captured:
        listed = run("--list", "--deep").splitlines()
    assert len(listed) == len(all_checks())
    assert listed[0] == "no_wake_up: Parked jobs that nothing would ever wake."
    assert len(captured) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "no check nonsense"),
        (("--since", "yesterday"), "yesterday"),
        (("--since", "2026-02-31"), "since"),
        (("--again=-1",), "number of seconds"),
    ],
)
def test_what_is_wrong_with_the_command_is_told(kinds: Kinds, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        run(*arguments)


def test_it_says_how_far_it_is(kinds: Kinds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "PROGRESS_SECONDS", 0.0)
    errors = StringIO()
    call_command("verify", "orphans", "late_events", stdout=StringIO(), stderr=errors)
    assert errors.getvalue().splitlines() == ["late_events …", "jobs from number 1 …"]


def test_no_check_can_change_anything(kinds: Kinds, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(window: Window) -> Iterator[Found]:
        yield Found("1", str(Worker.objects.update(pid=2)))

    monkeypatch.setattr(verify, "all_checks", lambda: [Check("writes", "It writes.", look)])
    with pytest.raises(RuntimeError, match="UPDATE"), transaction.atomic():
        run()
    assert Worker.objects.get().pid == 1
    assert Worker.objects.update(pid=3) == 1, "and whoever uses the connection afterwards can"
