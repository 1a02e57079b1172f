"""Replays a log as an office would work it: every case submitted over the API, every department deciding its own items.

The engine decides where a case goes. A department looks at its list of open items, as its staff would, and answers an
item as it did in the log. The replay only ever checks: an item at a department whose turn it is not, in the log, is a
fault and ends the replay.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from typing import Any, Protocol

from .model import DEFINITION, DEPARTMENTS, WORKFLOW, Answer, Trace, answers, case_input

BATCH = 500
PAGE = 200
LAZIEST = 2.0
HUMAN, EXTERNAL = "human", "external"


class Client(Protocol):
    """One user of the API. Both raise `ApiError` for an answer that is no success."""

    def get(self, path: str) -> Any:
        """The JSON at a path, with its query."""

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        """The JSON that comes back for a body."""


class ApiError(Exception):
    """The API refused: method, path, status and what it said."""


class Diverged(Exception):
    """A case is not where the log has it."""


@dataclass(slots=True)
class Case:
    """One trace on its way: its answers, and how many of them were given."""

    name: str
    answers: list[Answer]
    given: int = 0
    job: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def complete(self) -> bool:
        return self.given == len(self.answers)


class Replay:
    """A log on its way through the office. `clients` has one member of each department; `submitter` sends cases in."""

    def __init__(self, traces: Sequence[Trace], submitter: Client, clients: dict[str, Client]) -> None:
        self.traces = traces
        self.submitter = submitter
        self.clients = clients
        self.cases: dict[str, Case] = {}
        self.handled: set[str] = set()

    @property
    def steps(self) -> int:
        """Answers given so far."""
        return sum(case.given for case in self.cases.values())

    @property
    def complete(self) -> bool:
        """True when every case was submitted and every answer of the log was given."""
        return len(self.cases) == len(self.traces) and all(case.complete for case in self.cases.values())

    def submit(self) -> None:
        """Submit every trace as a job; the trace's name is its correlation id."""
        for start in range(0, len(self.traces), BATCH):
            batch = self.traces[start : start + BATCH]
            jobs = [{"workflow": WORKFLOW, "input": case_input(trace), "correlation_id": trace.name} for trace in batch]
            created = self.submitter.post("/api/v1/jobs/batch/", {"jobs": jobs})["jobs"]
            for trace, job in zip(batch, created, strict=True):
                if job["correlation_id"] != trace.name:
                    raise Diverged(f"{trace.name} came back as {job['correlation_id']}")
                self.cases[job["id"]] = Case(trace.name, answers(trace.activities), job=job["id"])

    def open_items(self, task: str) -> Iterator[dict[str, Any]]:
        """The open items of one task's department, page after page, as its member sees them."""
        path: str | None = (
            f"/api/v1/work-items/?department={DEPARTMENTS[task]}&status=open&workflow={WORKFLOW}&page_size={PAGE}"
        )
        while path:
            page = self.clients[task].get(path)
            yield from page["results"]
            path = page["next"]

    def waiting(self, task: str) -> Iterator[dict[str, Any]]:
        """Open items of a department that the log has an answer for, and that were not taken up yet.

        An item of a case whose trace has ended is left where it is, as the office left it.
        """
        for item in self.open_items(task):
            case = self.cases.get(item["job"])
            if case is not None and item["id"] not in self.handled and not case.complete:
                self.handled.add(item["id"])
                yield item

    def answer(self, item: dict[str, Any]) -> None:
        """Answer one item as its department did. Raises Diverged where the log has another department's turn."""
        case = self.cases[item["job"]]
        with case.lock:  # the next item of a case may be listed before the answer to this one has come back
            wanted = case.answers[case.given] if not case.complete else None
            if wanted is None or wanted.task != item["task"]:
                raise Diverged(f"{case.name}, step {case.given + 1}: {item['task']} is asked, the log has {wanted}")
            client = self.clients[wanted.task]
            if DEFINITION["tasks"][wanted.task]["type"] == HUMAN:
                body = {"outcome": wanted.outcome, "data": wanted.data}
                headers = {"If-Match": f'"{item["version"]}"'}
                client.post(f"/api/v1/work-items/{item['id']}/complete/", body, headers)
            else:
                body = {"status": wanted.outcome, "data": wanted.data, "response_id": item["id"]}
                client.post(f"/api/v1/jobs/{item['job']}/tasks/{wanted.task}/response/", body)
            case.given += 1

    def round(self) -> int:
        """Every department answers, once over, what is open and its turn. The number of answers given."""
        before = self.steps
        for task in DEPARTMENTS:
            for item in list(self.waiting(task)):
                self.answer(item)
        return self.steps - before


class Office:
    """The replay with everyone at work at once: a reader for each department's list, and several hands that answer."""

    def __init__(self, replay: Replay, hands: int) -> None:
        self.replay = replay
        self.hands = hands
        self.stop = threading.Event()
        self.error: BaseException | None = None

    def work(self, *, patience: float, pause: float = 0.2) -> None:
        """Work until the log is done.

        Raises the first error of any hand, and Diverged when nothing moves for `patience` seconds.
        """
        with ThreadPoolExecutor(self.hands) as answering, ThreadPoolExecutor(len(DEPARTMENTS)) as reading:
            for task in DEPARTMENTS:
                reading.submit(self._guarded, self._read, task, answering, pause)
            still = 0.0
            steps = -1
            while not self.stop.is_set() and not self.replay.complete:
                self.stop.wait(pause)
                still = still + pause if self.replay.steps == steps else 0.0
                steps = self.replay.steps
                if still > patience:
                    self.error = Diverged(f"Nothing moved for {patience:.0f} s: {self._unfinished()}")
                    break
            self.stop.set()
        if self.error:
            raise self.error

    def _read(self, task: str, answering: ThreadPoolExecutor, pause: float) -> None:
        """Read a department's list from end to end, hand out what is to be done, and read again when that is answered.

        A list without anything to do is read less and less often, up to every `LAZIEST` seconds.
        """
        wait = pause
        while not self.stop.is_set():
            under_way = []
            for item in self.replay.waiting(task):
                under_way.append(answering.submit(self._guarded, self._answer, item))
                if self.stop.is_set():
                    return
            wait_for(under_way)
            wait = pause if under_way else min(wait * 1.5, LAZIEST)
            self.stop.wait(wait)

    def _answer(self, item: dict[str, Any]) -> None:
        if not self.stop.is_set():
            self.replay.answer(item)

    def _guarded(self, act: Any, *arguments: Any) -> None:
        try:
            act(*arguments)
        except BaseException as error:
            self.error = self.error or error
            self.stop.set()

    def _unfinished(self) -> str:
        cases = [case for case in self.replay.cases.values() if not case.complete]
        first = "; ".join(f"{case.name} before {case.answers[case.given].task}" for case in cases[:5])
        return f"{len(cases)} cases wait, such as {first}"
