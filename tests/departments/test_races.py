"""Many at once, in real threads with connections of their own: one counts, the others are told who was first."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from departments import actions
from departments.configuration import change_department
from departments.exceptions import DepartmentsError, ItemConflict, NotVisible
from departments.models import DepartmentResponse, Membership, WorkItem
from departments.parking import DepartmentParker
from tests.departments.conftest import People
from tests.departments.makers import external_item, member, open_item
from workflows.engine.events import WithdrawWork
from workflows.execution.respond import lock_job
from workflows.models import History, Job, Signal

pytestmark = pytest.mark.django_db(transaction=True)

CROWD = 50


def at_once(acts: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run all acts at the same moment; what each returned or which of the departments' errors it raised."""
    start, results = threading.Barrier(len(acts)), [None] * len(acts)

    def run(place: int) -> None:
        try:
            start.wait(30)
            results[place] = acts[place]()
        except DepartmentsError as error:
            results[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert None not in results, "an act ended in an error that is none of ours, or not at all"
    return results


@pytest.fixture
def crowd(people: People) -> list[Any]:
    """Fifty members of the department."""
    return [member(people.department, f"member{number}") for number in range(CROWD)]


def test_of_fifty_decisions_at_once_one_counts_and_the_rest_are_told_who_when_and_what(
    people: People, crowd: list[Any]
) -> None:
    item = open_item(people.department)
    outcomes = ["approve", "reject", "return"]
    results = at_once(
        [
            lambda user=user, outcome=outcomes[place % 3]: actions.complete(item.pk, user, outcome, version=1)
            for place, user in enumerate(crowd)
        ]
    )
    [decided] = [result for result in results if isinstance(result, WorkItem)]
    late = [result for result in results if isinstance(result, ItemConflict)]
    assert len(late) == CROWD - 1
    kept = WorkItem.objects.select_related("decided_by").get(pk=item.pk)
    assert (kept.decided_by_id, kept.outcome, kept.version) == (decided.decided_by_id, decided.outcome, 2)
    for error in late:
        assert error.code == "decided"
        assert error.item is not None
        assert (error.item.decided_by, error.item.outcome) == (kept.decided_by, kept.outcome)
        assert error.item.decided_at == kept.decided_at
        assert f"{kept.decided_by} answered “{kept.outcome}” on" in error.detail
    assert Signal.objects.filter(job=item.job_id).count() == 1
    assert History.objects.filter(job=item.job_id).count() == 1
    assert DepartmentResponse.objects.count() == 1
    assert Job.objects.get(pk=item.job_id).signals == 1


def test_of_many_claims_at_once_one_counts(people: People, crowd: list[Any]) -> None:
    item = open_item(people.department)
    results = at_once([lambda user=user: actions.claim(item.pk, user) for user in crowd[:20]])
    [claimed] = [result for result in results if isinstance(result, WorkItem)]
    holder = WorkItem.objects.select_related("assignee").get(pk=item.pk).assignee
    assert claimed.assignee_id == holder.pk
    late = [result for result in results if isinstance(result, ItemConflict)]
    assert len(late) == 19
    assert {error.code for error in late} == {"claimed"}
    assert all(f"{holder} holds it since" in error.detail for error in late)


def test_a_double_click_decides_once(people: People) -> None:
    item = open_item(people.department)
    results = at_once([lambda: actions.complete(item.pk, people.member, "approve")] * 2)
    assert Counter(type(result) for result in results) == {WorkItem: 1, ItemConflict: 1}


def test_the_same_answer_sent_many_times_at_once_is_one_answer(people: People) -> None:
    item = external_item(people.department)
    send = lambda: actions.respond_external(  # noqa: E731
        item.job_id, "ship", people.system, status="shipped", data={}, response_id="r-1"
    )
    results = at_once([send] * 12)
    assert Counter(created for _, created in results) == {True: 1, False: 11}
    assert len({response.pk for response, _ in results}) == 1
    assert Signal.objects.filter(job=item.job_id).count() == 1


def test_of_different_answers_at_once_one_counts(people: People) -> None:
    item = external_item(people.department)
    results = at_once(
        [
            lambda number=number: actions.respond_external(
                item.job_id, "ship", people.system, status=f"s{number}", data=None, response_id=f"r-{number}"
            )
            for number in range(12)
        ]
    )
    [(kept, _)] = [result for result in results if isinstance(result, tuple)]
    assert WorkItem.objects.get(pk=item.pk).outcome == kept.status
    assert {error.code for error in results if isinstance(error, ItemConflict)} == {"not_waiting"}
    assert DepartmentResponse.objects.count() == 1


def withdraw(item: WorkItem) -> str:
    """What a worker's commit does when it withdraws: the job's lock first, then the item."""
    with transaction.atomic():
        lock_job(item.job_id)
        DepartmentParker().withdraw([(item.job_id, WithdrawWork(item.task, 1, "cancelled"))])
    return "withdrawn"


def test_a_decision_and_a_withdrawal_at_once_have_one_winner_and_no_deadlock(people: People) -> None:
    for _ in range(5):
        item = open_item(people.department)
        act, late = partial(actions.complete, item.pk, people.member, "approve"), partial(withdraw, item)
        decided, _ = at_once([act, late])
        status, facts = WorkItem.objects.get(pk=item.pk).status, Signal.objects.filter(job=item.job_id).count()
        if isinstance(decided, WorkItem):
            assert (status, facts) == ("done", 1)
        else:
            assert (decided.code, status, facts) == ("withdrawn", "withdrawn", 0)


def test_all_verbs_at_once_end_as_if_one_came_after_the_other(people: People) -> None:
    for _ in range(5):
        item = open_item(people.department, status="claimed", assignee=people.member)
        results = at_once(
            [
                partial(actions.complete, item.pk, people.member, "approve"),
                partial(actions.release, item.pk, people.lead),
                partial(actions.assign, item.pk, people.lead, "colleague"),
                partial(actions.forward, item.pk, people.lead, "payments"),
                partial(actions.comment, item.pk, people.colleague, "Hello"),
            ]
        )
        kept = WorkItem.objects.get(pk=item.pk)
        took_effect = [result for result in results if not isinstance(result, DepartmentsError)]
        assert kept.version == 1 + sum(isinstance(result, WorkItem) for result in took_effect)
        assert History.objects.filter(job=item.job_id).count() == len(took_effect)
        assert Signal.objects.filter(job=item.job_id).count() == (1 if kept.status == "done" else 0)


def test_who_leaves_the_department_while_deciding_has_decided_before_or_not_at_all(people: People) -> None:
    item = open_item(people.department)
    decided, _ = at_once(
        [
            lambda: actions.complete(item.pk, people.member, "approve"),
            lambda: change_department(people.department, members=[{"username": "lead", "role": "lead"}]),
        ]
    )
    assert not Membership.objects.filter(user=people.member).exists()
    if isinstance(decided, NotVisible):
        assert WorkItem.objects.get(pk=item.pk).status == "open"
    else:
        assert WorkItem.objects.get(pk=item.pk).decided_by == people.member


def test_two_lists_of_members_at_once_leave_one_of_them_whole(people: People) -> None:
    lists = [["member", "colleague"], ["lead", "stranger", "outsider"]]
    at_once(
        [
            lambda names=names: change_department(people.department, members=[{"username": name} for name in names])
            for names in lists
        ]
    )
    found = set(Membership.objects.filter(department=people.department).values_list("user__username", flat=True))
    assert found in [set(names) for names in lists]
