"""Conditional reads: who has the newest representation is not sent it again."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder


def etag_of(data: Any) -> str:
    """A strong tag: it changes with every change of what is shown."""
    text = json.dumps(data, cls=JSONEncoder, sort_keys=True, separators=(",", ":"))
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def with_etag(request: Request, data: Any, *, etag: str | None = None) -> Response:
    """The representation with its tag, or 304 where `If-None-Match` has it."""
    tag = etag or etag_of(data)
    known = parse_etags(request.headers.get("If-None-Match", ""))
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if "*" in known or tag in [item.removeprefix("W/") for item in known]:
        return Response(status=304, headers=headers)
    return Response(data, headers=headers)
