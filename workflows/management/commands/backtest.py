"""`manage.py backtest WORKFLOW […]`: which past jobs would go another way, or be decided by others."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workflows.engine.exceptions import InvalidDefinition
from workflows.intake.exceptions import NoSuchVersion
from workflows.management.definitions import document_in, listed, version_or_draft
from workflows.models import Job
from workflows.operations.backtest import MAX_JOBS, backtest


class Command(BaseCommand):
    help = "Runs a version over the inputs and answers of past jobs, and lists each that would change."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workflow")
        parser.add_argument("--version-to-try", dest="try_version", type=version_or_draft, help="a number, or draft")
        parser.add_argument("--document", type=Path, help="a file to try instead, kept nowhere")
        parser.add_argument("--against", type=int, help="the version to compare with; else what each job ran on")
        parser.add_argument("--limit", type=int, default=100, help=f"so many of the newest jobs, at most {MAX_JOBS}")

    def handle(self, *args: Any, workflow: str, limit: int, **options: Any) -> None:
        if not 1 <= limit <= MAX_JOBS:
            raise CommandError(f"--limit must be between 1 and {MAX_JOBS}.")
        try:
            done = backtest(
                workflow,
                Job.objects.all(),
                version=options["try_version"],
                document=document_in(options["document"]) if options["document"] else None,
                against=options["against"],
                limit=limit,
            )
        except NoSuchVersion as error:
            raise CommandError(str(error)) from None
        except InvalidDefinition as error:
            raise CommandError(f"It cannot be tried:\n{listed(error.faults)}") from None
        for job in done.jobs:
            self.stdout.write(f"{job.job} v{job.version} {job.verdict}: {job.detail}")
        counts = f"{done.unchanged} unchanged, {done.changed} changed, {done.unknown} cannot be told"
        self.stdout.write(f"{done.examined} jobs: {counts}.")
