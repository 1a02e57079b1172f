"""Submitting: the only way a job is born."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import models, transaction
from django.db.models import Case, Value, When
from django.db.models.base import ModelState
from django.utils import timezone

from workflows.engine.exceptions import InvalidCalendar, NoWorkingTime
from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import check_json
from workflows.execution.births import write_jobs
from workflows.execution.calendars import moved
from workflows.execution.exceptions import CalendarNotFound
from workflows.execution.ranks import rank_at
from workflows.models import Document, Job, uuid7
from workflows.models.statements.births import Outcome

from . import idempotency
from .exceptions import InvalidSubmission, UnknownWorkflow
from .rules import IntakeRules, known_rules, remembers

MAX_BATCH = 1_000
MAX_DOCUMENTS = 50
MAX_LOOKS = 20
"""So often are the rules of a workflow read again because they were changed since: never so often in a row."""
LATEST_RUN_AT = timedelta(days=36_525)


@dataclass(frozen=True, slots=True)
class Submission:
    """One request for a job, as a client or a program makes it.

    `version` None is the newest; `priority` None is the definition's; `run_at` None is now, and a time that has passed
    counts as now. `documents` are ids of documents that the submitter uploaded before.
    """

    workflow: str
    input: Any
    version: int | None = None
    priority: int | None = None
    run_at: datetime | None = None
    correlation_id: str = ""
    documents: Sequence[str | uuid.UUID] = ()

    def as_request(self) -> dict[str, Any]:
        """The submission as JSON, without what was left to the defaults."""
        request: dict[str, Any] = {"workflow": self.workflow, "input": self.input}
        if self.version is not None:
            request["version"] = self.version
        if self.priority is not None:
            request["priority"] = self.priority
        if self.run_at is not None:
            request["run_at"] = self.run_at.astimezone(UTC).isoformat()
        if self.correlation_id:
            request["correlation_id"] = self.correlation_id
        if self.documents:
            request["documents"] = sorted(str(document) for document in self.documents)
        return request


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job of a submission; `created` is False where its idempotency key had made the job before."""

    job: Job
    created: bool


def submit_job(
    submission: Submission, *, submitted_by: AbstractBaseUser | None, idempotency_key: str | None = None
) -> Submitted:
    """Capture one job, with its first history row, in one transaction, and wake a worker after it.

    With an idempotency key, the same submission by the same user gives the first job again. Raises InvalidSubmission
    with every fault, UnknownWorkflow, and IdempotencyConflict where the key was used for something else.
    """
    if idempotency_key is None:
        return Submitted(submit_jobs([submission], submitted_by=submitted_by, _pointers=[""])[0], created=True)
    claim = idempotency.claim_for(idempotency_key, submission.as_request(), submitted_by)
    try:
        job = _capture([submission], [""], submitted_by, claim)
    except InvalidSubmission:
        # What made the first job may not be allowed any more: its workflow is retired, its documents are attached.
        earlier = claim.earlier_job()
        if earlier is None:
            raise
        return Submitted(earlier, created=False)
    if job is not None:
        return Submitted(job[0], created=True)
    earlier = claim.earlier_job()
    if earlier is None:
        raise RuntimeError("The job of an idempotency key was deleted while it was submitted again.")
    return Submitted(earlier, created=False)


def submit_jobs(
    submissions: Sequence[Submission],
    *,
    submitted_by: AbstractBaseUser | None,
    _pointers: Sequence[str] | None = None,
) -> list[Job]:
    """Capture many jobs: all of them or, where one is invalid, none. At most 1,000.

    The number of statements does not grow with the number of jobs. Raises InvalidSubmission with the faults of all of
    them, each under `/jobs/{index}`.
    """
    if len(submissions) > MAX_BATCH:
        raise InvalidSubmission([Fault("/jobs", "too_many", f"holds more than {MAX_BATCH} jobs")])
    if not submissions:
        return []
    pointers = _pointers or [f"/jobs/{index}" for index in range(len(submissions))]
    jobs = _capture(submissions, pointers, submitted_by)
    assert jobs is not None  # noqa: S101  (only a key keeps them from being written)
    return jobs


