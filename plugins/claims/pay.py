"""Pay a claim."""

from __future__ import annotations

from workflows.engine.contract import Completed, Plugin, StepContext

from .gateways import CONFIGURATION, Payment, PaymentRefused, gateway
from .validate import money


class PayClaim(Plugin):
    """Pays `{"amount", "payee"}` through the configured gateway.

    Idempotent, because the gateway makes one payment for each idempotency key, however often it is asked.
    """

    configuration_schema = CONFIGURATION
    idempotent = True

    def run(self, context: StepContext) -> Completed:
        """`{"payment_reference", "amount", "currency", "payee", "gateway", "paid_at"}`.

        Raises PaymentRefused (no amount, or the gateway will not) and ServiceUnavailable (the gateway does not answer).
        """
        amount = money(context.input.get("amount"))
        if amount is None or amount <= 0:
            raise PaymentRefused(f"{context.input.get('amount')!r} is no amount that can be paid.")
        currency = self.configuration.get("currency", "EUR")
        payee = str(context.input.get("payee", ""))
        payment = Payment(context.idempotency_key, amount, currency, payee, context.attempt)
        payment_reference = gateway(self.configuration).pay(payment)
        return Completed(
            {
                "payment_reference": payment_reference,
                "amount": context.input["amount"],
                "currency": currency,
                "payee": payee,
                "gateway": self.configuration["gateway"],
                "paid_at": context.now.isoformat(),
            },
            outcome="paid",
        )

    def simulate(self, context: StepContext) -> Completed:
        """A payment that was not made, told apart by its reference."""
        return Completed(
            {
                "payment_reference": "SIMULATED",
                "amount": context.input.get("amount"),
                "currency": self.configuration.get("currency", "EUR"),
                "payee": str(context.input.get("payee", "")),
                "gateway": self.configuration["gateway"],
                "paid_at": context.now.isoformat(),
            },
            outcome="paid",
        )
