"""Bearer tokens."""

from django.db import models
from knox.models import AbstractAuthToken


class ApiToken(AbstractAuthToken):  # type: ignore[misc]  # knox has no types
    """A bearer token, kept as a hash. `scopes` narrows what it may do to a part of what its user may.

    An empty list is no narrowing: the token may do what its user may.
    """

    scopes = models.JSONField(default=list, blank=True)
    note = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-created"]

    def __str__(self) -> str:
        return f"token of {self.user}" + (f" ({self.note})" if self.note else "")
