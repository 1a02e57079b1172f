"""What the commands about definitions share: reading a document from a file, and telling faults."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from workflows.engine.exceptions import UnreadableDocument
from workflows.engine.faults import Fault
from workflows.engine.parsing import load_text


def document_in(path: Path) -> dict[str, Any]:
    """The document in a file: YAML where its name ends so, JSON otherwise. CommandError where it cannot be read."""
    try:
        return load_text(path.read_bytes(), "application/yaml" if path.suffix in (".yaml", ".yml") else "")
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
    except UnreadableDocument as error:
        raise CommandError(f"{path}: {error.detail}") from None


def json_of(text: str, option: str) -> Any:
    """A value given as JSON, or as `@file`. CommandError where it is none."""
    try:
        return json.loads(Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        raise CommandError(f"{option} is no JSON: {error}") from None


def version_or_draft(text: str) -> int | str:
    """A version as the commands take it. ValueError where it is neither a number nor `draft`."""
    return text if text == "draft" else int(text)


def listed(faults: Iterable[Fault]) -> str:
    """Faults as lines."""
    return "\n".join(f"  {fault.pointer or '/'} [{fault.code}] {fault.detail}" for fault in faults)
