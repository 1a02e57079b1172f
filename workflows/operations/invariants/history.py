"""The history, and the task runs that belong to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.db.models import BigIntegerField, Case, Count, Exists, F, Max, Min, OuterRef, Q, Subquery, Value, When
from django.db.models import Window as Over
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce, Lag

from workflows.execution.commit import RUN_STATUS
from workflows.models import FINISHED, History, Job, JobStatus, TaskRun, TaskRunStatus
from workflows.models.history import allowed_move
from workflows.operations.findings import Check, Found, Window, told


def gap_in_history(window: Window) -> Iterable[Found]:
    """Jobs whose history does not run 1, 2, 3 … up to the number that the job has counted."""
    jobs = Job.objects.filter(window.of()).annotate(
        rows=Count("history"),
        first=Coalesce(Min("history__sequence"), 0),
        last=Coalesce(Max("history__sequence"), 0),
    )
    found = jobs.exclude(rows=F("history_count"), first=1, last=F("history_count"))
    columns = ("pk", "workflow", "history_count", "rows", "first", "last")
    return told(found, *columns, say="{1} {0}: {2} counted; {3} rows, from {4} to {5}")


def impossible_move(window: Window) -> Iterable[Found]:
    """Rows of the history with a move that the state machine does not have."""
    rows = History.objects.filter(window.of("job_id")).exclude(allowed_move())
    return told(rows, "job_id", "sequence", "from_status", "to_status", say="{0}, row {1}: from {2!r} to {3!r}")


def broken_chain(window: Window) -> Iterable[Found]:
    """Moves that do not begin where the move before has ended."""
    before = Over(Lag("to_status", default=Value("")), partition_by=F("job_id"), order_by=F("sequence").asc())
    moves = History.objects.filter(window.of("job_id")).exclude(to_status="").annotate(before=before)
    columns = ("job_id", "sequence", "from_status", "to_status", "before")
    return told(moves.exclude(from_status=F("before")), *columns, say="{0}, row {1}: from {2} to {3}, after {4!r}")


def history_ends_elsewhere(window: Window) -> Iterable[Found]:
    """Jobs whose status is not that of their last move."""
    moves = History.objects.filter(job=OuterRef("pk")).exclude(to_status="").order_by("-sequence")
    moved_to = Coalesce(Subquery(moves.values("to_status")[:1]), Value(""))
    jobs = Job.objects.filter(window.of()).annotate(moved_to=moved_to).exclude(moved_to=F("status"))
    return told(jobs, "pk", "workflow", "status", "moved_to", say="{1} {0}: {2}, and its last move was to {3!r}")


def work_after_end(window: Window) -> Iterable[Found]:
    """Jobs of which a task did something, or that moved, after they had ended. People may still say something."""
    later = History.objects.filter(job=OuterRef("job_id"), sequence__gt=OuterRef("sequence"))
    later = later.filter(Q(event__startswith="task.") | ~Q(to_status=""))
    ends = History.objects.filter(window.of("job_id"), to_status__in=FINISHED)
    return told(ends.filter(Exists(later)), "job_id", "sequence", "to_status", say="{0}: {2} with row {1}, and more")


def falling_fence(window: Window) -> Iterable[Found]:
    """Leases that passed, whose fences do not rise, or are higher than that of the job. Other claims leave no row."""
    number = Cast(KeyTextTransform("fence", "data"), BigIntegerField())
    before = Over(Lag(number), partition_by=F("job_id"), order_by=F("sequence").asc())
    rows = History.objects.filter(window.of("job_id"), event="lease.expired")
    found = rows.annotate(number=number, before=before).filter(
        Q(number__lte=F("before")) | Q(number__gt=F("job__fence"))
    )
    return told(found, "job_id", "sequence", "number", "before", say="{0}, row {1}: fence {2} after {3}")


def repeated_success(window: Window) -> Iterator[Found]:
    """Tasks that were done twice in one iteration."""
    runs = TaskRun.objects.filter(window.of("job_id"), status=TaskRunStatus.DONE).order_by()
    twice = runs.values("job_id", "task", "iteration").annotate(count=Count("pk")).filter(count__gt=1)
    for row in twice.order_by("job_id", "task", "iteration")[:1000]:
        words = f"{row['job_id']}: {row['task']}, iteration {row['iteration']}, {row['count']} times"
        yield Found(str(row["job_id"]), words)


def run_without_history(window: Window) -> Iterable[Found]:
    """Task runs whose row of the history is not there, or tells of something else."""
    row = History.objects.filter(job=OuterRef("job_id"), sequence=OuterRef("sequence"))
    tells_of = Case(*(When(event=word, then=Value(str(status))) for word, status in RUN_STATUS.items()))
    fitting = row.annotate(tells_of=tells_of).filter(tells_of=OuterRef("status"))
    runs = TaskRun.objects.filter(window.of("job_id")).filter(~Exists(fitting))
    found = runs.annotate(event=Subquery(row.values("event")[:1]))
    columns = ("job_id", "task", "iteration", "attempt", "status", "sequence", "event")
    return told(found, *columns, say="{0}: {1}#{2}.{3} is {4}, and row {5} says {6}")


def run_after_end(window: Window) -> Iterable[Found]:
    """Tasks that wait though their job has ended."""
    runs = TaskRun.objects.filter(window.of("job_id"), status=TaskRunStatus.WAITING, job__status__in=FINISHED)
    return told(runs, "job_id", "task", "iteration", "job__status", say="{0}, which is {3}: {1}#{2}")


def birth_without_row(window: Window) -> Iterable[Found]:
    """Jobs whose first row does not tell of their birth."""
    born = History.objects.filter(job=OuterRef("pk"), sequence=1, from_status="", to_status=JobStatus.NEW)
    return told(Job.objects.filter(window.of()).filter(~Exists(born)), "pk", "workflow", say="{1} {0}")


CHECKS = (
    Check("gap_in_history", "Histories with a gap, or with another length than was counted.", gap_in_history, True),
    Check("birth_without_row", "Histories that do not begin with the birth of the job.", birth_without_row, True),
    Check("impossible_move", "Moves that the state machine does not have.", impossible_move, True),
    Check("broken_chain", "Moves that do not begin where the one before ended.", broken_chain, True),
    Check("history_ends_elsewhere", "Jobs whose status is not that of their last move.", history_ends_elsewhere, True),
    Check("work_after_end", "Jobs of which something was done after they had ended.", work_after_end, True),
    Check("falling_fence", "Leases that passed with a fence that does not rise.", falling_fence, True),
    Check("repeated_success", "Tasks done twice in one iteration.", repeated_success, True),
    Check("run_without_history", "Task runs that the history does not tell of.", run_without_history, True),
    Check("run_after_end", "Tasks that wait though their job has ended.", run_after_end, True),
)
