"""Running one step of one job: from its input to the event that says what became of it. Nothing is locked while."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import overload

from django.conf import settings
from django.db import connections

from workflows.engine.contract import (
    Answer,
    Completed,
    DocumentRef,
    Failed,
    Json,
    NewDocument,
    Parked,
    Plugin,
    StepContext,
    StepError,
)
from workflows.engine.decide import step_input, undoing
from workflows.engine.definition import Definition, Task
from workflows.engine.events import TaskCompleted, TaskFailed, TaskParked, Unset
from workflows.engine.exceptions import ExpressionError
from workflows.engine.jsonvalue import check_json
from workflows.engine.state import JobState
from workflows.models import Document, TaskRun, TaskRunStatus
from workflows.models.failpoints import failpoint
from workflows.models.statements import ClaimedJob
from workflows.registry import PluginNotFound, get_plugin

from .children import identity
from .exceptions import RunNotFound
from .http_step import IDEMPOTENT_METHODS, run_http
from .limits import StepTimeout, time_limit

logger = logging.getLogger(__name__)

CAUSE_LENGTH = 2000
StepEvent = TaskCompleted | TaskParked | TaskFailed


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one run of a step came to, with what the task run keeps of it."""

    event: StepEvent
    input: Json
    documents: tuple[NewDocument, ...] = ()
    idempotent: bool = True
    """False where running it again could repeat an effect outside: the plugin ran, and does not say otherwise."""


@dataclass(slots=True)
class PreparedStep:
    """A step with everything it needs, so that running it asks the database for nothing."""

    job: ClaimedJob
    task: str
    spec: Task
    iteration: int
    value: Json
    idempotent: bool
    context: StepContext
    plugin: Plugin | None
    """None for an `http` task, which has no plugin."""

    @property
    def seconds(self) -> float:
        """How long it may take."""
        timeout = self.spec.timeout
        return timeout.total_seconds() if timeout else float(settings.WORKFLOW_STEP_SECONDS)

    @property
    def concurrent(self) -> bool:
        """True where it may run side by side with others, in a thread of its own."""
        return self.plugin is None or self.plugin.concurrent

    def run(self) -> StepResult:
        """Run it here, within its time, and say what happened. Never raises for what a plugin does."""
        try:
            with time_limit(self.seconds):
                return self._run()
        except StepTimeout:
            return self.overdue()

    def run_apart(self) -> StepResult:
        """Run it in a thread, which nothing interrupts: whoever waits for it says when its time is over."""
        try:
            return self._run()
        finally:
            connections.close_all()  # this thread's; only a plugin that asks for documents has opened one

    def _run(self) -> StepResult:
        try:
            answer = run_http(self.spec, self.context) if self.plugin is None else self.plugin.run(self.context)
        except StepError as error:
            return self._failed(error.name, str(error))
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # a plugin breaks its own step and nothing else
            logger.warning("Step %s of job %s raised %s", self.task, self.job.id, type(error).__name__, exc_info=True)
            return self._failed("Unexpected", f"{type(error).__name__}: {error}")
        return _judge(answer, self.task, self.iteration, self.value, self.idempotent)

    def overdue(self) -> StepResult:
        """What became of it where its time is over."""
        return self._failed("Timeout", f"The step took longer than {self.seconds:g} seconds.")

    def _failed(self, error: str, cause: str) -> StepResult:
        return _failed(self.task, self.iteration, error, cause, self.value, self.idempotent)


def _failed(task: str, iteration: int, error: str, cause: str, value: Json, idempotent: bool) -> StepResult:
    return StepResult(TaskFailed(task, iteration, error, cause[:CAUSE_LENGTH]), value, idempotent=idempotent)


