"""Why is it waiting? Every reason why a job does not move now, in words and codes, and what would move it.

Reads only, and a number of rows and statements that is bounded whatever the number of jobs.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from workflows.engine.exceptions import InvalidState
from workflows.engine.state import FAILED, JobState, Waiting
from workflows.execution.children import full_input, progress_of
from workflows.execution.definitions import get_definition
from workflows.execution.holds import SUSPENDED, is_limit
from workflows.models import (
    CLAIMABLE,
    FINISHED,
    EventWaiter,
    History,
    Job,
    JobStatus,
    Limit,
    Slot,
    Suspension,
    WaitStatistic,
    Worker,
)

from .waits import WORKER

COUNT_MOST = 1000
"""Others in the queue are counted up to so many."""
NAMED_MOST = 5
"""So many holders of a limit, and failed children, are named."""
WORKER_SEEN_WITHIN = timedelta(seconds=60)
PAST = timedelta(seconds=30)
"""A timer that is so late is worth a word: the timers may not be running."""


@dataclass(frozen=True, slots=True)
class Before:
    """How long such waits took lately, in seconds: the median, the ninth decile, and of how many."""

    p50: float
    p90: float
    count: int


@dataclass(slots=True)
class Reason:
    """One reason why a job does not move.

    `code` is one of `worker`, `no_worker`, `run_at`, `running`, `lease_passed`, `suspended`, `workflow_suspended`,
    `all_suspended`, `limit`, `human`, `external`, `event`, `wait`, `retry`, `children`, `plugin`, `dead_letter`,
    `unreadable`, `done`, `cancelled`. `moves` says what would move it. `link` is a path of this server, `jobs` are the
    ids of jobs it is about (failed children, holders of a limit).
    """

    code: str
    text: str
    moves: str
    task: str | None = None
    iteration: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: Before | None = None
    link: str = ""
    jobs: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a higher floor knows of a request to a department: `whom` it waits for in words, who has claimed it, when it
    is due, and where it is shown."""

    whom: str
    claimed_by: str = ""
    due_at: datetime | None = None
    link: str = ""


Inquirer = Callable[[uuid.UUID], Mapping[tuple[str, int], Asked]]
_inquirers: list[Inquirer] = []


def register_inquirer(inquirer: Inquirer) -> None:
    """Let `inquirer(job_id)` say what it knows of the open requests of a job, by (task, iteration)."""
    if inquirer not in _inquirers:
        _inquirers.append(inquirer)


def why(job: Job) -> list[Reason]:
    """Every reason why a job does not move now; what holds all of it first. Reads `job.data`: select it."""
    now = timezone.now()
    reasons = [*_of_whole(job, now), *_of_tasks(job, now)]
    _add_statistics(job, reasons)
    return reasons


def line(reasons: list[Reason]) -> str:
    """The reasons in one line, for pages that show more than this."""
    if not reasons:
        return ""
    more = len(reasons) - 1
    return reasons[0].text + (f" And {more} more reason{'s' if more > 1 else ''}." if more else "")


# ---- what concerns the whole job ------------------------------------------------------------------------------------


def _of_whole(job: Job, now: datetime) -> Iterator[Reason]:
    if job.status in FINISHED:
        yield _ended(job)
        return
    held = False
    for reason in _suspensions(job):
        held = True
        yield reason
    if is_limit(job.hold):
        held = True
        yield _limit(job)
    if job.status not in CLAIMABLE:
        return
    if job.claimed_by is not None:
        yield _leased(job, now)
    elif job.run_at > now:
        text = f"It is to run at {_moment(job.run_at)}."
        yield Reason("run_at", text, "That time comes.", since=job.created_at, until=job.run_at)
    elif not held:
        yield _queued(job, now)


def _ended(job: Job) -> Reason:
    done = job.status == JobStatus.DONE
    text = f"It {'is done' if done else 'was cancelled'}: it waits for nothing."
    return Reason("done" if done else "cancelled", text, "Nothing: it has ended.", since=job.finished_at)