def _capture(
    submissions: Sequence[Submission],
    pointers: Sequence[str],
    submitted_by: AbstractBaseUser | None,
    claim: idempotency.KeyClaim | None = None,
) -> list[Job] | None:
    """Check the submissions and write them: one statement where this process knows their workflows. None where the key
    was used before."""
    asked = {(_asked_name(submission), submission.version) for submission in submissions}
    fresh = not any(remembers(*one) for one in asked)
    for _ in range(MAX_LOOKS):
        try:
            drafts = _drafts(submissions, pointers, submitted_by, fresh=fresh)
        except InvalidSubmission:
            if fresh:
                raise
            # What this process remembers may have been overtaken, and nobody is refused for that.
            fresh = True
            continue
        outcome = _write(drafts, submitted_by, claim)
        if outcome is Outcome.WRITTEN:
            return [draft.job for draft in drafts]
        if outcome is Outcome.TAKEN:
            return None
        fresh = True  # a version was published or retired since this process looked
    raise RuntimeError(f"The versions of {sorted(asked)[:3]} changed {MAX_LOOKS} times while a job was written.")


@dataclass(frozen=True, slots=True)
class _Draft:
    """A submission that was found valid, and the job it becomes."""

    submission: Submission
    pointer: str
    job: Job
    rules: IntakeRules
    documents: tuple[uuid.UUID, ...]


def _drafts(
    submissions: Sequence[Submission], pointers: Sequence[str], submitted_by: AbstractBaseUser | None, *, fresh: bool
) -> list[_Draft]:
    """Check every submission and make its job, unsaved; against rules that are read now, where they are to be `fresh`.

    Raises InvalidSubmission with all faults of all of them.
    """
    faults: list[Fault] = []
    drafts: list[_Draft] = []
    known: dict[tuple[str, int | None], IntakeRules | UnknownWorkflow] = {}
    alike: dict[tuple[Any, ...], Job] = {}
    now = timezone.now()
    for submission, pointer in zip(submissions, pointers, strict=True):
        own: list[Fault] = list(_shape_faults(submission, now))
        rules = _rules_of(submission, known, fresh=fresh)
        if isinstance(rules, UnknownWorkflow):
            own.extend(rules.faults)
        else:
            if not own and rules.input_schema is not None:
                own.extend(rules.input_schema.faults(submission.input, at="/input"))
            job = None if own else _new_job(submission, rules, submitted_by, now, own, alike)
            if job is not None:
                drafts.append(_Draft(submission, pointer, job, rules, tuple(_document_ids(submission))))
        faults.extend(Fault(pointer + fault.pointer, fault.code, fault.detail) for fault in own)
    faults.extend(_document_faults(drafts, submitted_by))
    if faults:
        unknown = all(fault.code in ("unknown_workflow", "unknown_version", "retired_version") for fault in faults)
        raise (UnknownWorkflow if unknown else InvalidSubmission)(faults)
    return drafts


def _rules_of(
    submission: Submission, known: dict[tuple[str, int | None], IntakeRules | UnknownWorkflow], *, fresh: bool
) -> IntakeRules | UnknownWorkflow:
    """The rules of the submission's workflow, asked for once a batch."""
    key = (submission.workflow, submission.version)
    if key not in known:
        try:
            known[key] = known_rules(_asked_name(submission), submission.version, fresh=fresh)
        except UnknownWorkflow as error:
            known[key] = error
    return known[key]


def _asked_name(submission: Submission) -> str:
    # A name with a NUL cannot even be asked for.
    return submission.workflow.replace("\0", "�")


def _shape_faults(submission: Submission, now: datetime) -> list[Fault]:
    """What no definition could allow."""
    faults = check_json(submission.input, settings.WORKFLOW_VALUE_MAX_BYTES, at="/input")
    priority = submission.priority
    if priority is not None and not 0 <= priority <= 100:
        faults.append(Fault("/priority", "out_of_range", "must be between 0 and 100"))
    run_at = submission.run_at
    if run_at is not None:
        if timezone.is_naive(run_at):
            faults.append(Fault("/run_at", "no_offset", "must say its offset from UTC"))
        elif run_at > now + LATEST_RUN_AT:
            faults.append(Fault("/run_at", "out_of_range", "is more than a hundred years away"))
    faults.extend(check_json(submission.correlation_id, 2_000, at="/correlation_id"))
    if len(submission.correlation_id) > 200:
        faults.append(Fault("/correlation_id", "too_long", "is longer than 200 characters"))
    if len(submission.documents) > MAX_DOCUMENTS:
        faults.append(Fault("/documents", "too_many", f"names more than {MAX_DOCUMENTS} documents"))
    return faults


