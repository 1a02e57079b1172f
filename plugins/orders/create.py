"""Take an order in."""

from __future__ import annotations

from decimal import Decimal
from hashlib import sha256

from workflows.engine.contract import Completed, Json, Plugin, StepContext, StepError


class InvalidOrder(StepError):
    """The order cannot be carried out as it stands; the cause names every line and what is wrong with it."""


class CreateOrder(Plugin):
    """Checks the lines of `{"order": {"lines": [{"sku", "quantity", "unit_price"}], …}}` and adds them up.

    The order number is made from the step's idempotency key: a repeated attempt gives the same number, and no counter
    has to be kept anywhere.
    """

    configuration_schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "prefix": {"type": "string", "pattern": "^[A-Z]{1,6}$"},
            "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
            "max_lines": {"type": "integer", "minimum": 1},
        },
    }
    idempotent = True

    def run(self, context: StepContext) -> Completed:
        """`{"order_no", "lines", "total", "currency"}`, each line with its `amount`; raises InvalidOrder."""
        order = context.input.get("order")
        lines = order.get("lines") if isinstance(order, dict) else None
        problems = self.problems(lines)
        if problems:
            raise InvalidOrder(" ".join(problems))
        priced = [{**line, "amount": float(amount(line))} for line in lines]
        return Completed(
            {
                "order_no": self.order_no(context),
                "lines": priced,
                "total": float(sum((amount(line) for line in lines), Decimal(0))),
                "currency": self.configuration.get("currency", "EUR"),
            },
            outcome="created",
        )

    def simulate(self, context: StepContext) -> Completed:
        """The same: there is no effect outside."""
        return self.run(context)

    def order_no(self, context: StepContext) -> str:
        digits = sha256(context.idempotency_key.encode()).hexdigest()[:8].upper()
        return f"{self.configuration.get('prefix', 'SO')}-{context.now.year}-{digits}"

    def problems(self, lines: Json) -> list[str]:
        """Every problem of the lines, as sentences."""
        if not isinstance(lines, list) or not lines:
            return ["An order needs at least one line."]
        most = self.configuration.get("max_lines", 100)
        if len(lines) > most:
            return [f"An order has at most {most} lines, not {len(lines)}."]
        return [f"Line {number}: {problem}" for number, line in enumerate(lines, 1) for problem in line_problems(line)]


def line_problems(line: Json) -> list[str]:
    if not isinstance(line, dict):
        return ["this is not an object."]
    problems = []
    if not isinstance(line.get("sku"), str) or not line["sku"].strip():
        problems.append("sku is missing.")
    quantity = line.get("quantity")
    if isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 1:
        problems.append("quantity must be a whole number of at least 1.")
    price = line.get("unit_price")
    if isinstance(price, bool) or not isinstance(price, int | float) or not 0 <= price < 1e9:
        problems.append("unit_price must be a number of at least 0.")
    elif Decimal(str(price)) != round(Decimal(str(price)), 2):
        problems.append("unit_price has more than two decimals.")
    return problems


def amount(line: dict[str, Json]) -> Decimal:
    return Decimal(str(line["unit_price"])) * line["quantity"]
