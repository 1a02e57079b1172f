"""The plugins of the shop: what they answer, by name where they refuse, and the same whenever they are asked again."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.shop.loyalty import AwardPoints, RedeemPoints, ReturnPoints
from plugins.shop.payment import PaymentRefused, RefundPayment, TakePayment
from plugins.shop.warehouse import OutOfStock, ReleaseStock, ReserveStock
from tests.plugins.support import step
from workflows.engine.contract import Plugin

LINES = [{"sku": "LAMP-7", "quantity": 2}]
STEPS: list[tuple[Plugin, dict[str, Any], dict[str, Any]]] = [
    (ReserveStock(), {"order_no": "S-1", "lines": LINES}, {"order_no": "S-1"}),
    (ReleaseStock(), {"reservation": "RES-1"}, {"released": "RES-1"}),
    (TakePayment(), {"amount": 120, "customer": "C-9"}, {"amount": 120, "customer": "C-9"}),
    (RefundPayment(), {"payment": "PAY-1", "amount": 120}, {"payment": "PAY-1", "amount": 120}),
    (RedeemPoints(), {"customer": "C-9", "points": 250}, {"points": 250, "discount": 2.5}),
    (ReturnPoints(), {"booking": "PTS-1", "points": 250}, {"returned": "PTS-1", "points": 250}),
    (AwardPoints(), {"customer": "C-9", "amount": 79.9}, {"customer": "C-9", "points": 79}),
]


@pytest.mark.parametrize(("plugin", "input", "output"), STEPS)
def test_a_step_answers_the_same_each_time_it_is_asked_with_its_key(
    plugin: Plugin, input: dict[str, Any], output: dict[str, Any]
) -> None:
    answer: Any = plugin.run(step(input))
    assert answer.output.items() >= output.items()
    assert plugin.run(step(input, attempt=2)) == plugin.simulate(step(input)) == answer
    assert plugin.idempotent


def test_each_order_has_a_reservation_and_a_payment_of_its_own() -> None:
    for plugin, input, name in ((STEPS[0][0], STEPS[0][1], "reservation"), (STEPS[2][0], STEPS[2][1], "payment")):
        first, second = (plugin.run(step(input, idempotency_key=key)) for key in ("a", "b"))
        assert first.output[name] != second.output[name]  # type: ignore[union-attr]


def test_what_is_not_there_or_too_much_is_refused_by_name() -> None:
    with pytest.raises(OutOfStock, match=r"only 1 of each: LAMP-7 \(2\)"):
        ReserveStock({"stock": 1}).run(step({"order_no": "S-1", "lines": LINES}))
    with pytest.raises(PaymentRefused, match="120 is over the limit of 100"):
        TakePayment({"limit": 100}).run(step({"amount": 120, "customer": "C-9"}))
