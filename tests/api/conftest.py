"""Callers of the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from rest_framework.test import APIClient

from tests.factories import UserFactory
from workflows.models import ApiToken


@pytest.fixture
def client_of() -> Callable[..., APIClient]:
    """`client_of(user)` is a client that sends a token of that user's; `scopes` narrow it."""

    def make(user: Any, scopes: tuple[str, ...] = ()) -> APIClient:
        _, token = ApiToken.objects.create(user=user, scopes=list(scopes))
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        client.user = user  # type: ignore[attr-defined]
        return client

    return make


@pytest.fixture
def client(client_of: Callable[..., APIClient], db: None) -> APIClient:
    """A client of a user who is nobody in particular."""
    return client_of(UserFactory())


@pytest.fixture
def operator(client_of: Callable[..., APIClient], db: None) -> APIClient:
    """A client of an operator."""
    user = UserFactory()
    user.groups.add(Group.objects.get(name="operators"))
    return client_of(user)


@pytest.fixture
def configurator(client_of: Callable[..., APIClient], db: None) -> APIClient:
    """A client of a configurator."""
    user = UserFactory()
    user.groups.add(Group.objects.get(name="configurators"))
    return client_of(user)
