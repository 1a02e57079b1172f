"""The two flows: the same three nodes that do nothing."""

from __future__ import annotations

from protocol import begun
from viewflow import this
from viewflow.workflow import flow
from viewflow.workflow.models import Process


class Functions(flow.Flow):
    """Run by Viewflow itself, in the transaction of the start."""

    process_class = Process
    start = flow.StartHandle().Next(this.first)
    first = flow.Function(this.nothing).Next(this.second)
    second = flow.Function(this.nothing).Next(this.third)
    third = flow.Function(this.nothing).Next(this.end)
    end = flow.End()

    def nothing(self, activation: object) -> None:
        begun()


class Handles(flow.Flow):
    """Run one by one, each by a call and in a transaction of its own."""

    process_class = Process
    start = flow.StartHandle().Next(this.first)
    first = flow.Handle(this.nothing).Next(this.second)
    second = flow.Handle(this.nothing).Next(this.third)
    third = flow.Handle(this.nothing).Next(this.end)
    end = flow.End()

    def nothing(self, activation: object) -> None:
        begun()
