"""A fault of a document, and the list that collects all of them."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from .exceptions import ExpressionSyntaxError
from .expressions import Expression, compiled
from .templates import Template, escape


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to mend: `pointer` is a JSON Pointer into the document, `code` is stable, `detail` is for people."""

    pointer: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Use:
    """An expression and where it stands: in which task (None: the output of the job), whether it is a `when`, and
    whether it is inside a `map`, where there is `item`."""

    pointer: str
    expression: Expression
    task: str | None
    in_when: bool = False
    in_map: bool = False


@dataclass
class Report:
    """What the passes know and find. A `known` of None is not checked: nobody said what there is."""

    known_plugins: Container[str] | None = None
    known_departments: Container[str] | None = None
    known_calendars: Container[str] | None = None
    workflow: str = ""
    """The name of the document, where it has one."""
    maps: int = 0
    """How many `map` tasks the task that is looked at is inside of."""
    faults: list[Fault] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)

    def add(self, pointer: str, code: str, detail: str) -> None:
        self.faults.append(Fault(pointer, code, detail))

    def expression(self, pointer: str, text: str, task: str | None, in_when: bool = False) -> None:
        """Note an expression for the pass over names, or that it does not parse."""
        try:
            self.uses.append(Use(pointer, compiled(text), task, in_when, in_map=self.maps > 0))
        except ExpressionSyntaxError as error:
            self.add(pointer, "expression_syntax", str(error))

    def template(self, pointer: str, value: object, task: str | None) -> None:
        """The same for every text in a mapping, so that all of its faults are found."""
        stack = [(pointer, value)]
        while stack:
            place, item = stack.pop()
            if isinstance(item, dict):
                stack.extend((at(place, key), member) for key, member in reversed(item.items()))
            elif isinstance(item, list):
                stack.extend((at(place, index), member) for index, member in reversed(list(enumerate(item))))
            elif isinstance(item, str) and "${" in item:
                try:
                    found = Template(item).expressions
                except ExpressionSyntaxError as error:
                    self.add(place, "expression_syntax", str(error))
                else:
                    self.uses.extend(Use(place, expression, task, in_map=self.maps > 0) for _, expression in found)


def at(pointer: str, *keys: str | int) -> str:
    """The JSON Pointer of a member."""
    return pointer + "".join(f"/{escape(str(key))}" for key in keys)
