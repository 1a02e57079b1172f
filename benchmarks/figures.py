"""One figure of a benchmark: ours beside the reference of the same round, and what was wanted of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

Better = Literal["more", "less"]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours divided by the reference, taken round by round."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, ours: Sequence[float], reference: Sequence[float]) -> Ratio:
        """The ratios of the rounds. ValueError where there are none, or not as many of one as of the other."""
        each = [one / other for one, other in zip(ours, reference, strict=True)]
        if not each:
            raise ValueError("A ratio needs at least one round.")
        return cls(median(each), min(each), max(each))


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the page of benchmarks.

    `ours` and `reference` are medians of the rounds, in `unit`. With a reference `wanted` is a ratio, without one it is
    an amount in `unit`; None where nothing was wanted, and the figure is only told.
    """

    name: str
    ours: float
    reference_name: str
    """What it is compared with; empty where it stands for itself."""
    reference: float | None
    unit: str
    ratio: Ratio | None
    wanted: float | None
    better: Better = "more"
    """Whether the wanted figure is the least (`more`) or the most (`less`) that is good enough."""

    @property
    def reached(self) -> float:
        """What is compared with `wanted`: the median ratio, or ours where there is no reference."""
        return self.ours if self.ratio is None else self.ratio.median

    @property
    def met(self) -> bool | None:
        """Whether the wanted figure was reached; None where nothing was wanted."""
        if self.wanted is None:
            return None
        return self.reached >= self.wanted if self.better == "more" else self.reached <= self.wanted

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Figure:
        ratio = value["ratio"]
        return cls(**{**value, "ratio": None if ratio is None else Ratio(**ratio)})


def compare(
    name: str,
    ours: Sequence[float],
    reference_name: str,
    reference: Sequence[float],
    unit: str,
    wanted: float | None = None,
    better: Better = "more",
) -> Figure:
    """A figure with a reference: one number of each per round, in the order of the rounds. `wanted` is a ratio."""
    ratio = Ratio.of(ours, reference)
    return Figure(name, median(ours), reference_name, median(reference), unit, ratio, wanted, better)


def amount(name: str, ours: Sequence[float], unit: str, wanted: float | None = None, better: Better = "less") -> Figure:
    """A figure that stands for itself: one number per round. `wanted` is an amount in `unit`."""
    return Figure(name, median(ours), "", None, unit, None, wanted, better)
