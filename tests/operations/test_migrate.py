"""Live jobs move to another version: a dry run first, then each by itself, and every answer still finds its task."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from departments.models import WorkItem
from tests.execution.jobs import publish, register, submit
from tests.factories import DepartmentFactory
from workflows.engine.events import Responded
from workflows.execution.respond import signal_job
from workflows.execution.worker import drain
from workflows.models import DeadLetter, History, Job, TaskRun
from workflows.operations import cancel_job, migrate, retry_job
from workflows.operations.exceptions import CannotMigrate, InvalidRequest, WrongState
from workflows.operations.replay import replay_job

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _claims(settings: Any) -> None:
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    register("echo", "Echo")
    register("parks", "Parks")
    register("raises", "Raises")
    DepartmentFactory(code="claims")


def document(decide: str = "verify", *, first: str = "check", after: str = "echo", **human: Any) -> dict[str, Any]:
    return {
        "name": "claim",
        "tasks": {
            first: {"type": "plugin", "plugin": "echo"},
            decide: {"type": "human", "department": "claims", **human},
            "pay": {"type": "plugin", "plugin": after, "input": {"by": "${tasks." + decide + ".outcome}"}},
        },
        "transitions": [{"from": first, "to": decide}, {"from": decide, "to": "pay"}],
    }


def waiting(count: int = 1, version: dict[str, Any] | None = None) -> list[Job]:
    definition = publish(version or document())
    jobs = [submit(definition, {"n": number}) for number in range(count)]
    drain()
    return jobs


def move(job: Job, to: int, **mapping: str) -> Job:
    return migrate.migrate_job(job.pk, to, mapping=mapping, actor="ann", reason="new rules")


def respond(job: Job, task: str, outcome: str = "approve") -> None:
    with transaction.atomic():
        signal_job(job.pk, Responded(task, 1, outcome, {}, "bob"), history_event="response.received", task=task)


def assert_replays(job: Job) -> None:
    result = replay_job(job.pk)
    assert result.equal, result


def test_a_parked_job_moves_and_stays_parked_and_its_history_says_who_and_why() -> None:
    (job,) = waiting()
    publish(document(after="parks"))
    moved = move(job, 2)
    assert (moved.version, moved.status, moved.claimed_by) == (2, "PEND", None)
    row = History.objects.get(job=job, event="job.migrated")
    assert (row.actor, row.data["from"], row.data["to"], row.data["cause"]) == ("ann", 1, 2, "new rules")
    assert_replays(job)
    respond(job, "verify")
    drain()
    job.refresh_from_db()
    assert (job.status, job.version) == ("PEND", 2)
    assert TaskRun.objects.get(job=job, task="pay").input == {"by": "approve"}
    assert_replays(job)


def test_everything_that_hangs_on_a_task_follows_it_to_its_new_name() -> None:
    (job,) = waiting()
    publish(document("look", first="verify"))
    move(job, 2, check="verify", verify="look")
    assert set(TaskRun.objects.filter(job=job).values_list("task", "status")) == {
        ("verify", "done"),
        ("look", "waiting"),
    }
    assert WorkItem.objects.get(job=job).task == "look"
    assert_replays(job)
    respond(job, "look")
    drain()
    job.refresh_from_db()
    assert job.status == "DONE"
    assert_replays(job)


def test_an_answer_that_came_before_the_move_is_decided_before_it() -> None:
    (job,) = waiting()
    respond(job, "verify", "reject")
    publish(document("look"))
    moved = move(job, 2, verify="look")
    assert (moved.status, moved.signals) == ("READY", 1)
    drain()
    assert TaskRun.objects.get(job=job, task="pay").input == {"by": "reject"}
    job.refresh_from_db()
    assert job.status == "DONE"
    assert_replays(job)


def test_a_new_job_and_a_failed_one_move_too() -> None:
    failed, new = waiting(1, document(after="raises"))[0], submit(publish(document(after="raises")))
    respond(failed, "verify")
    drain()
    failed.refresh_from_db()
    assert failed.status == "FAIL"
    new = submit(publish({**document(after="raises"), "title": "3"}))
    publish(document())
    assert move(failed, 4).status == "FAIL"
    assert move(new, 4).status == "NEW"
    for job in (failed, new):
        assert_replays(job)
    retry_job(failed.pk, actor="ann")
    drain()
    failed.refresh_from_db()
    assert (failed.status, failed.version) == ("DONE", 4)
    assert_replays(failed)


def test_a_version_that_lacks_the_task_is_refused_and_the_task_is_named() -> None:
    (job,) = waiting()
    publish(document("look"))
    with pytest.raises(CannotMigrate, match="'verify', which the new version does not have") as refused:
        move(job, 2)
    assert [(o.code, o.task) for o in refused.value.obstacles] == [("needs_mapping", "verify")]
    job.refresh_from_db()
    assert job.version == 1
    with pytest.raises(InvalidRequest, match="no task 'nowhere'"):
        move(job, 2, verify="nowhere")
    with pytest.raises(InvalidRequest, match="No version that these jobs are on has a task 'x'"):
        move(job, 2, x="look")
    for version in (3, 0, -1, 2**40):
        with pytest.raises(InvalidRequest, match="has no version"):
            move(job, version)


def test_a_job_that_ended_is_there_already_or_is_in_a_workers_hands_does_not_move() -> None:
    (job,) = waiting()
    publish(document("look"))
    with pytest.raises(WrongState, match="on version 1 already"):
        move(job, 1)
    Job.objects.filter(pk=job.pk).update(
        status="READY", claimed_by="w", claimed_until="2100-01-01T00:00Z", wake_at=None
    )
    with pytest.raises(WrongState, match="A worker is at this job"):
        move(job, 2, verify="look")
    Job.objects.filter(pk=job.pk).update(claimed_by=None, claimed_until=None, fragment="pay")
    with pytest.raises(WrongState, match="runs a part of"):
        move(job, 2, verify="look")
    Job.objects.filter(pk=job.pk).update(fragment="", status="DONE", finished_at="2030-01-01T00:00Z")
    with pytest.raises(WrongState, match="DONE already"):
        move(job, 2, verify="look")


def test_a_dry_run_says_which_move_which_need_a_mapping_and_which_cannot() -> None:
    first = waiting(7)
    second = submit(publish(document("look", outcomes=["approve", "reject", "return"])))
    drain()
    publish({**document("look"), "title": "third"})
    jobs = migrate.live_jobs("claim", 3)
    before = list(Job.objects.order_by("id").values())
    found = migrate.dry_run("claim", 3, {}, jobs)
    assert (found.total, found.examined, found.clean.count) == (8, 8, 0)
    assert [(v.code, v.task, v.count, len(v.examples)) for v in found.needs_mapping] == [
        ("needs_mapping", "verify", 7, 5)
    ]
    assert [(v.code, v.task, v.examples) for v in found.cannot] == [("outcome_gone", "look", [second.pk])]
    mapped = migrate.dry_run("claim", 3, {"verify": "look"}, jobs)
    assert (mapped.clean.count, mapped.clean.examples) == (7, [job.pk for job in first[:5]])
    assert list(Job.objects.order_by("id").values()) == before
    only = migrate.live_jobs("claim", 3, versions=[2], status=["PEND"])
    assert migrate.dry_run("claim", 3, {}, only).total == 1


def test_many_jobs_move_and_of_the_others_it_is_told_why_not() -> None:
    jobs = waiting(3)
    other = submit(publish(document("look", outcomes=["approve", "reject", "return"])))
    drain()
    publish({**document("look"), "title": "third"})
    done = migrate.migrate_jobs("claim", 3, {"verify": "look"}, migrate.live_jobs("claim", 3), actor="ann")
    assert (done.total, done.moved) == (4, 3)
    assert [(v.code, v.examples) for v in done.refused] == [("outcome_gone", [other.pk])]
    assert set(Job.objects.filter(version=3).values_list("pk", flat=True)) == {job.pk for job in jobs}
    for job in jobs:
        assert_replays(job)


def test_a_dry_run_takes_as_many_queries_for_many_jobs_as_for_few(django_assert_max_num_queries: Any) -> None:
    waiting(40)
    publish(document("look"))
    for job in Job.objects.all()[:20]:
        respond(job, "verify")
    migrate.dry_run("claim", 2, {"verify": "look"}, migrate.live_jobs("claim", 2))
    with django_assert_max_num_queries(6):
        migrate.dry_run("claim", 2, {"verify": "look"}, migrate.live_jobs("claim", 2))


def test_a_worker_that_still_believes_it_holds_the_job_can_write_no_more() -> None:
    (job,) = waiting()
    fence = Job.objects.get(pk=job.pk).fence
    publish(document(after="parks"))
    assert move(job, 2).fence > fence


def test_a_dead_letter_keeps_waiting_under_the_new_name_of_its_task_and_is_resolved_by_a_retry() -> None:
    definition = publish({"name": "claim", "tasks": {"a": {"type": "plugin", "plugin": "raises"}}})
    job = submit(definition)
    drain()
    publish({"name": "claim", "tasks": {"b": {"type": "plugin", "plugin": "echo"}}})
    assert move(job, 2, a="b").status == "FAIL"
    letter = DeadLetter.objects.get(job=job)
    assert (letter.task, letter.resolved_at) == ("b", None)
    retry_job(job.pk, actor="ann")
    drain()
    job.refresh_from_db()
    assert job.status == "DONE"
    assert DeadLetter.objects.get(job=job).resolution == "retried"
    assert_replays(job)


def test_what_was_done_before_a_move_is_undone_after_it_under_its_new_name() -> None:
    def undoable(task: str, ask: str) -> dict[str, Any]:
        tasks = {
            task: {"type": "plugin", "plugin": "echo", "compensate": "echo"},
            ask: {"type": "human", "department": "claims"},
        }
        return {"name": "claim", "tasks": tasks, "transitions": [{"from": task, "to": ask}]}

    job = submit(publish(undoable("book", "ask")), {"n": 1})
    drain()
    publish(undoable("ask", "look"))
    move(job, 2, book="ask", ask="look")
    cancel_job(job.pk, actor="ann", compensate=True)
    drain()
    job.refresh_from_db()
    assert job.status == "CANC"
    undone = TaskRun.objects.get(job=job, task="undo:ask")
    assert undone.output["input"]["input"] == {"n": 1}
    assert_replays(job)
