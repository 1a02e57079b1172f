"""How large and how slow an expression can get, worked out from its tree and the data it is about to read.

The evaluator has no budget, and building a list costs it the square of the length. So before anything with a macro
runs, its cost is bounded from above here, with the true sizes of the data, and refused where the bound is too high:
nothing is started that cannot be finished in well under a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .exceptions import ExpressionError
from .syntax import Node, Path, path_of

MAX_COST = 3_000_000
"""About three tenths of a second: a step is a tenth of a microsecond or less."""
MAX_WEIGHT = 500_000
_SCALARS = frozenset({"size", "contains", "startsWith", "endsWith", "matches", "all", "exists", "exists_one"})


class Size(NamedTuple):
    """`weight` counts values and characters, `length` the longest list inside, `element` the heaviest member."""

    weight: int = 1
    length: int = 0
    element: int = 1


def size_of(value: Any) -> Size:
    """The size of plain data."""
    if isinstance(value, str):
        return Size(1 + len(value) // 8, 0, 1)
    if isinstance(value, Mapping):
        members = [size_of(member) for member in value.values()]
        extra = sum(1 + len(key) // 8 for key in value)
    elif isinstance(value, list):
        members, extra = [size_of(member) for member in value], 0
    else:
        return Size()
    return Size(
        weight=1 + extra + sum(member.weight for member in members),
        length=max([len(members), *(member.length for member in members)]),
        element=max([1, *(member.weight for member in members)]),
    )


def _pattern_cost(pattern: Node) -> int:
    """A pattern is compiled anew for every text: cheap as it stands, a tenth of a second where parts are repeated."""
    if pattern.kind != "literal" or "{" in pattern.text:
        return MAX_COST // 3
    return 5_000 + 20_000 * pattern.text.count("\\")


class CostBound:
    """Adds up what one evaluation can cost; `check` raises ExpressionError where that is too much."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        self.cost = 0

    def check(self, tree: Node) -> None:
        result, cost = self.measure(tree, {})
        if cost > MAX_COST or result.weight > MAX_WEIGHT:
            raise ExpressionError("The expression would take too long, or grow too large, on data of this size.")

    def measure(self, node: Node, bound: Mapping[str, Size]) -> tuple[Size, int]:
        """The largest result of the node, and the most steps it takes to get there."""
        path = path_of(node)
        if path is not None and path[0] not in bound:
            return size_of(self.look_up(path)), 1
        if node.kind == "name":
            return bound[node.text], 1
        if node.kind == "macro":
            return self.macro(node, bound)
        measured = [self.measure(child, bound) for child in node.children]
        sizes = [size for size, _ in measured]
        cost = 1 + sum(cost for _, cost in measured)
        return self.result(node, sizes), cost + self.own_cost(node, sizes)

    def macro(self, node: Node, bound: Mapping[str, Size]) -> tuple[Size, int]:
        range_size, range_cost = self.measure(node.children[0], bound)
        count = range_size.length
        item = Size(range_size.element, range_size.length, range_size.element)
        inner = {**bound, node.variable: item}
        measured = [self.measure(child, inner) for child in node.children[1:]]
        cost = range_cost + count * (4 + range_size.element + sum(cost for _, cost in measured))
        if node.text in _SCALARS:
            return Size(), cost
        body = item if node.text == "filter" else measured[-1][0]
        cost += count * count // 3 + count * (20 + 3 * body.weight)
        if node.text == "filter":
            return range_size, cost
        return Size(1 + count * body.weight, max(count, body.length), body.weight), cost

    @staticmethod
    def result(node: Node, sizes: list[Size]) -> Size:
        if node.kind in ("select", "index"):
            return Size(sizes[0].element, sizes[0].length, sizes[0].element)
        if node.kind in ("list", "map") or (node.kind == "binary" and node.text == "+"):
            return Size(
                weight=1 + sum(size.weight for size in sizes),
                length=max([len(sizes), *(size.length for size in sizes)])
                if node.kind != "binary"
                else sum(size.length for size in sizes),
                element=max([1, *(size.weight for size in sizes)]),
            )
        if node.kind == "choice":
            yes, no = sizes[1:]
            return Size(max(yes.weight, no.weight), max(yes.length, no.length), max(yes.element, no.element))
        if node.kind == "call" and node.text not in _SCALARS:
            return Size(max((size.weight for size in sizes), default=1) + 8, *sizes[0][1:] if sizes else (0, 1))
        if node.kind == "literal":
            return Size(1 + len(node.text) // 8)
        return Size()

    @staticmethod
    def own_cost(node: Node, sizes: list[Size]) -> int:
        """Comparing, converting and joining read their operands once; selecting and choosing read none."""
        if node.kind == "call" and node.text == "matches":
            return sum(size.weight for size in sizes) + _pattern_cost(node.children[-1])
        if node.kind in ("call", "binary", "list", "map"):
            return sum(size.weight for size in sizes)
        return 0

    def look_up(self, path: Path) -> Any:
        value: Any = self.data
        for key in path:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return None
        return value
