"""The repairs that can be made of many jobs at once: a new one is one line in `VERBS`."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.db.models import Q

from workflows.engine.jsonvalue import SchemaValidator
from workflows.execution.holds import SUSPENDED
from workflows.models import FINISHED, Job, JobData, JobStatus

from .exceptions import WrongState
from .migrate import migrate_job
from .repair import cancel_job, restart_job, retry_job, skip_task
from .suspend import resume_job, suspend_job

TASK = {"type": "string", "minLength": 1, "maxLength": 120}
OUTCOME = {"type": "string", "minLength": 1, "maxLength": 100}
UNFINISHED = ~Q(status__in=FINISHED)


@dataclass(frozen=True)
class Verb:
    """One repair: what it calls for each job, which jobs are in a state for it, and what may go with it.

    `repair` is called with the job's id, `actor`, `reason` and the arguments by name, in a transaction of its own.
    `done` is the word for a job that has been repaired so.
    """

    repair: Callable[..., Job]
    takes: Q
    done: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    together: Mapping[str, list[str]] = field(default_factory=dict)
    """Arguments that ask for others."""
    at_once: bool = False
    """True where a job on which it has been done needs no watching: nothing of it runs anew."""

    @cached_property
    def shape(self) -> SchemaValidator:
        """What the arguments must look like."""
        return SchemaValidator(self.schema)

    @property
    def schema(self) -> dict[str, Any]:
        """The same as JSON Schema."""
        return {
            "type": "object",
            "properties": dict(self.arguments),
            "required": list(self.required),
            "dependentRequired": dict(self.together),
            "additionalProperties": False,
        }


def _skip_failed(job_id: uuid.UUID, *, task: str | None = None, **how: Any) -> Job:
    """Skip the named task, or the one that failed."""
    if task is None:
        data = JobData.objects.select_related("job").get(pk=job_id)
        task = (data.error or {}).get("task")
        if task is None:
            raise WrongState(data.job, "No task of this job has failed; name the one to skip.")
    return skip_task(job_id, task, **how)


VERBS: Mapping[str, Verb] = {
    "retry": Verb(
        retry_job, Q(status=JobStatus.FAIL), "retried", {"task": TASK, "input": {}}, together={"input": ["task"]}
    ),
    "skip": Verb(
        _skip_failed,
        Q(status__in=[JobStatus.FAIL, JobStatus.PEND, JobStatus.READY]),
        "skipped",
        {"task": TASK, "output": {}, "outcome": OUTCOME},
    ),
    "restart": Verb(restart_job, UNFINISHED & ~Q(status=JobStatus.NEW), "restarted", {"task": TASK}, ("task",)),
    "cancel": Verb(cancel_job, UNFINISHED, "cancelled", {"compensate": {"type": "boolean"}}),
    "suspend": Verb(suspend_job, UNFINISHED & ~Q(hold=SUSPENDED), "suspended", at_once=True),
    "resume": Verb(resume_job, UNFINISHED & Q(hold=SUSPENDED), "resumed", at_once=True),
    "migrate": Verb(
        migrate_job,
        UNFINISHED & Q(fragment=""),
        "moved",
        {
            "to": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
            "mapping": {"type": "object", "additionalProperties": TASK},
        },
        ("to",),
    ),
}
