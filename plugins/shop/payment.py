"""The payment service. For demonstration: no money moves."""

from __future__ import annotations

from workflows.engine.contract import Completed, Plugin, StepContext, StepError

from .references import reference


class PaymentRefused(StepError):
    """The payment service understood the payment and will not make it. Trying again does not help."""


class TakePayment(Plugin):
    """Takes `{"amount", "customer"}`; more than `limit` is refused."""

    configuration_schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"limit": {"type": "number", "exclusiveMinimum": 0}},
    }
    idempotent = True

    def run(self, context: StepContext) -> Completed:
        """`{"payment", "amount", "customer"}`; raises PaymentRefused."""
        amount, limit = context.input["amount"], self.configuration.get("limit", 1000)
        if amount > limit:
            raise PaymentRefused(f"{amount} is over the limit of {limit}.")
        payment = reference("PAY", context.idempotency_key)
        return Completed({"payment": payment, "amount": amount, "customer": context.input["customer"]}, outcome="taken")

    def simulate(self, context: StepContext) -> Completed:
        """The same: there is no effect outside."""
        return self.run(context)


class RefundPayment(Plugin):
    """Gives back `{"payment", "amount"}`: the compensation of `shop.pay`."""

    idempotent = True

    def run(self, context: StepContext) -> Completed:
        """`{"refund", "payment", "amount"}`."""
        refund = reference("REF", context.idempotency_key)
        given = {"payment": context.input["payment"], "amount": context.input["amount"]}
        return Completed({"refund": refund, **given}, outcome="refunded")

    def simulate(self, context: StepContext) -> Completed:
        """The same: there is no effect outside."""
        return self.run(context)