def _suspensions(job: Job) -> Iterator[Reason]:
    if job.hold == SUSPENDED:
        columns = ("at", "actor", "data")
        row = (
            History.objects.filter(job_id=job.pk, event="job.suspended").order_by("-sequence").values(*columns).first()
        )
        by = f" by {row['actor']}" if row and row["actor"] else ""
        because = _because(row["data"].get("reason", "")) if row else ""
        yield Reason(
            "suspended",
            f"It is suspended{by}{because}",
            "An operator resumes the job.",
            since=row["at"] if row else None,
        )
    over = Suspension.objects.active().filter(workflow__in=(Suspension.EVERYTHING, job.workflow)).order_by("workflow")
    for suspension in over:
        everything = suspension.workflow == Suspension.EVERYTHING
        what = "Everything" if everything else f"The workflow {suspension.workflow}"
        yield Reason(
            "all_suspended" if everything else "workflow_suspended",
            f"{what} is suspended by {suspension.suspended_by}{_because(suspension.reason)}",
            f"An operator resumes {'everything' if everything else 'the workflow'}.",
            since=suspension.suspended_at,
        )


def _because(reason: str) -> str:
    return _sentence(f": {reason}") if reason else "."


def _sentence(text: str) -> str:
    """The text, which others may have written, with a full stop."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _limit(job: Job) -> Reason:
    limit = Limit.objects.filter(code=job.hold).first()
    slots = list(Slot.objects.filter(limit__code=job.hold).order_by("taken_at").values("job_id", "task")[:NAMED_MOST])
    said = f"under the limit {job.hold}"
    if limit is not None:
        said += f" ({describe_limit(limit)})"
    ahead = _count(Job.objects.filter(hold=job.hold), job)
    text = f"It waits for its turn {said}, behind {ahead}."
    moves = "One that has a slot ends" if slots else "The rate allows another start"
    return Reason(
        "limit", text, f"{moves}, or an operator raises the limit.", jobs=[str(slot["job_id"]) for slot in slots]
    )


def describe_limit(limit: Limit) -> str:
    """A limit in words, such as "2 at once, 100 in 60 s"."""
    parts = []
    if limit.max_concurrency is not None:
        parts.append(f"{limit.max_concurrency} at once")
    if limit.rate_limit is not None:
        parts.append(f"{limit.rate_limit} in {limit.rate_per} s")
    return ", ".join(parts) or "no limit"


def _leased(job: Job, now: datetime) -> Reason:
    step = _step_at_work(job)
    if job.claimed_until is not None and job.claimed_until < now:
        text = f"Worker {job.claimed_by} had it and was last heard of before {_moment(job.claimed_until)}."
        return Reason("lease_passed", text, "Within seconds another worker takes it over.", task=step)
    what = f"the step {step}" if step else "it"
    text = f"Worker {job.claimed_by} is at {what} now."
    return Reason("running", text, "The step ends.", task=step, until=None)


def _step_at_work(job: Job) -> str | None:
    """The step a worker is at, as far as the last commit says; None where that cannot be said."""
    state = _state(job)
    if state is not None and state.started:
        return state.runnable[0] if state.runnable else None
    try:
        starts = get_definition(job.workflow, job.version, job.fragment).start_tasks
    except Exception:  # a definition that cannot be read: the worker will say so
        return None
    return starts[0] if starts else None


def _queued(job: Job, now: datetime) -> Reason:
    ahead = _count(
        Job.objects.filter(queue=job.queue, status__in=CLAIMABLE, claimed_by__isnull=True, hold="", run_at__lte=now),
        job,
    )
    since = max(job.created_at, job.run_at) if job.status == JobStatus.NEW else None
    if not Worker.objects.filter(queue=job.queue, seen_at__gte=now - WORKER_SEEN_WITHIN).exists():
        text = f"No worker of the queue {job.queue} was seen in the last {WORKER_SEEN_WITHIN.seconds} seconds."
        return Reason("no_worker", text, f"Start a cluster for the queue {job.queue}.", since=since)
    text = f"It waits for a worker of the queue {job.queue}, behind {ahead}."
    return Reason("worker", text, "A worker is free.", since=since)


def _count(jobs: Any, job: Job) -> str:
    """How many of these jobs come before a job, in words: counted up to a bound."""
    before = jobs.filter(Q(rank__lt=job.rank) | Q(rank=job.rank, pk__lt=job.pk), rank__lte=job.rank)
    count = before.order_by("rank", "id").values("pk")[: COUNT_MOST + 1].count()
    if count > COUNT_MOST:
        return f"more than {COUNT_MOST} others"
    return "no other" if count == 0 else f"{count} other{'s' if count > 1 else ''}"


# ---- what concerns one task -----------------------------------------------------------------------------------------


def _of_tasks(job: Job, now: datetime) -> Iterator[Reason]:
    if job.status in FINISHED:
        return
    state = _state(job)
    if state is None:
        if job.data.state is not None:
            yield Reason("unreadable", "Its state cannot be read by this release.", "Start the newer release.")
        elif job.status == JobStatus.FAIL:
            yield _dead_letter(job, {})
        return
    if job.status == JobStatus.FAIL:
        yield from _dead_letters(job, state)
    waiting = state.waiting
    kinds = {each.kind for each in waiting}
    asked = _asked(job.pk) if kinds & {"human", "external"} else {}
    events = _events(job.pk) if "event" in kinds else {}
    children = progress_of(job.pk) if "children" in kinds else {}
    for each in waiting:
        attempt = state.tasks[each.task].attempt
        if each.kind == "children":
            yield _children(job, each, children.get((each.task, each.iteration, attempt)))
        elif each.kind == "event":
            yield _event(each, events.get((each.task, each.iteration, attempt)))
        else:
            yield _waiting(each, asked.get((each.task, each.iteration)), now)
    if state.deadline is not None and job.status == JobStatus.PEND and not waiting:
        text = f"Its time ends at {_moment(state.deadline)}."
        yield Reason("wait", text, "That time comes.", until=state.deadline)


def _state(job: Job) -> JobState | None:
    if job.data.state is None:
        return None
    try:
        return JobState.from_json(job.data.state, full_input(job.data.input, job.group_id, job.fragment))
    except InvalidState:
        return None


def _dead_letters(job: Job, state: JobState) -> Iterator[Reason]:
    failed = [name for name in state.active if state.tasks[name].status == FAILED and state.tasks[name].dead_letter]
    for name in failed:
        task = state.tasks[name]
        yield _dead_letter(job, {"task": name, **(task.error or {})}, task.iteration)
    if not failed:
        yield _dead_letter(job, state.error or {})


def _dead_letter(job: Job, error: Mapping[str, Any], iteration: int | None = None) -> Reason:
    error = error or job.data.error or {}
    task = error.get("task")
    what = f"The task {task} failed" if task else "The job failed"
    text = f"{what} with {error.get('name') or 'an error'}{_because(str(error.get('cause') or ''))}"
    can = "retries it, if wanted with another input, skips it with an output, restarts from a task, or cancels the job"
    return Reason("dead_letter", text, f"An operator {can}.", task=task, iteration=iteration)


def _waiting(each: Waiting, asked: Asked | None, now: datetime) -> Reason:
    reason = Reason(each.kind, "", "", each.task, each.iteration, each.since, each.until)
    if each.kind in ("human", "external"):
        _of_request(reason, each, asked)
    elif each.kind == "wait":
        reason.text = f"It waits until {_moment(each.until)}."
        reason.moves = "That time comes."
    elif each.kind == "retry":
        reason.text = f"The task {each.task} failed and is tried again at {_moment(each.until)}."
        reason.moves = "That time comes."
    else:
        reason.text = f"The step {each.task} waits for an answer from outside{_because(each.reason)}"
        reason.moves = f"An answer comes to /api/v1/jobs/…/tasks/{each.task}/response/."
    if each.until is not None:
        if each.kind not in ("wait", "retry"):
            reason.moves += f" At {_moment(each.until)} the wait ends as Timeout."
        if each.until < now - PAST:
            reason.moves += " That time is past: is a worker running?"
    return reason


def _of_request(reason: Reason, each: Waiting, asked: Asked | None) -> None:
    whom = asked.whom if asked else (each.department or f"the queue {each.queue}")
    if each.kind == "external":
        reason.text = f"The task {each.task} waits for an answer of {whom}."
        reason.moves = f"An answer comes to the task {each.task}."
    elif asked and asked.claimed_by:
        reason.text = f"{asked.claimed_by} of {whom} has claimed the task {each.task} and has not decided it yet."
        reason.moves = f"{asked.claimed_by} decides it, or releases it for others."
    else:
        reason.text = f"The task {each.task} waits for a decision of {whom}; nobody has claimed it."
        reason.moves = f"Somebody of {whom} decides it."
    if asked:
        reason.link = asked.link
        if asked.due_at is not None:
            reason.text = f"{reason.text[:-1]}; it is due {_moment(asked.due_at)}."


def _event(each: Waiting, waiter: tuple[str, str] | None) -> Reason:
    said = f"an event {waiter[0]} with the key {waiter[1]}" if waiter else f"the event {each.reason}"
    moves = "Such an event comes to /api/v1/events/, or another job emits it."
    if each.until is not None:
        moves += f" At {_moment(each.until)} the wait ends as Timeout."
    text = f"The task {each.task} waits for {said}."
    return Reason("event", text, moves, each.task, each.iteration, each.since, each.until)


def _children(job: Job, each: Waiting, progress: Mapping[str, int] | None) -> Reason:
    reason = Reason("children", "", "The children end.", each.task, each.iteration, each.since, each.until)
    if progress is None:
        reason.text = f"The task {each.task} waits for {each.reason}."
        return reason
    done, total, failed = progress["done"], progress["total"], progress["failed"]
    reason.text = f"The task {each.task} waits for its children: {done} of {total} are done"
    reason.text += f", {failed} failed or were cancelled." if failed else "."
    if failed:
        ended = Job.objects.filter(group=progress["group"], status__in=(JobStatus.FAIL, JobStatus.CANC))
        reason.jobs = [str(pk) for pk in ended.order_by("id").values_list("pk", flat=True)[:NAMED_MOST]]
        reason.moves = "The others end; an operator may retry those that failed."
    return reason


def _asked(job_id: uuid.UUID) -> dict[tuple[str, int], Asked]:
    return {key: asked for inquirer in _inquirers for key, asked in inquirer(job_id).items()}


def _events(job_id: uuid.UUID) -> dict[tuple[str, int, int], tuple[str, str]]:
    open_ones = EventWaiter.objects.filter(job_id=job_id, closed_at__isnull=True)
    rows = open_ones.values_list("task", "iteration", "attempt", "type", "key")
    return {(task, iteration, attempt): (kind, key) for task, iteration, attempt, kind, key in rows}


# ---- how long it took before ----------------------------------------------------------------------------------------


def _add_statistics(job: Job, reasons: list[Reason]) -> None:
    wanted = {id(reason): _statistic(reason) for reason in reasons if _statistic(reason) is not None}
    if not wanted:
        return
    tasks = {key[0] for key in wanted.values() if key is not None}
    rows = WaitStatistic.objects.filter(workflow=job.workflow, task__in=tasks)
    found = {(row.task, row.kind): Before(row.p50, row.p90, row.count) for row in rows}
    for reason in reasons:
        key = wanted.get(id(reason))
        if key is not None:
            reason.before = found.get(key)


def _statistic(reason: Reason) -> tuple[str, str] | None:
    """Task and kind of the statistic that fits a reason."""
    if reason.code in ("worker", "no_worker"):
        return ("", WORKER)
    if reason.code == "running" and reason.task:
        return (reason.task, "plugin")
    if reason.task and reason.code in ("human", "external", "event", "wait", "children", "plugin"):
        return (reason.task, reason.code)
    return None


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S %Z}" if at is not None else "an unknown time"
