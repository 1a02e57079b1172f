"""Documents that steps hand back: the content is written before the commit, the row in it.

A crash in between leaves a file without a row, which nobody sees and pruning removes; never a row without its file.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence

from django.core.files.base import ContentFile

from workflows.engine.contract import NewDocument
from workflows.models import Document
from workflows.models.failpoints import failpoint


def stored(job_id: uuid.UUID, documents: Sequence[tuple[str, NewDocument]]) -> list[Document]:
    """Write the contents, and answer the rows that the commit must create, each with the task that made it."""
    rows = []
    for task, document in documents:
        row = Document(
            job_id=job_id,
            task=task,
            name=document.name[:255],
            media_type=document.media_type,
            size=len(document.content),
            sha256=hashlib.sha256(document.content).hexdigest(),
        )
        row.content.save(row.name, ContentFile(document.content), save=False)
        rows.append(row)
        failpoint("attach.blob_written")
    return rows


def discard(rows: Sequence[Document]) -> None:
    """Remove contents whose rows were not committed."""
    for row in rows:
        row.content.delete(save=False)
