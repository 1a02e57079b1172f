"""The definitions of `docs/patterns.md`, run as the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.engine.driver import Job
from workflows.engine.decide import decide
from workflows.engine.events import CloseChildren, JobStarted, Publish, StartChildren, StopAwaiting, WithdrawWork
from workflows.engine.parsing import fragment, parse
from workflows.engine.state import JobState

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "patterns.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^## (\d+)\. [^\n]*\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
SECTIONS = {int(number): text for number, text in SECTION.findall(PAGE)}
BLOCK = re.compile(r"```json\n(.*?)```", re.DOTALL)
LATE = object()
"""No answer: the time passes."""

ANSWERS: dict[int, dict[str, list[Any]]] = {
    4: {"look": [{"amount": 500}]},
    5: {"look": [{"amount": 500}]},
    6: {"call": [{"kinds": ["injury", "fire"]}]},
    7: {"call": [{"kinds": ["injury", "fire"]}]},
    10: {"start": [{"has_text": True}], "review": ["rewrite", "good"]},
    14: {"read": [{"lines": [1, 2, 3]}]},
    15: {"collect": [["p", "q"], ["r"]], "more": ["more", "enough"]},
    16: {"answer": [LATE]},
    19: {"second_look": [LATE]},
    20: {"approve": [LATE]},
}
"""What the tasks of each page answer, in turn: plugins and children with an output, people with an outcome. Where
nothing is said, they answer well."""


def run(number: int, input: Any) -> Job:
    """Run the job of a page to its end."""
    job = Job(parse(json.loads(BLOCK.findall(SECTIONS[number])[0])), input)
    answers = {name: list(each) for name, each in ANSWERS.get(number, {}).items()}

    def answer(name: str, well: Any) -> Any:
        return answers[name].pop(0) if answers.get(name) else well

    for _ in range(50):
        if job.status not in ("READY", "PEND"):
            break
        if job.runnable:
            name = job.runnable[0]
            job.done(name, answer(name, {}))
            continue
        item = job.state.waiting[0]
        outcome = answer(item.task, "approve")
        if outcome is LATE or item.kind == "wait":
            assert job.state.wake_at is not None
            job.wait(seconds=(job.state.wake_at - job.now).total_seconds())
        elif item.kind == "children":
            job.children(item.task, [])
        elif item.kind == "event":
            job.event(item.task, {})
        else:
            job.answer(item.task, outcome)
    assert not any(answers.values()), f"never asked: {answers}"
    return job


def finished(job: Job) -> list[str | None]:
    return [record.task for record in job.history if record.event == "task.completed"]


def test_the_page_tells_of_all_twenty() -> None:
    assert list(SECTIONS) == list(range(1, 21))
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \| (yes|partly|no) \|", PAGE, re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(SECTIONS)
    for number, name, verdict in rows:
        assert f"## {number}. {name}\n" in PAGE
        first_word = SECTIONS[int(number)].strip().split(".", 1)[0]
        assert (first_word == verdict.capitalize()) or verdict == "yes"
        assert BLOCK.search(SECTIONS[int(number)]) or verdict == "no"


@pytest.mark.parametrize("number", [number for number, text in SECTIONS.items() if BLOCK.search(text)])
def test_the_definition_of_a_pattern_takes_the_path_that_its_page_tells(number: int) -> None:
    (path,) = re.findall(r"^Path: (.*)$", SECTIONS[number], re.MULTILINE)
    job = run(number, {"cars": ["a", "b"], "offer": 7})
    assert finished(job) == re.findall(r"`([^`]+)`", path)
    assert job.status == ("CANC" if number == 20 else "DONE")


def definition_of(number: int) -> Any:
    return parse(json.loads(BLOCK.findall(SECTIONS[number])[0]))


def test_the_split_runs_both_branches_at_once() -> None:
    job = Job(definition_of(2))
    job.done("order")
    assert job.runnable == ("pack", "bill")


def test_the_synchronization_waits_for_the_slower_branch() -> None:
    job = Job(definition_of(3))
    job.done("pack")
    assert (job.status, job.standing("send")) == ("PEND", "-")


def test_the_discriminator_does_not_wait_for_the_second() -> None:
    job = Job(definition_of(9))
    job.answer("right")
    assert job.runnable == ("plan",)
    job.answer("left")
    assert job.runnable == ("plan",)
    job.done("plan")
    assert (job.status, job.state.tasks["plan"].iteration) == ("DONE", 1)


def test_each_instance_publishes_an_event_of_its_own() -> None:
    job = Job(definition_of(12), {"cars": ["a", "b"]})
    (command,) = job.commands
    assert isinstance(command, StartChildren)
    child = fragment(job.definition, "fines")
    published = []
    for index, item in enumerate(command.items):
        state = JobState.new({**command.names, "item": item, "index": index})
        decision = decide(child, state, JobStarted("child", job.now, 50), job.now)
        published += [each.data for each in decision.commands if isinstance(each, Publish)]
        assert decision.state.status == "DONE"
    assert published == [{"car": "a"}, {"car": "b"}]


def test_where_time_chooses_the_request_is_taken_back() -> None:
    job = Job(definition_of(16), {"offer": 7})
    job.wait(days=14)
    assert job.commands == (StopAwaiting("answer", 1, 1),)
    job = Job(definition_of(16), {"offer": 7})
    job.event("answer", {"yes": True})
    assert job.runnable == ("book",)


def test_a_task_that_is_cancelled_is_withdrawn_from_its_department() -> None:
    job = Job(definition_of(19))
    job.skip("second_look")
    assert job.commands == (WithdrawWork("second_look", 1, "skipped"),)
    assert job.runnable == ("pay",)


def test_a_case_that_is_cancelled_leaves_nothing_open() -> None:
    job = Job(definition_of(20))
    job.done("book")
    job.cancel()
    assert (job.status, job.commands) == ("CANC", (WithdrawWork("approve", 1, "cancelled"),))
    job = Job(definition_of(14))
    job.done("read", {"lines": [1]})
    job.cancel()
    assert job.commands == (CloseChildren("reserve", 1, 1, "cancelled"),)
