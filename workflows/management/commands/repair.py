"""`manage.py repair`: repairs jobs that a filter finds, after a preview and a question."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from workflows import policy
from workflows.models import BulkRepair, BulkRepairItem, DeadLetter
from workflows.operations import bulk
from workflows.operations.choice import FILTER
from workflows.operations.exceptions import InvalidRequest
from workflows.operations.verbs import VERBS

SHOWN = 5
ROUND_SECONDS = 1.0
AS_JSON = ("version", "priority", "ids")
"""The fields of a filter that are no texts. `status` may be given as several words with commas between them."""


def _value(text: str) -> Any:
    """JSON where the text is some, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


class Command(BaseCommand):
    help = (
        "Repairs jobs: shows what it would touch, asks, and then repairs each job by itself. Repairs nothing where the "
        "answer is not yes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--verb", required=True, choices=list(VERBS))
        parser.add_argument("--user", required=True, help="Who asks for it: the actor in every history.")
        parser.add_argument(
            "--filter",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help=f"Which jobs; more than one narrow the choice. {', '.join(FILTER['properties'])}.",
        )
        parser.add_argument("--job", action="append", default=[], metavar="ID", help="A job; may be given again.")
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="NAME=JSON",
            help="What goes with the verb: task, input, output, outcome, compensate, to, mapping.",
        )
        parser.add_argument("--reason", default="", help="Why; kept in the history.")
        parser.add_argument("--first-alone", action="store_true", help="One first, the rest only if that one passed.")
        parser.add_argument("--yes", action="store_true", help="Do not ask.")
        parser.add_argument("--no-wait", action="store_true", help="Leave it to the workers.")

    def handle(self, *args: Any, **options: Any) -> None:
        user = get_user_model().objects.filter(username=options["user"]).first()
        if user is None or not policy.may_operate(user):
            raise CommandError(f"{options['user']!r} is no user who may repair jobs: see the group operators.")
        found = self._preview(user, options)
        self._show(found)
        if not found.summary["count"]:
            bulk.stop(found.pk, actor=user.get_username())
            return
        if not options["yes"] and input(f"{found.verb} these jobs? Type yes: ").strip().lower() != "yes":
            bulk.stop(found.pk, actor=user.get_username())
            self.stdout.write("Nothing was repaired.")
            return
        bulk.start(found.pk, requested_by=user)
        if options["no_wait"]:
            self.stdout.write(f"The workers repair them: /api/v1/repairs/{found.pk}/")
            return
        self._follow(found)

    def _preview(self, user: Any, options: dict[str, Any]) -> BulkRepair:
        given = self._pairs(options["filter"], "--filter")
        filter = {name: _value(text) if name in AS_JSON else text for name, text in given}
        if "fingerprint" in filter:
            filter["fingerprint"] = self._whole(filter["fingerprint"])
        if "," in filter.get("status", ""):
            filter["status"] = filter["status"].split(",")
        if options["job"]:
            filter["ids"] = options["job"]
        arguments = {name: _value(text) for name, text in self._pairs(options["set"], "--set")}
        how = {"reason": options["reason"], "first_alone": options["first_alone"], "arguments": arguments}
        try:
            return bulk.preview(options["verb"], filter, requested_by=user, **how)
        except InvalidRequest as error:
            raise CommandError("\n".join(f"{fault.pointer}: {fault.detail}" for fault in error.faults)) from None

    @staticmethod
    def _pairs(texts: list[str], option: str) -> list[tuple[str, str]]:
        for text in texts:
            if "=" not in text:
                raise CommandError(f"{option} {text}: write it as NAME=VALUE.")
        return [(name, value) for name, _, value in (text.partition("=") for text in texts)]

    @staticmethod
    def _whole(beginning: str) -> str:
        """The fingerprint that begins so, as `dead_letters` prints it."""
        rows = DeadLetter.objects.filter(fingerprint__startswith=beginning).order_by()
        found = list(rows.values_list("fingerprint", flat=True).distinct()[:2])
        if len(found) > 1:
            raise CommandError(f"More than one cause begins with {beginning!r}.")
        return found[0] if found else beginning

    def _show(self, found: BulkRepair) -> None:
        summary = found.summary
        self.stdout.write(f"{found.verb}: {summary['count']} jobs, of which {summary['refused']} would refuse it.")
        for row in summary["by"]:
            self.stdout.write(f"{row['count']:7} {row['status']:5} {row['workflow']} v{row['version']}")
        for row in summary["errors"]:
            self.stdout.write(f"{row['count']:7} {row['error']} at {row['task'] or 'the job'}")
        for row in summary["examples"][:SHOWN]:
            self.stdout.write(f"        {row['id']} {row['correlation_id']}".rstrip())
        if summary["count"] > SHOWN:
            self.stdout.write("        …")

    def _follow(self, found: BulkRepair) -> None:
        """Carry it out together with whatever workers there are, and say how far it is."""
        said = ""
        while True:
            found = bulk.get_bulk(found.pk)
            line = self._line(found)
            if line != said:
                self.stdout.write(line)
                said = line
            if found.status not in bulk.OPEN:
                break
            if not bulk.carry_out(found, time.monotonic() + ROUND_SECONDS) and found.status in bulk.OPEN:
                time.sleep(0.2)
        for item in found.items.filter(verdict=BulkRepairItem.Verdict.REFUSED).order_by("id")[: bulk.EXAMPLES]:
            self.stdout.write(f"refused {item.job_id}: {item.detail}")
        if found.status == BulkRepair.Status.STOPPED:
            raise CommandError(found.detail or "It was stopped.")

    @staticmethod
    def _line(found: BulkRepair) -> str:
        counts = bulk.progress(found)
        state = {"trial": "waits for the first one to pass"}.get(found.status, found.status)
        return f"{counts['done']} repaired, {counts['refused']} refused, {counts['waiting']} to come: {state}"
