"""The history of jobs as an event log of IEEE 1849 (XES): a trace for each job, an event for each finished task run.

Read in chunks by the job's id, which is in order of time, so memory does not grow with the log and the number of
queries only with the number of chunks.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db.models import QuerySet

from workflows.models import ArchivedJob, Definition, Job, TaskRun, TaskRunStatus

from .xmltext import attribute

CHUNK_JOBS = 500
CHUNK_ARCHIVED = 50
FLUSH_CHARACTERS = 64 * 1024
REPLACED_KEY = "characters_replaced"

HEAD = """\
<?xml version="1.0" encoding="UTF-8"?>
<log xes.version="1849.2016" xmlns="http://www.xes-standard.org/">
<extension name="Concept" prefix="concept" uri="http://www.xes-standard.org/concept.xesext"/>
<extension name="Lifecycle" prefix="lifecycle" uri="http://www.xes-standard.org/lifecycle.xesext"/>
<extension name="Time" prefix="time" uri="http://www.xes-standard.org/time.xesext"/>
<extension name="Organizational" prefix="org" uri="http://www.xes-standard.org/org.xesext"/>
<extension name="Identity" prefix="identity" uri="http://www.xes-standard.org/identity.xesext"/>
<global scope="trace">
<string key="concept:name" value=""/>
<id key="identity:id" value="00000000-0000-0000-0000-000000000000"/>
<string key="workflow" value=""/>
<int key="version" value="0"/>
<string key="status" value=""/>
</global>
<global scope="event">
<string key="concept:name" value=""/>
<string key="lifecycle:transition" value="complete"/>
<date key="time:timestamp" value="1970-01-01T00:00:00.000+00:00"/>
<string key="task" value=""/>
<int key="iteration" value="1"/>
</global>
<classifier name="Activity" scope="event" keys="concept:name"/>
<classifier name="Task" scope="event" keys="task"/>
"""
TAIL = "</log>\n"

Trace = tuple[Any, str]
"""A job's id, and its trace as text."""
RunRow = tuple[Any, str, int, str | None, str, str, datetime]
RUN_FIELDS = ("job_id", "task", "iteration", "outcome", "actor", "department", "finished_at")
JOB_FIELDS = ("id", "workflow", "version", "status", "correlation_id")


class _Attributes:
    """The attributes of one element, in order; it says so itself when a text had to be changed to fit XML."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.replaced = False

    def text(self, key: str, value: str) -> None:
        """A string, with what XML cannot hold replaced."""
        escaped, replaced = attribute(value)
        self.replaced = self.replaced or replaced
        self.parts.append(f'<string key="{key}" value="{escaped}"/>')

    def plain(self, kind: str, key: str, value: object) -> None:
        """A value that needs no escape: a number, an id, a time."""
        self.parts.append(f'<{kind} key="{key}" value="{value}"/>')

    def __str__(self) -> str:
        if self.replaced:
            return "".join(self.parts) + f'<boolean key="{REPLACED_KEY}" value="true"/>'
        return "".join(self.parts)


class Titles:
    """What the tasks of a workflow are called: read once for each version, whatever the number of jobs."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], dict[str, str]] = {}

    def learn(self, versions: Iterable[tuple[str, int]]) -> None:
        """Read the definitions among these that are not known yet: one query a workflow."""
        missing = {version for version in versions if version not in self._known}
        for workflow in sorted({name for name, _ in missing}):
            numbers = [number for name, number in missing if name == workflow]
            self._known.update({(workflow, number): {} for number in numbers})
            for definition in Definition.objects.filter(name=workflow, version__in=numbers):
                self._known[workflow, definition.version] = _titles(definition.document)

    def of(self, workflow: str, version: int, task: str) -> str:
        """The task's title; its name where the title holds an expression or there is none."""
        return self._known[workflow, version].get(task, task)


def _titles(document: Any) -> dict[str, str]:
    titles = {name: task.get("title") for name, task in document.get("tasks", {}).items()}
    return {name: title for name, title in titles.items() if isinstance(title, str) and title and "${" not in title}


