"""Why is it waiting? Every state has its reasons, in words and codes, for a bounded price."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from departments.models import Department, WorkItem
from tests.execution.jobs import chain, publish, register, submit
from tests.factories import UserFactory
from workflows.execution.worker import drain
from workflows.models import Job, JobData, Limit, Slot, TaskRun, WaitStatistic, Worker, uuid7
from workflows.operations import cancel_job, suspend_job
from workflows.operations.explain import line, why
from workflows.operations.suspend import suspend
from workflows.operations.waits import WaitStatistics, quantile

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _plugins(settings, db):
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    Department.objects.create(code="verification", name="Verification")
    for job_type, name in {"echo": "Echo", "raises": "Raises", "parks": "Parks", "fails": "FailsByName"}.items():
        register(job_type, name)


def job_of(document, input=None, **fields):
    return submit(publish(document), input, run_at=fields.pop("run_at", ago(1)), **fields)


def ago(seconds):
    return timezone.now() - timedelta(seconds=seconds)


def one_task(name="one", **task):
    return {"name": name, "tasks": {"it": task}, "transitions": []}


def ran(document, input=None):
    job = job_of(document, input)
    drain()
    return job


def reasons(job):
    return why(Job.objects.select_related("data").get(pk=job.pk))


def reason(job):
    [found] = reasons(job)
    assert found.text.endswith(".")
    assert found.moves.endswith((".", "?"))
    return found


def alive(queue="default"):
    Worker.objects.create(name=f"w-{queue}", queue=queue, host="here", pid=1)


# ---- in the queue ---------------------------------------------------------------------------------------------------


def test_a_new_job_waits_for_a_worker_behind_those_of_an_earlier_rank():
    alive()
    definition = publish(chain("one", "echo"))
    first, second = submit(definition, rank=ago(10)), submit(definition, rank=ago(5))
    submit(definition, rank=ago(20), queue="elsewhere")
    submit(definition, rank=ago(20), hold="suspended")
    Job.objects.update(run_at=ago(1))
    assert (reason(first).code, reason(first).text) == (
        "worker",
        "It waits for a worker of the queue default, behind no other.",
    )
    assert "behind 1 other." in reason(second).text


def test_others_in_the_queue_are_counted_up_to_a_bound():
    alive()
    definition = publish(chain("one", "echo"))
    jobs = [Job(workflow="one", version=1, rank=ago(100), run_at=ago(1)) for _ in range(1001)]
    Job.objects.bulk_create(jobs)
    assert "behind more than 1000 others." in reason(submit(definition, run_at=ago(1))).text


def test_where_no_worker_serves_its_queue_that_is_the_reason():
    alive()
    Worker.objects.create(name="old", queue="gpu", host="here", pid=2, seen_at=ago(3600))
    found = reason(job_of(chain("one", "echo"), queue="gpu"))
    assert (found.code, found.moves) == ("no_worker", "Start a cluster for the queue gpu.")


def test_a_job_for_later_says_when():
    later = timezone.now() + timedelta(days=1)
    found = reason(job_of(chain("one", "echo"), run_at=later))
    assert (found.code, found.until) == ("run_at", later)


def test_a_job_under_a_lease_says_who_is_at_which_step():
    job = job_of(chain("one", "echo"))
    Job.objects.filter(pk=job.pk).update(claimed_by="w7", claimed_until=timezone.now() + timedelta(seconds=30))
    found = reason(job)
    assert (found.code, found.task, found.text) == ("running", "step1", "Worker w7 is at the step step1 now.")
    Job.objects.filter(pk=job.pk).update(claimed_until=ago(60))
    assert reason(job).code == "lease_passed"


# ---- held -----------------------------------------------------------------------------------------------------------


def test_suspensions_say_by_whom_and_why_and_all_of_them_are_told():
    job = job_of(chain("one", "echo"))
    suspend_job(job.pk, actor="olga", reason="the customer called")
    suspend("one", actor="otto", reason="the bank is closed")
    suspend("*", actor="anna")
    found = reasons(job)
    assert [(each.code, each.text) for each in found] == [
        ("suspended", "It is suspended by olga: the customer called."),
        ("all_suspended", "Everything is suspended by anna."),
        ("workflow_suspended", "The workflow one is suspended by otto: the bank is closed."),
    ]
    assert line(found) == "It is suspended by olga: the customer called. And 2 more reasons."
    assert all(each.since is not None for each in found)


def test_a_parked_job_that_is_suspended_has_both_reasons():
    job = ran(one_task(type="human", department="verification"))
    suspend_job(job.pk, actor="olga")
    assert [each.code for each in reasons(job)] == ["suspended", "human"]


def test_a_job_held_by_a_limit_says_which_and_who_has_its_slots():
    limit = Limit.objects.create(code="resource:bank", max_concurrency=1)
    other = job_of(chain("other", "echo"), queue="elsewhere")
    Slot.objects.create(limit=limit, job=other, task="step1")
    document = chain("one", "echo")
    document["tasks"]["step1"]["resource"] = "bank"
    found = reason(ran(document))
    assert found.code == "limit"
    assert found.text == "It waits for its turn under the limit resource:bank (1 at once), behind no other."
    assert found.jobs == [str(other.pk)]


# ---- parked ---------------------------------------------------------------------------------------------------------


def test_a_decision_says_of_whom_by_when_and_where():
    job = ran(one_task(type="human", department="verification", due="P3D"))
    item = WorkItem.objects.get(job=job)
    found = reason(job)
    assert (found.code, found.task, found.iteration) == ("human", "it", 1)
    assert "a decision of Verification; nobody has claimed it; it is due" in found.text
    assert found.link == f"/inbox/items/{item.pk}/"
    item.assignee, item.status = UserFactory(username="anna"), "claimed"
    item.save()
    assert reason(job).text.startswith("anna of Verification has claimed the task it")
    assert reason(job).moves == "anna decides it, or releases it for others."


@pytest.mark.parametrize(
    ("task", "code", "said"),
    [
        ({"type": "external", "department": "verification"}, "external", "an answer of Verification"),
        ({"type": "external", "queue": "bank"}, "external", "an answer of the queue bank"),
        (
            {"type": "event", "event": "paid", "correlation_key": "k7", "timeout": "PT1H"},
            "event",
            "an event paid with the key k7",
        ),
        ({"type": "wait", "for": "PT1H"}, "wait", "waits until"),
        ({"type": "plugin", "plugin": "parks"}, "plugin", "an answer from outside: waits for the test"),
    ],
)
def test_every_way_to_wait_has_its_words(task, code, said):
    found = reason(ran(one_task(**task)))
    assert (found.code, said in found.text) == (code, True), found.text
    assert found.since is not None
    assert (found.until is not None) == ("timeout" in task or code == "wait")


def test_a_retry_says_when():
    task = {"type": "plugin", "plugin": "fails", "retry": [{"errors": ["*"], "interval": "PT1H", "max_delay": "PT2H"}]}
    found = reason(ran(one_task(**task)))
    assert found.code == "retry"
    assert found.until > timezone.now()


@pytest.mark.django_db(transaction=True)
def test_children_are_counted_and_those_that_failed_are_named():
    inner = {"type": "human", "department": "verification"}
    job = ran(one_task(type="map", items="${input}", task=inner, tolerated_failures=1), [1, 2, 3])
    first = Job.objects.filter(parent=job).order_by("id").first()
    Job.objects.filter(pk=first.pk).update(status="FAIL")
    found = reason(job)
    assert (found.code, found.jobs) == ("children", [str(first.pk)])
    assert "0 of 3 are done, 1 failed or were cancelled." in found.text


# ---- ended ----------------------------------------------------------------------------------------------------------


def test_a_dead_letter_says_what_failed_and_what_can_be_done():
    found = reason(ran(chain("one", "raises")))
    assert (found.code, found.task) == ("dead_letter", "step1")
    assert "failed with Unexpected: ValueError: the plugin is broken" in found.text
    assert "skips it" in found.moves


def test_a_job_that_cannot_even_be_decided_on_says_so():
    job = submit(publish(chain("one", "echo")), run_at=ago(1))
    Job.objects.filter(pk=job.pk).update(version=7)
    drain()
    assert "The job failed with DefinitionNotFound" in reason(job).text


def test_what_has_ended_waits_for_nothing():
    done = ran(chain("one", "echo"))
    assert (reason(done).code, reason(done).moves) == ("done", "Nothing: it has ended.")
    gone = job_of(chain("one", "echo"))
    cancel_job(gone.pk, actor="olga")
    assert reason(gone).code == "cancelled"


def test_a_state_of_another_release_is_told_and_no_error():
    job = ran(one_task(type="wait", **{"for": "PT1H"}))
    JobData.objects.filter(job=job).update(state={"schema_version": 99})
    assert reason(job).code == "unreadable"


# ---- how long before ------------------------------------------------------------------------------------------------


def test_statistics_are_of_the_newest_finished_runs_by_workflow_task_and_kind():
    job = ran(one_task(type="human", department="verification"))
    now = timezone.now()
    for number in range(1, 11):
        TaskRun.objects.create(
            job=job,
            task="it",
            iteration=number + 1,
            status="done",
            sequence=1,
            started_at=now - timedelta(seconds=10 * number),
            finished_at=now,
        )
    Job.objects.filter(pk=job.pk).update(started_at=now, created_at=now - timedelta(seconds=3), run_at=now)
    assert WaitStatistics().run_once() == {"computed": 2}
    row = WaitStatistic.objects.get(kind="human")
    assert (row.workflow, row.task, row.count, row.p50, row.p90) == ("one", "it", 10, 50.0, 90.0)
    before = reason(job).before
    assert (before.p50, before.p90, before.count) == (50.0, 90.0, 10)
    WaitStatistics().run_once()
    assert WaitStatistic.objects.count() == 2, "the same rows, computed anew"


def test_nearest_rank_is_a_value_that_was_there():
    values = [1.0, 2.0, 3.0, 4.0]
    assert [quantile(values, share) for share in (0.0, 0.5, 0.9, 1.0)] == [1.0, 2.0, 4.0, 4.0]
    assert quantile([7.0], 0.9) == 7.0


# ---- the price, and the doors ---------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_asking_costs_the_same_whatever_the_number_of_jobs_and_children():
    alive()
    tasks = {
        "ask": {"type": "human", "department": "verification"},
        "paid": {"type": "event", "event": "paid", "correlation_key": "k"},
        "each": {"type": "map", "items": "${input}", "task": {"type": "human", "department": "verification"}},
    }
    definition = publish({"name": "much", "tasks": tasks, "transitions": []})

    def queries(items):
        job = submit(definition, list(range(items)), run_at=ago(1))
        drain()
        found = Job.objects.select_related("data").get(pk=job.pk)
        with CaptureQueriesContext(connection) as captured:
            assert {each.code for each in why(found)} == {"human", "event", "children"}
        return len(captured)

    few = queries(1)
    assert queries(20) == few
    assert few <= 6


def test_the_api_answers_who_may_see_the_job_and_nobody_else(client):
    from rest_framework.test import APIClient

    caller = APIClient()
    caller.force_authenticate(user := UserFactory())
    mine = submit(publish(chain("one", "echo")), submitted_by=user, run_at=ago(1))
    told = caller.get(f"/api/v1/jobs/{mine.pk}/why/")
    assert told.status_code == 200
    assert told.json()["reasons"][0]["code"] == "no_worker"
    assert set(told.json()["reasons"][0]) == {
        *("code", "text", "task", "iteration", "since", "until", "moves", "before", "link", "jobs"),
    }
    foreign = submit(publish(chain("two", "echo")))
    assert caller.get(f"/api/v1/jobs/{foreign.pk}/why/").status_code == 404


def test_who_may_not_see_the_holder_of_a_limit_is_not_told_its_id():
    from rest_framework.test import APIClient

    caller = APIClient()
    caller.force_authenticate(user := UserFactory())
    limit = Limit.objects.create(code="resource:bank", max_concurrency=1)
    other = job_of(chain("other", "echo"), queue="elsewhere")
    Slot.objects.create(limit=limit, job=other, task="step1")
    mine = job_of(chain("one", "echo"), submitted_by=user, hold="resource:bank")
    assert caller.get(f"/api/v1/jobs/{mine.pk}/why/").json()["reasons"][0]["jobs"] == []


def test_the_command_tells_the_same():
    job = ran(chain("one", "raises"))
    out = StringIO()
    call_command("why", str(job.pk), stdout=out)
    assert "[dead_letter] The task step1 failed" in out.getvalue()
    call_command("why", str(job.pk), "--json", stdout=out)
    with pytest.raises(CommandError, match="no job"):
        call_command("why", str(uuid7()))
