"""Moving a job from one version of its workflow to another: the state it has, said in the words of the new version.

What has happened stays as it happened. A task goes on as the task of the same name, or as the one the mapping names.
Readings of the contract that are settled here:

* A transition of the new version that leaves a task which has ended, and which the old version did not have, counts as
  dead: the job has passed that place. A new start task is passed in the same way. Both are told.
* Whatever is waiting goes on as it was asked: the department, the form, the due time, the event, the end of a wait.
* Transitions are known by (from, to, kind); several of one kind by their condition, then by their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from .contract import Json
from .decide import concluded
from .definition import Definition, Task, Transition
from .events import Command, Record
from .expressions import Expression, spell
from .progress import Progress
from .state import DEAD, DONE, FAILED, PENDING, READY, SKIPPED, WAITING, WITHDRAWN, JobState, TaskState
from .templates import Template

NEEDS_MAPPING = "needs_mapping"
_ENDED = frozenset({DONE, SKIPPED, FAILED})


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a job cannot move. With the code `needs_mapping` it could, if the mapping said where `task` goes on."""

    code: str
    task: str
    detail: str


@dataclass(frozen=True, slots=True)
class Migration:
    """What becomes of a job. Where there are obstacles the state is the old one, and nothing happens.

    `notes` are sentences about what the job passes, keeps or loses.
    """

    state: JobState
    obstacles: tuple[Obstacle, ...] = ()
    notes: tuple[str, ...] = ()
    commands: tuple[Command, ...] = ()
    records: tuple[Record, ...] = ()


def mapping_obstacles(old: Definition, new: Definition, mapping: Mapping[str, str]) -> list[Obstacle]:
    """What is wrong with a mapping of task names whatever the job: names that a version does not have, and two that
    become one."""
    found = []
    for source, target in mapping.items():
        if source not in old.tasks:
            found.append(Obstacle("unknown_task", source, f"The old version has no task {source!r}."))
        if target not in new.tasks:
            detail = f"The new version has no task {target!r} for {source!r} to go on as."
            found.append(Obstacle("unknown_task", target, detail))
    for target in sorted({target for target in mapping.values() if list(mapping.values()).count(target) > 1}):
        found.append(Obstacle("ambiguous_mapping", target, f"Several tasks are mapped to {target!r}; map one."))
    return found


def migrate(old: Definition, new: Definition, state: JobState, mapping: Mapping[str, str], now: datetime) -> Migration:
    """The state of a job of the old version as a state of the new one, moved on as far as that makes it go.

    Pure, like `decide`: a history that names both versions and the mapping replays it.
    """
    obstacles = mapping_obstacles(old, new, mapping)
    if obstacles:
        return Migration(state, tuple(obstacles))
    if not state.started:
        return Migration(state)
    if state.phase not in ("active", "failed"):
        detail = f"The job is {state.phase}; only one that is still on its way forward can move."
        return Migration(state, (Obstacle("wrong_phase", "", detail),))
    return _Move(old, new, state, mapping).migration(now)


