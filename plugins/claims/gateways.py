"""Where payments go: one class for each payment service, chosen by name in the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Protocol

from workflows.engine.contract import Json, StepError


class PaymentRefused(StepError):
    """The payment service understood the payment and will not make it. Trying again does not help."""


class ServiceUnavailable(StepError):
    """The payment service did not answer, or not now. Trying again may help."""


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment as a gateway is asked for it. `key` is the same for every attempt, and `attempt` counts them."""

    key: str
    amount: Decimal
    currency: str
    payee: str
    attempt: int


class Gateway(Protocol):
    """A payment service."""

    def pay(self, payment: Payment) -> str:
        """Make the payment, once for each `key`; its reference. Raises PaymentRefused or ServiceUnavailable."""

    def refund(self, payment_reference: str, payment: Payment) -> str:
        """Take a payment back, once for each `key`; the refund's reference. Raises the same."""


class BookGateway:
    """The demonstration gateway: it moves no money and remembers nothing.

    A reference is made from the payment's key, so repeating a payment gives the same one. Its settings play a service
    with troubles: `limit` is the largest amount it pays, `unavailable_attempts` how many first attempts it turns away.
    """

    def __init__(self, settings: Mapping[str, Json]) -> None:
        self.limit = Decimal(str(settings.get("limit", 10_000)))
        self.unavailable_attempts = int(settings.get("unavailable_attempts", 0))

    def pay(self, payment: Payment) -> str:
        self._answer(payment)
        if payment.amount > self.limit:
            raise PaymentRefused(f"{payment.amount} {payment.currency} is over the gateway's limit of {self.limit}.")
        return reference("PAY", payment.key)

    def refund(self, payment_reference: str, payment: Payment) -> str:
        self._answer(payment)
        return reference("REF", f"{payment_reference}/{payment.key}")

    def _answer(self, payment: Payment) -> None:
        if payment.attempt <= self.unavailable_attempts:
            raise ServiceUnavailable(f"The gateway does not answer attempt {payment.attempt}.")


def reference(kind: str, key: str) -> str:
    """A reference that people can read out, the same each time for the same key."""
    digits = sha256(f"{kind}/{key}".encode()).hexdigest()[:12].upper()
    return f"{kind}-{digits[:4]}-{digits[4:8]}-{digits[8:]}"


GATEWAYS: Mapping[str, type[BookGateway]] = {"book": BookGateway}

CONFIGURATION: Mapping[str, Json] = {
    "type": "object",
    "required": ["gateway"],
    "additionalProperties": False,
    "properties": {
        "gateway": {"enum": sorted(GATEWAYS)},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "limit": {"type": "number", "exclusiveMinimum": 0},
        "unavailable_attempts": {"type": "integer", "minimum": 0},
    },
}
"""What the rows of both plugins that use a gateway may hold."""


def gateway(configuration: Mapping[str, Json]) -> Gateway:
    """The gateway that a configuration names."""
    return GATEWAYS[configuration["gateway"]](configuration)
