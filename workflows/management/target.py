"""What a command that suspends or resumes is about: a workflow, one job or everything."""

from __future__ import annotations

import uuid
from argparse import ArgumentParser

from django.core.management.base import CommandError

from workflows.operations.suspend import EVERYTHING

from .actor import add_actor


def add_target(parser: ArgumentParser) -> None:
    """Add the arguments that say what it is about, and who says so and why."""
    parser.add_argument("workflow", nargs="?", help="name of a workflow")
    parser.add_argument("--job", type=uuid.UUID, help="one job, by its id")
    parser.add_argument("--all", action="store_true", help="everything: all workflows, on all queues")
    parser.add_argument("--reason", default="", help="why; kept for ever")
    add_actor(parser)


def target_of(workflow: str | None, job: uuid.UUID | None, everything: bool) -> uuid.UUID | str:
    """The one target that was named: a job's id, or the name of a workflow or of everything.

    CommandError where none or several are named. An empty name is a name that no workflow has, never everything.
    """
    if [workflow is not None, job is not None, everything].count(True) != 1:
        raise CommandError("Name a workflow, or give --job with an id, or --all.")
    if job is not None:
        return job
    if everything:
        return EVERYTHING
    if not workflow:
        raise CommandError("The name of the workflow is empty. To mean everything, say --all.")
    return workflow
