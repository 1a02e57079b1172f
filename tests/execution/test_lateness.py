"""The clock of a job: when it is due, when its time does not count, and who is late."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from departments.actions import complete, respond_external
from departments.models import WorkItem
from tests.departments.makers import member
from tests.factories import DepartmentFactory, UserFactory
from workflows.execution.definitions import get_definition
from workflows.execution.lateness import Lateness
from workflows.execution.worker import drain
from workflows.intake.exceptions import InvalidSubmission
from workflows.intake.submit import Submission, submit_job
from workflows.models import Calendar, Definition, History, Job, JobData, Signal
from workflows.operations import cancel_job

pytestmark = pytest.mark.django_db(transaction=True)

OFFICE = {day: [["09:00", "17:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}
MONDAY = datetime(2030, 1, 7, 10, tzinfo=UTC)


def ask_partner(**fields: Any) -> dict[str, Any]:
    """A partner is asked by queue, then the office decides."""
    return {
        "name": "partner",
        "sla": {"due": "P2D", **fields},
        "tasks": {"ask": {"type": "external", "queue": "partner"}, "decide": {"type": "human", "department": "desk"}},
        "transitions": [{"from": "ask", "to": "decide"}],
    }


def publish(document: dict[str, Any]) -> Definition:
    """A version with a digest of its own: intake keeps what it read of a document under it."""
    newest = Definition.objects.newest(document["name"])
    get_definition.cache_clear()
    return Definition.objects.create(
        name=document["name"],
        version=newest.version + 1 if newest else 1,
        document=document,
        digest=uuid.uuid4().hex,
    )


def calendar(**fields: Any) -> Calendar:
    return Calendar.objects.create(**{"code": "business", "name": "Business", "hours": OFFICE} | fields)


def submit(**fields: Any) -> Job:
    return submit_job(Submission("partner", {}, **fields), submitted_by=None).job


def events(job: Job) -> list[str]:
    return [name for name in History.objects.filter(job=job).values_list("event", flat=True) if "sla" in name]


def answer(job: Job, task: str = "ask") -> None:
    respond_external(job.pk, task, UserFactory(is_superuser=True), status="ok", data={})


def rewind(job: Job, **changes: timedelta) -> None:
    """Let what is in these columns have happened so much earlier."""
    row = Job.objects.get(pk=job.pk)
    Job.objects.filter(pk=job.pk).update(**{name: getattr(row, name) - by for name, by in changes.items()})


def test_a_job_is_due_when_its_calendar_says_so() -> None:
    calendar()
    publish(ask_partner(calendar="business"))
    job = submit(run_at=MONDAY)
    assert job.due_at == MONDAY + timedelta(days=2)
    friday = submit(run_at=MONDAY + timedelta(days=4))
    assert friday.due_at == MONDAY + timedelta(days=8), "the weekend does not count"


def test_without_a_calendar_time_is_counted_around_the_clock() -> None:
    publish(ask_partner())
    assert submit(run_at=MONDAY).due_at == MONDAY + timedelta(days=2)


def test_a_calendar_that_nothing_can_be_counted_on_refuses_the_job_by_name() -> None:
    publish(ask_partner(calendar="business"))
    with pytest.raises(InvalidSubmission, match="There is no calendar 'business'"):
        submit()
    Calendar.objects.create(code="business", name="Business", hours={})  # around the checks
    with pytest.raises(InvalidSubmission, match="no working hour"):
        submit()
    assert not Job.objects.exists()


def test_the_clock_stands_still_while_only_a_third_party_is_waited_for() -> None:
    DepartmentFactory(code="desk")
    publish(ask_partner())
    job = submit()
    drain()
    job.refresh_from_db()
    assert (job.status, job.due_paused_at is not None) == ("PEND", True)
    assert events(job) == ["sla.paused"]
    assert not Job.objects.overdue(timezone.now() + timedelta(days=30)).exists()

    rewind(job, due_at=timedelta(days=3), due_paused_at=timedelta(days=3))
    before = Job.objects.get(pk=job.pk)
    answer(job)
    told = Signal.objects.get(job=job).created_at
    drain()
    job.refresh_from_db()
    assert job.due_paused_at is None
    assert job.due_at == before.due_at + (told - before.due_paused_at), "the wait ended when the answer came"
    assert events(job) == ["sla.paused", "sla.resumed"]
    assert Job.objects.overdue(timezone.now() + timedelta(days=30)).exists(), "a department is no third party"


def test_a_pause_is_counted_in_the_working_time_of_the_calendar() -> None:
    DepartmentFactory(code="desk")
    calendar(hours={day: [["00:00", "24:00"]] for day in ("mon", "tue", "wed", "thu", "fri")})
    publish(ask_partner(calendar="business"))
    job = submit()
    drain()
    weekend = datetime(2026, 1, 2, 12, tzinfo=UTC)  # a Friday
    Job.objects.filter(pk=job.pk).update(due_paused_at=weekend, due_at=weekend + timedelta(hours=6))
    answer(job)
    Signal.objects.update(created_at=weekend + timedelta(days=3))
    drain()
    job.refresh_from_db()
    # 24 of the 72 hours were working time; 6 hours were left on Friday.
    assert job.due_at == datetime(2026, 1, 5, 18, tzinfo=UTC)


def test_a_job_that_waits_for_the_office_too_is_not_paused() -> None:
    DepartmentFactory(code="desk")
    document = ask_partner()
    document["transitions"] = []
    publish(document)
    job = submit()
    drain()
    job.refresh_from_db()
    assert (job.due_paused_at, events(job)) == (None, [])

    item = WorkItem.objects.get(job=job, task="decide")
    complete(item.pk, member(item.department), "approve")
    drain()
    job.refresh_from_db()
    assert job.due_paused_at is not None, "now only the partner is left"


def test_a_job_that_ends_while_it_is_paused_knows_when_it_was_due() -> None:
    publish(ask_partner())
    job = submit()
    drain()
    rewind(job, due_at=timedelta(days=3), due_paused_at=timedelta(days=3))
    cancel_job(job.pk, actor="operator")
    job.refresh_from_db()
    assert (job.status, job.due_paused_at) == ("CANC", None)
    assert job.due_at > job.finished_at
    assert events(job) == ["sla.paused", "sla.resumed"]


def test_the_history_keeps_its_order_and_a_job_without_a_promise_has_no_clock() -> None:
    publish({key: value for key, value in ask_partner().items() if key != "sla"})
    job = submit()
    drain()
    job.refresh_from_db()
    assert (job.due_at, job.due_paused_at, events(job)) == (None, None, [])
    promised = publish(ask_partner())
    job = submit(version=promised.version)
    drain()
    sequences = list(History.objects.filter(job=job).values_list("sequence", flat=True))
    assert sequences == list(range(1, len(sequences) + 1))
    assert JobData.objects.get(job=job).state is not None


def test_a_late_job_is_reported_once_and_goes_on() -> None:
    DepartmentFactory(code="desk")
    document = ask_partner()
    del document["tasks"]["ask"], document["transitions"]
    publish({**document, "transitions": []})
    late, punctual = submit(), submit()
    drain()
    rewind(late, due_at=timedelta(days=3))
    assert Lateness().run_once() == {"breached": 1}
    assert Lateness().run_once() == {"breached": 0}
    late.refresh_from_db()
    assert late.due_breached_at is not None
    assert late.status == "PEND"
    assert (events(late), events(punctual)) == (["sla.breached"], [])
    item = WorkItem.objects.get(job=late)
    complete(item.pk, member(item.department), "approve")
    drain()
    late.refresh_from_db()
    assert late.status == "DONE"


def test_who_is_paused_is_not_late(django_assert_num_queries: Any) -> None:
    publish(ask_partner())
    job = submit()
    drain()
    Job.objects.filter(pk=job.pk).update(due_at=timezone.now() - timedelta(days=1))
    with django_assert_num_queries(1):
        assert Lateness().run_once() == {"breached": 0}
