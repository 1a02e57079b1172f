"""What changed in a list since the browser last asked: small, and nothing at all where nothing did."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from . import listing

NEW_MAX = 100
SETTLE = timedelta(seconds=2)
"""An item's id is made before its transaction commits: what is this much older may still come to light."""


@dataclass(frozen=True, slots=True)
class Since:
    """What the browser has seen: everything made before `id`, and the state that `digest` stands for."""

    id: uuid.UUID
    digest: str = ""

    @classmethod
    def now(cls, now: datetime) -> Since:
        """Nothing newer than this moment has been seen. The id is the lowest UUIDv7 of the moment."""
        milliseconds = int((now - SETTLE).timestamp() * 1000)
        return cls(uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62))

    def encode(self) -> str:
        """As the browser carries it."""
        return f"{self.id}.{self.digest}"

    @classmethod
    def decode(cls, text: str | None) -> Since | None:
        """From the browser; None where it is not ours."""
        key, _, digest = (text or "").partition(".")
        try:
            return cls(uuid.UUID(key), digest[:40])
        except ValueError:
            return None


def changes(scope: listing.Scope, since: Since, until: listing.Cursor | None, maker: Any) -> dict[str, Any] | None:
    """The rows up to `until` as they are now, and the ids that are new; None where the browser knows it all.

    Two queries, bounded by the rows that the browser shows and by 100 new ones.
    """
    items = listing.page(scope, until=until, size=listing.CHANGES_MAX).items
    fresh = scope.whole().filter(pk__gt=since.id).order_by("-id").values_list("pk", flat=True)[:NEW_MAX]
    new = [str(pk) for pk in fresh]
    seen = " ".join([*(f"{item.pk}:{item.version}" for item in items), "/", *new])
    digest = hashlib.sha256(seen.encode()).hexdigest()[:16]
    if digest == since.digest:
        return None
    rows = [maker.row(item) for item in items]
    return {
        "cursor": replace(since, digest=digest).encode(),
        "rows": [
            {
                "id": str(row.item.pk),
                "version": row.item.version,
                "icon": row.state.icon,
                "tone": row.state.tone,
                "word": row.state.word,
                "holder": row.holder,
            }
            for row in rows
        ],
        "new": new,
        # At the limit the list is not known to its end: what is missing there is not gone.
        "whole": len(items) < listing.CHANGES_MAX,
    }
