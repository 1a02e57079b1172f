"""`manage.py why JOB [--json]`: why a job waits, and what would move it."""

from __future__ import annotations

import json
import uuid
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder

from workflows.engine.durations import format_timestamp
from workflows.models import Job
from workflows.operations.explain import Reason, why


class Command(BaseCommand):
    help = "Says every reason why a job does not move now, since when, and what would move it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("job", type=uuid.UUID, metavar="JOB")
        parser.add_argument("--json", action="store_true", help="as the API answers it")

    def handle(self, *args: Any, job: uuid.UUID, **options: Any) -> None:
        found = Job.objects.select_related("data").filter(pk=job).first()
        if found is None:
            raise CommandError(f"There is no job {job}.")
        reasons = why(found)
        if options["json"]:
            told = {"id": str(found.pk), "status": found.status, "reasons": [asdict(reason) for reason in reasons]}
            self.stdout.write(json.dumps(told, cls=DjangoJSONEncoder, ensure_ascii=False, indent=2))
            return
        self.stdout.write(f"{found.workflow} v{found.version} {found.pk} is {found.status}.")
        for reason in reasons:
            self._tell(reason)

    def _tell(self, reason: Reason) -> None:
        self.stdout.write(f"- [{reason.code}] {reason.text}")
        if reason.since is not None:
            self.stdout.write(f"  since {format_timestamp(reason.since)}")
        self.stdout.write(f"  {reason.moves}")
        if reason.before is not None:
            before = reason.before
            self.stdout.write(f"  Before: half took {before.p50:.1f} s, 9 of 10 {before.p90:.1f} s ({before.count}).")
        for other in reason.jobs:
            self.stdout.write(f"  job {other}")
