"""The facts of a case: any JSON, shown so that a person can read it. Text stays text, whatever it holds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from .presentation import words

LONG = 280
DEPTH_MAX = 4
FACTS_MAX = 200
TABLE_COLUMNS_MAX = 6


@dataclass(slots=True)
class Fact:
    """One fact. `kind` is text, number, long, none, group (`facts`), table (`columns`, `rows`) or json."""

    label: str
    kind: str
    value: str = ""
    facts: list[Fact] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[list[Fact]] = field(default_factory=list)

    @property
    def wide(self) -> bool:
        """True where it needs the whole width."""
        return self.kind in ("long", "group", "table", "json")


def facts_of(data: Any) -> list[Fact]:
    """The facts of an item, plain ones first, as people read a form: the short before the long."""
    if data is None:
        return []
    if not isinstance(data, dict):
        return [_fact("Value", data, 1)]
    facts = _of_mapping(data, 1)
    return [fact for fact in facts if not fact.wide] + [fact for fact in facts if fact.wide]


def _of_mapping(data: dict[str, Any], depth: int) -> list[Fact]:
    facts = [_fact(words(str(key)) or "—", value, depth) for key, value in list(data.items())[:FACTS_MAX]]
    left_out = len(data) - FACTS_MAX
    return [*facts, Fact("…", "text", f"{left_out} more")] if left_out > 0 else facts


def _fact(label: str, value: Any, depth: int) -> Fact:
    if value is None or value in ("", [], {}):
        return Fact(label, "none", "—")
    if isinstance(value, bool):
        return Fact(label, "text", "Yes" if value else "No")
    if isinstance(value, int | float):
        return Fact(label, "number", number(value))
    if isinstance(value, str):
        return Fact(label, "long" if len(value) > LONG or value.count("\n") > 3 else "text", value)
    if depth >= DEPTH_MAX:
        return Fact(label, "json", json.dumps(value, indent=2, ensure_ascii=False))
    if isinstance(value, dict):
        return Fact(label, "group", facts=_of_mapping(value, depth + 1))
    return _of_list(label, value, depth)


def _of_list(label: str, values: list[Any], depth: int) -> Fact:
    """Plain values in a line, like objects as a table, anything else one below the other."""
    if all(not isinstance(value, dict | list) for value in values):
        text = ", ".join(_fact("", value, depth).value for value in values)
        return Fact(label, "long" if len(text) > LONG else "text", text)
    columns = list(dict.fromkeys(key for value in values if isinstance(value, dict) for key in value))
    flat = all(
        isinstance(value, dict) and all(not isinstance(cell, dict | list) for cell in value.values())
        for value in values
    )
    if flat and len(columns) <= TABLE_COLUMNS_MAX and len(values) <= FACTS_MAX:
        rows = [[_fact("", value.get(column), depth) for column in columns] for value in values]
        return Fact(label, "table", columns=[words(column) for column in columns], rows=rows)
    facts = [_fact(f"{place}", value, depth + 1) for place, value in enumerate(values[:FACTS_MAX], start=1)]
    return Fact(label, "group", facts=facts)


def number(value: float) -> str:
    """A number with its thousands apart; a whole one only from ten thousand on, for 2014 is a year."""
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    text = repr(value)
    if "e" in text or "n" in text:
        return text
    whole, _, rest = text.partition(".")
    grouped = f"{int(whole):,}" if len(whole.lstrip("-")) > 3 else whole
    return f"{grouped}.{rest.ljust(2, '0')}" if rest != "0" else grouped
