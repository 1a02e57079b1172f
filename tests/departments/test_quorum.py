"""Several people decide one item: the count as a rule, the votes as verbs, and the votes at once."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from departments import actions
from departments.exceptions import InvalidAnswer, ItemConflict, NotAllowed, VersionMismatch
from departments.models import DepartmentResponse, Vote, WorkItem
from departments.policy import verdict
from departments.quorum import Quorum, decision
from tests.departments.conftest import People
from tests.departments.makers import member, open_item
from tests.departments.test_api_work_items import post
from tests.departments.test_races import at_once
from workflows.models import History, Signal

OUTCOMES = ["approve", "reject", "return"]
TWO_OF_THREE = {"need": 2, "of": 3}


@pytest.mark.parametrize(
    ("quorum", "votes", "decided"),
    [
        (TWO_OF_THREE, "", None),
        (TWO_OF_THREE, "approve", None),
        (TWO_OF_THREE, "approve approve", "approve"),
        (TWO_OF_THREE, "approve reject", None),
        (TWO_OF_THREE, "approve reject approve", "approve"),
        (TWO_OF_THREE, "reject", None),
        (TWO_OF_THREE, "reject reject", "reject"),
        (TWO_OF_THREE, "reject return", "return"),  # no assent any more; a tie: the later in the list
        (TWO_OF_THREE, "approve reject return", "return"),
        ({"need": 3, "of": 3}, "reject", "reject"),  # unanimity is out of reach at once
        ({"need": 3, "of": 3}, "approve approve return", "return"),
        ({"need": 2, "of": 5, "veto": True}, "approve reject", "reject"),
        ({"need": 2, "of": 5, "veto": True}, "approve approve", "approve"),
        ({"need": 2, "of": 5}, "approve reject return return", "return"),
        ({"need": 3, "of": 5}, "reject return reject approve", "reject"),  # two approvals are all there can be
        ({"need": 1, "of": 1}, "return", "return"),
    ],
)
def test_the_votes_decide(quorum: dict[str, Any], votes: str, decided: str | None) -> None:
    assert decision(Quorum.read(quorum), OUTCOMES, votes.split()) == decided


def test_the_first_outcome_of_the_task_is_the_assent_whatever_it_is_called() -> None:
    votes = ["approve"]
    assert decision(Quorum(2, 2), ["reject", "approve"], votes) == "approve"
    assert decision(Quorum(2, 2), ["approve", "reject"], votes) is None


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 6), st.booleans())
def test_a_vote_of_all_always_decides_and_only_once(data: st.DataObject, of: int, veto: bool) -> None:
    quorum = Quorum(data.draw(st.integers(1, of)), of, veto)
    votes = data.draw(st.lists(st.sampled_from(OUTCOMES), min_size=of, max_size=of))
    steps = [decision(quorum, OUTCOMES, votes[:number]) for number in range(of + 1)]
    first = next(place for place, decided in enumerate(steps) if decided is not None)
    assert set(steps[first:]) == {steps[first]}, "what was decided stays"
    assert steps[first] in votes
    if steps[first] == "approve":
        assert votes[:first].count("approve") == quorum.need
    if veto:
        assert "reject" not in votes[: first - 1]


# ---- the verbs ------------------------------------------------------------------------------------------------------

pytestmark = pytest.mark.django_db


@pytest.fixture
def item(people: People) -> WorkItem:
    return open_item(people.department, quorum={"need": 2, "of": 3})


def test_a_vote_leaves_the_item_open_until_the_votes_decide_it(item: WorkItem, people: People) -> None:
    first = actions.complete(item.pk, people.member, "approve", data={"payable": 5}, comment="Fine.")
    assert (first.status, first.outcome, first.version) == ("open", None, 2)
    assert not Signal.objects.exists()
    second = actions.complete(item.pk, people.lead, "approve", data={"note": "ok", "payable": 7})
    assert (second.status, second.outcome, second.decided_by_id) == ("done", "approve", people.lead.pk)
    signal = Signal.objects.get().event
    assert (signal["outcome"], signal["output"]["payable"], signal["output"]["note"]) == ("approve", 7, "ok")
    votes = [(vote["by"], vote["outcome"], vote["comment"]) for vote in signal["output"]["votes"]]
    assert votes == [("member", "approve", "Fine."), ("lead", "approve", "")]
    assert DepartmentResponse.objects.get().data == signal["output"]
    events = list(History.objects.order_by("sequence").values_list("event", "actor"))
    assert events == [("item.voted", "member"), ("item.voted", "lead"), ("item.decided", "lead")]


def test_only_the_fields_of_the_votes_that_carried_it_become_the_output(item: WorkItem, people: People) -> None:
    actions.complete(item.pk, people.member, "reject", data={"payable": 1})
    actions.complete(item.pk, people.lead, "approve", data={"payable": 2})
    decided = actions.complete(item.pk, people.colleague, "approve", data={"note": "ok"})
    assert {key: decided.answer[key] for key in ("payable", "note")} == {"payable": 2, "note": "ok"}
    assert len(decided.answer["votes"]) == 3


def test_each_person_votes_once(item: WorkItem, people: People) -> None:
    actions.complete(item.pk, people.member, "approve")
    with pytest.raises(ItemConflict, match="You voted “approve” on") as refused:
        actions.complete(item.pk, people.member, "approve")
    assert refused.value.code == "voted"
    fresh = WorkItem.objects.select_related("department").get(pk=item.pk)
    assert "You voted" in verdict(people.member, fresh, "complete").reason, "told before the click"
    assert verdict(people.colleague, fresh, "complete").allowed
    assert Vote.objects.count() == 1


@pytest.mark.parametrize("verb", ["claim", "release"])
def test_nobody_holds_what_several_decide(item: WorkItem, people: People, verb: str) -> None:
    with pytest.raises(ItemConflict, match="vote on it") as refused:
        getattr(actions, verb)(item.pk, people.lead)
    assert refused.value.code == "quorum"


def test_an_item_that_several_decide_is_not_handed_to_one(item: WorkItem, people: People) -> None:
    with pytest.raises(ItemConflict, match="vote on it"):
        actions.assign(item.pk, people.lead, people.member)


def test_a_forwarded_item_keeps_its_quorum_and_its_votes(item: WorkItem, people: People) -> None:
    actions.complete(item.pk, people.member, "approve")
    with pytest.raises(NotAllowed, match="Ask a lead of Verification"):
        actions.forward(item.pk, people.member, "payments")
    actions.forward(item.pk, people.lead, "payments")
    decided = actions.complete(item.pk, people.outsider, "approve")
    assert (decided.status, Vote.objects.count()) == ("done", 2)


def test_the_vote_of_a_colleague_does_not_outdate_ones_own(item: WorkItem, people: People) -> None:
    actions.complete(item.pk, people.member, "approve", version=1)
    with pytest.raises(VersionMismatch):
        actions.complete(item.pk, people.colleague, "approve", version=0)
    with pytest.raises(VersionMismatch):
        actions.complete(item.pk, people.colleague, "approve", version=3)
    assert actions.complete(item.pk, people.colleague, "approve", version=1).status == "done"


def test_a_vote_that_does_not_fit_the_form_is_no_vote(item: WorkItem, people: People) -> None:
    with pytest.raises(InvalidAnswer):
        actions.complete(item.pk, people.member, "perhaps")
    assert not Vote.objects.exists()


def test_the_api_shows_the_tally(item: WorkItem, people: People) -> None:
    answer = post(people.member, item, "complete", {"outcome": "approve", "comment": "Fine."})
    assert (answer.status_code, answer.json()["status"], answer["ETag"]) == (200, "open", '"2"')
    assert answer.json()["quorum"] == {"need": 2, "of": 3, "veto": False, "cast": 1, "counts": {"approve": 1}}
    [vote] = answer.json()["votes"]
    assert (vote["by"], vote["outcome"], vote["comment"]) == ("member", "approve", "Fine.")
    again = post(people.member, item, "complete", {"outcome": "approve"})
    assert (again.status_code, again.json()["code"]) == (409, "voted")
    assert post(people.member, item, "claim").json()["code"] == "quorum"


@pytest.mark.django_db(transaction=True)
def test_of_twenty_votes_at_once_exactly_one_decides(people: People) -> None:
    item = open_item(people.department, quorum={"need": 5, "of": 20})
    voters = [member(people.department, f"voter{number}") for number in range(20)]
    results = at_once([partial(actions.complete, item.pk, user, "approve", version=1) for user in voters])
    decided = [each for each in results if isinstance(each, WorkItem) and each.status == "done"]
    open_still = [each for each in results if isinstance(each, WorkItem) and each.status == "open"]
    late = [each for each in results if isinstance(each, ItemConflict)]
    assert (len(decided), len(open_still), len(late)) == (1, 4, 15)
    assert {error.code for error in late} == {"decided"}
    assert (Signal.objects.count(), Vote.objects.count(), DepartmentResponse.objects.count()) == (1, 5, 1)
    assert History.objects.filter(event="item.voted").count() == 5
