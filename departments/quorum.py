"""What several people decide together: a pure count of their votes.

The first outcome of a task is its assent. It is decided as soon as enough votes are for it; as soon as it cannot be
reached any more (with `veto`: at the first other vote), by the other outcome with the most votes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from workflows.engine.durations import format_timestamp

if TYPE_CHECKING:
    from .models import Vote, WorkItem


@dataclass(frozen=True, slots=True)
class Quorum:
    """So many votes are needed (`need`) of so many that may be cast (`of`); with `veto` one other vote is enough."""

    need: int
    of: int
    veto: bool = False

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Quorum:
        """From the `quorum` of a task."""
        return cls(int(value["need"]), int(value["of"]), bool(value.get("veto", False)))


def decision(quorum: Quorum, outcomes: Sequence[str], votes: Sequence[str]) -> str | None:
    """The outcome that the votes, in the order they were cast, have decided; None while it is open.

    Any outcome with `need` votes decides. Where the assent is out of reach, the other outcome with the most votes
    does; of two with as many, the one later in the list of outcomes.
    """
    counted: Counter[str] = Counter()
    for cast, vote in enumerate(votes, start=1):
        counted[vote] += 1
        found = _after(quorum, outcomes, counted, quorum.of - cast)
        if found is not None:
            return found
    return None


def tally(item: WorkItem) -> dict[str, Any] | None:
    """How a vote stands: `{"need", "of", "veto", "cast", "counts": {outcome: votes}}`; None where one person decides.

    Reads the votes of the item, unless they came with it.
    """
    if not item.quorum:
        return None
    counts: Counter[str] = Counter(vote.outcome for vote in item.votes.all())
    rule = asdict(Quorum.read(item.quorum))
    return {**rule, "cast": counts.total(), "counts": dict(counts)}


def shown(vote: Vote) -> dict[str, Any]:
    """One vote as it is shown, and kept in the output of the task."""
    return {
        "by": vote.voter.get_username(),
        "outcome": vote.outcome,
        "comment": vote.comment,
        "at": format_timestamp(vote.at),
    }


def _after(quorum: Quorum, outcomes: Sequence[str], counted: Counter[str], left: int) -> str | None:
    """The decision once one more vote was counted, with so many still to come."""
    reached = next((outcome for outcome, number in counted.items() if number >= quorum.need), None)
    if reached is not None:
        return reached
    assent = outcomes[0] if outcomes else None
    others = [outcome for outcome in counted if outcome != assent]
    unreachable = left <= 0 if assent is None else counted[assent] + left < quorum.need
    if others and (unreachable or (quorum.veto and assent is not None)):
        return max(others, key=lambda outcome: (counted[outcome], _place(outcome, outcomes)))
    return None


def _place(outcome: str, outcomes: Sequence[str]) -> int:
    return outcomes.index(outcome) if outcome in outcomes else -1
