"""What people do to work items, one after the other. Races are in test_races.py."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import transaction

from departments import actions
from departments.exceptions import InvalidAnswer, ItemConflict, NotAllowed, NotVisible, VersionMismatch
from departments.models import Comment, DepartmentResponse, WorkItem
from tests.departments.conftest import People
from tests.departments.makers import open_item, parked_job
from workflows.models import History, Job, Signal


@pytest.fixture
def item(people: People) -> WorkItem:
    return open_item(people.department)


def history(item: WorkItem) -> list[tuple[str, str]]:
    return list(History.objects.filter(job=item.job_id).order_by("sequence").values_list("event", "actor"))


def pointers(error: pytest.ExceptionInfo[InvalidAnswer]) -> set[str]:
    return {fault.pointer for fault in error.value.faults}


def test_a_claim_is_remembered_with_its_time_and_in_the_history(item: WorkItem, people: People) -> None:
    claimed = actions.claim(item.pk, people.member)
    item.refresh_from_db()
    assert (item.status, item.assignee, item.version) == ("claimed", people.member, 2)
    assert claimed.claimed_at == item.claimed_at is not None
    assert history(item) == [("item.claimed", "member")]


def test_claiming_what_one_holds_changes_nothing(item: WorkItem, people: People) -> None:
    actions.claim(item.pk, people.member)
    assert actions.claim(item.pk, people.member).version == 2
    assert len(history(item)) == 1


def test_a_claimed_item_is_refused_to_others_with_who_and_since_when(item: WorkItem, people: People) -> None:
    held = actions.claim(item.pk, people.member)
    with pytest.raises(ItemConflict, match="member holds it since") as error:
        actions.claim(item.pk, people.colleague)
    assert error.value.code == "claimed"
    assert error.value.item is not None
    assert error.value.item.claimed_at == held.claimed_at
    with pytest.raises(ItemConflict, match="member holds it since"):
        actions.complete(item.pk, people.lead, "approve")


@pytest.mark.parametrize("who", ["member", "lead", "superuser"])
def test_the_holder_a_lead_and_a_superuser_can_release(item: WorkItem, people: People, who: str) -> None:
    actions.claim(item.pk, people.member)
    released = actions.release(item.pk, people.named(who))
    assert (released.status, released.assignee, released.claimed_at) == ("open", None, None)
    assert history(item)[-1] == ("item.released", who)


def test_a_colleague_cannot_release_and_an_open_item_has_nothing_to_release(item: WorkItem, people: People) -> None:
    with pytest.raises(ItemConflict) as error:
        actions.release(item.pk, people.member)
    assert error.value.code == "not_claimed"
    actions.claim(item.pk, people.member)
    with pytest.raises(NotAllowed, match="a lead of Verification"):
        actions.release(item.pk, people.colleague)


def test_a_lead_hands_an_item_to_a_member(item: WorkItem, people: People) -> None:
    actions.claim(item.pk, people.member)
    assert actions.assign(item.pk, people.lead, people.colleague).assignee == people.colleague
    assert actions.assign(item.pk, people.lead, "member").assignee == people.member
    assert History.objects.filter(job=item.job_id).last().data["assignee"] == "member"


def test_anyone_hands_an_item_to_themselves_but_to_nobody_else(item: WorkItem, people: People) -> None:
    with pytest.raises(NotAllowed):
        actions.assign(item.pk, people.member, people.colleague)
    assert actions.assign(item.pk, people.member, "member").assignee == people.member


@pytest.mark.parametrize("who", ["outsider", "nobody", "", "a\0b"])
def test_an_item_is_handed_to_no_one_outside_the_department(item: WorkItem, people: People, who: str) -> None:
    with pytest.raises(InvalidAnswer) as error:
        actions.assign(item.pk, people.lead, who)
    assert pointers(error) == {"/assignee"}


def test_a_forwarded_item_is_open_in_the_other_department_and_gone_from_this_one(
    item: WorkItem, people: People
) -> None:
    actions.claim(item.pk, people.member)
    sent = actions.forward(item.pk, people.member, "payments", comment="Yours, I think.")
    assert (sent.status, sent.assignee, sent.department) == ("open", None, people.elsewhere)
    assert Comment.objects.get(item=item).text == "Yours, I think."
    assert History.objects.filter(job=item.job_id).last().data["target"] == "payments"
    with pytest.raises(NotVisible):
        actions.claim(item.pk, people.member)
    assert actions.complete(item.pk, people.outsider, "approve").outcome == "approve"


@pytest.mark.parametrize("code", ["verification", "nowhere", "", "a\0b"])
def test_an_item_is_forwarded_to_no_place_that_is_none(item: WorkItem, people: People, code: str) -> None:
    with pytest.raises(InvalidAnswer) as error:
        actions.forward(item.pk, people.lead, code)
    assert pointers(error) == {"/department"}


def test_a_comment_is_kept_without_outdating_the_item(item: WorkItem, people: People) -> None:
    actions.comment(item.pk, people.member, "  Called the client. ")
    assert Comment.objects.get(item=item).text == "Called the client."
    assert WorkItem.objects.get(pk=item.pk).version == 1
    assert history(item) == [("item.commented", "member")]


@pytest.mark.parametrize("text", ["", "   ", "x" * 4001, "nul \0", None, 7])
def test_a_comment_must_say_something_that_can_be_kept(item: WorkItem, people: People, text: Any) -> None:
    with pytest.raises(InvalidAnswer):
        actions.comment(item.pk, people.member, text)
    assert not Comment.objects.exists()


def test_a_decision_closes_the_item_and_wakes_the_job(item: WorkItem, people: People) -> None:
    decided = actions.complete(item.pk, people.member, "approve", data={"payable": 850.5}, comment="All there.")
    item.refresh_from_db()
    assert (item.status, item.outcome, item.answer, item.comment) == (
        "done",
        "approve",
        {"payable": 850.5},
        "All there.",
    )
    assert (item.decided_by, item.decided_at, item.version) == (people.member, decided.decided_at, 2)
    job = Job.objects.get(pk=item.job_id)
    assert (job.status, job.signals) == ("READY", 1)
    row = History.objects.get(job=job)
    assert (row.event, row.actor, row.task, row.iteration) == ("item.decided", "member", "verify", 1)
    assert (row.data["outcome"], row.data["comment"], row.data["department"]) == (
        "approve",
        "All there.",
        "verification",
    )


def test_a_decision_is_a_fact_for_the_worker_and_a_row_of_the_async_data_table(item: WorkItem, people: People) -> None:
    actions.complete(item.pk, people.member, "reject", comment="No receipt.")
    fact = Signal.objects.get(job=item.job_id).event
    assert {
        "task": "verify",
        "iteration": 1,
        "outcome": "reject",
        "output": {},
        "actor": "member",
    }.items() <= fact.items()
    response = DepartmentResponse.objects.get(work_item=item)
    assert (response.status, response.data, response.format, response.received_by) == (
        "reject",
        {},
        "json",
        people.member,
    )


def test_a_second_decision_is_told_who_when_and_what(item: WorkItem, people: People) -> None:
    actions.complete(item.pk, people.member, "approve")
    with pytest.raises(ItemConflict, match="member answered “approve” on") as error:
        actions.complete(item.pk, people.colleague, "reject")
    assert error.value.code == "decided"
    assert error.value.item is not None
    assert error.value.item.outcome == "approve"
    assert Signal.objects.filter(job=item.job_id).count() == 1


@pytest.mark.parametrize(
    ("outcome", "data", "comment", "where"),
    [
        ("burn", None, "", {"/outcome"}),
        ("", None, "", {"/outcome"}),
        (None, None, "", {"/outcome"}),
        (["approve"], None, "", {"/outcome"}),
        ("approve", {"payable": "much", "colour": "red"}, "", {"/data/payable", "/data/colour"}),
        ("approve", [1], "", {"/data"}),
        ("approve", {"payable": float("nan")}, "", {"/data/payable"}),
        ("approve", {"note": "a\0b"}, "", {"/data/note"}),
        ("approve", {"note": "x" * 300_000}, "", {"/data"}),
        ("approve", None, 7, {"/comment"}),
        ("burn", {"payable": "much"}, "x" * 5000, {"/outcome", "/data/payable", "/comment"}),
    ],
)
def test_a_decision_that_does_not_fit_is_refused_with_every_fault_and_changes_nothing(
    item: WorkItem, people: People, outcome: Any, data: Any, comment: Any, where: set[str]
) -> None:
    with pytest.raises(InvalidAnswer) as error:
        actions.complete(item.pk, people.member, outcome, data=data, comment=comment)
    assert pointers(error) == where
    assert WorkItem.objects.get(pk=item.pk).version == 1
    assert Job.objects.get(pk=item.job_id).status == "PEND"
    assert not History.objects.exists()


def test_a_form_with_required_fields_is_not_passed_by_sending_nothing(people: People) -> None:
    item = open_item(people.department, form={"type": "object", "required": ["payable"]})
    with pytest.raises(InvalidAnswer) as error:
        actions.complete(item.pk, people.member, "approve")
    assert pointers(error) == {"/data/payable"}


def test_without_a_form_the_data_must_still_be_an_object(people: People) -> None:
    item = open_item(people.department, form=None)
    with pytest.raises(InvalidAnswer) as error:
        actions.complete(item.pk, people.member, "approve", data="yes")  # type: ignore[arg-type]
    assert pointers(error) == {"/data"}


ACTS = {
    "claim": lambda item, user, **seen: actions.claim(item, user, **seen),
    "release": lambda item, user, **seen: actions.release(item, user, **seen),
    "assign": lambda item, user, **seen: actions.assign(item, user, "colleague", **seen),
    "forward": lambda item, user, **seen: actions.forward(item, user, "payments", **seen),
    "complete": lambda item, user, **seen: actions.complete(item, user, "approve", **seen),
}


@pytest.mark.parametrize("verb", ACTS)
def test_whoever_saw_an_older_version_is_told_to_read_it_again(people: People, verb: str) -> None:
    item = open_item(people.department, status="claimed", assignee=people.lead, version=3)
    with pytest.raises(VersionMismatch, match="version 3 now, and you saw version 2"):
        ACTS[verb](item.pk, people.lead, version=2)
    assert ACTS[verb](item.pk, people.lead, version=3).version >= 3


@pytest.mark.parametrize("verb", ACTS)
def test_an_older_version_of_a_decided_item_is_a_conflict_told_with_who(people: People, verb: str) -> None:
    item = open_item(people.department)
    actions.complete(item.pk, people.member, "approve")
    with pytest.raises(ItemConflict, match="member answered"):
        ACTS[verb](item.pk, people.lead, version=1)


@pytest.mark.parametrize("verb", [*ACTS, "comment"])
@pytest.mark.parametrize("who", ["outsider", "stranger", "system"])
def test_to_everybody_else_an_item_does_not_exist(item: WorkItem, people: People, verb: str, who: str) -> None:
    act = ACTS.get(verb) or (lambda item, user: actions.comment(item, user, "Hello"))
    with pytest.raises(NotVisible) as hidden:
        act(item.pk, people.named(who))
    with pytest.raises(NotVisible) as absent:
        act(uuid.uuid4(), people.named(who))
    assert str(hidden.value) == str(absent.value)
    assert WorkItem.objects.get(pk=item.pk).version == 1
    assert not History.objects.exists()


def test_membership_is_read_again_inside_the_transaction(item: WorkItem, people: People) -> None:
    assert people.member.memberships.exists()
    actions.claim(item.pk, people.member)
    people.member.memberships.all().delete()
    with pytest.raises(NotVisible):
        actions.complete(item.pk, people.member, "approve")


def test_a_user_switched_off_a_moment_ago_decides_nothing(item: WorkItem, people: People) -> None:
    type(people.member).objects.filter(pk=people.member.pk).update(is_active=False)
    assert people.member.is_active
    with pytest.raises(NotVisible):
        actions.complete(item.pk, people.member, "approve")


def test_a_system_that_may_answer_everything_decides_nothing(people: People) -> None:
    item = open_item(people.department)
    with pytest.raises(NotVisible):
        actions.complete(item.pk, people.system, "approve")


def test_an_operator_sees_an_item_and_may_not_decide_it(item: WorkItem, people: People) -> None:
    with pytest.raises(NotAllowed, match="Only members of Verification"):
        actions.complete(item.pk, people.operator, "approve")


def test_a_change_under_the_lock_that_the_checks_did_not_see_rolls_everything_back(
    item: WorkItem, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last net: were the item changed in spite of the job's lock, the conditional UPDATE finds no row."""
    signal = actions.signal_job

    def change_then_signal(*args: Any, **values: Any) -> Job:
        WorkItem.objects.filter(pk=item.pk).update(version=9)
        return signal(*args, **values)

    monkeypatch.setattr(actions, "signal_job", change_then_signal)
    with pytest.raises(ItemConflict):
        actions.complete(item.pk, people.member, "approve")
    assert WorkItem.objects.get(pk=item.pk).version == 1
    assert not Signal.objects.exists()
    assert not DepartmentResponse.objects.exists()


def test_a_decision_for_a_job_that_has_ended_is_a_conflict(people: People) -> None:
    job = parked_job(status="CANC", finished_at="2026-10-04T10:41:00Z")
    item = open_item(people.department, job=job)
    with pytest.raises(ItemConflict) as error:
        actions.complete(item.pk, people.member, "approve")
    assert error.value.code == "job_finished"
    assert WorkItem.objects.get(pk=item.pk).status == "open"


def test_a_decision_rolled_back_by_its_caller_leaves_nothing(item: WorkItem, people: People) -> None:
    with transaction.atomic():
        actions.complete(item.pk, people.member, "approve")
        transaction.set_rollback(True)
    assert WorkItem.objects.get(pk=item.pk).status == "open"
    assert not Signal.objects.exists()


@pytest.mark.parametrize("items", [1, 30])
def test_a_decision_costs_the_same_queries_whatever_else_the_department_has(
    people: People, items: int, django_assert_max_num_queries: Any
) -> None:
    chosen = open_item(people.department)
    for _ in range(items):
        open_item(people.department)
    with django_assert_max_num_queries(13):
        actions.complete(chosen.pk, people.member, "approve")