class _Move:
    """One migration in the making."""

    def __init__(self, old: Definition, new: Definition, state: JobState, mapping: Mapping[str, str]) -> None:
        self.old = old
        self.new = new
        self.state = state
        self.obstacles: list[Obstacle] = []
        self.notes: list[str] = []
        self.names = self._names(mapping)
        self.edges = _counterparts(old, new, {**{name: name for name in old.tasks}, **mapping})

    def _names(self, mapping: Mapping[str, str]) -> dict[str, str]:
        """Old name to new name, of every task the job has reached and the new version has."""
        found: dict[str, str] = {}
        taken: dict[str, str] = {}
        for name in self.state.tasks:
            target = mapping.get(name, name)
            if target not in self.new.tasks:
                continue
            if target in taken:
                detail = f"Both {taken[target]!r} and {name!r} would go on as {target!r}; map one of them elsewhere."
                self.obstacles.append(Obstacle("ambiguous_mapping", name, detail))
                continue
            found[name] = target
            taken[target] = name
        return found

    def migration(self, now: datetime) -> Migration:
        for name, task in self.state.tasks.items():
            self._check(name, task)
        if self.obstacles:
            return Migration(self.state, tuple(self.obstacles))
        moved = self._moved()
        progress = Progress(self.new, moved, now)
        self._pass(progress)
        self._check_reads(progress)
        if self.obstacles:
            return Migration(self.state, tuple(self.obstacles))
        for name in moved.active:
            if moved.tasks[name].status == READY and moved.phase == "active":
                progress.enqueue(name)
        if moved.phase == "active":
            progress.settle(name for name in self.new.tasks if not _begun(progress.tasks.get(name)))
        decision = concluded(progress, moved)
        self.notes += [f"{record.task} is skipped." for record in decision.records if record.event == "task.skipped"]
        return Migration(decision.state, (), tuple(self.notes), decision.commands, decision.records)

    # ---- can it move? ----

    def _check(self, name: str, task: TaskState) -> None:
        target = self.names.get(name)
        if not task.active:
            return
        if target is None and any(obstacle.task == name for obstacle in self.obstacles):
            return
        if target is None:
            detail = f"The job is at {name!r}, which the new version does not have: map it to one of its tasks."
            self.obstacles.append(Obstacle(NEEDS_MAPPING, name, detail))
            return
        before, after = self.old.tasks[name], self.new.tasks[target]
        if before.type != after.type:
            detail = f"The job is at {name!r}, which is {before.type} there and {after.type} in the new version."
            self.obstacles.append(Obstacle("other_type", name, detail))
        elif task.status == WAITING:
            self._check_waiting(name, task, before, after)

    def _check_waiting(self, name: str, task: TaskState, before: Task, after: Task) -> None:
        lost = [outcome for outcome in before.outcomes if after.outcomes and outcome not in after.outcomes]
        if lost:
            listed = ", ".join(f"`{outcome}`" for outcome in lost)
            detail = f"{name!r} is open and offers {listed}, which the new version no longer has."
            self.obstacles.append(Obstacle("outcome_gone", name, detail))
        elif any(before.spec.get(field) != after.spec.get(field) for field in _ASKED.get(task.kind, ())):
            self.notes.append(f"{name} goes on waiting as it was asked for in the old version.")

    def _check_reads(self, progress: Progress) -> None:
        """A task that is still to run reads one that the new version has put where this job has been already."""
        ahead = _ahead(self.new, progress)
        missing = set(self.new.tasks) - set(self.names.values()) - ahead - set(self.old.tasks)
        for reader in self.new.tasks if missing else ():
            if reader not in ahead:
                continue
            for expression in _expressions(self.new, reader):
                for path in expression.paths:
                    read = path[1] if len(path) > 1 and path[0] == "tasks" else None
                    if read in missing and f"has({spell(path)}" not in expression.text:
                        gone = sorted(name for name in self.state.tasks if name not in self.names)
                        hint = f" Map the task that did its work: {', '.join(gone)}." if gone else ""
                        detail = f"{reader!r} reads {spell(path)}, and this job has passed {read!r} without it.{hint}"
                        obstacle = Obstacle("output_gone", str(read), detail)
                        if obstacle not in self.obstacles:
                            self.obstacles.append(obstacle)

    # ---- the move ----

    def _moved(self) -> JobState:
        state, names = self.state, self.names
        failure = state.failure
        if failure is not None and failure.get("task") in names:
            failure = {**failure, "task": names[str(failure["task"])]}
        undo = []
        for name, iteration in state.undo:
            if name in names and self.new.tasks[names[name]].compensate is not None:
                undo.append((names[name], iteration))
            else:
                self.notes.append(f"{name} can no longer be undone: the new version has no compensation for it.")
        return replace(
            state,
            tasks={names[name]: self._task(name, task) for name, task in state.tasks.items() if name in names},
            transitions={self.edges[i]: word for i, word in state.transitions.items() if i in self.edges},
            loops={self.edges[i]: count for i, count in state.loops.items() if i in self.edges},
            active=tuple(names[name] for name in state.active),
            last=None if state.last is None else names.get(state.last),
            failure=failure,
            undo=tuple(undo),
        )

    def _task(self, name: str, task: TaskState) -> TaskState:
        same_retry = self.old.tasks[name].retry == self.new.tasks[self.names[name]].retry
        return replace(
            task,
            retries=task.retries if same_retry else {},
            started_by=None if task.started_by is None else self.edges.get(task.started_by),
            # A loop that is gone is still why the task failed: whoever retries it goes on from its end.
            loop=None if task.loop is None else self.edges.get(task.loop, task.loop),
        )

    def _pass(self, progress: Progress) -> None:
        """New transitions out of tasks that have ended are dead; so are new start tasks."""
        for edge in self.new.transitions:
            source = progress.tasks.get(edge.source)
            if edge.is_loop or source is None or not _ended(source) or edge.index in progress.transitions:
                continue
            progress.transitions[edge.index] = DEAD
            if source.status == DONE and not edge.on_error:
                self.notes.append(f"The new transition from {edge.source} to {edge.target} was passed.")
        for name in self.new.start_tasks:
            if name not in progress.tasks:
                self.notes.append(f"The new start task {name} was passed.")


