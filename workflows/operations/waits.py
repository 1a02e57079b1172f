"""How long waits took lately: worked out now and then, so that asking costs one row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db.models import DateTimeField
from django.db.models.functions import Greatest
from django.utils import timezone

from workflows.engine.definition import Definition
from workflows.execution.definitions import get_definition
from workflows.models import Job, TaskRun, WaitStatistic

NEWEST = 50_000
"""So many of the newest runs are read, and so many of the newest jobs."""
AT_ONCE = 500
WORKER = "worker"
"""The kind of the wait for a worker: from when a job could be claimed until it was, for the first time."""
_KINDS = {"human": "human", "external": "external", "wait": "wait", "event": "event", "map": "children"} | {
    "workflow": "children",
    "plugin": "plugin",
    "http": "plugin",
}
_Key = tuple[str, str, str]


def kind_of(definition: Definition, task: str) -> str:
    """What a task's run waits for, in the words of `Waiting.kind`; `plugin` also where it waits for nothing but the end
    of its step. Empty for what takes no time."""
    try:
        spec = definition.task(task)
    except KeyError:
        return ""
    return "children" if spec.runs_elsewhere else _KINDS.get(spec.type, "")


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of the ordered values do not exceed (nearest rank)."""
    return ordered[min(len(ordered) - 1, max(0, int(-(-share * len(ordered) // 1)) - 1))]


class WaitStatistics:
    """Works out the median and the ninth decile of the newest waits of every task. Rows of tasks that had none lately
    stay as they are."""

    name = "wait statistics"
    every_seconds = 600.0

    def run_once(self) -> dict[str, int]:
        """Read the newest runs and jobs, and write the statistics; answer how many."""
        seconds: dict[_Key, list[float]] = {}
        for key, took in (*_of_runs(), *_of_jobs()):
            seconds.setdefault(key, []).append(took)
        now = timezone.now()
        rows = []
        for (workflow, task, kind), values in sorted(seconds.items()):
            values.sort()
            p50, p90 = quantile(values, 0.5), quantile(values, 0.9)
            row = WaitStatistic(workflow=workflow, task=task, kind=kind, count=len(values), p50=p50, p90=p90)
            row.computed_at = now
            rows.append(row)
        WaitStatistic.objects.bulk_create(
            rows,
            batch_size=AT_ONCE,
            update_conflicts=True,
            unique_fields=["workflow", "task", "kind"],
            update_fields=["count", "p50", "p90", "computed_at"],
        )
        return {"computed": len(rows)}


def _of_runs() -> Iterator[tuple[_Key, float]]:
    columns = ("job__workflow", "job__version", "job__fragment", "task", "status", "started_at", "finished_at")
    newest = TaskRun.objects.order_by("-id").values_list(*columns)[:NEWEST]
    kinds: dict[tuple[str, int, str, str], str] = {}
    for workflow, version, fragment, task, status, started_at, finished_at in newest.iterator(chunk_size=2000):
        if status != "done" or fragment:
            continue
        place = (workflow, version, fragment, task)
        if place not in kinds:
            kinds[place] = _kind(*place)
        if kinds[place]:
            yield (workflow, task, kinds[place]), max(0.0, (finished_at - started_at).total_seconds())


def _kind(workflow: str, version: int, fragment: str, task: str) -> str:
    try:
        return kind_of(get_definition(workflow, version, fragment), task)
    except Exception:  # a definition that cannot be read is for others to tell
        return ""


def _of_jobs() -> Iterator[tuple[_Key, float]]:
    began = Greatest("created_at", "run_at", output_field=DateTimeField())
    newest = Job.objects.order_by("-id").annotate(claimable_at=began)[:NEWEST]
    for workflow, began_at, started_at in newest.values_list("workflow", "claimable_at", "started_at").iterator():
        if started_at is not None:
            yield (workflow, "", WORKER), max(0.0, (started_at - began_at).total_seconds())
