"""`manage.py verify [--json] [CHECK…]`: is everything so that it can go on? Reads only; exit code 1 where it is not."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workflows.operations import stranded
from workflows.operations.stranded import Check

CHECKS: Sequence[Check] = (*stranded.CHECKS,)
"""Every check there is, in the order they are run."""


class Command(BaseCommand):
    help = "Checks the live database for what must never be, and says what was found. Changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("checks", nargs="*", metavar="CHECK", help="only these (default: all)")
        parser.add_argument("--json", action="store_true", help="one JSON document")

    def handle(self, *args: Any, checks: list[str], **options: Any) -> None:
        unknown = set(checks) - {check.name for check in CHECKS}
        if unknown:
            names = ", ".join(check.name for check in CHECKS)
            raise CommandError(f"There is no check {', '.join(sorted(unknown))}. There are: {names}.")
        found = [(check, check.find()) for check in CHECKS if not checks or check.name in checks]
        bad = sum(1 for _, finding in found if finding.count)
        if options["json"]:
            rows = [
                {"name": check.name, "meaning": check.meaning, "count": finding.count, "examples": finding.examples}
                for check, finding in found
            ]
            self.stdout.write(json.dumps({"ok": not bad, "checks": rows}, ensure_ascii=False, indent=2))
        else:
            for check, finding in found:
                self.stdout.write(
                    f"{'FOUND' if finding.count else 'ok   '} {finding.count:6} {check.name}: {check.meaning}"
                )
                for example in finding.examples:
                    self.stdout.write(f"               {example}")
            self.stdout.write(
                f"{len(found)} checks, {bad} found something." if bad else f"{len(found)} checks, all well."
            )
        if bad:
            raise SystemExit(1)
