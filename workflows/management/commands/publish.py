"""`manage.py publish FILE… [--note TEXT] [--draft] [--check]`: definitions from files, JSON or YAML."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workflows.engine.exceptions import InvalidDefinition
from workflows.intake import drafts, publishing
from workflows.management.definitions import document_in, listed
from workflows.models import Definition

ACTOR = "manage.py"


class Command(BaseCommand):
    help = "Publishes the documents of files, each as the next version of its workflow, and says what it changes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        parser.add_argument("--note", default="", help="what is new in this version")
        parser.add_argument("--draft", action="store_true", help="keep them as drafts, faults and all")
        parser.add_argument("--check", action="store_true", help="only say what publishing would change")

    def handle(self, *args: Any, files: list[Path], note: str, draft: bool, check: bool, **options: Any) -> None:
        documents = [(path, document_in(path)) for path in files]
        for path, document in documents:
            found = publishing.faults(document)
            if found and not draft:
                raise CommandError(f"{path} is not published; it has faults:\n{listed(found)}")
        for path, document in documents:
            name = document.get("name")
            if not isinstance(name, str):
                raise CommandError(f"{path}: a draft needs a name.")
            newest = Definition.objects.newest(name)
            changes = [] if newest is None else drafts.differences(newest.document, document)
            if draft:
                self._save(path, name, document, note)
            elif check:
                self.stdout.write(f"{path}: {name} has no fault.")
            else:
                self._publish(document, note)
            for change in changes:
                self.stdout.write(f"  {change.sentence}")

    def _publish(self, document: dict[str, Any], note: str) -> None:
        published = publishing.publish(document, published_by=ACTOR, note=note)
        what = "is published" if published.created else "is equal already"
        self.stdout.write(f"{published.definition} {what}.")

    def _save(self, path: Path, name: str, document: dict[str, Any], note: str) -> None:
        try:
            saved = drafts.save_draft(name, document, revision=None, by=ACTOR, note=note)
        except InvalidDefinition as error:
            raise CommandError(f"{path} cannot even be a draft:\n{listed(error.faults)}") from None
        self.stdout.write(f"Draft of {name}, revision {saved.draft.revision}, {len(saved.faults)} faults.")
        if saved.faults:
            self.stdout.write(listed(saved.faults))
