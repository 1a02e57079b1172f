"""Which version of a row the sender of a request saw: a work item's `version`, a draft's `revision`."""

from __future__ import annotations

import re

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from .problems import Problem

IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description='The version that the caller saw, such as `"3"`.'
)
NEVER = -1
"""A version that no row has: the tag is none of ours, so it matches nothing."""

_ENTITY_TAG = re.compile(r'(?:W/)?"([^"]*)"')
_VERSION = re.compile(r"[0-9]{1,9}", re.ASCII)


def entity_tag(version: int) -> str:
    """The entity tag of a version."""
    return f'"{version}"'


def seen_version(request: Request) -> int | None:
    """The version of `If-Match`; None where the sender does not say, or takes any (`*`). Problem (400) for no tag."""
    header = request.headers.get("If-Match", "").strip()
    if header in ("", "*"):
        return None
    tag = _ENTITY_TAG.fullmatch(header)
    if tag is None:
        raise Problem(400, 'If-Match takes one entity tag, such as "3".')
    return int(tag[1]) if _VERSION.fullmatch(tag[1]) else NEVER
