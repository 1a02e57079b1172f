"""`manage.py simulate WORKFLOW INPUT […]`: what a job would do, step by step, without doing any of it."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workflows.engine.durations import format_timestamp, parse_timestamp
from workflows.engine.exceptions import InvalidDefinition, InvalidTimestamp
from workflows.engine.jsonvalue import canonical
from workflows.intake.exceptions import NoSuchVersion
from workflows.management.definitions import document_in, json_of, listed, version_or_draft
from workflows.operations.exceptions import InvalidRequest
from workflows.operations.simulate import SimulatedStep, simulate


class Command(BaseCommand):
    help = "Walks an input through a definition: the path, who would decide, until when, and what comes of it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workflow")
        parser.add_argument("input", nargs="?", default="{}", help="JSON, or @file")
        parser.add_argument("--version-to-try", dest="try_version", type=version_or_draft, help="a number, or draft")
        parser.add_argument("--document", type=Path, help="a file to try instead, kept nowhere")
        parser.add_argument("--outcomes", default="{}", help='JSON, or @file: {"verify": ["return", "approve"]}')
        parser.add_argument("--now", help="when it would be submitted, as in 2030-01-31T12:00:00Z")

    def handle(self, *args: Any, workflow: str, input: str, **options: Any) -> None:
        outcomes = json_of(options["outcomes"], "--outcomes")
        if not isinstance(outcomes, dict) or not all(isinstance(entries, list) for entries in outcomes.values()):
            raise CommandError('--outcomes is an object of lists: {"verify": ["approve"]}.')
        try:
            done = simulate(
                workflow,
                json_of(input, "The input"),
                version=options["try_version"],
                document=document_in(options["document"]) if options["document"] else None,
                outcomes=outcomes,
                now=parse_timestamp(options["now"]) if options["now"] else None,
            )
        except (NoSuchVersion, InvalidTimestamp) as error:
            raise CommandError(str(error)) from None
        except (InvalidDefinition, InvalidRequest) as error:
            raise CommandError(f"It cannot be simulated:\n{listed(error.faults)}") from None
        for step in done.path:
            self.stdout.write(f"{format_timestamp(step.at)}  {_line(step)}")
        self.stdout.write(f"{format_timestamp(done.ended_at)}  {done.stopped or done.status}")
        for title, value in (("output", done.output), ("error", done.error)):
            if value is not None:
                self.stdout.write(f"{title}: {canonical(value)}")
        for message in done.published:
            self.stdout.write(f"would publish {message['type']} from {message['task']}: {canonical(message['data'])}")
        for assumption in done.assumptions:
            self.stdout.write(f"assumed: {assumption}")


def _line(step: SimulatedStep) -> str:
    text = f"{step.task}" + (f" (iteration {step.iteration})" if step.iteration > 1 else "")
    text += f": {step.result}" + (f" `{step.outcome}`" if step.outcome is not None else "")
    text += f" {step.error}: {step.cause}" if step.error is not None else ""
    if step.asked is not None:
        who = step.asked.assignee or step.asked.department or step.asked.queue
        due = f", due {format_timestamp(step.asked.due_at)}" if step.asked.due_at is not None else ""
        quorum = step.asked.quorum
        votes = f", {quorum['need']} of {quorum['of']} votes" if quorum else ""
        text += f" (asks {who}{votes}{due})"
    return text
