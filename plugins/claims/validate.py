"""Is a claim complete enough to be verified?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation

from workflows.engine.contract import Completed, Json, Plugin, StepContext


class ValidateClaim(Plugin):
    """Checks a claim and says everything that is wrong with it at once.

    The input is `{"claim": {…}, "changes": {…}}`; the fields of `changes` (what the claimant completed later) replace
    those of the claim. A bad claim is an answer (`valid` is false, the outcome is `incomplete`), not a failed step.
    """

    configuration_schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "policy_number": {"type": "string", "description": "Regular expression of the whole policy number."},
            "document_types": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "max_amount": {"type": "number", "exclusiveMinimum": 0},
        },
    }
    idempotent = True

    def run(self, context: StepContext) -> Completed:
        """`{"valid", "problems": [{"field", "problem"}], "claim"}` with the outcome `complete` or `incomplete`."""
        claim = merged(context.input)
        problems = [
            {"field": field, "problem": problem}
            for field, problem in (
                *missing_fields(claim),
                *self.policy_problems(claim.get("policy_no")),
                *self.amount_problems(claim.get("amount")),
                *date_problems(claim.get("incident_date"), context.now.date()),
                *self.document_problems([document.media_type for document in context.documents]),
            )
        ]
        output = {"valid": not problems, "problems": problems, "claim": claim}
        return Completed(output, outcome="incomplete" if problems else "complete")

    def simulate(self, context: StepContext) -> Completed:
        """The same: there is no effect outside."""
        return self.run(context)

    def check(self) -> Sequence[str]:
        """A policy number's form that is no regular expression."""
        try:
            re.compile(self.policy_form)
        except re.error as error:
            return [f"policy_number is not a regular expression: {error}."]
        return []

    @property
    def policy_form(self) -> str:
        return str(self.configuration.get("policy_number", r"[A-Z]{2}-[0-9]{6}"))

    def policy_problems(self, policy_no: Json) -> Sequence[tuple[str, str]]:
        if policy_no in (None, ""):
            return []
        if not isinstance(policy_no, str) or not re.fullmatch(self.policy_form, policy_no):
            return [("policy_no", "This is not the form of a policy number, such as HH-204817.")]
        return []

    def amount_problems(self, value: Json) -> Sequence[tuple[str, str]]:
        if value is None:
            return []
        amount = money(value)
        if amount is None:
            return [("amount", "The amount is a number with at most two decimals.")]
        if amount <= 0:
            return [("amount", "The amount must be more than 0.")]
        most = self.configuration.get("max_amount")
        if most is not None and amount > Decimal(str(most)):
            return [("amount", f"The amount is more than a claim may be ({most}).")]
        return []

    def document_problems(self, media_types: Sequence[str]) -> Sequence[tuple[str, str]]:
        accepted = self.configuration.get("document_types", ["application/pdf", "image/jpeg", "image/png"])
        if any(media_type in accepted for media_type in media_types):
            return []
        return [("documents", f"At least one document is needed, of a type among {', '.join(accepted)}.")]


REQUIRED = ("claim_no", "policy_no", "claimant", "incident_date", "amount")


def merged(value: Json) -> dict[str, Json]:
    """The claim with the later changes in it."""
    data: Mapping[str, Json] = value if isinstance(value, dict) else {}
    claim, changes = data.get("claim"), data.get("changes")
    return {**(claim if isinstance(claim, dict) else {}), **(changes if isinstance(changes, dict) else {})}


def missing_fields(claim: Mapping[str, Json]) -> Sequence[tuple[str, str]]:
    return [(name, "This is missing.") for name in REQUIRED if claim.get(name) in (None, "", {})]


def date_problems(value: Json, today: date) -> Sequence[tuple[str, str]]:
    if value in (None, ""):
        return []
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        day = None
    if day is None:
        return [("incident_date", "This is not a date of the form 2026-01-31.")]
    if day > today:
        return [("incident_date", "The incident lies in the future.")]
    return []


def money(value: Json) -> Decimal | None:
    """The value as an amount of money, or None where it is none: not a number, or with more than two decimals."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    exponent = amount.as_tuple().exponent
    return amount if isinstance(exponent, int) and exponent >= -2 else None
