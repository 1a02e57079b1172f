"""The same number of queries with ten items and with a thousand. `benchmarks/inbox.py` says the same of 100,000."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from departments.models import WorkItem
from tests.departments.makers import FORM, open_item
from workflows.models import Definition, Job, JobData

pytestmark = pytest.mark.django_db

SIZES = [10, 1000]
WORKFLOW = "counted_claim"


def fill(department: Any, count: int) -> None:
    """Open items, a third of them late, a third undated."""
    now = timezone.now()
    # Published, so that the definition is read once and then kept by the process.
    document = {"name": WORKFLOW, "tasks": {"verify": {"type": "pass"}}, "transitions": []}
    Definition.objects.get_or_create(name=WORKFLOW, version=1, defaults={"document": document, "digest": "-"})
    jobs = Job.objects.bulk_create(
        Job(workflow=WORKFLOW, version=1, status="PEND", correlation_id=f"CLM-{n}") for n in range(count)
    )
    JobData.objects.bulk_create(JobData(job=job, input={}) for job in jobs)
    WorkItem.objects.bulk_create(
        WorkItem(
            job=job,
            workflow=job.workflow,
            reference=job.correlation_id,
            task="verify",
            department=department,
            title=f"Verify {job.correlation_id}",
            outcomes=["approve", "reject"],
            form=FORM,
            data={"amount": n},
            due_at=(now - timedelta(minutes=n), now + timedelta(minutes=n), None)[n % 3],
        )
        for n, job in enumerate(jobs)
    )


@pytest.fixture(params=SIZES)
def browser(request: Any, people: Any, browser_of: Any) -> Any:
    """A member's browser, before a queue of ten and of a thousand items."""
    fill(people.department, request.param)
    fill(people.elsewhere, 10)
    browser = browser_of(people.member)
    browser.get(f"/inbox/?item={WorkItem.objects.filter(department=people.department).first().pk}")
    return browser


@pytest.mark.parametrize("query", ["", "department=verification", "mine=1", "done=1", "q=CLM-5", "q=verify"])
def test_the_list_takes_five_queries(browser: Any, query: str, django_assert_num_queries: Any) -> None:
    """Session, user, departments with their counts, the other counts, the rows."""
    with django_assert_num_queries(5):
        browser.get(f"/inbox/?{query}")


def test_the_next_page_takes_four(browser: Any, people: Any, django_assert_num_queries: Any) -> None:
    more = re.search(r'class="more" href="([^"]*)"', browser.get("/inbox/").content.decode())
    url = more[1].replace("&amp;", "&") if more else "/inbox/?after=d.-.01a1fbf4-e440-77c6-9898-5717cf100b7f"
    with django_assert_num_queries(4):
        browser.get(url, HTTP_HX_REQUEST="true", HTTP_HX_TARGET="more")


def test_an_item_takes_six(browser: Any, people: Any, django_assert_num_queries: Any) -> None:
    """Session, user, the item, my roles, its job's history, its documents."""
    item = WorkItem.objects.filter(department=people.department).last()
    with django_assert_num_queries(6):
        browser.pane(f"/inbox/?item={item.pk}")


def test_asking_for_changes_takes_five(browser: Any, django_assert_num_queries: Any) -> None:
    since = re.search(r'data-since="([^"]*)"', browser.get("/inbox/").content.decode())
    assert since
    with django_assert_num_queries(5):
        browser.get("/inbox/changes", {"since": since[1]})


def test_a_decision_with_the_next_item_takes_the_same_at_every_size(
    browser: Any, people: Any, django_assert_num_queries: Any
) -> None:
    """Four to know who decides what, thirteen to decide, six for the next item and the counts beside it."""
    item = WorkItem.objects.filter(department=people.department, due_at__isnull=False).order_by("due_at").first()
    # A test's transaction is around all: the verb's own is a savepoint, which is set and released.
    with django_assert_num_queries(DECIDE):
        browser.act(item, "complete", outcome="approve")


DECIDE = 23


def test_the_number_of_documents_and_comments_adds_no_query(
    people: Any, browser_of: Any, django_assert_num_queries: Any
) -> None:
    for number in range(12):
        open_item(people.department, title=str(number))
    browser = browser_of(people.member)
    with django_assert_num_queries(5):
        browser.get("/inbox/")


@pytest.mark.postgresql
def test_a_page_of_a_long_queue_reads_its_index_and_no_more(people: Any) -> None:
    """The plan of a page touches the rows of the page, not those of the queue."""
    from departments.web import listing
    from departments.web.choice import Choice

    fill(people.department, 3000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE departments_workitem")
    scope = listing.Scope(people.member, (people.department.pk, people.elsewhere.pk), Choice())
    plan = listing._rows(scope, listing._branches(scope, None, None), 51).explain(analyze=True)
    assert "Seq Scan on departments_workitem" not in plan
    assert max(int(rows) for rows in re.findall(r"actual time=\S+ rows=(\d+)", plan)) <= 300
