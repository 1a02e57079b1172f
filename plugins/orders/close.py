"""Close an order with its invoice."""

from __future__ import annotations

from collections.abc import Mapping

from workflows.engine.contract import Completed, Json, NewDocument, Plugin, StepContext


class CloseOrder(Plugin):
    """Hands back the invoice as a document of the job.

    The input is `{"order": …, "customer": …, "delivery": …}`, where `order` is what `orders.create` answered.
    """

    configuration_schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"sender": {"type": "string"}, "payment_days": {"type": "integer", "minimum": 0}},
    }
    idempotent = True

    def run(self, context: StepContext) -> Completed:
        """`{"order_no", "total", "currency", "invoice", "closed_at"}`, and the invoice itself."""
        order: Mapping[str, Json] = context.input["order"]
        invoice = NewDocument(f"invoice-{order['order_no']}.txt", "text/plain", self.text(context, order).encode())
        output = {
            "order_no": order["order_no"],
            "total": order["total"],
            "currency": order["currency"],
            "invoice": invoice.name,
            "closed_at": context.now.isoformat(),
        }
        return Completed(output, outcome="closed", documents=[invoice])

    def simulate(self, context: StepContext) -> Completed:
        """The same: the document is part of the answer, not an effect outside."""
        return self.run(context)

    def text(self, context: StepContext, order: Mapping[str, Json]) -> str:
        """The whole invoice."""
        customer: Mapping[str, Json] = context.input.get("customer") or {}
        delivery: Mapping[str, Json] = context.input.get("delivery") or {}
        lines = [
            str(self.configuration.get("sender", "Order desk")),
            f"Invoice for order {order['order_no']}, {context.now.date().isoformat()}",
            f"Customer: {customer.get('name', '')}",
            "",
            *(f"{line['quantity']:>6} x {line['sku']:<30} {line['amount']:>12.2f}" for line in order["lines"]),
            f"{'Total ' + order['currency']:>39} {order['total']:>12.2f}",
        ]
        if delivery.get("signed_by"):
            lines += ["", f"Delivered, signed for by {delivery['signed_by']}."]
        lines += ["", f"Payable within {self.configuration.get('payment_days', 14)} days."]
        return "\n".join(lines) + "\n"
