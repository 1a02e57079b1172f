"""The graph of a definition, without its loops: who comes before whom.

Names only: the same class serves the finished definition and a document that is still being checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

Edge = tuple[str, str]


class Graph:
    """Tasks and the forward transitions between them. Edges from or to an unknown task are left out."""

    def __init__(self, tasks: tuple[str, ...], edges: Iterable[Edge]) -> None:
        self.tasks = tasks
        known = set(tasks)
        self.edges = tuple(edge for edge in edges if edge[0] in known and edge[1] in known)
        self._downstream: dict[str, tuple[str, ...]] = {}

    @cached_property
    def successors(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, dict[str, None]] = {name: {} for name in self.tasks}
        for source, target in self.edges:
            found[source][target] = None
        return {name: tuple(targets) for name, targets in found.items()}

    @cached_property
    def predecessors(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, dict[str, None]] = {name: {} for name in self.tasks}
        for source, target in self.edges:
            found[target][source] = None
        return {name: tuple(sources) for name, sources in found.items()}

    def downstream(self, task: str) -> tuple[str, ...]:
        """The task and everything that can follow it, in document order. Remembered: loops ask again."""
        if task not in self._downstream:
            reached = self.reachable([task])
            self._downstream[task] = tuple(name for name in self.tasks if name in reached)
        return self._downstream[task]

    def reachable(self, starts: Iterable[str]) -> set[str]:
        """The starts and everything that can follow them."""
        return _walk(starts, self.successors)

    def precedes(self, earlier: str, later: str) -> bool:
        """Whether a path leads from one task to the other; from a task to itself only in a cycle."""
        return bool(self._ancestors[later] & self._bits[earlier])

    @cached_property
    def _bits(self) -> Mapping[str, int]:
        return {name: 1 << place for place, name in enumerate(self.tasks)}

    @cached_property
    def _ancestors(self) -> Mapping[str, int]:
        """For every task the set of those before it, as the bits of a number: a thousand sets of a thousand names
        would take a second to fill."""
        found = dict.fromkeys(self.tasks, 0)
        changed = True
        while changed:
            changed = False
            for source, target in self.edges:
                more = found[target] | found[source] | self._bits[source]
                if more != found[target]:
                    found[target] = more
                    changed = True
        return found

    def cyclic_edges(self) -> tuple[Edge, ...]:
        """The edges that close a cycle when the tasks are walked in document order; empty for a legal document."""
        colour: dict[str, int] = {}
        closing: list[Edge] = []
        roots = [name for name in self.tasks if not self.predecessors[name]]
        for root in (*roots, *self.tasks):
            if root in colour:
                continue
            stack = [(root, iter(self.successors[root]))]
            colour[root] = 1
            while stack:
                name, rest = stack[-1]
                following = next(rest, None)
                if following is None:
                    colour[name] = 2
                    stack.pop()
                elif colour.get(following) == 1:
                    closing.append((name, following))
                elif following not in colour:
                    colour[following] = 1
                    stack.append((following, iter(self.successors[following])))
        return tuple(closing)


def _walk(starts: Iterable[str], neighbours: Mapping[str, tuple[str, ...]]) -> set[str]:
    found = set(starts)
    stack = list(found)
    while stack:
        for name in neighbours[stack.pop()]:
            if name not in found:
                found.add(name)
                stack.append(name)
    return found
