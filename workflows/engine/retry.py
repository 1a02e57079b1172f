"""When a failed attempt is tried again: first matching retrier, its own count, exponential delays."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from .definition import RetryPolicy, Task

_LONGEST = timedelta(days=36_525).total_seconds()


def find(task: Task, error: str) -> int | None:
    """The place of the first retrier that matches. The first one decides, even when its attempts are used up."""
    for index, policy in enumerate(task.retry):
        if policy.matches(error):
            return index
    return None


def may_retry(policy: RetryPolicy, retries: int) -> bool:
    """Whether one more attempt is allowed after `retries` that this retrier has already granted."""
    return retries + 1 < policy.max_attempts


def delay(policy: RetryPolicy, retries: int, seed: str) -> timedelta:
    """How long to wait before the next attempt: interval times rate to the power of `retries`, capped.

    With `full` jitter the delay is a fraction of that. The fraction is drawn from the seed (job, task, iteration and
    attempt), not from a generator: replaying a history has to come to the same moment.
    """
    try:
        seconds = policy.interval.total_seconds() * policy.backoff_rate**retries
    except OverflowError:
        seconds = _LONGEST
    seconds = min(seconds, policy.max_delay.total_seconds(), _LONGEST)
    if policy.jitter == "full":
        drawn = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
        seconds *= drawn / 2**64
    return timedelta(seconds=seconds)
