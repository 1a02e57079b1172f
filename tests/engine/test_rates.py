"""The generic cell rate algorithm: never more than so many in any window of that length, and not much fewer."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from workflows.engine.rates import Rate

START = datetime(2030, 1, 1, tzinfo=UTC)


def walk(rate: Rate, moments: list[datetime]) -> list[datetime]:
    """The moments at which a start was granted."""
    due_at, granted = None, []
    for now in moments:
        further = rate.granted(due_at, now)
        if further is not None:
            due_at = further
            granted.append(now)
    return granted


@given(
    limit=st.integers(1, 30),
    per=st.sampled_from([1, 2, 7, 60, 3600]),
    steps=st.lists(st.floats(0, 2), min_size=1, max_size=120),
)
def test_no_window_ever_holds_more_starts_than_the_limit(limit: int, per: int, steps: list[float]) -> None:
    moments, now = [], START
    for step in steps:
        now += timedelta(seconds=step * per / limit)
        moments.append(now)
    granted = walk(Rate(limit, per), moments)
    window = timedelta(seconds=per)
    for first in granted:
        assert sum(first <= moment < first + window for moment in granted) <= limit


@given(limit=st.integers(1, 30), per=st.sampled_from([1, 2, 7, 60]), wait=st.floats(0, 5), before=st.integers(0, 5))
def test_as_many_as_are_available_are_granted_and_one_more_is_not(
    limit: int, per: int, wait: float, before: int
) -> None:
    rate, due_at = Rate(limit, per), None
    for _ in range(before):
        due_at = rate.granted(due_at, START) or due_at
    now = START + timedelta(seconds=wait)
    count = rate.available(due_at, now)
    for _ in range(count):
        due_at = rate.granted(due_at, now)
        assert due_at is not None
    assert rate.granted(due_at, now) is None


def test_a_rate_that_is_asked_for_once_a_second_gives_nearly_all_that_it_allows() -> None:
    asked = [START + timedelta(seconds=second) for second in range(600) for _ in range(100)]
    assert 950 <= len(walk(Rate(100, 60), asked)) <= 1000


def test_one_in_a_time_is_one_in_that_time() -> None:
    asked = [START + timedelta(seconds=second / 10) for second in range(301)]
    granted = walk(Rate(1, 10), asked)
    assert len(granted) == 3
    assert all(b - a >= timedelta(seconds=10) for a, b in itertools.pairwise(granted))
