"""The insurance claim's plugins."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plugins.claims.gateways import PaymentRefused, ServiceUnavailable
from plugins.claims.letter import DecisionLetter
from plugins.claims.pay import PayClaim
from plugins.claims.refund import RefundClaim
from plugins.claims.validate import ValidateClaim
from tests.plugins.support import attached, step

CLAIM: dict[str, Any] = {
    "claim_no": "C-1001",
    "policy_no": "HH-204817",
    "claimant": {"name": "A. Claimant"},
    "incident_date": "2026-03-01",
    "amount": 480.5,
}
BOOK = {"gateway": "book"}


def validated(claim: Any, **context: Any) -> Any:
    context.setdefault("documents", (attached(),))
    return ValidateClaim({}).run(step({"claim": claim}, **context))


def test_a_complete_claim_is_valid() -> None:
    answer = validated(CLAIM)
    assert answer.output == {"valid": True, "problems": [], "claim": CLAIM}
    assert answer.outcome == "complete"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"policy_no": "204817"}, "policy_no"),
        ({"policy_no": "HH-204817\n"}, "policy_no"),
        ({"policy_no": 204817}, "policy_no"),
        ({"amount": 0}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": "480"}, "amount"),
        ({"amount": 1.005}, "amount"),
        ({"amount": float("nan")}, "amount"),
        ({"amount": None}, "amount"),
        ({"incident_date": "2026-03-15"}, "incident_date"),
        ({"incident_date": "yesterday"}, "incident_date"),
        ({"incident_date": 20260301}, "incident_date"),
        ({"claimant": {}}, "claimant"),
        ({"claim_no": ""}, "claim_no"),
    ],
)
def test_each_fault_of_a_claim_is_named_once_by_its_field(change: dict[str, Any], field: str) -> None:
    answer = validated({**CLAIM, **change})
    assert [problem["field"] for problem in answer.output["problems"]] == [field]
    assert answer.output["valid"] is False
    assert answer.outcome == "incomplete"


def test_an_incident_of_today_is_not_in_the_future() -> None:
    assert validated({**CLAIM, "incident_date": "2026-03-14"}).output["valid"]


@pytest.mark.parametrize("documents", [(), (attached("text/plain"),)])
def test_a_claim_needs_a_document_of_an_accepted_type(documents: tuple[Any, ...]) -> None:
    answer = validated(CLAIM, documents=documents)
    assert [problem["field"] for problem in answer.output["problems"]] == ["documents"]


@pytest.mark.parametrize("nonsense", [None, [], "claim", {"claim": 3}, {}])
def test_nonsense_is_an_incomplete_claim_with_every_field_missing(nonsense: Any) -> None:
    answer = ValidateClaim({}).run(step(nonsense))
    fields = {problem["field"] for problem in answer.output["problems"]}
    assert fields == {"claim_no", "policy_no", "claimant", "incident_date", "amount", "documents"}
    json.dumps(answer.output)


def test_what_was_completed_later_replaces_what_was_sent() -> None:
    context = step(
        {"claim": {**CLAIM, "policy_no": "?"}, "changes": {"policy_no": "HH-204817"}}, documents=(attached(),)
    )
    answer = ValidateClaim({}).run(context)
    assert answer.output["valid"]
    assert answer.output["claim"]["policy_no"] == "HH-204817"


def test_the_form_of_a_policy_number_and_the_largest_claim_are_configuration() -> None:
    plugin = ValidateClaim({"policy_number": "P[0-9]+", "max_amount": 100})
    answer = plugin.run(step({"claim": {**CLAIM, "policy_no": "P1"}}, documents=(attached(),)))
    assert [problem["field"] for problem in answer.output["problems"]] == ["amount"]


def test_a_policy_form_that_is_no_regular_expression_is_a_fault_of_the_configuration() -> None:
    assert ValidateClaim({"policy_number": "("}).check() != ()
    assert "regular expression" in ValidateClaim({"policy_number": "("}).check()[0]
    assert not ValidateClaim({}).check()


def test_repeating_a_payment_gives_the_same_reference_and_another_payment_another() -> None:
    plugin = PayClaim(BOOK)
    first = plugin.run(step({"amount": 10}, attempt=1))
    again = plugin.run(step({"amount": 10}, attempt=2))
    other = plugin.run(step({"amount": 10}, idempotency_key="key-2"))
    assert first.output["payment_reference"] == again.output["payment_reference"]
    assert first.output["payment_reference"] != other.output["payment_reference"]
    assert first.output["amount"] == 10
    assert first.outcome == "paid"


def test_an_amount_over_the_gateway_s_limit_is_refused() -> None:
    with pytest.raises(PaymentRefused, match="limit of 100"):
        PayClaim({**BOOK, "limit": 100}).run(step({"amount": 100.01}))


@pytest.mark.parametrize("amount", [0, -5, None, "10", 0.001])
def test_what_is_no_amount_is_never_paid(amount: Any) -> None:
    with pytest.raises(PaymentRefused):
        PayClaim(BOOK).run(step({"amount": amount}))


def test_a_gateway_that_does_not_answer_is_worth_another_attempt() -> None:
    plugin = PayClaim({**BOOK, "unavailable_attempts": 2})
    for attempt in (1, 2):
        with pytest.raises(ServiceUnavailable):
            plugin.run(step({"amount": 10}, attempt=attempt))
    assert plugin.run(step({"amount": 10}, attempt=3)).output["payment_reference"].startswith("PAY-")


def test_simulating_a_payment_reaches_no_gateway() -> None:
    plugin = PayClaim({**BOOK, "unavailable_attempts": 9})
    assert plugin.simulate(step({"amount": 10})).output["payment_reference"] == "SIMULATED"


def test_a_refund_names_the_payment_it_takes_back() -> None:
    answer = RefundClaim(BOOK).run(step({"payment_reference": "PAY-1", "amount": 10}))
    assert answer.output["payment_reference"] == "PAY-1"
    assert answer.output["refund_reference"].startswith("REF-")


def test_a_refund_of_no_payment_is_refused() -> None:
    with pytest.raises(PaymentRefused):
        RefundClaim(BOOK).run(step({"amount": 10}))


@pytest.mark.parametrize(
    ("decision", "words"),
    [("approved", "has been approved"), ("declined", "has been declined"), ("withdrawn", "have withdrawn")],
)
def test_the_letter_says_what_was_decided(decision: str, words: str) -> None:
    answer = DecisionLetter({}).run(step({"claim": CLAIM, "decision": decision}))
    (letter,) = answer.documents
    text = letter.content.decode()
    assert words in text
    assert "Dear A. Claimant," in text
    assert answer.output == {"decision": decision, "letter": "decision-C-1001.txt"}


def test_an_approval_names_the_amount_and_the_reference() -> None:
    payment = {"amount": 480.5, "payment_reference": "PAY-1"}
    answer = DecisionLetter({}).run(step({"claim": CLAIM, "decision": "approved", "payment": payment}))
    assert "We pay 480.50 EUR, reference PAY-1." in answer.documents[0].content.decode()


def test_a_refusal_gives_its_reason_and_no_payment() -> None:
    answer = DecisionLetter({}).run(step({"claim": CLAIM, "decision": "declined", "reason": "Too late."}))
    text = answer.documents[0].content.decode()
    assert "The reason: Too late." in text
    assert "We pay" not in text


def test_a_claim_number_never_becomes_a_path() -> None:
    answer = DecisionLetter({}).run(step({"claim": {**CLAIM, "claim_no": "../../etc/x"}, "decision": "declined"}))
    assert answer.documents[0].name == "decision-etc-x.txt"


def test_a_letter_is_written_even_when_nothing_is_known() -> None:
    answer = DecisionLetter({}).run(step({"claim": None, "decision": "approved", "payment": None}))
    assert "Dear claimant," in answer.documents[0].content.decode()
