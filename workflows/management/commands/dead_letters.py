"""`manage.py dead_letters`: what failed and waits for a person, by cause; or the jobs of one cause."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workflows.models import DeadLetter
from workflows.operations import letters


class Command(BaseCommand):
    help = "Prints the open dead letters by cause, the cause that failed a job last first; with a cause, its jobs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("fingerprint", nargs="?", help="A cause; its beginning is enough.")
        parser.add_argument("--most", type=int, default=50, help="How many lines (default 50).")

    def handle(self, *args: Any, fingerprint: str | None, most: int, **options: Any) -> None:
        if not 1 <= most <= 10_000:
            raise CommandError("--most must be between 1 and 10000.")
        if fingerprint:
            self._jobs(fingerprint, most)
        else:
            self._causes(most)

    def _causes(self, most: int) -> None:
        chosen = letters.open_letters()
        groups = letters.described(list(letters.grouped(chosen).order_by("-last")[:most]), chosen)
        if not groups:
            self.stdout.write("No job waits for a person.")
        for group in groups:
            where = f" in {group['plugin']}" if group["plugin"] else ""
            said = f": {group['message']}" if group["message"] else ""
            self.stdout.write(f"{group['count']:7} {group['fingerprint'][:12]} {group['error']}{where}{said}")

    def _jobs(self, fingerprint: str, most: int) -> None:
        found = letters.open_letters().filter(fingerprint__startswith=fingerprint).order_by("-id")
        if not found.exists() and not DeadLetter.objects.filter(fingerprint__startswith=fingerprint).exists():
            raise CommandError(f"There is no cause {fingerprint!r}.")
        for letter in found[:most]:
            task = letter.task or "the job"
            self.stdout.write(f"{letter.job_id} {letter.failed_at:%Y-%m-%d %H:%M:%S} {task}: {letter.cause}")
