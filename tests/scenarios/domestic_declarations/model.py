"""The log's words and the definition's: which answer of which department each activity of the log is.

The log names what was done ("Declaration APPROVED by ADMINISTRATION"); the product records who was asked (the task's
title) and what they answered (the outcome). `ACTIVITIES` is the whole translation, one to one, used in both directions.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from lxml import etree

FOLDER = Path(__file__).resolve().parent
EXTRACT = FOLDER / "extract.xes.gz"
DEFINITION: dict[str, Any] = json.loads((FOLDER / "definition.json").read_text(encoding="utf-8"))
WORKFLOW: str = DEFINITION["name"]
DEPARTMENTS: dict[str, str] = {name: task["department"] for name, task in DEFINITION["tasks"].items()}
"""Task to the code of its department."""

ACTIVITIES: dict[str, tuple[str, str]] = {
    "Declaration SAVED by EMPLOYEE": ("employee", "save"),
    "Declaration SUBMITTED by EMPLOYEE": ("employee", "submit"),
    "Declaration REJECTED by EMPLOYEE": ("employee", "reject"),
    "Declaration APPROVED by PRE_APPROVER": ("pre_approver", "approve"),
    "Declaration REJECTED by PRE_APPROVER": ("pre_approver", "reject"),
    "Declaration APPROVED by ADMINISTRATION": ("administration", "approve"),
    "Declaration REJECTED by ADMINISTRATION": ("administration", "reject"),
    "Declaration APPROVED by BUDGET OWNER": ("budget_owner", "approve"),
    "Declaration REJECTED by BUDGET OWNER": ("budget_owner", "reject"),
    "Declaration FINAL_APPROVED by SUPERVISOR": ("supervisor", "approve"),
    "Declaration REJECTED by SUPERVISOR": ("supervisor", "reject"),
    "Request Payment": ("payment", "requested"),
    "Payment Handled": ("payment", "handled"),
    "Declaration REJECTED by MISSING": ("payment", "rejected"),
}
"""Activity of the log to (task, outcome)."""

EXPORTED: dict[tuple[str, str], str] = {
    (DEFINITION["tasks"][task]["title"], outcome): activity for activity, (task, outcome) in ACTIVITIES.items()
}
"""(`concept:name`, `outcome`) of an exported event to the activity of the log."""

Variant = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a department answers at one step of a case."""

    task: str
    outcome: str
    data: dict[str, Any]


@dataclass(slots=True)
class Trace:
    """One trace of a log, the original's or the exported one: its name, its activities, its facts."""

    name: str
    activities: Variant
    facts: dict[str, str] = field(default_factory=dict)


def read_log(path: Path) -> list[Trace]:
    """The traces of the original log, plain or gzipped. KeyError for an activity that `ACTIVITIES` does not have."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return [_original(element) for element in traces_of(file)]


def read_export(file: IO[bytes]) -> list[Trace]:
    """The traces of an exported log, with the activities named as in the original.

    An event that is none of the log's activities keeps its own name and outcome, so that the comparison shows it.
    """
    found = []
    for element in traces_of(file):
        pairs = [(event["concept:name"], event.get("outcome", "")) for event in events_of(element)]
        activities = tuple(EXPORTED.get(pair, f"{pair[0]} [{pair[1]}]") for pair in pairs)
        facts = attributes_of(element)
        found.append(Trace(facts["concept:name"], activities, facts))
    return found


def traces_of(file: IO[bytes]) -> Iterator[etree._Element]:
    """The trace elements of a log, one at a time."""
    for _, element in etree.iterparse(file, tag="{*}trace", resolve_entities=False):
        yield element
        element.clear()


def attributes_of(element: etree._Element) -> dict[str, str]:
    """The attributes of a trace or event: key to value, as text. The first of a repeated key counts."""
    found: dict[str, str] = {}
    for child in element:
        key = child.get("key")
        if key is not None:
            found.setdefault(key, child.get("value") or "")
    return found


def events_of(trace: etree._Element) -> list[dict[str, str]]:
    """The attributes of each event of a trace, in order."""
    return [attributes_of(event) for event in trace.iterchildren("{*}event")]


def _original(trace: etree._Element) -> Trace:
    events = events_of(trace)
    activities = tuple(event["concept:name"] for event in events)
    unknown = set(activities) - set(ACTIVITIES)
    if unknown:
        raise KeyError(f"The log has activities that the model has not: {sorted(unknown)}.")
    first = events[0]
    facts = {
        "declaration": first["(case)_DeclarationNumber"],
        "amount": first["(case)_Amount"],
        "budget": first["(case)_BudgetNumber"],
    }
    return Trace(attributes_of(trace)["concept:name"], activities, facts)


def case_input(trace: Trace) -> dict[str, Any]:
    """The input with which the case is submitted."""
    return {**trace.facts, "amount": float(trace.facts["amount"])}


def answers(activities: Variant) -> list[Answer]:
    """What each department answers, in order: its own decision, and what its form asks about the way onward.

    The way onward is what the log shows: the next activity of the case. Where the case ends with the employee, the
    employee keeps it.
    """
    steps = [ACTIVITIES[activity] for activity in activities]
    found = []
    for (task, outcome), following in zip(steps, [*steps[1:], None], strict=True):
        next_task = following[0] if following else "employee"
        data: dict[str, Any] = {}
        if task == "employee":
            data = {"next": next_task}
        elif task == "administration":
            data = {"budget_owner": next_task == "budget_owner"}
        elif task == "supervisor":
            data = {"pay_anyway": outcome == "reject" and next_task == "payment"}
        elif task == "payment":
            data = {"disputed": outcome == "handled" and following is not None}
        found.append(Answer(task, outcome, data))
    return found


def ends_paid(activities: Variant) -> bool:
    """True where nothing is left to do at the end of the trace: the payment was the last that happened."""
    return activities[-1] == "Payment Handled"


@dataclass(slots=True)
class Comparison:
    """How an exported log differs from the original."""

    cases: int
    matching_cases: int
    variants: int
    matching_variants: int
    differences: list[str]

    @property
    def equal(self) -> bool:
        return not self.differences


def compare(original: Iterable[Trace], exported: Iterable[Trace]) -> Comparison:
    """Compare case by case, and variant by variant with their counts; every difference is a line of text."""
    wanted = {trace.name: trace.activities for trace in original}
    found_list = list(exported)
    found = {trace.name: trace.activities for trace in found_list}
    differences = [f"{name}: exported {count} times" for name, count in _repeated(found_list)]
    for name in wanted.keys() | found.keys():
        if wanted.get(name) != found.get(name):
            differences.append(f"{name}\n  log:    {_line(wanted.get(name))}\n  export: {_line(found.get(name))}")
    in_log, in_export = Counter(wanted.values()), Counter(trace.activities for trace in found_list)
    for variant in in_log.keys() | in_export.keys():
        if in_log[variant] != in_export[variant]:
            differences.append(
                f"variant {in_log[variant]} times in the log, {in_export[variant]} exported: {_line(variant)}"
            )
    return Comparison(
        cases=len(wanted),
        matching_cases=sum(found.get(name) == activities for name, activities in wanted.items()),
        variants=len(in_log),
        matching_variants=sum(in_export[variant] == count for variant, count in in_log.items()),
        differences=differences,
    )


def _repeated(traces: list[Trace]) -> list[tuple[str, int]]:
    return [(name, count) for name, count in Counter(trace.name for trace in traces).items() if count > 1]


def _line(activities: Variant | None) -> str:
    return "missing" if activities is None else " > ".join(activities) or "no events"
