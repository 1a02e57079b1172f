"""`manage.py migrate_jobs WORKFLOW --to N […]`: say what moving live jobs would do; with `--move`, do it."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workflows.management.definitions import listed
from workflows.operations import migrate
from workflows.operations.exceptions import InvalidRequest
from workflows.operations.migrate import Verdict

ACTOR = "manage.py"


def pair(text: str) -> tuple[str, str]:
    """`old=new`. ArgumentTypeError for anything else."""
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise ArgumentTypeError("write old=new")
    return old, new


class Command(BaseCommand):
    help = "A dry run over the live jobs of a workflow, or with --move their move to another version."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workflow")
        parser.add_argument("--to", type=int, required=True, help="the version to move to")
        parser.add_argument("--from", dest="versions", type=int, action="append", default=[], help="only jobs on it")
        parser.add_argument(
            "--map", type=pair, action="append", default=[], metavar="OLD=NEW", help="where a task goes on"
        )
        parser.add_argument("--status", action="append", default=[], choices=[str(status) for status in migrate.LIVE])
        parser.add_argument("--move", action="store_true", help="move them; without it nothing is changed")
        parser.add_argument("--reason", default="", help="kept in the history of each job")

    def handle(self, *args: Any, workflow: str, to: int, **options: Any) -> None:
        mapping = dict(options["map"])
        jobs = migrate.live_jobs(workflow, to, versions=options["versions"], status=options["status"])
        try:
            if options["move"]:
                moved = migrate.migrate_jobs(workflow, to, mapping, jobs, actor=ACTOR, reason=options["reason"][:500])
                self.stdout.write(f"{moved.moved} of {moved.total} jobs moved to version {to}.")
                self._tell("refused", moved.refused)
                return
            found = migrate.dry_run(workflow, to, mapping, jobs)
        except InvalidRequest as error:
            raise CommandError(f"They cannot be moved:\n{listed(error.faults)}") from None
        self.stdout.write(f"{found.clean.count} of {found.examined} jobs examined ({found.total} live) move cleanly.")
        for note in found.clean.notes:
            self.stdout.write(f"  {note}")
        self._tell("need a mapping", found.needs_mapping)
        self._tell("cannot move", found.cannot)

    def _tell(self, what: str, verdicts: list[Verdict]) -> None:
        for verdict in verdicts:
            examples = ", ".join(str(job) for job in verdict.examples[:3])
            self.stdout.write(f"{verdict.count} {what}: {verdict.detail} [{verdict.code}] (such as {examples})")
