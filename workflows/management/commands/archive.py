"""`manage.py archive [--days N] [--dry-run]`: move what ended long ago to the archive, now and to the end."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from workflows.execution.archiver import Archiver, candidates
from workflows.execution.retention import Retainer
from workflows.models import FINISHED


class Command(BaseCommand):
    help = "Moves finished jobs to the archive and applies the rules of retention, as the services do, without a pause."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, help="ended longer ago than this; else WORKFLOW_ARCHIVE_AFTER_DAYS")
        parser.add_argument("--dry-run", action="store_true", help="count the jobs, without children, and move none")

    def handle(self, *args: Any, days: int | None, dry_run: bool, **options: Any) -> None:
        days = settings.WORKFLOW_ARCHIVE_AFTER_DAYS if days is None else days
        if days < 1:
            raise CommandError("Say --days: WORKFLOW_ARCHIVE_AFTER_DAYS is 0, so nothing is archived by itself.")
        before = timezone.now() - timedelta(days=days)
        if dry_run:
            for status in FINISHED:
                count = candidates(status, before).order_by().count()
                self.stdout.write(f"{status}: {count} jobs ended before {before:%Y-%m-%d %H:%M %Z}.")
            return
        done = Archiver().archive(before)
        self.stdout.write(f"{done.jobs} jobs of {done.families} families were archived; {done.looked} were looked at.")
        gone = Retainer().delete()
        self.stdout.write(f"{gone['deleted']} were deleted by retention, and {gone['months']} empty months dropped.")
