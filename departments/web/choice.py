"""Which list a person looks at. The address is the state: whoever has the link sees the same, if they may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import QueryDict
from django.urls import reverse

SEARCH_MAX = 100


@dataclass(frozen=True, slots=True)
class Choice:
    """The list's part of the address: one department or all of mine, what I hold, what I decided today, a search."""

    department: str = ""
    mine: bool = False
    done: bool = False
    search: str = ""

    @classmethod
    def read(cls, params: Mapping[str, str]) -> Choice:
        """From the parameters of a request; what is not understood counts as not given."""
        return cls(
            department=_text(params.get("department"), 100),
            mine=params.get("mine") == "1",
            done=params.get("done") == "1",
            search=_text(params.get("q"), SEARCH_MAX),
        )

    @classmethod
    def read_query(cls, query: str) -> Choice:
        """From a query string, as the forms carry it."""
        return cls.read(QueryDict(query[:1000]).dict())  # type: ignore[arg-type]

    @property
    def query(self) -> str:
        """This choice as a query string, without a question mark; empty for the whole inbox."""
        pairs = {
            "department": self.department,
            "mine": "1" if self.mine else "",
            "done": "1" if self.done else "",
            "q": self.search,
        }
        return urlencode({key: value for key, value in pairs.items() if value})

    def url(self, **more: object) -> str:
        """The address of this list, with `item` or `after` where given."""
        parts = [self.query, urlencode({key: str(value) for key, value in more.items() if value})]
        query = "&".join(part for part in parts if part)
        return reverse("inbox") + (f"?{query}" if query else "")


def _text(value: str | None, most: int) -> str:
    """Trimmed and bounded; a NUL, which no PostgreSQL text can hold, is left out."""
    return (value or "").replace("\x00", "").strip()[:most]