_ASKED: Mapping[str, tuple[str, ...]] = {
    "human": ("department", "outcomes", "form", "due", "follow_up", "assignee", "quorum", "constraints", "escalate"),
    "external": ("department", "queue", "message", "due"),
    "event": ("event", "correlation_key", "timeout"),
    "wait": ("for", "until"),
    "children": ("workflow", "version", "items", "task", "max_concurrency", "tolerated_failures", "queue"),
}
"""What a waiting task was asked for with, by what it waits for: a change of it does not reach those who wait."""


def _ended(task: TaskState) -> bool:
    return task.status in _ENDED and not task.dead_letter


def _begun(task: TaskState | None) -> bool:
    return task is not None and task.status not in (PENDING, WITHDRAWN)


def _kind(edge: Transition) -> str:
    return "loop" if edge.is_loop else "error" if edge.on_error else "normal"


def _counterparts(old: Definition, new: Definition, names: Mapping[str, str]) -> dict[int, int]:
    """For the transitions of the old version those of the new one, by index."""
    places: dict[tuple[str, str, str], list[Transition]] = {}
    for edge in new.transitions:
        places.setdefault((edge.source, edge.target, _kind(edge)), []).append(edge)
    found: dict[int, int] = {}
    for exact in (True, False):
        for edge in old.transitions:
            key = (names[edge.source], names[edge.target], _kind(edge))
            if edge.index in found:
                continue
            for candidate in places.get(key, ()):
                if not exact or (candidate.when, candidate.on_error) == (edge.when, edge.on_error):
                    found[edge.index] = candidate.index
                    places[key].remove(candidate)
                    break
    return found


def _ahead(definition: Definition, progress: Progress) -> set[str]:
    """The tasks that may still run: the active ones, and what can follow them, loops and repairs by restart aside."""
    active = [name for name in progress.active if name in definition.tasks]
    reached = set(active)
    stack = list(active)
    while stack:
        for edge in definition.outgoing[stack.pop()]:
            if edge.target in reached:
                continue
            if edge.is_loop or not _begun(progress.tasks.get(edge.target)):
                reached.add(edge.target)
                stack.append(edge.target)
                if edge.is_loop:
                    reset = set(definition.reset_by(edge.target)) - reached
                    reached |= reset
                    stack.extend(reset)
    # A join that had what it needs, but for a transition that is gone, starts with the move.
    for name in definition.tasks:
        edges = definition.incoming[name]
        if edges and not _begun(progress.tasks.get(name)) and all(e.index in progress.transitions for e in edges):
            reached.add(name)
    return reached


def _expressions(definition: Definition, name: str) -> Iterator[Expression]:
    """Every expression that is evaluated when the task starts, or when it is left."""
    for value in _texts(definition.tasks[name].spec):
        yield from (expression for _, expression in Template(value).expressions)
    for edge in definition.outgoing[name]:
        if edge.when is not None:
            yield edge.when


def _texts(value: Json) -> Iterator[str]:
    stack: list[Json] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Mapping):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
        elif isinstance(item, str) and "${" in item:
            yield item
