"""Documents: files that come with a request, or that a step hands back."""

from __future__ import annotations

import hashlib
import io
import unicodedata
from pathlib import PurePath
from typing import IO

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.core.files.base import File
from django.db import InterfaceError, OperationalError

from workflows.models import Document, Job
from workflows.models.failpoints import failpoint

from .exceptions import InvalidDocument
from .file_types import media_type_of

MAX_NAME = 200
_CHUNK = 2**16


def store_document(
    name: str,
    content: bytes | IO[bytes] | File[bytes],
    *,
    uploaded_by: AbstractBaseUser | None,
    job: Job | None = None,
    task: str = "",
) -> Document:
    """Keep a file: its type is found in its content, its name is cleaned, its hash is taken.

    Without a job it waits for the submission that names it. `task` is the step that made it. Raises InvalidDocument
    where it is empty, larger than WORKFLOW_DOCUMENT_MAX_BYTES, of a type that is not taken or not what its name says;
    OSError where the storage is full or away.
    """
    stream: IO[bytes] = io.BytesIO(content) if isinstance(content, bytes) else content
    clean = clean_name(name)
    size, sha256 = _measure(stream)
    document = Document(
        job=job,
        task=task,
        name=clean,
        media_type=media_type_of(clean, stream),
        size=size,
        sha256=sha256,
        uploaded_by=uploaded_by,
    )
    # The file first, then the row: there is never a row without its file.
    document.content.save(clean, File(stream), save=False)
    try:
        failpoint("attach.blob_written")
        document.save(force_insert=True)
    except (OperationalError, InterfaceError):
        raise  # the row may stand, though nobody told us so: it must not lose its file
    except BaseException:
        document.content.delete(save=False)
        raise
    return document


def open_document(document: Document) -> IO[bytes]:
    """The content, opened for reading; the caller closes it. FileNotFoundError where the storage has lost it."""
    return document.content.storage.open(str(document.content.name), "rb")


def clean_name(name: str) -> str:
    """The file's own name: no folders, no control or direction characters, at most 200 characters."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(char for char in unicodedata.normalize("NFC", last) if unicodedata.category(char)[0] != "C")
    kept = " ".join(kept.split()).strip(". ")
    path = PurePath(kept or "document")
    return path.stem[: MAX_NAME - len(path.suffix[:20])] + path.suffix[:20]


def _measure(stream: IO[bytes]) -> tuple[int, str]:
    """Size and hash, read in pieces; a file that is too large is not read to its end."""
    limit = settings.WORKFLOW_DOCUMENT_MAX_BYTES
    size, digest = 0, hashlib.sha256()
    stream.seek(0)
    while chunk := stream.read(_CHUNK):
        size += len(chunk)
        if size > limit:
            raise InvalidDocument("too_large", f"The file is larger than {limit} bytes.")
        digest.update(chunk)
    stream.seek(0)
    if not size:
        raise InvalidDocument("empty", "The file is empty.")
    return size, digest.hexdigest()
