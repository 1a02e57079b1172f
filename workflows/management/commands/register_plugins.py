"""`manage.py register_plugins FILE…`: rows of the configuration table from JSON files."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workflows.intake.registering import InvalidRegistration, register


class Command(BaseCommand):
    help = "Registers the plugins of one or more registrations.json files. A job type that is there stays as it is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", nargs="+", type=Path)
        parser.add_argument("--replace", action="store_true", help="overwrite job types that are registered already")

    def handle(self, *args: Any, files: list[Path], replace: bool, **options: Any) -> None:
        for path in files:
            try:
                rows = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise CommandError(f"{path} cannot be read: {error}") from None
            if not isinstance(rows, list):
                raise CommandError(f"{path} holds no list of registrations.")
            try:
                for registered in register(rows, replace=replace):
                    self.stdout.write(f"{registered.change:8} {registered.registration.job_type}")
            except InvalidRegistration as error:
                raise CommandError(f"{path}: {error}") from None
