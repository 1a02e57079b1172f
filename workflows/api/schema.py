"""The OpenAPI document and its page."""

from __future__ import annotations

from typing import Any

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_replace
from django.utils.decorators import method_decorator
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiResponse
from drf_spectacular.views import SpectacularSwaggerSplitView

from .authentication import BearerTokenAuthentication
from .problems import MEDIA_TYPE, TITLES
from .serializers import ProblemSerializer


def problems(*statuses: int) -> dict[int, OpenApiResponse]:
    """The problems that an operation may answer with, besides those that every one may (401, 403)."""
    return {
        status: OpenApiResponse(ProblemSerializer, description=TITLES[status][1]) for status in (*statuses, 401, 403)
    }


def name_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """A hook on the finished document: every error is `application/problem+json`."""
    for operations in result["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status >= "400" and "application/json" in response.get("content", {}):
                    response["content"] = {MEDIA_TYPE: response["content"]["application/json"]}
    return result


# The page of the sidecar writes styles into its HTML; scripts stay as strict as everywhere.
@method_decorator(csp_replace({"style-src": [SELF, UNSAFE_INLINE]}), name="dispatch")
class DocsView(SpectacularSwaggerSplitView):
    """The OpenAPI document as a page to read and try."""


class BearerTokenScheme(OpenApiAuthenticationExtension):
    """How the OpenAPI document describes the tokens."""

    target_class = BearerTokenAuthentication
    name = "bearerToken"
    priority = 1

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "description": "A token printed by `manage.py issue_token`."}
