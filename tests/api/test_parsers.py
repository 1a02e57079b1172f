"""Reading XML and multipart bodies."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rest_framework.exceptions import APIException

from workflows.api.parsers import ParsedXML, StrictXMLParser


def parsed(text: str | bytes) -> ParsedXML:
    raw = text if isinstance(text, bytes) else text.encode()
    return StrictXMLParser().parse(io.BytesIO(raw))


def refusal(text: str | bytes) -> Any:
    with pytest.raises(APIException) as error:
        parsed(text)
    return error.value.status_code


def test_the_root_of_a_document_gives_its_children_and_its_text_is_kept() -> None:
    text = '<response at="noon"><status>shipped</status><data><box>1</box><box>2</box></data></response>'
    found = parsed(text)
    assert found == {"@at": "noon", "status": "shipped", "data": {"box": ["1", "2"]}}
    assert (found.root, found.text) == ("response", text)


@pytest.mark.parametrize("text", ["<r/>", "<r></r>"])
def test_an_empty_root_is_empty(text: str) -> None:
    assert parsed(text) == {}


BOMB = '<!DOCTYPE r [<!ENTITY a "xxxxxxxxxx"><!ENTITY b "&a;&a;&a;&a;&a;">]><r>&b;</r>'
EXTERNAL = '<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]><r>&a;</r>'


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        EXTERNAL,
        '<!DOCTYPE r SYSTEM "http://localhost/r.dtd"><r/>',
        "<r>",
        "",
        "no xml",
        "<r>&undefined;</r>",
        "<r/><r/>",
        b"\xff\xfe<\x00r\x00",
        '<?xml version="1.0" encoding="utf-16"?><r/>',
        '<?xml version="1.0" encoding="nonsense"?><r/>',
    ],
)
def test_broken_xml_and_xml_with_entities_is_refused(text: str | bytes) -> None:
    assert refusal(text) == 400


def test_xml_nested_too_deep_is_refused() -> None:
    assert refusal("<a>" * 500 + "</a>" * 500) == 422


def test_xml_of_five_megabytes_is_refused() -> None:
    assert refusal("<r>" + "x" * 5_000_000 + "</r>") == 413
