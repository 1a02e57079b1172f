"""CloudEvents envelopes: what is taken, and by which name everything else is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from workflows.intake.cloudevents import from_headers, read
from workflows.intake.exceptions import InvalidSubmission

GOOD = {"specversion": "1.0", "id": "1", "source": "/bank", "type": "payment.taken"}


def faults(document: Any, at: str = "") -> set[tuple[str, str]]:
    with pytest.raises(InvalidSubmission) as caught:
        read(document, at=at)
    return {(fault.pointer, fault.code) for fault in caught.value.faults}


def test_the_four_required_attributes_are_enough() -> None:
    event = read(GOOD)
    assert (event.source, event.event_id, event.type) == ("/bank", "1", "payment.taken")
    assert (event.key, event.subject, event.time, event.data, event.time_to_live) == ("", "", None, None, None)


def test_everything_else_is_read_as_well() -> None:
    more = {
        "subject": "invoice 7",
        "time": "2026-03-01T12:00:00.123456789+02:00",
        "timetolive": "PT1H",
        "correlationkey": 4711,
        "datacontenttype": "application/json",
        "dataschema": "https://example.org/schema",
        "traceparent": "00-1-1-00",
        "sampled": True,
        "data": {"amount": 7},
    }
    event = read({**GOOD, **more})
    assert (event.key, event.subject, event.data) == ("4711", "invoice 7", {"amount": 7})
    assert event.time == datetime(2026, 3, 1, 10, 0, 0, 123456, tzinfo=UTC)
    assert event.time_to_live == timedelta(hours=1)


def test_the_key_is_the_subject_where_no_other_is_given() -> None:
    assert read({**GOOD, "subject": "A-1"}).key == "A-1"
    assert read({**GOOD, "subject": "A-1", "correlationkey": "B-2"}).key == "B-2"


def test_an_attribute_that_is_null_is_not_set_but_data_may_be_null() -> None:
    assert read({**GOOD, "subject": None, "data": None, "data_base64": None}).data is None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"specversion": "0.3"}, ("/specversion", "unsupported_version")),
        ({"specversion": None}, ("/specversion", "required")),
        ({"id": None}, ("/id", "required")),
        ({"id": ""}, ("/id", "minLength")),
        ({"id": "x" * 301}, ("/id", "maxLength")),
        ({"id": 7}, ("/id", "type")),
        ({"source": None}, ("/source", "required")),
        ({"source": "not a uri"}, ("/source", "format")),
        ({"source": "/workflows/shop/jobs/1"}, ("/source", "reserved_source")),
        ({"type": "x" * 201}, ("/type", "maxLength")),
        ({"subject": "x" * 201}, ("/subject", "too_long")),
        ({"correlationkey": "x" * 201}, ("/correlationkey", "maxLength")),
        ({"correlationkey": ""}, ("/correlationkey", "minLength")),
        ({"correlationkey": True}, ("/correlationkey", "type")),
        ({"time": "yesterday"}, ("/time", "format")),
        ({"time": "2026-03-01T12:00:00"}, ("/time", "format")),
        ({"timetolive": "1 hour"}, ("/timetolive", "format")),
        ({"timetolive": "P1M"}, ("/timetolive", "format")),
        ({"timetolive": "P31D"}, ("/timetolive", "out_of_range")),
        ({"data_base64": "AAAA"}, ("/data_base64", "binary_data")),
        ({"Upper": "x"}, ("", "invalid_name")),
        ({"object": {"a": 1}}, ("/object", "type")),
        ({"data": "x" * 300_000}, ("/data", "too_large")),
        ({"data": {"a": "\0"}}, ("/data/a", "nul_character")),
        ({"extension": "x" * 70_000}, ("", "too_large")),
        ({"subject": "a\0"}, ("/subject", "nul_character")),
    ],
)
def test_a_fault_is_told_by_its_name(change: dict[str, Any], fault: tuple[str, str]) -> None:
    assert faults({**GOOD, **change}) == {fault}


@pytest.mark.parametrize("document", [None, [], "event", 7])
def test_what_is_no_object_is_no_event(document: Any) -> None:
    assert faults(document, "/3") == {("/3", "type")}


def test_all_faults_are_told_at_once_and_below_the_place_of_the_document() -> None:
    found = faults({"id": "1", "type": "", "source": "x y"}, "/5")
    assert found == {("/5/specversion", "required"), ("/5/type", "minLength"), ("/5/source", "format")}


def test_a_time_to_live_of_nothing_is_one() -> None:
    assert read({**GOOD, "timetolive": "PT0S"}).time_to_live == timedelta(0)


def test_headers_are_attributes_and_their_values_are_percent_decoded() -> None:
    headers = {
        "Ce-Specversion": "1.0",
        "ce-id": "1",
        "CE-Source": "/caf%C3%A9",
        "ce-type": "opened",
        "ce-subject": '"caf\\"e%20au lait"',
        "ce-data": "not an attribute",
        "Content-Type": "application/json",
    }
    document = from_headers(headers, {"a": 1})
    assert document == {
        **{"specversion": "1.0", "id": "1", "source": "/café", "type": "opened", "subject": 'caf"e au lait'},
        "data": {"a": 1},
    }


def test_a_header_that_is_no_utf_8_is_refused_with_its_name() -> None:
    with pytest.raises(InvalidSubmission) as caught:
        from_headers({"ce-subject": "%ff"}, None)
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [("/subject", "invalid_header")]
