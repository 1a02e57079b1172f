"""`manage.py load_examples`: the example workflows with all they need. Repeating it changes nothing."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from departments import examples

NOT_A_DEMONSTRATION = 3
"""Exit code where demo accounts were asked for in a database that is somebody's own."""


class Command(BaseCommand):
    help = (
        "Loads the example workflows: their plugins, departments, definitions and subscriptions. What is there stays "
        "as it is."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--demo-users",
            action="store_true",
            help=f"also make the demo accounts, with the public password {examples.DEMO_PASSWORD!r}; refused in a "
            "database that has accounts of its own",
        )

    def handle(self, *args: Any, demo_users: bool, **options: Any) -> None:
        lines = [
            *examples.load_plugins(),
            *examples.load_calendars(),
            *examples.load_departments(),
            *examples.load_definitions(),
            *examples.load_subscriptions(),
        ]
        refused = ""
        if demo_users:
            try:
                lines += examples.load_demo_accounts()
            except examples.NotADemonstration as error:
                refused = str(error)
        for line in lines:
            self.stdout.write(f"loaded {line}")
        if refused:
            raise CommandError(refused, returncode=NOT_A_DEMONSTRATION)