def _new_job(
    submission: Submission,
    rules: IntakeRules,
    submitted_by: AbstractBaseUser | None,
    now: datetime,
    faults: list[Fault],
    alike: dict[tuple[Any, ...], Job],
) -> Job | None:
    """The job, unsaved; None, and the fault, where its due time cannot be counted.

    A `run_at` that has passed counts as now: it must not jump the queue. Of jobs that are `alike` but for their id, the
    first is made and the rest are copied.
    """
    key = (submission.workflow, submission.version, submission.priority, submission.run_at, submission.correlation_id)
    if key in alike:
        return _twin(alike[key])
    run_at = max(submission.run_at or now, now)
    try:
        due_at = None if rules.sla_due is None else moved(run_at, rules.sla_due, rules.sla_calendar)
    except (CalendarNotFound, InvalidCalendar, NoWorkingTime) as error:
        faults.append(Fault("/workflow", "no_due_time", f"has a calendar that nothing can be counted on: {error}"))
        return None
    priority = rules.priority if submission.priority is None else submission.priority
    job = alike[key] = Job(
        workflow=rules.workflow,
        version=rules.version,
        priority=priority,
        run_at=run_at,
        rank=rank_at(run_at, priority),
        correlation_id=submission.correlation_id,
        submitted_by=submitted_by,
        due_at=due_at,
        created_at=now,
        history_count=1,
    )
    return job


def _twin(job: Job) -> Job:
    """The same unsaved job under an id of its own. Making a model costs more than everything else of a submission."""
    twin = Job.__new__(Job)
    twin.__dict__.update(job.__dict__, id=uuid7(), _state=ModelState())
    twin._state.fields_cache = dict(job._state.fields_cache)
    return twin


# ---- documents ------------------------------------------------------------------------------------------------------


def _document_ids(submission: Submission) -> list[uuid.UUID]:
    ids = []
    for document in submission.documents:
        try:
            ids.append(document if isinstance(document, uuid.UUID) else uuid.UUID(str(document)))
        except ValueError:
            ids.append(uuid.UUID(int=0))
    return ids


def _unattached(ids: Sequence[uuid.UUID], submitted_by: AbstractBaseUser | None) -> models.QuerySet[Document]:
    """Of these documents, those the submitter may attach: their own, not attached to any job."""
    return Document.objects.filter(id__in=ids, job__isnull=True, uploaded_by=submitted_by)


def _document_faults(drafts: Sequence[_Draft], submitted_by: AbstractBaseUser | None) -> list[Fault]:
    """One answer for absent, foreign and used documents, so that no id can be probed."""
    wanted = [document for draft in drafts for document in draft.documents]
    if not wanted:
        return []
    free = set(_unattached(wanted, submitted_by).values_list("id", flat=True))
    faults = []
    for draft in drafts:
        for index, document in enumerate(draft.documents):
            where = f"{draft.pointer}/documents/{index}"
            if document in free:
                free.remove(document)  # Named twice, the second one is refused.
            else:
                faults.append(Fault(where, "unknown_document", "is no document of yours that is still free"))
    return faults


def _attach(drafts: Sequence[_Draft], submitted_by: AbstractBaseUser | None) -> None:
    owner = {document: draft.job.id for draft in drafts for document in draft.documents}
    if not owner:
        return
    cases = [When(id=document, then=Value(job, output_field=models.UUIDField())) for document, job in owner.items()]
    changed = _unattached(list(owner), submitted_by).update(job_id=Case(*cases))
    if changed != len(owner):
        # Another submission took one of them since they were checked: theirs stands, this one is rolled back.
        raise InvalidSubmission([Fault("/documents", "unknown_document", "names a document that is taken")])


# ---- writing --------------------------------------------------------------------------------------------------------


def _write(
    drafts: Sequence[_Draft], submitted_by: AbstractBaseUser | None, claim: idempotency.KeyClaim | None
) -> Outcome:
    """Everything a submission leaves behind, in the caller's transaction or in one of its own."""
    jobs = [(draft.job, draft.submission.input) for draft in drafts]
    actor = submitted_by.get_username() if submitted_by is not None else ""
    assumptions = list({draft.rules.assumption for draft in drafts if draft.rules.assumption is not None})
    key = claim.row() if claim is not None else None
    if not any(draft.documents for draft in drafts):
        return write_jobs(jobs, actor=actor, assumptions=assumptions, key=key)
    with transaction.atomic():
        outcome = write_jobs(jobs, actor=actor, assumptions=assumptions, key=key)
        if outcome is Outcome.WRITTEN:
            _attach(drafts, submitted_by)
    return outcome