def prepare_step(
    job: ClaimedJob, definition: Definition, state: JobState, task: str, clock: Callable[[], datetime]
) -> PreparedStep | StepResult:
    """The work of a runnable task, ready to be run; its failure where it cannot even be begun."""
    entry = state.tasks[task]
    spec = definition.task(task)
    value: Json = None
    idempotent = True
    undoes = None
    plugin: Plugin | None = None
    try:
        undone = undoing(state, task)
        if undone is not None:
            undoes = _undone_run(job, *undone)
            value = undoes["output"] if isinstance(entry.input, Unset) else entry.input
        else:
            value = step_input(definition, state, task)
        if spec.type == "http":
            # What is sent counts: a person may have edited it.
            idempotent = isinstance(value, dict) and value.get("method") in IDEMPOTENT_METHODS
        else:
            plugin = get_plugin(spec.plugin or "")
            idempotent = plugin.idempotent
    except ExpressionError as error:
        return _failed(task, entry.iteration, "ExpressionError", str(error), value, idempotent)
    except (PluginNotFound, RunNotFound) as error:
        return _failed(task, entry.iteration, type(error).__name__, str(error), value, idempotent)
    known = identity(job, task, entry.iteration, entry.attempt)
    documents = JobDocuments(known.case_id)
    context = StepContext(
        job_id=str(known.job_id),
        workflow=job.workflow,
        version=job.version,
        task=task,
        iteration=known.iteration,
        attempt=known.attempt,
        input=value,
        now=clock(),
        idempotency_key=known.key,
        fence=job.fence,
        correlation_id=job.correlation_id,
        undoes=undoes,
        documents=documents,
        read_document=documents.read,
    )
    # Outside of what the step's own errors are caught by: what fails here is the worker, not the step.
    failpoint("step.before_effect" if undone is None else "comp.before")
    return PreparedStep(job, task, spec, entry.iteration, value, idempotent, context, plugin)


def _undone_run(job: ClaimedJob, task: str, iteration: int) -> dict[str, Json]:
    """The finished run that a compensation undoes: of one whose own transitions failed, the attempt that ended well."""
    runs = TaskRun.objects.filter(job_id=job.id, task=task, iteration=iteration).order_by("-attempt")
    found = list(runs.values("input", "output", "outcome", "status"))
    if not found:
        raise RunNotFound(f"The job has no run {iteration} of the task {task} that could be undone.")
    run = next((run for run in found if run["status"] == TaskRunStatus.DONE), None)
    run = run or next((run for run in found if run["output"] is not None), found[0])
    return {name: run[name] for name in ("input", "output", "outcome")}


def _judge(
    answer: Answer | Mapping[str, Json] | None, task: str, iteration: int, value: Json, idempotent: bool
) -> StepResult:
    """Turn a plugin's answer into an event, and refuse what cannot be kept."""
    if answer is None:
        answer = Completed()
    elif isinstance(answer, Mapping):
        answer = Completed(dict(answer))
    if isinstance(answer, Failed):
        return _failed(task, iteration, str(answer.error), str(answer.cause), value, idempotent)
    if isinstance(answer, Parked):
        return StepResult(TaskParked(task, iteration, answer.reason, answer.until), value, idempotent=idempotent)
    if not isinstance(answer, Completed):
        cause = f"The plugin returned a {type(answer).__name__}; it must return Completed, Parked, Failed or a mapping."
        return _failed(task, iteration, "Unexpected", cause, value, idempotent)
    faults = check_json(answer.output, settings.WORKFLOW_VALUE_MAX_BYTES)
    if faults:
        cause = "The output is not JSON that can be kept: " + "; ".join(
            f"{fault.pointer or '/'}: {fault.detail}" for fault in faults[:5]
        )
        return _failed(task, iteration, "Unexpected", cause, value, idempotent)
    event = TaskCompleted(task, iteration, answer.output, answer.outcome)
    return StepResult(event, value, tuple(answer.documents), idempotent)


class JobDocuments(Sequence[DocumentRef]):
    """The documents of a job, read from the database only when a plugin looks at them: most never do."""

    def __init__(self, job_id: uuid.UUID) -> None:
        self._job_id = job_id

    @cached_property
    def _refs(self) -> list[DocumentRef]:
        rows = Document.objects.filter(job_id=self._job_id).order_by("id")
        return [DocumentRef(str(row.pk), row.name, row.media_type, row.size, row.sha256) for row in rows]

    def __len__(self) -> int:
        return len(self._refs)

    @overload
    def __getitem__(self, index: int) -> DocumentRef: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[DocumentRef]: ...

    def __getitem__(self, index: int | slice) -> DocumentRef | Sequence[DocumentRef]:
        return self._refs[index]

    def read(self, document_id: str) -> bytes:
        """The content of one of the job's own documents. KeyError for any other id."""
        if document_id not in {ref.id for ref in self._refs}:
            raise KeyError(f"The job has no document {document_id}.")
        with Document.objects.get(pk=document_id).content.open("rb") as file:
            return bytes(file.read())
