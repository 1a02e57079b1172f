"""`manage.py suspend WORKFLOW | --job ID | --all [--reason …] [--wait]`: stop, and wait until it stands still."""

from __future__ import annotations

import time
import uuid
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workflows.execution.exceptions import JobNotFound
from workflows.management.target import add_target, target_of
from workflows.operations.exceptions import OperationError, SuspensionConflict
from workflows.operations.suspend import leases_left, suspend, suspend_job

LOOK_SECONDS = 0.5


class Command(BaseCommand):
    help = "Suspends a workflow, one job or everything. Steps that run are finished; nothing further is begun."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_target(parser)
        parser.add_argument("--wait", action="store_true", help="until no worker holds a job of it any more")
        parser.add_argument("--timeout", type=float, default=600.0, help="with --wait: at most so many seconds")

    def handle(self, *args: Any, workflow: str | None, job: uuid.UUID | None, all: bool, **options: Any) -> None:
        target = target_of(workflow, job, all)
        kept = {"actor": options["actor"], "reason": options["reason"]}
        try:
            if isinstance(target, uuid.UUID):
                suspend_job(target, **kept)
                self.stdout.write(f"The job {target} is suspended.")
                return
            try:
                self.stdout.write(f"{str(suspend(target, **kept)).capitalize()} is suspended.")
            except SuspensionConflict as error:
                # Who waits for a drain that somebody else began has what they want.
                if not options["wait"]:
                    raise
                self.stdout.write(str(error))
        except (OperationError, JobNotFound) as error:
            raise CommandError(str(error)) from None
        if options["wait"]:
            self._wait(target, options["timeout"])

    def _wait(self, name: str, seconds: float) -> None:
        until = time.monotonic() + seconds
        told = None
        while left := leases_left(name):
            if left != told:
                self.stdout.write(f"{left} job{'s are' if left > 1 else ' is'} still being worked on …")
                self.stdout.flush()
                told = left
            if time.monotonic() > until:
                raise CommandError(f"After {seconds:g} seconds workers still hold {left} of its jobs.")
            time.sleep(LOOK_SECONDS)
        self.stdout.write("Drained: no worker holds a job of it.")
