"""`manage.py resume WORKFLOW | --job ID | --all [--reason …]`: let what was suspended go on."""

from __future__ import annotations

import uuid
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workflows.execution.exceptions import JobNotFound
from workflows.management.target import add_target, target_of
from workflows.operations.exceptions import OperationError
from workflows.operations.suspend import resume, resume_job


class Command(BaseCommand):
    help = "Resumes a workflow, one job or everything. What was held goes on in its old place in the queue."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_target(parser)

    def handle(self, *args: Any, workflow: str | None, job: uuid.UUID | None, all: bool, **options: Any) -> None:
        target = target_of(workflow, job, all)
        kept = {"actor": options["actor"], "reason": options["reason"]}
        try:
            if isinstance(target, uuid.UUID):
                resume_job(target, **kept)
                self.stdout.write(f"The job {target} is resumed.")
                return
            suspension, count = resume(target, **kept)
        except (OperationError, JobNotFound) as error:
            raise CommandError(str(error)) from None
        jobs = f"{count} held job{' goes' if count == 1 else 's go'} on"
        self.stdout.write(f"{str(suspension).capitalize()} is resumed; {jobs}.")
