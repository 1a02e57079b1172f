"""Bearer tokens, and what a token may do."""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from django.utils import timezone
from knox.auth import TokenAuthentication
from knox.crypto import hash_token
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS, IsAuthenticated
from rest_framework.request import Request

from workflows.models import ApiToken

if TYPE_CHECKING:  # REST framework loads this module while it loads its views.
    from rest_framework.views import APIView


class BearerTokenAuthentication(TokenAuthentication):
    """`Authorization: Bearer <token>`. One query a request; a wrong, expired or inactive one is told alike."""

    def authenticate_header(self, request: Request) -> str:
        """What a 401 asks for."""
        return "Bearer"

    def authenticate_credentials(self, token: bytes) -> tuple[Any, ApiToken]:
        """The user and the token row of a token. AuthenticationFailed for any that does not hold."""
        refused = AuthenticationFailed("The token is not valid.", code="invalid_token")
        try:
            digest = hash_token(token.decode("ascii"))
        except UnicodeDecodeError:
            raise refused from None
        kept = ApiToken.objects.select_related("user").filter(digest=digest).first()
        if kept is None or not compare_digest(kept.digest, digest) or not kept.user.is_active:
            raise refused
        if kept.expiry is not None and kept.expiry <= timezone.now():
            raise refused
        return kept.user, kept


class HasScope(IsAuthenticated):
    """Lets a token do what its scopes say; sessions and tokens without scopes are not narrowed.

    A view says in `required_scopes` which scope a method needs: `{"GET": "read", "POST": "submit"}`. Reading needs
    `read` where nothing is said; any other method that says nothing takes no narrowed token.
    """

    message = "This token does not have the scope that this needs."

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not super().has_permission(request, view):
            return False
        scopes = getattr(request.auth, "scopes", None)
        if not scopes:
            return True
        required = getattr(view, "required_scopes", {}).get(request.method)
        if required is None and request.method in SAFE_METHODS:
            required = "read"
        return required in scopes
