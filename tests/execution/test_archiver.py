"""Finished jobs move to the archive whole, are read there as they were, and nothing open is moved."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from departments import actions
from departments.exceptions import ItemConflict
from departments.models import DepartmentResponse, Vote, WorkItem
from tests.departments.makers import member, open_item
from tests.execution.jobs import chain, publish, register, submit
from tests.factories import DepartmentFactory, UserFactory
from workflows.execution import archiver
from workflows.execution.archiver import Archiver, archive_batch
from workflows.execution.exceptions import JobArchived
from workflows.execution.respond import lock_job
from workflows.execution.retention import Retainer
from workflows.execution.settling import Settler
from workflows.execution.worker import drain
from workflows.intake.documents import store_document
from workflows.intake.exceptions import IdempotencyConflict
from workflows.intake.submit import Submission, submit_job
from workflows.messaging.relay import Relay
from workflows.models import (
    ApiToken,
    ArchivedJob,
    BulkRepair,
    BulkRepairItem,
    ChildGroup,
    ChildGroupData,
    DeadLetter,
    Document,
    Event,
    EventWaiter,
    History,
    IdempotencyKey,
    Job,
    JobData,
    Limit,
    Message,
    Retention,
    RetentionRun,
    ScheduleRun,
    Signal,
    Slot,
    TaskRun,
    find_job,
)
from workflows.models.statements import partitions
from workflows.operations import cancel_job, retry_job
from workflows.operations.replay import replay_archive, replay_job

pytestmark = pytest.mark.django_db

MOVED = (Job, JobData, History, TaskRun, Message, Signal, ChildGroup, ChildGroupData)
LATER = timedelta(hours=1)
DOCUMENT: dict[str, Any] = {
    "name": "whole",
    "tasks": {
        "items": {"type": "map", "items": "${input.items}", "task": {"type": "pass", "input": {"n": "${item}"}}},
        "told": {"type": "emit", "event": "whole.mapped", "data": {"n": "${tasks.items.output}"}},
        "ask": {"type": "human", "department": "verification", "title": "Look", "outcomes": ["approve", "reject"]},
        "again": {"type": "plugin", "plugin": "once"},
    },
    "transitions": [
        {"from": "items", "to": "told"},
        {"from": "told", "to": "ask"},
        {"from": "ask", "to": "again", "when": "outcome == 'approve'"},
    ],
}
AWKWARD = {
    "items": [1, 2.5, 'ü\u2028"\\'],
    "deep": {"a": [None, True, {"b": ""}]},
    "large": 12345678901234567,
    "e": 1e22,
}


@pytest.fixture(autouse=True)
def _doubles(settings: Any, db: None) -> None:
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    register("echo", "Echo")
    register("once", "FailsByName", times=1)


def client_of(user: Any) -> APIClient:
    client = APIClient()
    _, token = ApiToken.objects.create(user=user)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


@pytest.fixture
def owner() -> Any:
    return UserFactory(username="owner")


@pytest.fixture
def api(owner: Any) -> APIClient:
    return client_of(owner)


@pytest.fixture
def verifier() -> Any:
    return member(DepartmentFactory(code="verification"), "verifier")


def work() -> None:
    """Run everything that can run: the commit that a test is in never comes, so children are settled by the service."""
    for _ in range(4):
        drain()
        Settler().run_once()


def whole_job(owner: Any, verifier: Any) -> Job:
    """A job with children, that parked for a person, failed, was retried by an operator, and is done."""
    publish(DOCUMENT)
    job = submit_job(
        Submission("whole", AWKWARD, correlation_id="CASE-1"), submitted_by=owner, idempotency_key="key-1"
    ).job
    work()
    item = WorkItem.objects.get(job=job)
    actions.complete(item.pk, verifier, outcome="approve")
    work()
    retry_job(job.pk, actor="operator")
    work()
    store_document("receipt.txt", b"paid", uploaded_by=None, job=job, task="again")
    Relay().run_once()
    job.refresh_from_db()
    assert job.status == "DONE"
    return job


def archive() -> int:
    """Everything that has ended, now."""
    return Archiver().archive(timezone.now() + LATER).jobs


def done(name: str = "plain", **fields: Any) -> Job:
    job = submit(publish(chain(name, "echo")), {"amount": 5}, **fields)
    drain()
    job.refresh_from_db()
    assert job.status == "DONE"
    return job


def everything_of(model: type[Any], jobs: list[Any]) -> list[dict[str, Any]]:
    path = {"Job": "pk", "ChildGroupData": "group__job"}.get(model.__name__, "job")
    return list(model.objects.filter(**{f"{path}__in": jobs}).order_by("pk").values())


# ---- a whole job -----------------------------------------------------------------------------------------------------


def test_every_row_of_a_job_is_kept_column_by_column(owner: Any, verifier: Any) -> None:
    job = whole_job(owner, verifier)
    family = [job.pk, *Job.objects.filter(parent=job).values_list("pk", flat=True)]
    assert len(family) == 4
    before = {model: everything_of(model, family) for model in MOVED}
    assert all(before[model] for model in MOVED if model is not Signal)
    with transaction.atomic():
        Signal.objects.create(job=job, sequence=99, event={"unread": [1, 2]})
    before[Signal] = everything_of(Signal, family)
    assert archive() == 4
    assert not any(model.objects.exists() for model in MOVED)
    found = {row.pk: row for row in ArchivedJob.objects.all()}
    assert set(found) == set(family)
    parts = {History: "history", TaskRun: "runs", Message: "messages", Signal: "signals", ChildGroup: "groups"}
    for model, part in parts.items():
        kept = [row for job_id in family for row in found[job_id]._rows(model, part)]
        kept_rows = [
            {field.attname: getattr(row, field.attname) for field in model._meta.concrete_fields} for row in kept
        ]
        assert sorted(kept_rows, key=lambda row: str(row["id"])) == sorted(
            before[model], key=lambda row: str(row["id"])
        )
    jobs = [found[row["id"]].as_job() for row in before[Job]]
    assert [{name: getattr(each, name) for name in before[Job][0]} for each in jobs] == before[Job]
    data = [found[row["job_id"]].as_job().data for row in before[JobData]]
    assert [{name: getattr(each, name) for name in before[JobData][0]} for each in data] == before[JobData]
    assert found[job.pk].document["group_data"] == before[ChildGroupData]


def test_the_api_answers_the_same_before_and_after(owner: Any, verifier: Any, api: APIClient) -> None:
    job = whole_job(owner, verifier)
    child = Job.objects.filter(parent=job).first()
    assert child is not None
    paths = [
        f"/api/v1/jobs/{each}/{part}" for each in (job.pk, child.pk) for part in ("", "history/", "documents/", "why/")
    ]
    paths += [f"/api/v1/jobs/?parent={job.pk}", "/api/v1/jobs/?workflow=whole"]
    paths += [f"/api/v1/jobs/{job.pk}/history/?page_size=3", f"/api/v1/documents/{Document.objects.get().pk}/content/"]
    items = client_of(verifier)
    seen = [f"/api/v1/work-items/{WorkItem.objects.get().pk}/", f"/api/v1/jobs/{job.pk}/"]

    def read() -> list[Any]:
        answers = []
        for client, path in [*((api, each) for each in paths), *((items, each) for each in seen)]:
            if archived and "jobs/?" in path:
                path += "&archived=true"
            answer = client.get(path)
            assert answer.status_code == 200, (path, answer.content)
            text = answer.getvalue().decode() if answer.streaming else answer.content.decode()
            answers.append(_unmarked(answer.json()) if not answer.streaming else text)
        return answers

    archived = False
    before = read()
    assert before[0]["tasks"][0]["children"] == {
        "group": before[0]["tasks"][0]["children"]["group"],
        "total": 3,
        "done": 3,
        "failed": 0,
    }
    assert archive() == 4
    archived = True
    assert read() == before
    assert api.get(f"/api/v1/jobs/{job.pk}/").json()["archived_at"] is not None
    assert api.get("/api/v1/jobs/?workflow=whole").json()["results"] == []


def _unmarked(answer: Any) -> Any:
    """Without what may differ: since when it is archived, and links that hold a signature."""
    if isinstance(answer, dict):
        return {
            name: _unmarked(value) if name not in ("next", "previous") else value is not None
            for name, value in answer.items()
            if name != "archived_at"
        }
    return [_unmarked(each) for each in answer] if isinstance(answer, list) else answer


def test_pages_of_an_archived_history_follow_each_other(owner: Any, verifier: Any, api: APIClient) -> None:
    job = whole_job(owner, verifier)
    count = History.objects.filter(job=job).count()
    archive()
    sequences, url = [], f"/api/v1/jobs/{job.pk}/history/?page_size=4"
    while url:
        page = api.get(url).json()
        sequences += [row["sequence"] for row in page["results"]]
        last, url = page, page["next"]
    assert sequences == list(range(1, count + 1))
    back = api.get(last["previous"]).json()["results"]
    assert [row["sequence"] for row in back] == sequences[-len(last["results"]) - 4 : -len(last["results"])]


def test_archived_jobs_and_their_children_replay(owner: Any, verifier: Any) -> None:
    job = whole_job(owner, verifier)
    archive()
    child = ArchivedJob.objects.filter(parent_id=job.pk).first()
    assert child is not None
    for pk in (job.pk, child.pk):
        result = replay_job(pk)
        assert result.equal, result
        assert result.events > 0
    assert sum(result.equal for result in replay_archive()) == 4
    out = StringIO()
    call_command("replay", "--all", "--archived", "--limit", "2", stdout=out)
    assert "2 replayed, 2 equal" in out.getvalue()


def test_a_detail_takes_as_many_queries_whatever_the_job_did(
    owner: Any, verifier: Any, api: APIClient, django_assert_num_queries: Any
) -> None:
    """Token and user, the table of jobs, the archive; one more where it had children. The history: the same."""
    small, large = done(submitted_by=owner), whole_job(owner, verifier)
    archive()
    for job, queries in ((small, 5), (large, 6)):
        with django_assert_num_queries(queries):
            api.get(f"/api/v1/jobs/{job.pk}/")
        with django_assert_num_queries(5):
            api.get(f"/api/v1/jobs/{job.pk}/history/")


# ---- who sees it, and what may not be done ---------------------------------------------------------------------------


def test_the_archive_is_seen_by_those_who_saw_the_job(owner: Any, verifier: Any) -> None:
    job = whole_job(owner, verifier)
    archive()
    path, stranger = f"/api/v1/jobs/{job.pk}/", client_of(UserFactory())
    for part in ("", "history/", "documents/", "why/"):
        assert stranger.get(path + part).status_code == 404
        assert client_of(verifier).get(path + part).status_code == 200
    assert stranger.get("/api/v1/jobs/?archived=true").json()["results"] == []
    assert [row["id"] for row in client_of(verifier).get("/api/v1/jobs/?archived=true").json()["results"]] == [
        str(job.pk)
    ]


def test_every_verb_on_an_archived_job_is_a_conflict(owner: Any, verifier: Any, api: APIClient) -> None:
    job = whole_job(owner, verifier)
    archive()
    operator = UserFactory()
    operator.groups.add(Group.objects.get(name="operators"))
    for verb, body in (
        ("cancel", {}),
        ("retry", {}),
        ("skip", {"task": "ask"}),
        ("restart", {"task": "ask"}),
        ("suspend", {}),
    ):
        path = f"/api/v1/jobs/{job.pk}/{verb}/"
        assert api.post(path, body, format="json").status_code == 403, verb
        answer = client_of(operator).post(path, body, format="json")
        assert answer.status_code == 409, (verb, answer.content)
        assert "archived" in answer.json()["detail"]
    with pytest.raises(JobArchived, match="archived"), transaction.atomic():
        lock_job(job.pk)
    with pytest.raises(JobArchived):
        cancel_job(job.pk, actor="operator")
    item = WorkItem.objects.get()
    with pytest.raises(ItemConflict, match="archived"):
        actions.comment(item.pk, verifier, "too late")


def test_a_repeated_submission_gives_the_archived_job(owner: Any, verifier: Any, api: APIClient) -> None:
    job = whole_job(owner, verifier)
    archive()
    body = {"workflow": "whole", "input": AWKWARD, "correlation_id": "CASE-1"}
    answer = api.post("/api/v1/jobs/", body, format="json", headers={"Idempotency-Key": "key-1"})
    assert (answer.status_code, answer.json()["id"], answer.json()["status"]) == (200, str(job.pk), "DONE")
    with pytest.raises(IdempotencyConflict) as raised:
        submit_job(Submission("whole", {}), submitted_by=owner, idempotency_key="key-1")
    assert raised.value.job.pk == job.pk
    assert not Job.objects.exists()


# ---- what is not moved -----------------------------------------------------------------------------------------------


def test_what_has_not_ended_or_not_long_ago_stays(settings: Any) -> None:
    settings.WORKFLOW_ARCHIVE_AFTER_DAYS = 30
    waiting = submit(publish(chain("waits", "echo")), run_at=timezone.now() + timedelta(days=1))
    young, old = done(), done()
    Job.objects.filter(pk=young.pk).update(finished_at=timezone.now() - timedelta(days=29))
    long_ago = timezone.now() - timedelta(days=31)
    # Made before it ended, as every job is: the id says when.
    Job.objects.filter(pk=old.pk).update(finished_at=long_ago)
    assert Archiver().run_once() == {"archived": 0}, "it ended before its id was made"
    older = made_at(long_ago - LATER, finished_at=long_ago)
    assert Archiver().run_once() == {"archived": 1}
    assert set(Job.objects.values_list("pk", flat=True)) == {waiting.pk, young.pk, old.pk}
    assert find_job(older.pk).archive is not None
    settings.WORKFLOW_ARCHIVE_AFTER_DAYS = 0
    assert Archiver().run_once() == {"archived": 0}


def made_at(moment: datetime, finished_at: datetime, **fields: Any) -> Job:
    """A finished job with the id of that moment."""
    pk = partitions.least_uuid7(moment).int | 0x7 << 76 | 0b10 << 62 | ArchivedJob.objects.count() + Job.objects.count()
    values = {"workflow": "old", "version": 1, "status": "DONE", "created_at": moment, "finished_at": finished_at}
    job = Job.objects.create(id=type(Job().pk)(int=pk), **{**values, **fields})
    JobData.objects.create(job=job, input={})
    return job


def _open_message(job: Job) -> None:
    Message.objects.create(job=job, sequence=1, type="sent")


def _open_group(job: Job) -> None:
    ChildGroup.objects.create(job=job, task="m", kind="map", workflow="plain", version=1)


def _slot(job: Job) -> None:
    Slot.objects.create(limit=Limit.objects.create(code="resource:x"), job=job)


def _letter(job: Job) -> None:
    DeadLetter.objects.create(job=job, workflow="plain", version=1, error="E", fingerprint="f")


def _bulk(job: Job) -> None:
    bulk = BulkRepair.objects.create(verb="retry", status="running", requested_by=UserFactory())
    BulkRepairItem.objects.create(bulk=bulk, job=job)


def _waiter(job: Job) -> None:
    EventWaiter.objects.create(job=job, task="w", type="t")


def _item(job: Job) -> None:
    open_item(job=job)


def _unfinished_child(job: Job) -> None:
    made_at(timezone.now(), None, status="PEND", parent=job)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "hold",
    [_open_message, _open_group, _slot, _letter, _bulk, _waiter, _item, _unfinished_child],
    ids=lambda f: f.__name__,
)
def test_what_something_open_refers_to_stays_with_its_family(hold: Any) -> None:
    job, free = done(), done()
    child = made_at(timezone.now(), timezone.now(), parent=job)
    hold(job)
    assert archive() == 1
    assert set(Job.objects.values_list("pk", flat=True)) >= {job.pk, child.pk}
    assert ArchivedJob.objects.get().pk == free.pk


def test_families_that_are_held_stop_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiver, "BATCH", 2)
    jobs = [made_at(timezone.now(), timezone.now()) for _ in range(7)]
    for job in jobs[:4]:
        _open_message(job)
    assert archive() == 3
    assert Job.objects.count() == 4


def test_a_family_of_many_children_takes_fewer_others_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiver, "MANY_JOBS", 3)
    parents = [made_at(timezone.now(), timezone.now()) for _ in range(4)]
    for parent in parents[:2]:
        for _ in range(3):
            made_at(timezone.now(), timezone.now(), parent=parent)
    first = archive_batch("DONE", timezone.now() + LATER)
    assert (first.families, first.jobs) == (1, 4)
    assert archive() == 6


def test_the_number_of_queries_does_not_grow_with_the_families(django_assert_num_queries: Any) -> None:
    from django.test.utils import CaptureQueriesContext

    counts = []
    for size in (2, 20):
        for _ in range(size):
            made_at(timezone.now(), timezone.now())
        with CaptureQueriesContext(connection) as queries:
            assert archive() == size
        counts.append(len(queries))
    assert counts[0] >= counts[1], counts


# ---- two at once, and killed in the middle ---------------------------------------------------------------------------


def test_a_move_that_is_killed_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    job = done()
    rows = everything_of(History, [job.pk])

    def killed(*args: Any) -> None:
        archiver.__dict__["real_move"](*args)
        raise IntegrityError("killed")

    monkeypatch.setitem(archiver.__dict__, "real_move", archiver.move)
    monkeypatch.setattr(archiver, "move", killed)
    with pytest.raises(IntegrityError, match="killed"):
        archive()
    assert not ArchivedJob.objects.exists()
    assert everything_of(History, [job.pk]) == rows
    monkeypatch.undo()
    assert archive() == 1


@pytest.mark.django_db(transaction=True)
def test_two_archivers_at_once_move_each_family_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiver, "BATCH", 5)
    register("echo2", "Echo")
    for _ in range(20):
        parent = made_at(timezone.now(), timezone.now())
        made_at(timezone.now(), timezone.now(), parent=parent)
    counts: list[int] = []
    errors: list[BaseException] = []
    barrier = threading.Barrier(2)

    def run() -> None:
        try:
            barrier.wait(30)
            counts.append(archive())
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    counts.append(archive())  # what one of them passed by because the other held it
    assert not errors
    assert sum(counts) == 40
    assert ArchivedJob.objects.count() == 40
    assert not Job.objects.exists()


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_family_of_which_one_row_is_locked_is_passed_by() -> None:
    parent, other = made_at(timezone.now(), timezone.now()), made_at(timezone.now(), timezone.now())
    child = made_at(timezone.now(), timezone.now(), parent=parent)
    locked, checked = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            lock_job(child.pk)
            locked.set()
            checked.wait(30)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert locked.wait(30)
        assert archive() == 1
        assert ArchivedJob.objects.get().pk == other.pk
    finally:
        checked.set()
        thread.join(30)
    assert archive() == 2


# ---- months ----------------------------------------------------------------------------------------------------------


def test_an_id_says_its_month() -> None:
    moment = datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)
    assert partitions.month_of(made_at(moment, moment).pk) == date(2026, 2, 1)
    assert partitions.month_of(type(Job().pk)("6f1c2b1e-6f3a-4c0e-9a51-3b8f2d6c7e10")) is None
    assert partitions.next_month(date(2026, 12, 1)) == date(2027, 1, 1)


@pytest.mark.postgresql
def test_a_job_lies_in_the_month_of_its_id_and_is_found_there_alone() -> None:
    moment = datetime(2024, 5, 17, tzinfo=UTC)
    old, new = made_at(moment, moment + LATER), done()
    archive()
    months = partitions.months()
    assert {date(2024, 5, 1), timezone.now().date().replace(day=1)} <= months
    assert partitions.next_month(timezone.now().date().replace(day=1)) in months, "made ahead"
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, tableoid::regclass::text FROM workflows_archivedjob")
        lies = dict(cursor.fetchall())
        cursor.execute("EXPLAIN SELECT * FROM workflows_archivedjob WHERE id = %s", [old.pk])
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert lies[old.pk] == "workflows_archivedjob_y2024m05"
    assert lies[new.pk] == f"workflows_archivedjob_y{timezone.now():%Y}m{timezone.now():%m}"
    assert "workflows_archivedjob_y2024m05" in plan
    assert "Append" not in plan


@pytest.mark.postgresql
def test_a_month_takes_over_what_came_before_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2023, 3, 3, tzinfo=UTC)
    first = made_at(moment, moment + LATER)
    with monkeypatch.context() as patched:
        patched.setattr(archiver, "make_months", lambda *args: 0)
        archive()
    assert _lies(first) == "workflows_archivedjob_default"
    second = made_at(moment, moment + LATER)
    archive()
    assert _lies(first) == _lies(second) == "workflows_archivedjob_y2023m03"


@pytest.mark.postgresql
def test_a_month_that_retention_has_emptied_is_dropped_and_made_again() -> None:
    moment = datetime(2023, 3, 3, tzinfo=UTC)
    made_at(moment, moment + LATER)
    kept = made_at(datetime(2023, 4, 3, tzinfo=UTC), moment + LATER * 1000, workflow="kept")
    archive()
    Retention.objects.create(workflow="old", keep_days=30)
    assert Retainer().run_once()["deleted"] == 1
    months = partitions.months()
    assert date(2023, 3, 1) not in months
    assert date(2023, 4, 1) in months
    assert find_job(kept.pk).archive is not None
    again = made_at(moment, moment + LATER, workflow="kept")
    archive()
    assert _lies(again) == "workflows_archivedjob_y2023m03"


def _lies(job: Job) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM workflows_archivedjob WHERE id = %s", [job.pk])
        return str(cursor.fetchone()[0])


# ---- retention -------------------------------------------------------------------------------------------------------


def test_without_a_rule_jobs_are_kept_for_ever() -> None:
    moment = datetime(2021, 3, 3, tzinfo=UTC)
    made_at(moment, moment + LATER)
    archive()
    assert Retainer().run_once()["deleted"] == 0
    assert ArchivedJob.objects.count() == 1
    assert not RetentionRun.objects.exists()


def test_what_a_rule_lets_go_is_deleted_with_all_that_names_it_and_counted(
    owner: Any, verifier: Any, django_capture_on_commit_callbacks: Any
) -> None:
    job = whole_job(owner, verifier)
    event = Event.objects.create(source="s", event_id="1", type="t", expires_at=timezone.now(), used=True)
    EventWaiter.objects.create(job=job, task="w", type="t", event=event, closed_at=timezone.now())
    young = done(submitted_by=owner)
    assert archive() == 5
    content = Document.objects.get().content
    ArchivedJob.objects.exclude(pk=young.pk).update(finished_at=timezone.now() - timedelta(days=11))
    Retention.objects.create(workflow="whole", keep_days=12)
    assert Retainer().run_once()["deleted"] == 0
    Retention.objects.update(keep_days=10)
    with django_capture_on_commit_callbacks(execute=True):
        assert Retainer().run_once()["deleted"] == 4
    assert ArchivedJob.objects.get().pk == young.pk
    for model in (WorkItem, DepartmentResponse, Vote, DeadLetter, Document, IdempotencyKey, EventWaiter, ScheduleRun):
        assert not model.objects.exists(), model
    assert not content.storage.exists(content.name)
    event.refresh_from_db()
    assert not event.used, "it is pruned as any other"
    [run] = RetentionRun.objects.all()
    assert (run.workflow, run.keep_days, run.jobs, run.documents) == ("whole", 10, 4, 1)


# ---- doors -----------------------------------------------------------------------------------------------------------


def test_the_command_counts_and_then_moves() -> None:
    moment = timezone.now() - timedelta(days=3)
    made_at(moment, moment + LATER)
    out = StringIO()
    call_command("archive", "--days", "2", "--dry-run", stdout=out)
    assert "DONE: 1 jobs" in out.getvalue()
    assert Job.objects.count() == 1
    call_command("archive", "--days", "2", stdout=out)
    assert "1 jobs of 1 families were archived" in out.getvalue()
    assert not Job.objects.exists()


def test_the_admin_shows_archived_jobs_and_leads_to_them(owner: Any, verifier: Any, admin_client: Any) -> None:
    job = whole_job(owner, verifier)
    archive()
    item = WorkItem.objects.get()
    assert admin_client.get("/admin/workflows/archivedjob/?q=CASE").status_code == 200
    page = admin_client.get(f"/admin/workflows/job/{job.pk}/change/", follow=True)
    assert page.redirect_chain == [(f"/admin/workflows/archivedjob/{job.pk}/change/", 302)]
    assert "item.decided" in page.content.decode() or "task.responded" in page.content.decode()
    for path in ("departments/workitem/", f"departments/workitem/{item.pk}/change/", "workflows/document/"):
        assert str(job.pk) in admin_client.get(f"/admin/{path}").content.decode() or path.endswith("workitem/"), path
    for path in (
        "departments/departmentresponse/",
        "workflows/schedulerun/",
        "workflows/retention/",
        "workflows/retentionrun/",
    ):
        assert admin_client.get(f"/admin/{path}").status_code == 200


def test_reports_and_the_event_log_hold_both(owner: Any, verifier: Any, api: APIClient) -> None:
    whole_job(owner, verifier)
    done(submitted_by=owner)

    def read(path: str) -> str:
        text = api.get(f"/api/v1/reports/{path}").getvalue().decode()
        return "\n".join(line for line in text.splitlines() if "exported_at" not in line)

    before = read("jobs.csv"), read("history.xes")
    assert before[0].count("\n") == 2
    assert archive() == 5
    done(submitted_by=owner)
    after = read("jobs.csv"), read("history.xes")
    assert after[0].startswith(before[0])
    assert after[1].count("<trace>") == 3
    assert after[1].startswith(before[1].removesuffix("</log>"))


def test_the_inbox_shows_an_item_of_an_archived_job(owner: Any, verifier: Any, client: Any) -> None:
    whole_job(owner, verifier)
    item = WorkItem.objects.get()
    client.force_login(verifier)
    pages = [f"/inbox/?item={item.pk}", f"/inbox/items/{item.pk}/why/"]
    before = [client.get(page).status_code for page in pages]
    shown = client.get(pages[0]).content.decode().split("<ol", 1)[-1]
    archive()
    assert [client.get(page).status_code for page in pages] == before
    assert client.get(pages[0]).content.decode().split("<ol", 1)[-1] == shown
