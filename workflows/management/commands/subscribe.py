"""`manage.py subscribe FILE…`: workflows that events start, and what the events must be, from JSON files."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workflows.intake.exceptions import InvalidSubmission
from workflows.intake.subscriptions import Configured, describe, subscribe


class Command(BaseCommand):
    help = "Makes the subscriptions of one or more subscriptions.json files. A name that is there stays as it is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", nargs="*", type=Path)
        parser.add_argument(
            "--schemas",
            action="append",
            type=Path,
            default=[],
            metavar="FILE",
            help="first the schemas of an event_schemas.json file; may be given more than once",
        )
        parser.add_argument("--replace", action="store_true", help="overwrite what is there already")

    def handle(self, *args: Any, files: list[Path], schemas: list[Path], replace: bool, **options: Any) -> None:
        for path in schemas:
            self._configure(path, describe, replace)
        for path in files:
            self._configure(path, subscribe, replace)

    def _configure(self, path: Path, configure: Callable[..., list[Configured]], replace: bool) -> None:
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CommandError(f"{path} cannot be read: {error}") from None
        if not isinstance(rows, list):
            raise CommandError(f"{path} holds no list.")
        try:
            for configured in configure(rows, replace=replace):
                self.stdout.write(f"{configured.change:8} {configured.row._meta.verbose_name} {configured.row}")
        except InvalidSubmission as error:
            raise CommandError(f"{path}: {error}") from None
