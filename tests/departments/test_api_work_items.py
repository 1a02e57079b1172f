"""Work items over REST."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from departments import actions
from departments.models import WorkItem
from tests.departments.conftest import People
from tests.departments.makers import external_item, open_item
from workflows.models import ApiToken

CONTRACT = {
    *("id", "job", "workflow", "task", "iteration", "department", "title", "status", "assignee", "outcomes", "form"),
    *("data", "priority", "due_at", "version", "created_at", "decided_by", "decided_at", "outcome", "comment"),
}
VERBS = {
    "claim": {},
    "release": {},
    "assign": {"assignee": "colleague"},
    "forward": {"department": "payments"},
    "comment": {"text": "Hello"},
    "complete": {"outcome": "approve"},
}

SEVERAL_PEOPLE = {"quorum", "votes", "constraints", "follow_up_at", "escalated_at"}


def client_of(user: Any) -> APIClient:
    client = APIClient()
    client.force_authenticate(type(user).objects.get(pk=user.pk))
    return client


def url(item: WorkItem | uuid.UUID, verb: str = "") -> str:
    return f"/api/v1/work-items/{getattr(item, 'pk', item)}/{verb + '/' if verb else ''}"


def post(user: Any, item: WorkItem, verb: str, body: Any = None, **headers: str) -> Any:
    body = VERBS[verb] if body is None else body
    return client_of(user).post(url(item, verb), body, format="json", headers=headers)


@pytest.fixture
def item(people: People) -> WorkItem:
    return open_item(people.department, due_at=datetime(2026, 10, 4, 10, 41, tzinfo=UTC))


def test_an_item_has_exactly_the_fields_of_the_contract(item: WorkItem, people: People) -> None:
    answer = client_of(people.member).get(url(item))
    assert answer.status_code == 200
    assert set(answer.json()) == CONTRACT | SEVERAL_PEOPLE
    assert answer["ETag"] == '"1"'
    assert (
        answer.json()
        | {
            "id": str(item.pk),
            "job": str(item.job_id),
            "department": "verification",
            "status": "open",
            "assignee": None,
            "outcomes": ["approve", "reject", "return"],
            "data": {"amount": 900},
            "version": 1,
            "due_at": "2026-10-04T10:41:00Z",
            "decided_by": None,
        }
        == answer.json()
    )


def test_who_has_this_version_is_not_sent_it_again(item: WorkItem, people: People) -> None:
    client = client_of(people.member)
    same = client.get(url(item), headers={"If-None-Match": '"1"'})
    assert (same.status_code, same.content, same["ETag"]) == (304, b"", '"1"')
    actions.claim(item.pk, people.member)
    assert client.get(url(item), headers={"If-None-Match": '"1"'}).status_code == 200


def test_the_verbs_change_the_item_and_answer_with_it(item: WorkItem, people: People) -> None:
    claimed = post(people.member, item, "claim")
    assert (claimed.status_code, claimed.json()["assignee"], claimed["ETag"]) == (200, "member", '"2"')
    assert post(people.member, item, "release").json()["status"] == "open"
    assert post(people.lead, item, "assign").json()["assignee"] == "colleague"
    assert (
        post(people.lead, item, "forward", {"department": "payments", "comment": "Yours."}).json()
        | {
            "department": "payments",
            "status": "open",
        }
        == client_of(people.outsider).get(url(item)).json()
    )
    said = post(people.outsider, item, "comment")
    assert (said.status_code, said.json()["text"], said.json()["author"]) == (201, "Hello", "outsider")
    decided = post(
        people.outsider, item, "complete", {"outcome": "approve", "data": {"payable": 5}, "comment": "Fine."}
    )
    assert decided.status_code == 200
    assert decided.json() | {"status": "done", "outcome": "approve", "decided_by": "outsider", "comment": "Fine."} == (
        decided.json()
    )


def test_a_second_decision_is_a_conflict_with_who_when_and_what(item: WorkItem, people: People) -> None:
    first = post(people.member, item, "complete", **{"If-Match": '"1"'}).json()
    late = post(people.colleague, item, "complete", {"outcome": "reject"}, **{"If-Match": '"1"'})
    assert (late.status_code, late["Content-Type"]) == (409, "application/problem+json")
    body = late.json()
    assert {name: body[name] for name in ("status", "code", "decided_by", "outcome", "decided_at")} == {
        "status": 409,
        "code": "decided",
        "decided_by": "member",
        "outcome": "approve",
        "decided_at": first["decided_at"],
    }
    assert (body["item"]["id"], body["item"]["status"], body["item"]["version"]) == (str(item.pk), "done", 2)
    assert "member answered “approve” on" in body["detail"]


def test_an_older_version_of_an_open_item_is_a_failed_precondition(item: WorkItem, people: People) -> None:
    post(people.member, item, "claim")
    stale = post(people.member, item, "complete", **{"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["item"]["version"]) == (412, 2)
    assert post(people.member, item, "complete", **{"If-Match": '"2"'}).status_code == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [("*", 200), ("", 200), ('"1"', 200), ('W/"1"', 200), ('"x"', 412), ("1", 400), ('"1", "2"', 400)],
)
def test_if_match_is_optional_and_takes_one_entity_tag(
    item: WorkItem, people: People, header: str, status: int
) -> None:
    assert post(people.member, item, "claim", **{"If-Match": header}).status_code == status


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("who", ["outsider", "stranger", "system"])
def test_to_everybody_else_an_item_looks_like_one_that_is_not_there(
    item: WorkItem, people: People, verb: str, who: str
) -> None:
    hidden = post(people.named(who), item, verb)
    absent = client_of(people.named(who)).post(url(uuid.uuid4(), verb), VERBS[verb], format="json")
    assert hidden.status_code == absent.status_code == 404
    assert hidden.json() == absent.json()
    assert WorkItem.objects.get().version == 1


@pytest.mark.parametrize("who", ["outsider", "stranger", "system"])
def test_reading_leaks_nothing_to_everybody_else(item: WorkItem, people: People, who: str) -> None:
    client = client_of(people.named(who))
    assert client.get(url(item)).json() == client.get(url(uuid.uuid4())).json()
    assert client.get(url(item), headers={"If-None-Match": '"1"'}).status_code == 404
    for query in ("", "?department=verification", "?assignee=member", "?workflow=insurance_claim", "?status=open"):
        assert client.get(f"/api/v1/work-items/{query}").json()["results"] == []


def test_without_a_token_there_is_nothing_at_all(item: WorkItem) -> None:
    assert APIClient().get(url(item)).status_code == 401
    assert APIClient().post(url(item, "complete"), VERBS["complete"], format="json").status_code == 401
    assert APIClient().get("/api/v1/work-items/").status_code == 401


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"comment"}))
def test_an_operator_sees_an_item_and_is_told_who_can_act(item: WorkItem, people: People, verb: str) -> None:
    answer = post(people.operator, item, verb)
    assert answer.status_code == 403
    assert "Verification" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("verb", "body", "pointers"),
    [
        ("claim", {"colour": 1}, {"/colour"}),
        ("assign", {}, {"/assignee"}),
        ("assign", {"assignee": "nobody"}, {"/assignee"}),
        ("assign", {"assignee": ["member"]}, {"/assignee"}),
        ("forward", {"department": "nowhere"}, {"/department"}),
        ("forward", {"department": None, "x": 1}, {"/department", "/x"}),
        ("comment", {"text": " "}, {"/text"}),
        ("complete", {}, {"/outcome"}),
        ("complete", {"outcome": "burn", "data": {"payable": "much"}}, {"/outcome", "/data/payable"}),
        ("complete", {"outcome": "approve", "data": []}, {"/data"}),
        ("complete", {"outcome": "approve", "decided_by": "lead", "status": "done"}, {"/decided_by", "/status"}),
        ("complete", [], {""}),
    ],
)
def test_a_body_that_does_not_fit_is_refused_with_every_fault(
    item: WorkItem, people: People, verb: str, body: Any, pointers: set[str]
) -> None:
    answer = post(people.lead, item, verb, body)
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == pointers
    assert WorkItem.objects.get().version == 1


@pytest.mark.parametrize("raw", [b"{", b"\xff", b'{"outcome": NaN}', b'{"a":1,"a":2}', b"[" * 100_000])
def test_a_body_that_is_no_json_is_a_bad_request(item: WorkItem, people: People, raw: bytes) -> None:
    answer = client_of(people.member).post(url(item, "complete"), raw, content_type="application/json")
    assert answer.status_code == 400


def test_what_only_a_system_answers_is_not_completed_by_hand(people: People) -> None:
    answer = post(people.member, external_item(people.department), "complete")
    assert (answer.status_code, answer.json()["code"]) == (409, "external")


# ---- the list -------------------------------------------------------------------------------------------------------


def listed(user: Any, query: str = "") -> list[str]:
    answer = client_of(user).get(f"/api/v1/work-items/{query}")
    assert answer.status_code == 200, answer.json()
    return [row["title"] for row in answer.json()["results"]]


@pytest.fixture
def several(people: People) -> None:
    now = datetime(2026, 10, 4, tzinfo=UTC)
    open_item(people.department, title="a", due_at=now)
    open_item(people.department, title="b", due_at=now + timedelta(days=9), workflow="order")
    open_item(people.department, title="c", status="claimed", assignee=people.member, claimed_at=now)
    open_item(people.department, title="d", status="done", decided_by=people.member, decided_at=now)
    external_item(people.department, title="e")
    open_item(people.elsewhere, title="f")


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("", "edcba"),
        ("?status=open", "eba"),
        ("?status=open&status=done", "edba"),
        ("?department=verification&status=claimed", "c"),
        ("?department=payments", ""),
        ("?department=nowhere", ""),
        ("?assignee=me", "c"),
        ("?assignee=member", "c"),
        ("?assignee=nobody", ""),
        ("?workflow=order", "b"),
        ("?kind=external", "e"),
        ("?due_before=2026-10-05T00:00:00Z", "a"),
    ],
)
def test_the_list_is_narrowed_by_its_filters(people: People, query: str, titles: str) -> None:
    assert listed(people.member, query) == list(titles)


@pytest.mark.usefixtures("several")
def test_operators_and_superusers_list_everything(people: People) -> None:
    assert listed(people.operator) == listed(people.superuser) == list("fedcba")


@pytest.mark.parametrize(
    "query",
    [
        "status=burnt",
        "kind=x",
        "due_before=soon",
        "colour=red",
        "cursor=x",
        "page_size=0",
        "department=%00",
        "workflow=%00",
    ],
)
def test_a_filter_that_is_none_is_refused(people: People, query: str) -> None:
    assert client_of(people.member).get(f"/api/v1/work-items/?{query}").status_code == 400


def test_pages_follow_each_other_without_gap_or_repeat(people: People) -> None:
    titles = [open_item(people.department, title=f"{number}").title for number in range(5)]
    client, found, link = client_of(people.member), [], "/api/v1/work-items/?page_size=2"
    while link:
        page = client.get(link).json()
        found += [row["title"] for row in page["results"]]
        link = page["next"]
    assert found == titles[::-1]


@pytest.mark.parametrize("rows", [1, 30])
def test_a_page_costs_the_same_queries_however_full_it_is(
    people: People, rows: int, django_assert_num_queries: Any
) -> None:
    for _ in range(rows):
        open_item(people.department, status="claimed", assignee=people.colleague)
    client = client_of(people.member)
    with django_assert_num_queries(4):
        assert len(client.get("/api/v1/work-items/?status=claimed").json()["results"]) == rows


# ---- tokens ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scopes", "read", "work"), [([], 200, 200), (["read"], 200, 403), (["work"], 403, 200), (["submit"], 403, 403)]
)
def test_a_token_does_what_its_scopes_say(
    item: WorkItem, people: People, scopes: list[str], read: int, work: int
) -> None:
    kept, token = ApiToken.objects.create(user=people.member)
    ApiToken.objects.filter(pk=kept.pk).update(scopes=scopes)
    client = APIClient(headers={"Authorization": f"Bearer {token}"})
    assert client.get(url(item)).status_code == read
    assert client.post(url(item, "claim"), {}, format="json").status_code == work


def test_a_member_who_was_switched_off_is_nobody(item: WorkItem, people: People) -> None:
    _, token = ApiToken.objects.create(user=people.member)
    client = APIClient(headers={"Authorization": f"Bearer {token}"})
    type(people.member).objects.filter(pk=people.member.pk).update(is_active=False)
    assert client.get(url(item)).status_code == 401


def test_nothing_is_built_for_verbs_of_later(item: WorkItem, people: People) -> None:
    assert client_of(people.member).post(url(item, "snooze"), {}, format="json").status_code == 404
