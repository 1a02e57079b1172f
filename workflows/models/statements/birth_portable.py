"""Births through the ORM: what the statement means, for every database that is not PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import models, transaction
from django.db.models import Value

from workflows.models.definitions import Definition
from workflows.models.history import History
from workflows.models.jobs import IdempotencyKey, Job, JobData, JobStatus

from .birth_rows import EVENT, Assumption, Key, Outcome, first_data


def write_births(
    jobs: Sequence[tuple[Job, Any]], actor: str, assumptions: Sequence[Assumption], key: Key | None
) -> Outcome:
    """See the module `births`."""
    with transaction.atomic():
        if not all(_holds(assumption) for assumption in assumptions):
            return Outcome.STALE
        # SQLite has one writer at a time: nobody takes the key between the look and the end of the transaction.
        if key is not None and IdempotencyKey.objects.filter(principal=key.principal, key=key.key).exists():
            return Outcome.TAKEN
        for job, _ in jobs:
            job.history_count = 1
        Job.objects.bulk_create([job for job, _ in jobs])
        JobData.objects.bulk_create([_data(job, given) for job, given in jobs])
        History.objects.bulk_create([_born(job, actor) for job, _ in jobs])
        if key is not None:
            [(job, _)] = jobs
            IdempotencyKey.objects.create(
                principal=key.principal,
                key=key.key,
                fingerprint=key.fingerprint,
                request=key.request,
                job=job,
                created_at=job.created_at,
            )
    return Outcome.WRITTEN


def _holds(assumption: Assumption) -> bool:
    versions = Definition.objects.open_to_jobs().filter(name=assumption.workflow)
    if not assumption.newest:
        versions = versions.filter(version=assumption.version)
    found = versions.order_by("-version").values_list("version", "digest").first()
    return found == (assumption.version, assumption.digest)


def _data(job: Job, given: Any) -> JobData:
    # A bare None would be SQL's NULL; the input may be JSON's null.
    return JobData(job=job, input=Value(None, models.JSONField()) if given is None else given)


def _born(job: Job, actor: str) -> History:
    data = first_data(job)
    if job.parent_id is not None:
        data["index"] = job.item_index
    return History(job=job, sequence=1, at=job.created_at, event=EVENT, actor=actor, to_status=JobStatus.NEW, data=data)
