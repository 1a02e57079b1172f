"""What the inbox costs with 10, 1,000 and 100,000 open items, on the database of DATABASE_URL: queries, p50 and p95.

    DATABASE_URL=postgres://… python -m benchmarks.inbox [--sizes 10 1000 100000] [--repeat 60]

It makes a database of its own beside the one that is named, and drops it at the end. It exits with 1 where a page takes
another number of queries at one size than at another, or the list takes more than six.
"""

# ruff: noqa: E402 - Django is set up before its parts are imported
from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("TEST_DATABASE_NAME", f"bench_inbox_{os.getpid()}")

import django

django.setup()

from django.db import connection
from django.test import Client
from django.test.utils import (
    CaptureQueriesContext,
    setup_databases,
    teardown_databases,
)
from django.utils import timezone

LIST_QUERIES = 6
BATCH = 5_000
WORKFLOW = "insurance_claim"
PANE = {"HTTP_HX_REQUEST": "true", "HTTP_HX_TARGET": "pane"}
FORM = {"type": "object", "properties": {"payable": {"type": "number"}}}


@contextmanager
def own_database() -> Iterator[None]:
    """A fresh database, dropped at the end."""
    made = setup_databases(verbosity=0, interactive=False, aliases=["default"])
    try:
        yield
    finally:
        teardown_databases(made, verbosity=0)


def office() -> Any:
    """A member of two departments, in the first of which the queue is long."""
    from django.contrib.auth import get_user_model

    from departments.models import Department, Membership
    from workflows.models import Definition

    user = get_user_model().objects.create_user("member")
    for code in ("verification", "payment"):
        Membership.objects.create(user=user, department=Department.objects.create(code=code, name=code.title()))
    document = {"name": WORKFLOW, "tasks": {"verify": {"type": "pass"}}, "transitions": []}
    Definition.objects.create(name=WORKFLOW, version=1, title="Insurance claim", document=document, digest="-")
    return user


def fill(first: int, last: int) -> None:
    """Open items first..last: one in ten late, one in ten undated, the others due over three months."""
    from departments.models import Department, WorkItem
    from workflows.models import Job

    now = timezone.now()
    verification = Department.objects.get(code="verification")
    for start in range(first, last, BATCH):
        jobs = Job.objects.bulk_create(
            Job(workflow=WORKFLOW, version=1, status="PEND", correlation_id=f"CLM-{n}")
            for n in range(start, min(start + BATCH, last))
        )
        WorkItem.objects.bulk_create(
            WorkItem(
                job=job,
                workflow=WORKFLOW,
                reference=job.correlation_id,
                task="verify",
                department=verification,
                title=f"Verify claim {job.correlation_id}: water damage on the ground floor",
                outcomes=["approve", "reject", "return"],
                form=FORM,
                data={"claim_no": job.correlation_id, "amount": 1250.5},
                created_at=now - timedelta(days=9),
                due_at=None if n % 10 == 0 else now + timedelta(minutes=(n * 7919) % 130_000 - 13_000),
            )
            for n, job in enumerate(jobs)
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def measured(act: Callable[[], Any], repeat: int) -> tuple[int, float, float]:
    """Queries of one call, then p50 and p95 of `repeat` calls in milliseconds, without the counting."""
    act()
    with CaptureQueriesContext(connection) as queries:
        act()
    count = len(queries)
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        act()
        times.append((time.perf_counter() - began) * 1000)
    return count, statistics.median(times), statistics.quantiles(times, n=20)[-1]


def pages(client: Client) -> dict[str, Callable[[], Any]]:
    """What is measured, by name."""
    from departments.models import WorkItem

    def get(path: str, **headers: Any) -> Any:
        answer = client.get(path, HTTP_HOST="localhost", **headers)
        assert answer.status_code in (200, 204), (path, answer.status_code)
        return answer

    def decide() -> Any:
        item = WorkItem.objects.active().filter(due_at__isnull=False).order_by("due_at", "id").only("pk", "version")[0]
        answer = client.post(
            f"/inbox/items/{item.pk}/complete/",
            {"version": item.version, "outcome": "approve", "list": "", "field/payable": "5"},
            HTTP_HOST="localhost",
            **PANE,
        )
        assert answer.status_code == 200
        return answer

    listed = get("/inbox/").content.decode()
    since = re.search(r'data-since="([^"]*)"', listed)
    more = re.search(r'class="more" href="([^"]*)"', listed)
    pk = WorkItem.objects.active().order_by("-id").values_list("pk", flat=True)[0]
    until = re.search(r'data-after="([^"]*)"', listed)
    assert since
    found = {
        "list": lambda: get("/inbox/"),
        "list of a department": lambda: get("/inbox/?department=verification"),
        "search": lambda: get("/inbox/?q=CLM-7"),
        "item": lambda: get(f"/inbox/?item={pk}", **PANE),
        "changes": lambda: get(f"/inbox/changes?since={since[1]}&until={until[1] if until else ''}"),
        # The item is looked up by the benchmark itself: one query more than the decision takes.
        "decide, next item open": decide,
    }
    if more:
        url = more[1].replace("&amp;", "&")
        found["next page"] = lambda: get(url, HTTP_HX_REQUEST="true", HTTP_HX_TARGET="more")
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1_000, 100_000])
    parser.add_argument("--repeat", type=int, default=60)
    chosen = parser.parse_args(arguments)
    seen: dict[str, set[int]] = {}
    with own_database():
        client = Client()
        client.force_login(office())
        print(f"{connection.vendor} · {'open items':>10} · {'page':<24} · queries ·  p50 ms ·  p95 ms · KB")
        made = 0
        for size in sorted(chosen.sizes):
            fill(made, size)
            made = size
            for name, act in pages(client).items():
                repeat = min(chosen.repeat, 4) if name.startswith("decide") and size <= 10 else chosen.repeat
                queries, middle, high = measured(act, repeat)
                seen.setdefault(name, set()).add(queries)
                weight = len(act().content) / 1024 if not name.startswith("decide") else 0
                figures = f"{queries:>7} · {middle:>7.1f} · {high:>7.1f} · {weight:.0f}"
                print(f"{connection.vendor} · {size:>10,} · {name:<24} · {figures}", flush=True)
    uneven = [name for name, counts in seen.items() if len(counts) > 1]
    for name in uneven:
        print(f"NOT EVEN: {name} takes {sorted(seen[name])} queries", file=sys.stderr)
    too_many = max(seen["list"]) > LIST_QUERIES
    return 1 if uneven or too_many else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
