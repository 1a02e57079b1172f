"""A browser that is signed in, and one that asks as htmx does."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

PANE = {"HTTP_HX_REQUEST": "true", "HTTP_HX_TARGET": "pane"}


class Browser(Client):
    """Django's test client, with the words of these tests."""

    def pane(self, path: str, **query: Any) -> Any:
        """Ask for the item's pane, as htmx does."""
        return self.get(path, query, **PANE)

    def act(self, item: Any, verb: str, *, htmx: bool = True, **values: Any) -> Any:
        """Press a button of an item."""
        posted = {"version": item.version, "list": ""} | values
        return self.post(f"/inbox/items/{item.pk}/{verb}/", posted, **(PANE if htmx else {}))


@pytest.fixture
def browser_of() -> Any:
    """A signed-in browser of a user."""

    def make(user: Any) -> Browser:
        browser = Browser()
        browser.force_login(user)
        return browser

    return make
