"""A client of the REST API in the standard library alone: what the examples need, and no more."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """The server refused; the message is its problem document."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status


class Api:
    """The server at one address, with one token."""

    def __init__(self, address: str, token: str) -> None:
        self.address, self._token = address, token

    def get(self, path: str, **query: str) -> Any:
        """The JSON at this path."""
        return self._call("GET", path + ("?" + urllib.parse.urlencode(query) if query else ""))

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Any:
        """Send JSON; the JSON of the answer."""
        return self._call(
            "POST", path, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})}
        )

    def upload(self, path: str, name: str, media_type: str, content: bytes) -> Any:
        """Send one file as a form does; the JSON of the answer."""
        boundary = uuid.uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        body = f"{head}Content-Type: {media_type}\r\n\r\n".encode() + content + f"\r\n--{boundary}--\r\n".encode()
        return self._call("POST", path, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})

    def _call(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310  (the address is our own)
            self.address + path,
            data=body,
            method=method,
            headers={"Authorization": f"Bearer {self._token}", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, error.read().decode(errors="replace")[:500]) from None
