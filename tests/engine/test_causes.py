"""Failures with one cause are grouped, and those with different causes are not."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.engine.causes import MESSAGE_LENGTH, fingerprint, message_of

WORDS = [
    "connection",
    "refused",
    "claim",
    "not",
    "found",
    "by",
    "the",
    "bank:",
    "can't",
    "isn't",
    "(see",
    "above)",
    "=",
]
NUMBERS = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(0, 10**9).map(lambda number: f"{number:,}"),
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
MOMENTS = st.datetimes(min_value=datetime(1000, 1, 1))
PARTS = st.sampled_from(
    [
        NUMBERS,
        st.uuids().map(str),
        st.integers(0, 2**64).map(hex),
        st.binary(min_size=4, max_size=32).map(bytes.hex),
        TEXTS.map(repr),
        TEXTS.filter(lambda text: '"' not in text and "\\" not in text).map(lambda text: f'"{text}"'),
        MOMENTS.map(lambda moment: moment.isoformat()),
        MOMENTS.map(lambda moment: f"{moment:%Y-%m-%d %H:%M:%S}"),
        st.lists(NAMES, min_size=2, max_size=4).map(lambda names: "/" + "/".join(names)),
        st.tuples(NAMES, NAMES).map(lambda names: f"{names[0]}@{names[1]}.example.org"),
        st.tuples(NAMES, NAMES).map(lambda names: f"https://{names[0]}.example.org/{names[1]}?a=b"),
    ]
)
SKELETON = st.lists(st.one_of(st.sampled_from(WORDS), PARTS), min_size=1, max_size=12)


@st.composite
def twins(draw: st.DrawFn) -> tuple[str, str]:
    """Two messages that differ in nothing but parts that change from job to job."""
    skeleton = draw(SKELETON)
    first, second = (" ".join(part if isinstance(part, str) else draw(part) for part in skeleton) for _ in range(2))
    return first, second


@given(twins())
def test_messages_that_differ_only_in_what_changes_from_job_to_job_are_the_same(pair: tuple[str, str]) -> None:
    assert message_of(pair[0]) == message_of(pair[1])


@given(st.text(max_size=2000))
def test_any_text_gives_a_short_message_that_gives_itself(text: str) -> None:
    message = message_of(text)
    assert len(message) <= MESSAGE_LENGTH
    assert message_of(message) == message


@given(st.lists(st.sampled_from(WORDS), min_size=1), st.lists(st.sampled_from(WORDS), min_size=1))
def test_messages_of_other_words_stay_apart(one: list[str], other: list[str]) -> None:
    assert (message_of(" ".join(one)) == message_of(" ".join(other))) == (one == other)


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        ("Claim CLM-17 was refused: 1,250.50 EUR is too much.", "Claim … was refused: … EUR is too much."),
        ("KeyError: 'payable'", "KeyError: …"),
        ("No answer came until 2026-11-21T05:06:07Z.", "No answer came until …"),
        (
            "3 workers in a row were lost while they ran this step.",
            "… workers in a row were lost while they ran this step.",
        ),
        ("[Errno 2] No such file: /var/lib/claims/17.pdf", "[Errno …] No such file: …"),
        ("expected one of 'a', 'b', 'c'", "expected one of …"),
        ("`input.missing` does not exist.", "`input.missing` does not exist."),
        ("the bank doesn't answer, and won't", "the bank doesn't answer, and won't"),
        ("a/b testing and/or nothing", "a/b testing and/or nothing"),
    ],
)
def test_what_is_left_of_a_message_can_still_be_read(cause: str, message: str) -> None:
    assert message_of(cause) == message


def test_a_long_hostile_message_is_worked_off_quickly() -> None:
    for piece in ("'", '"a', "\\", "/a", "1.", "a@", "aaaa-", "1,"):
        assert len(message_of(piece * 5_000)) <= MESSAGE_LENGTH


def test_plugin_error_and_message_all_tell_causes_apart() -> None:
    names = {
        fingerprint(*cause)
        for cause in (
            ("a", "b", "c"),
            ("a", "b", "d"),
            ("a", "x", "c"),
            ("x", "b", "c"),
            ("a", "bc", ""),
            ("", "ab", "c"),
        )
    }
    assert len(names) == 6
    assert all(len(name) == 32 for name in names)
