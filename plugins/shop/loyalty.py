"""The loyalty programme: a hundred points are worth one unit of money. For demonstration: no account is kept."""

from __future__ import annotations

from workflows.engine.contract import Completed, Plugin, StepContext

from .references import reference

POINTS_PER_UNIT = 100


class RedeemPoints(Plugin):
    """Takes `{"customer", "points"}` off the customer's account, as a discount."""

    idempotent = True

    def run(self, context: StepContext) -> Completed:
        """`{"booking", "customer", "points", "discount"}`, the discount in money."""
        points = context.input["points"]
        booking = reference("PTS", context.idempotency_key)
        taken = {"customer": context.input["customer"], "points": points}
        return Completed({"booking": booking, **taken, "discount": points / POINTS_PER_UNIT}, outcome="redeemed")

    def simulate(self, context: StepContext) -> Completed:
        """The same: there is no effect outside."""
        return self.run(context)


class ReturnPoints(Plugin):
    """Gives the points of `{"booking", "points"}` back: the compensation of `shop.redeem_points`."""

    idempotent = True

    def run(self, context: StepContext) -> Completed:
        """`{"returned", "points"}`."""
        return Completed({"returned": context.input["booking"], "points": context.input["points"]}, outcome="returned")

    def simulate(self, context: StepContext) -> Completed:
        """The same: there is no effect outside."""
        return self.run(context)


class AwardPoints(Plugin):
    """Books a point for each whole unit of `{"customer", "amount"}`."""

    idempotent = True

    def run(self, context: StepContext) -> Completed:
        """`{"booking", "customer", "points"}`."""
        booking = reference("PTS", context.idempotency_key)
        points = int(context.input["amount"])
        return Completed({"booking": booking, "customer": context.input["customer"], "points": points}, "awarded")

    def simulate(self, context: StepContext) -> Completed:
        """The same: there is no effect outside."""
        return self.run(context)
