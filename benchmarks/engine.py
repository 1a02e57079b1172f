"""What the engine itself costs, without a database: `make bench-engine`.

Publishing a document of 10, 100 and 1,000 tasks, with nothing compiled before, and one step of a job of that size:
`decide` alone, and the state read from JSON and written back, which a worker does once per claim and once per commit.
The chain has one active task at a time; in the fan all are active at once.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from workflows.engine.decide import decide
from workflows.engine.definition import Definition
from workflows.engine.events import JobStarted, TaskCompleted
from workflows.engine.expressions import compiled
from workflows.engine.parsing import parse, published
from workflows.engine.state import JobState
from workflows.engine.validation import validate

SIZES = (10, 100, 1_000)
START = datetime(2030, 1, 1, tzinfo=UTC)
REPEATS = 3


def chain(size: int) -> dict[str, Any]:
    """One task after the other, each with a condition that reads the one before."""
    tasks: dict[str, Any] = {
        f"t{index}": {"type": "plugin", "plugin": "bench.step", "compensate": "bench.undo"} for index in range(size)
    }
    edges = [{"from": f"t{index}", "to": f"t{index + 1}", "when": f"output >= {index}"} for index in range(size - 1)]
    return {"name": "chain", "tasks": tasks, "transitions": edges}


def fan(size: int) -> dict[str, Any]:
    """One task, all others after it at once, and a join of them."""
    middle = [f"t{index}" for index in range(size - 2)]
    tasks = {name: {"type": "plugin", "plugin": "bench.step"} for name in ("first", *middle, "last")}
    edges = [{"from": "first", "to": name} for name in middle] + [{"from": name, "to": "last"} for name in middle]
    return {"name": "fan", "tasks": tasks, "transitions": edges}


def office(size: int) -> dict[str, Any]:
    """What people publish: every other task a person's, with a form; mappings, conditions and retriers everywhere."""
    form = {"type": "object", "required": ["sum"], "properties": {"sum": {"type": "number"}, "why": {"type": "string"}}}
    tasks: dict[str, Any] = {}
    for index in range(size):
        before = f"tasks.t{index - 1}.output" if index else "input"
        given = {"sum": f"${{{before}.sum{index}}}", "text": f"no. {index} of ${{input.no}}"}
        human = {"type": "human", "department": "office", "form": form, "due": "P3D", "title": "Look at ${input.no}"}
        step = {"type": "plugin", "plugin": "bench.step", "retry": [{"errors": ["Down"]}], "compensate": "bench.undo"}
        tasks[f"t{index}"] = {**(human if index % 2 else step), "input": given}
    edges = [{"from": f"t{index}", "to": f"t{index + 1}", "when": f"output.sum > {index}"} for index in range(size - 1)]
    return {"name": "office", "tasks": tasks, "transitions": edges}


def publish(document: dict[str, Any]) -> None:
    """What publishing asks of the engine: every fault, and the definition."""
    compiled.cache_clear()
    assert not validate(document)
    published(document)


def best(act: Callable[[], object], repeats: int = REPEATS) -> float:
    """The quickest of several runs, in seconds: what disturbs a run only ever makes it slower."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    return min(times)


def walk(definition: Definition, size: int) -> tuple[list[float], JobState]:
    """Run a job to its end; the seconds that each decision took, and a state from the middle of it."""
    state = decide(definition, JobState.new({}), JobStarted("job", START, 50), START).state
    seconds: list[float] = []
    middle = state
    now = START
    while state.status == "READY":
        now += timedelta(seconds=1)
        task = state.runnable[0]
        began = time.perf_counter()
        state = decide(definition, state, TaskCompleted(task, 1, size), now).state
        state.status  # noqa: B018  what the executor asks after each step
        state.runnable  # noqa: B018
        seconds.append(time.perf_counter() - began)
        if len(seconds) == size // 2:
            middle = state
    assert state.status == "DONE", state.error
    return seconds, middle


def main() -> None:
    """Measure and print."""
    print("| tasks | publish: validate and compile |\n| ---: | ---: |")
    for size in SIZES:
        document = office(size)
        print(f"| {size} | {best(lambda document=document: publish(document)) * 1e3:.1f} ms |", flush=True)
    print("\n| document | tasks | decide, median | decide, slowest 1% | state from JSON | to JSON |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for make in (chain, fan):
        for size in SIZES:
            document = make(size)
            definition = parse(document)
            walk(definition, size)
            runs = [walk(definition, size) for _ in range(REPEATS)]
            steps = sorted(min(several) for several in zip(*(seconds for seconds, _ in runs), strict=True))
            middle = runs[0][1]
            text = json.dumps(middle.to_json())
            reading = best(lambda text=text: JobState.from_json(json.loads(text), {}))
            restored = JobState.from_json(json.loads(text), {})
            one_more = decide(definition, restored, TaskCompleted(restored.runnable[0], 1, size), START).state
            restored.to_json()
            writing = best(lambda state=one_more: json.dumps(state.to_json()))
            print(
                f"| {make.__name__} | {size} | {statistics.median(steps) * 1e6:.0f} µs "
                f"| {steps[int(len(steps) * 0.99)] * 1e6:.0f} µs | {reading * 1e6:.0f} µs | {writing * 1e6:.0f} µs |",
                flush=True,
            )


if __name__ == "__main__":
    main()
