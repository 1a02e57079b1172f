"""Write the decision letter of a claim."""

from __future__ import annotations

import re
from collections.abc import Mapping

from workflows.engine.contract import Completed, Json, NewDocument, Plugin, StepContext

OPENINGS = {
    "approved": "Your claim has been approved.",
    "declined": "We are sorry to tell you that your claim has been declined.",
    "withdrawn": "You have withdrawn your claim. It is closed.",
}


class DecisionLetter(Plugin):
    """Hands back a letter as a document of the job.

    The input is `{"claim", "decision", "payment", "reason"}`; `payment`, what was paid and under which
    reference, and `reason` may be absent.
    """

    configuration_schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "sender": {"type": "string"},
            "closing": {"type": "string"},
            "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        },
    }
    idempotent = True

    def run(self, context: StepContext) -> Completed:
        """`{"decision", "letter"}`, where `letter` is the document's name, and the document itself."""
        data: Mapping[str, Json] = context.input
        claim: Mapping[str, Json] = data.get("claim") or {}
        decision = str(data.get("decision", "declined"))
        number = re.sub(r"[^A-Za-z0-9-]+", "-", str(claim.get("claim_no", ""))).strip("-") or context.job_id
        letter = NewDocument(f"decision-{number}.txt", "text/plain", self.text(context, claim, decision).encode())
        return Completed({"decision": decision, "letter": letter.name}, outcome=decision, documents=[letter])

    def simulate(self, context: StepContext) -> Completed:
        """The same: the document is part of the answer, not an effect outside."""
        return self.run(context)

    def text(self, context: StepContext, claim: Mapping[str, Json], decision: str) -> str:
        """The whole letter."""
        data: Mapping[str, Json] = context.input
        claimant = claim.get("claimant")
        name = claimant.get("name", "") if isinstance(claimant, dict) else str(claimant or "")
        lines = [
            str(self.configuration.get("sender", "Claims department")),
            context.now.date().isoformat(),
            "",
            f"Claim {claim.get('claim_no', '')}, policy {claim.get('policy_no', '')}",
            "",
            f"Dear {name or 'claimant'},",
            "",
            OPENINGS.get(decision, OPENINGS["declined"]),
        ]
        if decision == "approved":
            lines += payment_lines(data.get("payment"), self.configuration.get("currency", "EUR"))
        if data.get("reason"):
            lines += ["", f"The reason: {data['reason']}"]
        lines += ["", str(self.configuration.get("closing", "With kind regards"))]
        return "\n".join(lines) + "\n"


def payment_lines(payment: Json, currency: str) -> list[str]:
    """What was paid, in a sentence; nothing where it is not known."""
    if not isinstance(payment, dict) or not isinstance(payment.get("amount"), int | float):
        return []
    reference = payment.get("payment_reference")
    return [f"We pay {payment['amount']:.2f} {currency}" + (f", reference {reference}." if reference else ".")]
