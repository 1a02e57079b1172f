"""The `http` task: one request, from its evaluated parts to the answer or the error it stands for.

Errors by name: `HttpError.<status>` for a status that was not expected, `HttpError.Network` where there was no reply,
`HttpError.Timeout` where it came too late, `HttpError.Refused` for an address that may not be called,
`HttpError.Unreadable` and `HttpError.TooLarge` for a reply that cannot be kept, `SecretNotFound`. What the libraries
say of an error is passed on to nobody: it may hold the URL, and with it a secret.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit, urlunsplit

import requests
import urllib3
from django.conf import settings

from workflows.engine.contract import Answer, Completed, Failed, Json, StepContext
from workflows.engine.definition import Task
from workflows.engine.jsonvalue import check_json

from .http_guard import AddressRefused, guarded_session

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
TOTAL_SECONDS = 30.0
"""The limits of a request whose task has no `timeout` of its own."""
SECRET = re.compile(r"secret://([A-Za-z0-9][A-Za-z0-9_.-]*)")
SHOWN = 300
"""So many characters of an unexpected reply are in the error's cause."""
_TEXTS = re.compile(r"text/.*|application/(xml|javascript|x-www-form-urlencoded|x-ndjson|yaml)|.*\+(xml|yaml)")
_SECRETIVE = frozenset({"set-cookie", "set-cookie2"})


class _Trouble(Exception):
    """The attempt fails: (error name, cause)."""


def run_http(task: Task, context: StepContext) -> Answer:
    """Send the request that `context.input` holds and answer with its reply, or with the error it failed by.

    The output is `{"status", "headers", "body"}`: header names in lower case, the body as JSON where the reply says so,
    as text otherwise. `Idempotency-Key` and `X-Fencing-Token` are always sent. `secret://name` in a header or in the
    query of the URL becomes the secret of that name on its way out, and is what is kept of it.
    """
    secrets: dict[str, str] = {}  # from what went out to its name
    try:
        return Completed(_exchange(task, context, secrets))
    except _Trouble as trouble:
        error, cause = trouble.args
        return Failed(error, _hidden(cause, secrets))


def _exchange(task: Task, context: StepContext, secrets: dict[str, str]) -> Json:
    request = _request(context, secrets)
    seconds = TOTAL_SECONDS if task.timeout is None else task.timeout.total_seconds()
    until = time.monotonic() + seconds
    host = urlsplit(str(request.url)).hostname
    read_seconds = READ_SECONDS if task.timeout is None else seconds
    try:
        with guarded_session((min(CONNECT_SECONDS, seconds), read_seconds)) as session:
            prepared = _prepared(session, request)
            with session.send(prepared, stream=True, verify=True) as reply:
                content = _content(reply, until)
                return _judge(task, reply, content, secrets)
    except AddressRefused as error:
        raise _Trouble("HttpError.Refused", str(error)) from None
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise _Trouble("HttpError.Timeout", f"{host} did not answer in time.") from None
    except urllib3.exceptions.DecodeError:
        raise _Trouble("HttpError.Unreadable", f"The reply of {host} is not compressed as it says.") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, UnicodeError) as error:
        raise _Trouble("HttpError.Network", f"There was no whole reply from {host}: {type(error).__name__}.") from None


def _prepared(session: requests.Session, request: requests.Request) -> requests.PreparedRequest:
    try:
        return session.prepare_request(request)
    except (requests.RequestException, UnicodeError):
        cause = "The method, the URL or a header of the request holds what cannot be sent."
        raise _Trouble("ValidationError", cause) from None


# ---- the request ----------------------------------------------------------------------------------------------------


def _request(context: StepContext, secrets: dict[str, str]) -> requests.Request:
    """The request, with the secrets in it; each that is used is put into `secrets`, for hiding it again."""
    given = context.input
    if not isinstance(given, Mapping) or not isinstance(given.get("url"), str):
        raise _Trouble("ValidationError", "A request is an object with a method, a url, headers and a body.")
    headers = given.get("headers") or {}
    if not isinstance(headers, Mapping):
        raise _Trouble("ValidationError", "The headers of a request are an object of texts.")
    sent = requests.structures.CaseInsensitiveDict(
        {str(name): _with_secrets(str(value), secrets) for name, value in headers.items()}
    )
    data = _body(given.get("body"), sent) if "body" in given else None
    sent["Idempotency-Key"] = context.idempotency_key
    sent["X-Fencing-Token"] = str(context.fence)
    sent["Accept-Encoding"] = "gzip, deflate"
    sent.pop("Host", None)
    encoded = {name: value.encode() for name, value in sent.items()}  # a header is bytes: UTF-8, not Latin-1
    return requests.Request(str(given.get("method") or "GET"), _url(given["url"], secrets), headers=encoded, data=data)


