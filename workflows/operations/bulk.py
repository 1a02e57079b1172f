"""One repair of many jobs: a preview that freezes the choice, then each job by itself, in a transaction of its own.

Any number of workers may carry one out at once: an item is taken under its row's lock, and the repair and its verdict
are one commit. So each job is repaired once, whatever dies in between.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import CharField, Count, QuerySet, UUIDField, Value
from django.db.models.functions import Now
from django.utils import timezone

from workflows.engine.contract import Json
from workflows.engine.exceptions import InvalidState
from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import check_json
from workflows.engine.state import READY, RETRYING, WAITING, JobState, TaskState
from workflows.execution.exceptions import ExecutionError
from workflows.models import BulkRepair, BulkRepairItem, DeadLetter, Job, JobStatus

from .choice import chosen
from .exceptions import BulkNotFound, InvalidRequest, OperationError, WrongStage
from .verbs import VERBS, Verb

logger = logging.getLogger(__name__)

MAX_JOBS = 100_000
EXAMPLES = 20
BATCH = 100
SECONDS = 0.5
"""How long one round of the service may take, about once a second: the jobs of its worker wait meanwhile."""

KEEP_PREVIEWS = timedelta(days=1)

Status = BulkRepair.Status
Verdict = BulkRepairItem.Verdict
OPEN = (Status.RUNNING, Status.TRIAL)


# ---- the preview ----------------------------------------------------------------------------------------------------


def preview(
    verb: str,
    filter: Mapping[str, Any],
    *,
    requested_by: Any,
    arguments: Mapping[str, Any] | None = None,
    reason: str = "",
    first_alone: bool = False,
) -> BulkRepair:
    """Choose the jobs, and say what the repair would touch; nothing is repaired yet.

    The choice is frozen: jobs that come to match later are not in it, jobs that no longer allow the verb are refused
    one by one. InvalidRequest with every fault of the filter and the arguments, and where more than 100,000 jobs match.
    """
    known, arguments = _known(verb), dict(arguments or {})
    faults = check_json(arguments, 2**20, at="/arguments") or known.shape.faults(arguments, at="/arguments")
    faults += check_json(reason, 2_000, at="/reason")
    if faults:
        raise InvalidRequest(faults)
    jobs = chosen(known, filter)
    if jobs[MAX_JOBS:].exists():
        detail = f"The filter finds more than {MAX_JOBS:,} jobs. Narrow it, by time for example."
        raise InvalidRequest([Fault("/filter", "too_many", detail)])
    with transaction.atomic():
        bulk: BulkRepair = BulkRepair.objects.create(
            verb=verb,
            arguments=arguments,
            filter=dict(filter),
            reason=reason[:500],
            first_alone=first_alone,
            requested_by=requested_by,
        )
        _freeze(bulk, jobs)
        bulk.summary = _summary(bulk, known)
        bulk.save(update_fields=["summary"])
    return bulk


def _known(verb: str) -> Verb:
    if verb not in VERBS:
        raise InvalidRequest([Fault("/verb", "unknown_verb", f"There is no repair {verb!r}: {', '.join(VERBS)}.")])
    return VERBS[verb]


def _freeze(bulk: BulkRepair, jobs: QuerySet[Job]) -> None:
    """Write an item for each chosen job, the oldest first, in one statement whatever their number."""
    text = CharField()
    rows = jobs.order_by("pk").values_list(
        Value(bulk.pk, output_field=UUIDField()), "pk", Value("waiting", text), Value("", text)
    )
    select, parameters = rows[:MAX_JOBS].query.sql_with_params()
    table = connection.ops.quote_name(BulkRepairItem._meta.db_table)
    with connection.cursor() as cursor:
        # Of our own making: the table's name, and a SELECT whose values are parameters.
        cursor.execute(f"INSERT INTO {table} (bulk_id, job_id, verdict, detail) {select}", parameters)


def _summary(bulk: BulkRepair, verb: Verb) -> dict[str, Json]:
    """What the repair would touch, in a number of queries that does not grow with the number of jobs."""
    jobs = Job.objects.filter(pk__in=bulk.items.order_by().values("job_id")).order_by()
    letters = DeadLetter.objects.filter(job__in=jobs, resolved_at__isnull=True).order_by()
    by_workflow = jobs.values("workflow", "version", "status").annotate(count=Count("pk"))
    examples = jobs.order_by("pk").values("id", "workflow", "version", "status", "correlation_id", "created_at")
    errors = letters.values("error", "task").annotate(count=Count("pk")).order_by("-count")
    groups = list(by_workflow.order_by("-count", "workflow", "version")[:200])
    return {
        "count": bulk.items.count(),
        "refused": jobs.exclude(verb.takes).count(),
        "leased": jobs.leased().count(),
        "by": groups,
        "errors": list(errors[:50]),
        "examples": [
            {**row, "id": str(row["id"]), "created_at": row["created_at"].isoformat()} for row in examples[:EXAMPLES]
        ],
    }


# ---- starting and stopping ------------------------------------------------------------------------------------------


def get_bulk(bulk_id: uuid.UUID) -> BulkRepair:
    """A repair of many, with who asked for it. BulkNotFound where there is none."""
    bulk = BulkRepair.objects.select_related("requested_by").filter(pk=bulk_id).first()
    if bulk is None:
        raise BulkNotFound(f"There is no repair {bulk_id}.")
    return bulk


def start(bulk_id: uuid.UUID, *, requested_by: Any) -> BulkRepair:
    """Let the workers carry out what was previewed; who starts it is the actor in the histories of the jobs.

    WrongStage where it has been started before, BulkNotFound where there is none.
    """
    started = BulkRepair.objects.filter(pk=bulk_id, status=Status.PREVIEW).update(
        status=Status.RUNNING, requested_by=requested_by
    )
    bulk = get_bulk(bulk_id)
    if not started:
        raise WrongStage(f"This repair was started before: it is {bulk.get_status_display().lower()}.")
    return bulk


def stop(bulk_id: uuid.UUID, *, actor: str) -> BulkRepair:
    """End it: what is repaired stays so, the rest is left as it is. WrongStage where it is over already,
    BulkNotFound where there is none."""
    stopped = BulkRepair.objects.filter(pk=bulk_id, status__in=[Status.PREVIEW, *OPEN]).update(
        status=Status.STOPPED, finished_at=Now(), detail=f"Stopped by {actor}."
    )
    bulk = get_bulk(bulk_id)
    if not stopped:
        raise WrongStage(f"This repair is over: it is {bulk.get_status_display().lower()}.")
    return bulk


def progress(bulk: BulkRepair) -> dict[str, int]:
    """How many of its jobs wait, were repaired, and were refused; and how many there are: one query."""
    counts = dict(bulk.items.order_by().values_list("verdict").annotate(Count("pk")))
    found = {str(verdict): counts.get(verdict, 0) for verdict in Verdict.values}
    return {**found, "total": sum(found.values())}


# ---- carrying it out ------------------------------------------------------------------------------------------------


class BulkRepairs:
    """Carries out what was started, a bounded amount at a time."""

    name = "bulk_repairs"
    every_seconds = 1.0

    def run_once(self) -> dict[str, int]:
        """Go on with every open repair of many, the oldest first, for about half a second; answer how many
        jobs."""
        until = time.monotonic() + SECONDS
        repaired = 0
        for bulk in BulkRepair.objects.filter(status__in=OPEN).order_by("id").select_related("requested_by")[:20]:
            repaired += carry_out(bulk, until)
            if time.monotonic() > until:
                break
        return {"jobs": repaired}


class ForgottenPreviews:
    """Removes previews that nobody started within a day: what they show is no longer so."""

    name = "forgotten_previews"
    every_seconds = 600.0

    def run_once(self) -> dict[str, int]:
        """Remove up to ten of them, with their choice; answer how many."""
        old = BulkRepair.objects.filter(status=Status.PREVIEW, created_at__lt=Now() - KEEP_PREVIEWS).order_by("id")
        removed = 0
        for bulk in old[:10]:
            # Only while it is still one: it may be started at this moment.
            with transaction.atomic():
                held = BulkRepair.objects.select_for_update().filter(pk=bulk.pk, status=Status.PREVIEW).first()
                if held is not None:
                    held.delete()
                    removed += 1
        return {"previews": removed}


def carry_out(bulk: BulkRepair, until: float) -> int:
    """Repair the next jobs of one, until `until` on the monotonic clock, or until it has to wait; answer how many."""
    if bulk.status == Status.TRIAL and not _trial_passed(bulk):
        return 0
    if bulk.first_alone and not bulk.items.filter(verdict=Verdict.DONE).exists():
        return _try_first(bulk)
    count = 0
    while time.monotonic() < until:
        ids = list(bulk.items.filter(verdict=Verdict.WAITING).order_by("id").values_list("pk", flat=True)[:BATCH])
        if not ids:
            _finish(bulk, Status.DONE)
            break
        before = count
        for item_id in ids:
            if time.monotonic() > until:
                return count
            if _repair(bulk, item_id) is not None:
                count += 1
            elif not _is_open(bulk):
                return count
        if count == before:  # other workers have them all
            break
    return count


def _is_open(bulk: BulkRepair) -> bool:
    return BulkRepair.objects.filter(pk=bulk.pk, status__in=OPEN).exists()


def _repair(bulk: BulkRepair, item_id: int) -> str | None:
    """Repair one job and write its verdict in one commit. None where another worker has it, or it was stopped."""
    items = BulkRepairItem.objects.select_for_update(skip_locked=True, of=("self",))
    with transaction.atomic():
        item = items.filter(pk=item_id, verdict=Verdict.WAITING, bulk__status__in=OPEN).first()
        if item is None:
            return None
        item.verdict, item.detail = _verdict(bulk, item.job_id)
        item.at = timezone.now()
        item.save(update_fields=["verdict", "detail", "at"])
    return item.verdict


def _verdict(bulk: BulkRepair, job_id: uuid.UUID) -> tuple[str, str]:
    actor = bulk.requested_by.get_username()
    try:
        with transaction.atomic():
            VERBS[bulk.verb].repair(job_id, actor=actor, reason=bulk.reason, **bulk.arguments)
    except (OperationError, ExecutionError) as error:
        return Verdict.REFUSED, str(error)[:500]
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:  # one job that cannot be repaired keeps no other from it
        logger.exception("The repair %s failed on job %s", bulk.pk, job_id)
        return Verdict.REFUSED, f"{type(error).__name__}: {error}"[:500]
    return Verdict.DONE, ""


def _finish(bulk: BulkRepair, status: str, detail: str = "") -> None:
    """Close it, once: another worker may be repairing its last jobs at this moment, and closes it then."""
    if status == Status.DONE and bulk.items.filter(verdict=Verdict.WAITING).exists():
        return
    BulkRepair.objects.filter(pk=bulk.pk, status__in=OPEN).update(status=status, finished_at=Now(), detail=detail[:500])


# ---- the first one alone --------------------------------------------------------------------------------------------


def _try_first(bulk: BulkRepair) -> int:
    """Repair one job and wait for it. One that refuses says nothing about the others: the next one is tried."""
    with transaction.atomic():
        # One worker at a time, so that one job is tried and not two.
        held = BulkRepair.objects.select_for_update(of=("self",)).filter(pk=bulk.pk, status=Status.RUNNING).first()
        if held is None or bulk.items.filter(verdict=Verdict.DONE).exists():
            return 0
        for count, item in enumerate(bulk.items.filter(verdict=Verdict.WAITING).order_by("id")[:BATCH], start=1):
            if _repair(bulk, item.pk) == Verdict.DONE:
                held.status = Status.TRIAL
                held.save(update_fields=["status"])
                return count
    _finish(bulk, Status.DONE)
    return 0


def _trial_passed(bulk: BulkRepair) -> bool:
    """Whether the rest may follow. Where the first one failed again, the repair is stopped and says why."""
    item = bulk.items.filter(verdict=Verdict.DONE).select_related("job__data").order_by("id").first()
    if item is None:
        return True
    found = judge(item.job, bulk)
    if found is None:
        return False
    passed, why = found
    if passed:
        BulkRepair.objects.filter(pk=bulk.pk, status=Status.TRIAL).update(status=Status.RUNNING)
    else:
        _finish(bulk, Status.STOPPED, f"The first job, {item.job_id}, {why} The others were left as they are.")
    return passed


def judge(job: Job, bulk: BulkRepair) -> tuple[bool, str] | None:
    """Whether the job that was repaired first has passed what it had failed at; None while that cannot be said.

    It has passed when it has ended, or the task has: it is done or skipped, or waits for somebody who could be asked.
    """
    if VERBS[bulk.verb].at_once or job.status in (JobStatus.DONE, JobStatus.CANC):
        return True, ""
    letter = DeadLetter.objects.filter(job=job, resolved_at__isnull=True).first()
    if letter is not None and letter.task in (_tried_task(job, bulk), ""):
        return False, f"failed again: {letter.error}: {letter.cause[:200]}"
    if letter is not None:
        return (True, "") if _tried_task(job, bulk) else (False, f"failed at {letter.task}: {letter.error}.")
    if bulk.verb == "cancel":
        return None
    task = _standing(job, _tried_task(job, bulk))
    if task is None:
        return (True, "") if job.status == JobStatus.PEND else None
    if task.status in (READY, RETRYING) or (task.status == WAITING and task.kind in ("plugin", "children")):
        return None
    return True, ""


def _tried_task(job: Job, bulk: BulkRepair) -> str:
    """The task that the repair was about: the one it names, else the one that had failed."""
    if "task" in bulk.arguments:
        return str(bulk.arguments["task"])
    letters = DeadLetter.objects.filter(job=job, resolved_at__isnull=False).order_by("-id")
    return letters.values_list("task", flat=True).first() or ""


def _standing(job: Job, task: str) -> TaskState | None:
    try:
        return JobState.from_json(job.data.state, job.data.input).tasks.get(task)
    except InvalidState:
        return None
