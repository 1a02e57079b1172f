"""The warehouse: stock is put aside for an order, and put back. For demonstration: it counts nothing."""

from __future__ import annotations

from workflows.engine.contract import Completed, Plugin, StepContext, StepError

from .references import reference


class OutOfStock(StepError):
    """There is not enough of something; the cause names what."""


class ReserveStock(Plugin):
    """Puts the lines of `{"order_no", "lines": [{"sku", "quantity"}]}` aside. `stock` is how many there are of each."""

    configuration_schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"stock": {"type": "integer", "minimum": 0}},
    }
    idempotent = True

    def run(self, context: StepContext) -> Completed:
        """`{"reservation", "order_no"}`; raises OutOfStock."""
        stock = self.configuration.get("stock", 100)
        missing = [f"{line['sku']} ({line['quantity']})" for line in context.input["lines"] if line["quantity"] > stock]
        if missing:
            raise OutOfStock(f"There are only {stock} of each: {', '.join(missing)}.")
        reservation = reference("RES", context.idempotency_key)
        return Completed({"reservation": reservation, "order_no": context.input["order_no"]}, outcome="reserved")

    def simulate(self, context: StepContext) -> Completed:
        """The same: there is no effect outside."""
        return self.run(context)


class ReleaseStock(Plugin):
    """Puts back what `{"reservation"}` had put aside: a step of its own, or the compensation of `shop.reserve`."""

    idempotent = True

    def run(self, context: StepContext) -> Completed:
        """`{"released"}`."""
        return Completed({"released": context.input["reservation"]}, outcome="released")

    def simulate(self, context: StepContext) -> Completed:
        """The same: there is no effect outside."""
        return self.run(context)
