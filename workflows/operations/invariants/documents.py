"""Documents and their files. Reading every file takes its time, so these are asked for (`--deep`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import timedelta

from django.core.files.storage import default_storage
from django.utils import timezone

from workflows.models import Document
from workflows.operations.findings import AT_ONCE, Check, Found, Window

BLOCK = 1 << 20
YOUNG = timedelta(hours=1)
"""A file is written before its row: a young one may still get it."""


def lost_file(window: Window) -> Iterator[Found]:
    """Documents whose file is not there, or is another than the one that was sent in."""
    for document in Document.objects.order_by("pk").iterator(chunk_size=AT_ONCE):
        fault = _fault(document)
        # Read again: one that nobody attached is pruned, row first.
        if fault and Document.objects.filter(pk=document.pk).exists():
            yield Found(str(document.pk), f"{document.pk} ({document.content.name}): {fault}")


def _fault(document: Document) -> str:
    digest, size = hashlib.sha256(), 0
    try:
        with document.content.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
                size += len(block)
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    if size != document.size:
        return f"it has {size} bytes, not {document.size}"
    return "" if digest.hexdigest() == document.sha256 else "its content was changed"


def file_without_document(window: Window) -> Iterator[Found]:
    """Files that no document has, an hour after they were written."""
    names: list[str] = []
    for name in _files(""):
        names.append(name)
        if len(names) == AT_ONCE:
            yield from _unknown(names)
            names = []
    yield from _unknown(names)


def _files(folder: str) -> Iterator[str]:
    try:
        folders, names = default_storage.listdir(folder)
    except FileNotFoundError:  # nothing was ever kept
        return
    for name in sorted(names):
        yield f"{folder}/{name}" if folder else name
    for name in sorted(folders):
        yield from _files(f"{folder}/{name}" if folder else name)


def _unknown(names: list[str]) -> Iterable[Found]:
    known = set(Document.objects.filter(content__in=names).values_list("content", flat=True))
    for name in names:
        if name not in known and default_storage.get_modified_time(name) < timezone.now() - YOUNG:
            yield Found(name, name)


CHECKS = (
    Check("lost_file", "Documents without their file, or with another.", lost_file, deep=True),
    Check("file_without_document", "Files of no document, over an hour old.", file_without_document, deep=True),
)
