"""The order's plugins."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.orders.close import CloseOrder
from plugins.orders.create import CreateOrder, InvalidOrder
from tests.plugins.support import step

LINES = [{"sku": "LAMP-1", "quantity": 3, "unit_price": 0.1}, {"sku": "DESK-2", "quantity": 1, "unit_price": 120}]


def created(lines: Any, **context: Any) -> Any:
    return CreateOrder({}).run(step({"order": {"lines": lines}}, **context))


def test_an_order_is_added_up_to_the_cent() -> None:
    answer = created(LINES)
    assert answer.output["total"] == 120.3
    assert [line["amount"] for line in answer.output["lines"]] == [0.3, 120.0]
    assert answer.outcome == "created"


def test_a_repeated_attempt_gives_the_same_order_number_and_another_order_another() -> None:
    first = created(LINES).output["order_no"]
    assert created(LINES, attempt=2).output["order_no"] == first
    assert created(LINES, idempotency_key="key-2").output["order_no"] != first
    assert first.startswith("SO-2026-")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"quantity": 1, "unit_price": 1}, "sku is missing"),
        ({"sku": " ", "quantity": 1, "unit_price": 1}, "sku is missing"),
        ({"sku": "A", "quantity": 0, "unit_price": 1}, "quantity"),
        ({"sku": "A", "quantity": 1.5, "unit_price": 1}, "quantity"),
        ({"sku": "A", "quantity": True, "unit_price": 1}, "quantity"),
        ({"sku": "A", "quantity": 1, "unit_price": -1}, "unit_price"),
        ({"sku": "A", "quantity": 1, "unit_price": float("nan")}, "unit_price"),
        ({"sku": "A", "quantity": 1, "unit_price": float("inf")}, "unit_price"),
        ({"sku": "A", "quantity": 1, "unit_price": 1.001}, "two decimals"),
        ({"sku": "A", "quantity": 1}, "unit_price"),
        ("A", "not an object"),
    ],
)
def test_a_broken_line_is_refused_with_its_number(line: Any, problem: str) -> None:
    with pytest.raises(InvalidOrder, match=f"^Line 2: .*{problem}"):
        created([LINES[0], line])


@pytest.mark.parametrize("lines", [None, [], {}, "lines"])
def test_an_order_without_lines_is_refused(lines: Any) -> None:
    with pytest.raises(InvalidOrder, match="at least one line"):
        created(lines)


def test_all_broken_lines_are_named_at_once() -> None:
    with pytest.raises(InvalidOrder, match=r"Line 1: .* Line 2: "):
        created([{}, {}])


def test_the_most_lines_an_order_may_have_is_configuration() -> None:
    with pytest.raises(InvalidOrder, match="at most 1"):
        CreateOrder({"max_lines": 1}).run(step({"order": {"lines": LINES}}))


def test_closing_hands_back_the_invoice() -> None:
    data = {
        "order": created(LINES).output,
        "customer": {"name": "A. Customer"},
        "delivery": {"signed_by": "A. Neighbour"},
    }
    answer = CloseOrder({"payment_days": 30}).run(step(data))
    (invoice,) = answer.documents
    text = invoice.content.decode()
    assert invoice.name == f"invoice-{data['order']['order_no']}.txt"
    assert "120.30" in text
    assert "signed for by A. Neighbour" in text
    assert "Payable within 30 days." in text
    assert answer.output["total"] == 120.3


def test_closing_needs_no_facts_of_the_delivery() -> None:
    answer = CloseOrder({}).run(step({"order": created(LINES).output, "customer": {"name": "A"}, "delivery": None}))
    assert "Delivered" not in answer.documents[0].content.decode()
