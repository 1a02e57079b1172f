"""Issue a bearer token for a user."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from workflows.models import ApiToken
from workflows.policy import SCOPES


class Command(BaseCommand):
    """`manage.py issue_token USERNAME [--scope …] [--note …] [--days …]`."""

    help = "Prints a new bearer token for a user, and nothing else. It is kept as a hash and cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument(
            "--scope",
            action="append",
            choices=sorted(SCOPES),
            default=[],
            help="Narrow the token; may be given more than once. Without it, the token may do what its user may.",
        )
        parser.add_argument("--note", default="", help="What the token is for.")
        parser.add_argument("--days", type=int, help="Days until it ends; without it, it does not end.")

    def handle(self, *args: Any, **options: Any) -> None:
        user = get_user_model().objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['username']!r}.")
        if not user.is_active:
            raise CommandError(f"The user {options['username']!r} is not active.")
        if options["days"] is not None and not 1 <= options["days"] <= 36_525:
            raise CommandError("--days must be between 1 and 36525.")
        if len(options["note"]) > 200:
            raise CommandError("--note must not be longer than 200 characters.")
        expiry = timedelta(days=options["days"]) if options["days"] else None
        scopes = sorted(set(options["scope"]))
        _, token = ApiToken.objects.create(user=user, expiry=expiry, scopes=scopes, note=options["note"])
        self.stdout.write(token)
