"""Take a claim's payment back."""

from __future__ import annotations

from workflows.engine.contract import Completed, Plugin, StepContext

from .gateways import CONFIGURATION, Payment, PaymentRefused, gateway
from .validate import money


class RefundClaim(Plugin):
    """The counterpart of `claims.pay`: takes `{"payment_reference", "amount"}` back through the same gateway."""

    configuration_schema = CONFIGURATION
    idempotent = True

    def run(self, context: StepContext) -> Completed:
        """`{"refund_reference", "payment_reference", "amount"}`; raises PaymentRefused and ServiceUnavailable."""
        amount = money(context.input.get("amount"))
        payment_reference = context.input.get("payment_reference")
        if amount is None or amount <= 0 or not payment_reference:
            raise PaymentRefused("A refund needs the payment's reference and its amount.")
        currency = self.configuration.get("currency", "EUR")
        payment = Payment(context.idempotency_key, amount, currency, "", context.attempt)
        refund_reference = gateway(self.configuration).refund(str(payment_reference), payment)
        return Completed(
            {
                "refund_reference": refund_reference,
                "payment_reference": payment_reference,
                "amount": context.input["amount"],
            },
            outcome="refunded",
        )

    def simulate(self, context: StepContext) -> Completed:
        """A refund that was not made, told apart by its reference."""
        return Completed(
            {
                "refund_reference": "SIMULATED",
                "payment_reference": context.input.get("payment_reference"),
                "amount": context.input.get("amount"),
            },
            outcome="refunded",
        )