def _url(text: str, secrets: dict[str, str]) -> str:
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        known = False
    if not known:
        raise _Trouble("HttpError.Refused", f"{text[:200]!r} is no http or https URL.")
    if parts.username is not None or parts.password is not None:
        raise _Trouble("HttpError.Refused", "A URL holds no user or password; send a header with a secret://name.")
    query = SECRET.sub(lambda match: _in_query(match[1], secrets), parts.query)
    return urlunsplit(parts._replace(query=query, fragment=""))


def _in_query(name: str, secrets: dict[str, str]) -> str:
    text = quote(_secret(name, secrets), safe="")
    secrets[text] = name
    return text


def _body(body: Json, headers: Any) -> bytes | None:
    if body is None:
        return None
    if isinstance(body, str):
        headers.setdefault("Content-Type", "text/plain; charset=utf-8")
        return body.encode()
    headers.setdefault("Content-Type", "application/json")
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _with_secrets(text: str, secrets: dict[str, str]) -> str:
    return SECRET.sub(lambda match: _secret(match[1], secrets), text)


def _secret(name: str, secrets: dict[str, str]) -> str:
    """The secret of a name, from the environment: `WORKFLOW_SECRET_<NAME>`, or a file that `…_FILE` names."""
    variable = "WORKFLOW_SECRET_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
    value = os.environ.get(variable)
    if value is None and f"{variable}_FILE" in os.environ:
        try:
            value = Path(os.environ[f"{variable}_FILE"]).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            raise _Trouble("SecretNotFound", f"The file of {variable}_FILE: {type(error).__name__}.") from None
    if not value:
        raise _Trouble("SecretNotFound", f"There is no secret {name!r}: set {variable} where the workers run.")
    secrets[value] = name
    return value


def _hidden(text: str, secrets: Mapping[str, str]) -> str:
    """The text without the secrets, should the other side have sent one back."""
    for value, name in secrets.items():
        text = text.replace(value, f"secret://{name}")
    return text


# ---- the reply ------------------------------------------------------------------------------------------------------


def _content(reply: requests.Response, until: float) -> bytes:
    """The body of the reply, unpacked; never more of it than may be kept."""
    most = settings.WORKFLOW_VALUE_MAX_BYTES
    content = bytearray()
    while piece := reply.raw.read1(8192, decode_content=True):  # what has come, without waiting for more
        content += piece
        if len(content) > most:
            raise _Trouble("HttpError.TooLarge", f"The reply is larger than {most} bytes.")
        if time.monotonic() > until:
            raise _Trouble("HttpError.Timeout", "The reply did not end in time.")
    return bytes(content)


def _judge(task: Task, reply: requests.Response, content: bytes, secrets: Mapping[str, str]) -> Json:
    status = reply.status_code
    if not (status in task.expect if task.expect else 200 <= status < 300):
        said = content[: 4 * SHOWN].decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")[:SHOWN]
        raise _Trouble(f"HttpError.{status}", f"The status was {status} {reply.reason}: {said}".rstrip(": "))
    headers = {name.lower(): value for name, value in reply.headers.items() if name.lower() not in _SECRETIVE}
    output = {
        "status": status,
        "headers": {name: _hidden(_header(value), secrets) for name, value in headers.items()},
        "body": _read(reply, content, secrets),
    }
    faults = check_json(output, settings.WORKFLOW_VALUE_MAX_BYTES)
    if faults:
        error = "HttpError.TooLarge" if faults[0].code == "too_large" else "HttpError.Unreadable"
        raise _Trouble(error, f"The reply cannot be kept: {faults[0].pointer} {faults[0].detail}.")
    return output


def _header(value: str) -> str:
    """A header's value as it was meant: UTF-8, where it is that."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _read(reply: requests.Response, content: bytes, secrets: Mapping[str, str]) -> Json:
    if not content:
        return None
    kind, _, parameters = reply.headers.get("Content-Type", "").lower().partition(";")
    kind = kind.strip()
    is_json = kind == "application/json" or kind.endswith("+json")
    if not is_json and kind and not _TEXTS.fullmatch(kind):
        raise _Trouble("HttpError.Unreadable", f"The reply is {kind[:100]}; only JSON and texts are kept.")
    named = re.search(r'charset="?([\w.:-]+)', parameters)
    try:
        text = content.decode("utf-8-sig" if is_json or named is None else named[1])
    except (UnicodeDecodeError, LookupError):
        raise _Trouble("HttpError.Unreadable", "The reply is no text in the encoding it says.") from None
    text = _hidden(text, secrets)
    if not is_json:
        return text
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _Trouble("HttpError.Unreadable", f"The reply says it is JSON and is not: {error}") from None


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")
