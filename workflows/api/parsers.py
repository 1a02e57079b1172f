"""Reading bodies: strictly, and never more of them than is allowed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import IO, Any, NoReturn
from xml.parsers.expat import ExpatError

import xmltodict
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, MultiPartParser

from workflows.engine.exceptions import UnreadableDocument
from workflows.engine.jsonvalue import check_json
from workflows.engine.parsing import load_text

from .problems import Problem, invalid

MULTIPART_MARGIN = 2**16
"""What boundaries and headers may add to a file's own size."""
_PIECE = 2**16


class TooLarge(Problem):
    """The body is longer than what is taken."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"The body is larger than {limit} bytes.")


def read_body(stream: IO[bytes], parser_context: Mapping[str, Any] | None, limit: int | None = None) -> bytes:
    """The whole body, read in pieces; TooLarge as soon as it is, before reading where its length is announced."""
    limit = settings.WORKFLOW_BODY_MAX_BYTES if limit is None else limit
    refuse_announced(parser_context, limit)
    pieces, size = [], 0
    while piece := stream.read(_PIECE):
        size += len(piece)
        if size > limit:
            raise TooLarge(limit)
        pieces.append(piece)
    return b"".join(pieces)


def refuse_announced(parser_context: Mapping[str, Any] | None, limit: int) -> None:
    """TooLarge where the request says it is, so that nothing of it is read."""
    request = (parser_context or {}).get("request")
    announced = request.META.get("CONTENT_LENGTH") if request is not None else None
    if announced and announced.isdigit() and int(announced) > limit:
        raise TooLarge(limit)


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is larger than any that can be kept")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        double = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {double[:100]!r} stands twice in one object")
    return found


def refuse_what_cannot_be_kept(value: Any, limit: int) -> None:
    """422 with the place of every NUL, half character or depth that no database would keep."""
    # Text in escapes can grow when written again, so the bound on bytes is not exact here; each door has its own.
    faults = check_json(value, limit * 8, max_nesting=80)
    if faults:
        raise invalid(faults)


class StrictJSONParser(BaseParser):
    """JSON as RFC 8259 has it: UTF-8, no NaN, no key twice; and nothing that no database would keep."""

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The value. ParseError (400) where it is no JSON, 413 where it is too long, 422 where it cannot be kept."""
        raw = read_body(stream, parser_context)
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ParseError(f"The body is not UTF-8: byte {error.start} is no part of a character.") from None
        try:
            value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        except RecursionError:
            raise ParseError("The body is nested too deep.") from None
        except ValueError as error:
            raise ParseError(f"The body is not JSON: {error}.") from None
        refuse_what_cannot_be_kept(value, settings.WORKFLOW_BODY_MAX_BYTES)
        return value


class YAMLParser(BaseParser):
    """A definition written in YAML."""

    media_type = "application/yaml"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The document. ParseError (400) where it cannot be read."""
        raw = read_body(stream, parser_context)
        try:
            return load_text(raw, self.media_type)
        except UnreadableDocument as error:
            if error.code == "too_large":
                raise Problem(413, error.detail) from None
            raise ParseError(error.detail) from None


class ParsedXML(dict[str, Any]):
    """The children of an XML document's root, by name; `text` is the document as it was received."""

    text: str = ""
    root: str = ""


class StrictXMLParser(BaseParser):
    """XML as data: UTF-8, without a DTD, so without entities; attributes are `@name`, text beside them is `#text`."""

    media_type = "application/xml"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> ParsedXML:
        """What is in the root element. ParseError (400) where it is no XML or has a DTD, 413 where it is too long."""
        raw = read_body(stream, parser_context)
        try:
            text = raw.decode("utf-8-sig")
            fromstring(text.encode(), forbid_dtd=True)
            whole = xmltodict.parse(text.encode(), encoding="utf-8", disable_entities=True)
        except UnicodeDecodeError as error:
            raise ParseError(f"The body is not UTF-8: byte {error.start} is no part of a character.") from None
        except DefusedXmlException:
            raise ParseError("The XML has a document type definition. Those are not taken.") from None
        except RecursionError:
            raise ParseError("The body is nested too deep.") from None
        except (SyntaxError, ExpatError, ValueError, LookupError) as error:
            raise ParseError(f"The body is not XML: {error}.") from None
        root, inner = next(iter(whole.items()))
        refuse_what_cannot_be_kept(inner, settings.WORKFLOW_BODY_MAX_BYTES)
        parsed = ParsedXML(inner if isinstance(inner, dict) else {"#text": inner} if inner is not None else {})
        parsed.text, parsed.root = text, root
        return parsed


class TextXMLParser(StrictXMLParser):
    """The same under its older name."""

    media_type = "text/xml"


class BoundedMultiPartParser(MultiPartParser):
    """A form with a file. The request is refused unread where it announces more than a document may have."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """The fields and files. 413 where they are too long."""
        refuse_announced(parser_context, settings.WORKFLOW_DOCUMENT_MAX_BYTES + MULTIPART_MARGIN)
        return super().parse(stream, media_type, parser_context)