def stamp(moment: datetime) -> str:
    """A moment as xs:dateTime, in UTC, to the millisecond, with its zone."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def stream_xes(
    jobs: QuerySet[Job], archived: QuerySet[ArchivedJob] | None = None, *, name: str, as_of: datetime
) -> Iterator[bytes]:
    """The log of these jobs, and of archived ones, in pieces of UTF-8, by the job's id. `name` says what was asked for;
    it becomes the log's own name."""
    buffer: list[str] = [HEAD, _log_attributes(name, as_of)]
    size = 0
    titles = Titles()
    sources = [_traces(jobs, titles)] if archived is None else [_traces(jobs, titles), _archived(archived, titles)]
    for _, trace in heapq.merge(*sources, key=itemgetter(0)):
        buffer.append(trace)
        size += len(trace)
        if size >= FLUSH_CHARACTERS:
            yield "".join(buffer).encode()
            buffer, size = [], 0
    buffer.append(TAIL)
    yield "".join(buffer).encode()


def gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes as a gzip file, compressed as they come."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    for piece in pieces:
        packed = packer.compress(piece)
        if packed:
            yield packed
    yield packer.flush()


def _log_attributes(name: str, as_of: datetime) -> str:
    log = _Attributes()
    log.text("concept:name", name)
    log.text("lifecycle:model", "standard")
    log.plain("date", "exported_at", stamp(as_of))
    return f"{log}\n"


def _archived(jobs: QuerySet[ArchivedJob], titles: Titles) -> Iterator[Trace]:
    """The traces of archived jobs. Their documents hold the runs, so fewer are read at once."""
    for job in jobs.defer(None).order_by("id").iterator(chunk_size=CHUNK_ARCHIVED):
        titles.learn({(job.workflow, job.version)})
        done = [run for run in job.task_runs() if run.status == TaskRunStatus.DONE]
        rows = [tuple(getattr(run, column) for column in RUN_FIELDS) for run in done]
        yield job.pk, _trace(tuple(getattr(job, column) for column in JOB_FIELDS), rows, titles)


def _traces(jobs: QuerySet[Job], titles: Titles) -> Iterator[Trace]:
    ordered = jobs.order_by("id")
    last = None
    while True:
        page = ordered if last is None else ordered.filter(id__gt=last)
        chunk = list(page.values_list(*JOB_FIELDS)[:CHUNK_JOBS])
        if not chunk:
            return
        last = chunk[-1][0]
        titles.learn({(workflow, version) for _, workflow, version, _, _ in chunk})
        runs = groupby(_runs([job[0] for job in chunk]), key=itemgetter(0))
        # Both are in order of the job's id, so one walk joins them; a job without runs is passed by.
        owner, events = next(runs, (None, iter(())))
        for job in chunk:
            mine: Iterable[RunRow] = ()
            if owner == job[0]:
                mine = list(events)
                owner, events = next(runs, (None, iter(())))
            yield job[0], _trace(job, mine, titles)


def _runs(job_ids: list[Any]) -> Iterator[RunRow]:
    """The finished runs of these jobs, by job, in the order in which they were committed."""
    done = TaskRun.objects.filter(job_id__in=job_ids, status=TaskRunStatus.DONE)
    return done.order_by("job_id", "sequence").values_list(*RUN_FIELDS).iterator(chunk_size=2000)


def _trace(job: tuple[Any, ...], runs: Iterable[RunRow], titles: Titles) -> str:
    job_id, workflow, version, status, correlation_id = job
    head = _Attributes()
    head.text("concept:name", correlation_id or str(job_id))
    head.plain("id", "identity:id", job_id)
    head.text("workflow", workflow)
    head.plain("int", "version", version)
    head.text("status", status)
    events = [_event(run, titles.of(workflow, version, run[1])) for run in runs]
    return f"<trace>{head}\n{''.join(events)}</trace>\n"


def _event(run: RunRow, title: str) -> str:
    _, task, iteration, outcome, actor, department, finished_at = run
    event = _Attributes()
    event.text("concept:name", title)
    event.text("lifecycle:transition", "complete")
    event.plain("date", "time:timestamp", stamp(finished_at))
    if actor:
        event.text("org:resource", actor)
    if department:
        event.text("org:group", department)
    if outcome is not None:
        event.text("outcome", outcome)
    event.text("task", task)
    event.plain("int", "iteration", iteration)
    return f"<event>{event}</event>\n"
