"""The insurance claim: validation, payment, refund and the decision letter."""
