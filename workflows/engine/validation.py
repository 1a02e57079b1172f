"""What is refused at publish: every fault at once, each with its place, a stable code and how to mend it.

Three passes: the shape of the document, the graph its transitions make, and what its expressions may name. A later
pass works with whatever the earlier ones found sound, so that one fault does not hide another.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping
from typing import Any

from . import checks
from .contract import Json
from .expressions import spell
from .faults import Fault, Report, Use, at
from .graph import Graph
from .syntax import Path

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_TASKS", "Fault", "each_task", "validate"]

MAX_BYTES = 1_048_576
MAX_TASKS = 1_000
MAX_DEPTH = 64

_TASK_FACTS = ("output", "outcome", "error")
_JOB_FACTS = ("id", "created_at", "priority")


def validate(
    document: Json,
    *,
    known_plugins: Container[str] | None = None,
    known_departments: Container[str] | None = None,
    known_calendars: Container[str] | None = None,
) -> list[Fault]:
    """Every fault of a document, in document order within each pass; an empty list when it may be published.

    Plugins, departments and calendars are checked only where the caller says which there are.
    """
    report = Report(known_plugins, known_departments, known_calendars)
    if not _is_sound(report, document):
        return report.faults
    report.workflow = document["name"] if isinstance(document.get("name"), str) else ""
    checks.check_document(report, "", document, None)
    tasks = _tasks(report, document)
    edges = _transitions(report, document, tasks)
    _constraints(report, tasks)
    _graph(report, tasks, edges)
    if "output" in document and not isinstance(document["output"], dict):
        report.add("/output", "wrong_type", "The output of a job is a mapping, so this has to be an object.")
    _names(report, tasks, edges)
    return report.faults


def _is_sound(report: Report, document: Any) -> bool:
    """Whether it is JSON of a size that the other passes can be let loose on."""
    if not isinstance(document, dict):
        report.add("", "wrong_type", "A definition has to be an object.")
        return False
    stack: list[tuple[Any, int]] = [(document, 1)]
    while stack:
        value, depth = stack.pop()
        if depth > MAX_DEPTH:
            report.add("", "too_deep", f"The document is nested deeper than {MAX_DEPTH}.")
            return False
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                report.add("", "wrong_type", "Every key of the document has to be a text.")
                return False
            stack.extend((member, depth + 1) for member in value.values())
        elif isinstance(value, list):
            stack.extend((member, depth + 1) for member in value)
    try:
        size = len(json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())
    except (TypeError, ValueError):
        report.add(
            "", "bad_json", "The document holds something that JSON cannot write, such as NaN or half a character."
        )
        return False
    if size > MAX_BYTES:
        report.add("", "too_large", f"The document has {size} bytes as JSON; at most {MAX_BYTES} are read.")
        return False
    return True


# ---- shape ----------------------------------------------------------------------------------------------------------


def _tasks(report: Report, document: Mapping[str, Json]) -> dict[str, dict[str, Json]]:
    """The tasks that are objects, whether or not they have faults of their own."""
    found: dict[str, dict[str, Json]] = {}
    tasks = document.get("tasks", {})
    if not checks.is_a(report, "/tasks", tasks, dict):
        return found
    if "tasks" in document and not tasks:
        report.add("/tasks", "empty", "A workflow needs at least one task.")
    if len(tasks) > MAX_TASKS:
        report.add("/tasks", "too_many_tasks", f"There are {len(tasks)} tasks; at most {MAX_TASKS} are read.")
        return found
    for name, task in tasks.items():
        pointer = at("/tasks", name)
        checks.slug(report, pointer, name, None)
        if checks.is_a(report, pointer, task, dict):
            checks.check_task(report, pointer, task, name)
            found[name] = task
    return found


def each_task(document: Any) -> Iterator[tuple[tuple[str, ...], Mapping[str, Json]]]:
    """Every task of a document with the keys that lead to it, the inner tasks of maps too, each after its map. Made for
    documents that are still being checked: what is no task is left out."""
    tasks = document.get("tasks") if isinstance(document, dict) else None
    for name, task in tasks.items() if isinstance(tasks, dict) else ():
        path: tuple[str, ...] = ("tasks", name)
        while isinstance(task, dict):
            yield path, task
            task, path = (task.get("task") if task.get("type") == "map" else None), (*path, "task")


def _constraints(report: Report, tasks: Mapping[str, dict[str, Json]]) -> None:
    """Whoever may not decide a task is named by other tasks that people decide."""
    for path, task in each_task({"tasks": tasks}):
        constraints = task.get("constraints")
        others = constraints.get("not_completed_by") if isinstance(constraints, dict) else None
        for index, other in enumerate(others if isinstance(others, list) else []):
            pointer = at("", *path, "constraints", "not_completed_by", index)
            if isinstance(other, str) and (other not in tasks or tasks[other].get("type") != "human"):
                report.add(pointer, "unknown_task", f"There is no human task {other!r}; name one that people decide.")


class _Edge:
    """A transition of the document whose ends are known."""

    def __init__(self, index: int, spec: dict[str, Json]) -> None:
        self.index = index
        self.pointer = at("/transitions", index)
        self.spec = spec
        self.source: str = spec["from"]
        self.target: str = spec["to"]
        self.is_loop = "loop" in spec
        self.on_error = "on_error" in spec
        self.default = spec.get("default") is True
        self.when = spec.get("when")

    @property
    def always(self) -> bool:
        """Whether it holds whenever its task ends well."""
        return not self.on_error and not self.default and ("when" not in self.spec or self.when == "true")


def _transitions(report: Report, document: Mapping[str, Json], tasks: Mapping[str, Json]) -> list[_Edge]:
    transitions = document.get("transitions", [])
    if not checks.is_a(report, "/transitions", transitions, list):
        return []
    if len(transitions) > 10 * MAX_TASKS:
        report.add("/transitions", "too_large", f"There are more than {10 * MAX_TASKS} transitions.")
        return []
    edges = []
    defaults: set[str] = set()
    for index, spec in enumerate(transitions):
        pointer = at("/transitions", index)
        if not checks.is_a(report, pointer, spec, dict):
            continue
        checks.check_transition(report, pointer, spec, None)
        if _ends_are_known(report, pointer, spec, tasks):
            edge = _Edge(index, spec)
            edges.append(edge)
            _conflicts(report, edge, defaults)
        if "when" in spec and checks.is_a(report, at(pointer, "when"), spec["when"], str):
            source = spec.get("from")
            known = source if isinstance(source, str) and source in tasks else ""
            report.expression(at(pointer, "when"), spec["when"], known, in_when=True)
    return edges


def _ends_are_known(report: Report, pointer: str, spec: Mapping[str, Json], tasks: Mapping[str, Json]) -> bool:
    known = True
    for end in ("from", "to"):
        name = spec.get(end)
        if not isinstance(name, str):
            known = False
        elif name not in tasks:
            report.add(at(pointer, end), "unknown_task", f"There is no task {name!r}; add it, or name another.")
            known = False
    return known


def _conflicts(report: Report, edge: _Edge, defaults: set[str]) -> None:
    if not edge.default:
        return
    if "when" in edge.spec:
        detail = "A default is taken where no other transition holds, so it has no condition of its own."
        report.add(at(edge.pointer, "when"), "conflict", detail)
    if edge.on_error:
        detail = 'A default is for tasks that end well; on_error ["*"] catches every error.'
        report.add(at(edge.pointer, "on_error"), "conflict", detail)
    if edge.source in defaults:
        report.add(at(edge.pointer, "default"), "conflict", f"{edge.source!r} has a default already; keep one.")
    defaults.add(edge.source)


# ---- graph ----------------------------------------------------------------------------------------------------------


def _graph(report: Report, tasks: Mapping[str, dict[str, Json]], edges: list[_Edge]) -> None:
    """Faults of the graph: cycles, loops that do not go back, and tasks that nothing leads to."""
    graph = Graph(tuple(tasks), [(edge.source, edge.target) for edge in edges if not edge.is_loop])
    closing = set(graph.cyclic_edges())
    for edge in edges:
        if not edge.is_loop and (edge.source, edge.target) in closing:
            detail = (
                f'This goes back to {edge.target!r}; write it with loop, as in {{"loop": {{"max_iterations": 5}}}}.'
            )
            report.add(edge.pointer, "cycle_without_loop", detail)
    acyclic = Graph(graph.tasks, [edge for edge in graph.edges if edge not in closing])
    for edge in edges:
        if edge.is_loop and edge.source not in acyclic.reachable([edge.target]):
            detail = f"This does not go back: {edge.target!r} does not come before {edge.source!r}. Leave loop out."
            report.add(at(edge.pointer, "loop"), "loop_not_back", detail)
    _reachability(report, graph, tasks, edges)


def _reachability(report: Report, graph: Graph, tasks: Mapping[str, dict[str, Json]], edges: list[_Edge]) -> None:
    """Tasks that no start leads to, on the transitions that can be taken at all."""
    idle = _idle_edges(tasks, edges)
    possible = [edge for edge in edges if edge.index not in idle]
    starts = [name for name in tasks if not graph.predecessors[name]]
    reached = Graph(tuple(tasks), [(edge.source, edge.target) for edge in possible]).reachable(starts)
    for name in tasks:
        if name in reached:
            continue
        pointer = at("/tasks", name)
        into = [edge for edge in edges if edge.target == name and not edge.is_loop]
        if len(into) > 1 or "join" in tasks[name]:
            detail = "None of the transitions into this join can ever be taken, so it never runs."
            report.add(pointer, "join_never_runs", detail)
        else:
            report.add(
                pointer, "unreachable_task", "No path from a start task leads here; add a transition, or remove it."
            )


def _idle_edges(tasks: Mapping[str, dict[str, Json]], edges: list[_Edge]) -> set[int]:
    """Transitions that are never taken: out of `fail`, behind one that always holds, or with a `when` of false."""
    idle: set[int] = set()
    sources: dict[str, list[_Edge]] = {}
    for edge in edges:
        sources.setdefault(edge.source, []).append(edge)
    for source, outgoing in sources.items():
        settled = False
        certain = any(edge.always for edge in outgoing)
        for edge in outgoing:
            hidden = (edge.default and certain) or (settled and not edge.on_error)
            if hidden or tasks[source].get("type") == "fail" or edge.when == "false":
                idle.add(edge.index)
            elif edge.always and tasks[source].get("split") == "first":
                settled = True
    return idle


# ---- names ----------------------------------------------------------------------------------------------------------


def _names(report: Report, tasks: Mapping[str, dict[str, Json]], edges: list[_Edge]) -> None:
    everywhere = Graph(tuple(tasks), [(edge.source, edge.target) for edge in edges])
    for use in report.uses:
        for path in use.expression.paths:
            fault = _path_fault(path, use, tasks, everywhere)
            if fault is not None:
                report.add(use.pointer, "expression_name", fault)
        _outcome_faults(report, use, tasks)


def _path_fault(path: Path, use: Use, tasks: Mapping[str, Json], graph: Graph) -> str | None:
    root, *rest = path
    if use.in_map and root in ("item", "index"):
        return None
    if root == "input" or (use.in_when and root in _TASK_FACTS):
        return None
    if root == "job":
        if rest and rest[0] in _JOB_FACTS:
            return None
        return f"`{spell(path)}` is not known; of the job there is {_listed(_JOB_FACTS, 'job.')}."
    if root == "tasks":
        return _task_path_fault(path, use, tasks, graph)
    where = " (`output`, `outcome` and `error` alone are known in a `when`)" if root in _TASK_FACTS else ""
    return f"`{root}` is not known here{where}; there is input, tasks.<name>.output, job.id and their like."


def _task_path_fault(path: Path, use: Use, tasks: Mapping[str, Json], graph: Graph) -> str | None:
    name = path[1] if len(path) > 1 else None
    if not isinstance(name, str):
        return "`tasks` is read one task at a time, by a fixed name, as in tasks.verify.output."
    if name not in tasks:
        return f"`{spell(path)}`: there is no task {name!r}."
    if len(path) < 3 or path[2] not in _TASK_FACTS:
        return f"`{spell(path)}` is not known; of a task there is {_listed(_TASK_FACTS, '')}."
    own = use.in_when and name == use.task
    if use.task and not own and not graph.precedes(name, use.task):
        return f"`{spell(path)}`: no path leads through {name!r} before {use.task!r}, so it can have no value there."
    return None


def _outcome_faults(report: Report, use: Use, tasks: Mapping[str, dict[str, Json]]) -> None:
    """A human task that can never answer what a condition asks for."""
    for path, literal in use.expression.comparisons:
        if use.in_when and path == ("outcome",):
            name: str | int | None = use.task
        elif len(path) == 3 and path[0] == "tasks" and path[2] == "outcome":
            name = path[1]
        else:
            continue
        task = tasks.get(str(name), {})
        outcomes = task.get("outcomes", ["approve", "reject"])
        if task.get("type") == "human" and isinstance(outcomes, list) and literal not in outcomes:
            detail = f"{name!r} never ends with {literal!r}; its outcomes are {', '.join(map(str, outcomes))}."
            report.add(use.pointer, "unknown_outcome", detail)


def _listed(names: tuple[str, ...], prefix: str) -> str:
    return ", ".join(prefix + name for name in names)
