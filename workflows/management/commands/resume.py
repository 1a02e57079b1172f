"""`manage.py resume WORKFLOW | --job ID | --all [--reason …]`: let what was suspended go on."""

from __future__ import annotations

import uuid
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workflows.execution.exceptions import JobNotFound
from workflows.management.actor import add_actor
from workflows.operations.exceptions import OperationError
from workflows.operations.suspend import EVERYTHING, resume, resume_job


class Command(BaseCommand):
    help = "Resumes a workflow, one job or everything. What was held goes on in its old place in the queue."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workflow", nargs="?", help="name of a workflow")
        parser.add_argument("--job", type=uuid.UUID, help="one job, by its id")
        parser.add_argument("--all", action="store_true", help="everything")
        parser.add_argument("--reason", default="", help="why; kept for ever")
        add_actor(parser)

    def handle(self, *args: Any, workflow: str | None, job: uuid.UUID | None, all: bool, **options: Any) -> None:
        if [workflow is not None, job is not None, all].count(True) != 1:
            raise CommandError("Name a workflow, or give --job with an id, or --all.")
        kept = {"actor": options["actor"], "reason": options["reason"]}
        try:
            if job is not None:
                resume_job(job, **kept)
                self.stdout.write(f"The job {job} is resumed.")
                return
            suspension, count = resume(EVERYTHING if all else str(workflow), **kept)
        except (OperationError, JobNotFound) as error:
            raise CommandError(str(error)) from None
        jobs = f"{count} held job{' goes' if count == 1 else 's go'} on"
        self.stdout.write(f"{str(suspension).capitalize()} is resumed; {jobs}.")
