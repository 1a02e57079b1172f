"""Dead letters and repairs in the admin: groups, previews, progress, and the page of one job's repairs."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from tests.execution.jobs import publish, register, submit
from tests.execution.test_compensation import order
from tests.factories import UserFactory
from workflows.execution.letters import write_letter
from workflows.execution.worker import drain
from workflows.models import BulkRepair, DeadLetter, History, Job, JobData, TaskRun
from workflows.operations.bulk import BulkRepairs

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def boss(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Client:
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    monkeypatch.setattr("workflows.operations.bulk.SECONDS", 30.0)  # however slow the machine is
    client = Client()
    client.force_login(UserFactory(username="boss", is_staff=True, is_superuser=True))
    return client


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:workflows_{name}", args=args)


def text(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def failed(count: int = 1) -> list[Job]:
    for name, plugin in (("echo", "Echo"), ("refuses", "AnswersFailed"), ("release", "Echo")):
        register(name, plugin)
    document = order("refuses")
    for task in ("reserve", "pay", "pack"):
        document["tasks"][task]["compensate"] = "release"
    definition = publish(document)
    jobs = [submit(definition, {"n": number}, correlation_id=f"ORD-{number}") for number in range(count)]
    drain()
    return jobs


def letters_of(count: int) -> str:
    """The fingerprint of so many jobs that failed, without running them."""
    jobs = Job.objects.bulk_create(Job(workflow="w", version=1, status="FAIL") for _ in range(count))
    JobData.objects.bulk_create(JobData(job=job, input={}) for job in jobs)
    for job in jobs:
        write_letter(job.pk, "w", 1, {"name": "Away", "cause": "the bank is away"}, at=timezone.now())
    return str(DeadLetter.objects.values_list("fingerprint", flat=True).distinct().get())


def test_the_causes_lead_to_their_jobs_and_these_to_a_preview_and_that_to_the_repair(boss: Client) -> None:
    jobs = failed(3)
    fingerprint = DeadLetter.objects.values_list("fingerprint", flat=True).distinct().get()
    causes = text(boss.get(page("deadletter_changelist")))
    assert "Refused" in causes
    assert page("deadletter_group", fingerprint) in causes
    group = text(boss.get(page("deadletter_group", fingerprint)))
    assert "ORD-2" in group
    assert f"verb=retry&amp;fingerprint={fingerprint}&amp;first_alone=on" in group

    form = text(boss.get(page("bulkrepair_add"), {"verb": "skip", "fingerprint": fingerprint}))
    assert f'value="{fingerprint}"' in form
    sent = {"verb": "skip", "fingerprint": fingerprint, "output": '{"by": "hand"}', "reason": "by phone"}
    preview = boss.post(page("bulkrepair_add"), sent, follow=True)
    assert "Nothing is repaired yet" in text(preview)
    bulk = BulkRepair.objects.get()
    assert (bulk.filter, bulk.arguments) == ({"fingerprint": fingerprint}, {"output": {"by": "hand"}})
    assert 'http-equiv="refresh"' not in text(preview)

    running = boss.post(page("bulkrepair_start", bulk.pk), follow=True)
    assert 'http-equiv="refresh"' in text(running)
    BulkRepairs().run_once()
    assert "<strong>Done</strong>" in text(boss.get(page("bulkrepair_change", bulk.pk)))
    drain()
    assert set(Job.objects.values_list("status", flat=True)) == {"DONE"}
    assert History.objects.filter(job=jobs[0], event="task.skipped", actor="boss").get().data["reason"] == "by phone"
    assert LogEntry.objects.get(object_id=str(bulk.pk)).user.username == "boss"
    assert "No job waits for a person" in text(boss.get(page("deadletter_changelist")))


def test_selected_jobs_lead_to_the_choice_of_a_repair(boss: Client) -> None:
    jobs = failed(2)
    body = {"action": "repair_selected", "_selected_action": [str(job.pk) for job in jobs]}
    form = text(boss.post(page("job_changelist"), body))
    assert all(str(job.pk) in form for job in jobs)
    sent = {"verb": "cancel", "ids": "\n".join(str(job.pk) for job in jobs), "compensate": "on"}
    boss.post(page("bulkrepair_add"), sent)
    bulk = BulkRepair.objects.get()
    assert (bulk.summary["count"], bulk.arguments) == (2, {"compensate": True})
    boss.post(page("bulkrepair_stop", bulk.pk))
    stopped = text(boss.get(page("bulkrepair_change", bulk.pk)))
    assert "Stopped by boss" in stopped
    assert "is over" in text(boss.post(page("bulkrepair_stop", bulk.pk), follow=True))


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"verb": "cancel"}, "name a field to choose by"),
        ({"verb": "cancel", "ids": "17"}, "is not a &quot;uuid&quot;"),
        ({"verb": "restart", "workflow": "order"}, "is required"),
        ({"verb": "skip", "workflow": "order", "output": "{"}, "This is no JSON"),
    ],
)
def test_what_is_wrong_with_a_choice_is_said_at_its_field(boss: Client, sent: dict[str, str], said: str) -> None:
    assert said in text(boss.post(page("bulkrepair_add"), sent))
    assert not BulkRepair.objects.exists()


def test_a_failed_job_says_what_can_be_done_about_it(boss: Client) -> None:
    [job] = failed()
    assert page("job_repair", job.pk) in text(boss.get(page("job_change", job.pk)))
    shown = text(boss.get(page("job_repair", job.pk)))
    assert "Refused: not today" in shown
    assert "Retry with the input above" in shown
    assert "in this order: pack, pay, reserve" in shown


def test_a_job_is_repaired_on_its_page_in_every_way(boss: Client) -> None:
    [job] = failed()
    path = page("job_repair", job.pk)
    done = boss.post(path, {"verb": "edit", "task": "last", "input": '{"a": 1}', "reason": "corrected"}, follow=True)
    assert "Repair made: retry with another input last" in text(done)
    drain()
    assert TaskRun.objects.get(job=job, task="last", attempt=2).input == {"a": 1}
    boss.post(path, {"verb": "retry", "task": "last"})
    drain()
    boss.post(path, {"verb": "restart", "task": "pay", "reason": "again"})
    drain()
    assert TaskRun.objects.filter(job=job, task="pay", iteration=2, status="done").exists()
    boss.post(path, {"verb": "undo", "reason": "enough"})
    drain()
    assert Job.objects.get(pk=job.pk).status == "CANC"
    assert TaskRun.objects.filter(job=job, task__startswith="undo:", status="done").count() == 5, "what was done twice"
    events = History.objects.filter(job=job, actor="boss").order_by("sequence").values_list("event", flat=True)
    wanted = ["task.retried", "task.retried", "task.restarted", "job.compensating", "job.cancelled"]
    assert [event for event in events if event != "task.withdrawn"] == wanted
    assert LogEntry.objects.filter(object_id=str(job.pk)).count() == 4
    assert "there is nothing to repair" in text(boss.get(path))


def test_a_repair_that_is_refused_is_told_and_what_was_written_is_kept(boss: Client) -> None:
    [job] = failed()
    path = page("job_repair", job.pk)
    wrong = text(boss.post(path, {"verb": "edit", "task": "last", "input": '{"a": '}))
    assert "This is no JSON" in wrong
    assert "{&quot;a&quot;: " in wrong
    assert "task &#x27;pay&#x27; is done" in text(boss.post(path, {"verb": "skip", "task": "pay"}))
    assert Job.objects.get(pk=job.pk).status == "FAIL"
    assert not LogEntry.objects.exists()


def test_no_page_asks_more_queries_for_many_jobs_than_for_few(boss: Client) -> None:
    counts = []
    for number in (10, 290):
        fingerprint = letters_of(number)
        boss.post(page("bulkrepair_add"), {"verb": "cancel", "workflow": "w"})
        bulk = BulkRepair.objects.latest("id")
        job = Job.objects.latest("id")
        found = {}
        for name, args in (
            ("deadletter_changelist", ()),
            ("deadletter_group", (fingerprint,)),
            ("bulkrepair_change", (bulk.pk,)),
            ("bulkrepair_changelist", ()),
            ("job_repair", (job.pk,)),
        ):
            with CaptureQueriesContext(connection) as queries:
                assert boss.get(page(name, *args)).status_code == 200
            found[name] = len(queries)
        counts.append(found)
    assert counts[0] == counts[1]
    assert max(counts[0].values()) <= 12, counts
