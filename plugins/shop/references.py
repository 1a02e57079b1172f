"""References that people can read out."""

from __future__ import annotations

from hashlib import sha256


def reference(kind: str, key: str) -> str:
    """A reference made from a step's idempotency key: a repeated attempt gives the same one, and nobody counts."""
    digits = sha256(f"{kind}/{key}".encode()).hexdigest()[:8].upper()
    return f"{kind}-{digits[:4]}-{digits[4:]}"
