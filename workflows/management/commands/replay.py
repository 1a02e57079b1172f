"""`manage.py replay JOB… | --all [--archived] [--workflow NAME] [--limit N]`: do histories lead to what is kept?"""

from __future__ import annotations

import json
import uuid
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workflows.models import Job
from workflows.operations.replay import Replay, replay_all, replay_archive, replay_job


class Command(BaseCommand):
    help = "Decides every job's history again and compares the state it leads to with the one that is kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("jobs", nargs="*", type=uuid.UUID, metavar="JOB")
        parser.add_argument("--all", action="store_true", help="every job that no worker holds, the newest first")
        parser.add_argument("--archived", action="store_true", help="with --all: the archive instead")
        parser.add_argument("--workflow", default="", help="with --all: only jobs of this workflow")
        parser.add_argument("--limit", type=int, help="with --all: at most so many")

    def handle(
        self,
        *args: Any,
        jobs: list[uuid.UUID],
        all: bool,
        archived: bool,
        workflow: str,
        limit: int | None,
        **options: Any,
    ) -> None:
        every = replay_archive if archived else replay_all
        if bool(jobs) == all:
            raise CommandError("Name jobs by their ids, or give --all.")
        count = bad = 0
        for replay in every(workflow, limit) if all else self._named(jobs):
            count += 1
            if replay.equal:
                continue
            bad += 1
            self.stdout.write(f"{replay.job_id} {replay.workflow} v{replay.version}: {replay.error or 'differs'}")
            for difference in replay.differences:
                kept, led = (_short(value) for value in (difference.stored, difference.replayed))
                self.stdout.write(f"  {difference.pointer or '/'}: kept {kept}, replayed {led}")
        self.stdout.write(f"{count} replayed, {count - bad} equal, {bad} not.")
        if bad:
            raise SystemExit(1)

    def _named(self, jobs: list[uuid.UUID]) -> Iterator[Replay]:
        for job_id in jobs:
            try:
                yield replay_job(job_id)
            except Job.DoesNotExist:
                raise CommandError(f"There is no job {job_id}.") from None


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= 200 else text[:200] + "…"
