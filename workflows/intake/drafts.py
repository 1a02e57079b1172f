"""Drafts of definitions, and what becomes of published versions: retired, restored, published once more.

A draft may be wrong: it is kept as it is, and its faults are told. Only publishing refuses. Nobody overwrites what they
have not seen: every change raises `revision`, and whoever saves says which one they saw.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, router, transaction
from django.db.models import F
from django.utils import timezone

from workflows.engine.difference import Change, differences
from workflows.engine.exceptions import InvalidDefinition
from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import check_json
from workflows.models import Definition, Draft, Retirement

from .exceptions import DraftChanged, NoSuchVersion, VersionPublished
from .publishing import MAX_DOCUMENT_BYTES, Published, faults, publish

logger = logging.getLogger(__name__)

NEW = 0
"""The revision of a draft that is not there yet."""


@dataclass(frozen=True, slots=True)
class SavedDraft:
    """A draft as it was kept, with everything that publishing it now would be refused for."""

    draft: Draft
    faults: tuple[Fault, ...]


def read_draft(name: str) -> SavedDraft:
    """The draft of a workflow with its faults. NoSuchVersion where there is none."""
    draft = _draft(name)
    return SavedDraft(draft, draft_faults(name, draft.document))


def has_draft(name: str) -> bool:
    """Whether somebody is working on the workflow."""
    return Draft.objects.filter(name=name).exists()


def draft_faults(name: str, document: Any) -> tuple[Fault, ...]:
    """What publishing the document under this name would be refused for."""
    found = faults(document)
    if isinstance(document, dict) and isinstance(document.get("name"), str) and document["name"] != name:
        found.insert(0, Fault("/name", "other_name", f"This is the draft of {name!r}; a workflow keeps its name."))
    return tuple(found)


def save_draft(
    name: str,
    document: Any,
    *,
    revision: int | None,
    by: str,
    note: str | None = None,
    based_on: int | None = None,
) -> SavedDraft:
    """Keep a document as the draft of a workflow, whatever its faults.

    `revision` is the one the caller saw: 0 for a draft that is to be new, None to overwrite whatever is there.
    `based_on` says over which version it is meant; without it a new draft is meant over the newest, and an old one
    stays as it was.
    DraftChanged where the caller saw another revision; InvalidDefinition where the document cannot even be kept.
    """
    unkept = check_json(document, MAX_DOCUMENT_BYTES)
    if not isinstance(document, dict):
        unkept.append(Fault("", "wrong_type", "A definition is an object."))
    if unkept:
        raise InvalidDefinition(unkept)
    values: dict[str, Any] = {"document": document, "updated_by": by[:150], "updated_at": timezone.now()}
    values |= {} if note is None else {"note": note[:500]}
    values |= {} if based_on is None else {"based_on": based_on}
    rows = Draft.objects.filter(name=name)
    if revision is not None:
        rows = rows.filter(revision=revision)
    if not (revision != NEW and rows.update(revision=F("revision") + 1, **values)):
        if revision:
            raise _changed(name)
        newest = Definition.objects.newest(name)
        try:
            with transaction.atomic(using=router.db_for_write(Draft)):
                Draft.objects.create(name=name, **{"based_on": newest.version if newest else 0, **values})
        except IntegrityError:
            # Somebody began the same draft a moment before.
            raise _changed(name) from None
    return read_draft(name)


def discard_draft(name: str, *, revision: int | None) -> None:
    """Throw the draft away. DraftChanged where the caller saw another revision; NoSuchVersion where there is none."""
    _draft(name)
    rows = Draft.objects.filter(name=name)
    removed, _ = (rows if revision is None else rows.filter(revision=revision)).delete()
    if not removed:
        raise _changed(name)


def publish_draft(name: str, *, revision: int | None, by: str, note: str | None = None) -> Published:
    """Make the draft the next version, and take it away.

    InvalidDefinition with every fault; DraftChanged where the caller saw another revision; VersionPublished where a
    version was published since the draft was begun: what that changed would be lost.
    """
    with transaction.atomic(using=router.db_for_write(Draft)):
        draft = Draft.objects.select_for_update().filter(name=name).first()
        if draft is None:
            raise NoSuchVersion(f"There is no draft of {name}.")
        if revision is not None and draft.revision != revision:
            raise _changed(name)
        newest = Definition.objects.newest(name)
        if newest is not None and newest.version > draft.based_on:
            raise VersionPublished(
                f"Version {newest.version} was published after this draft was begun from version {draft.based_on}. "
                f"Look at the difference, and save the draft with based_on {newest.version} to publish it over that."
            )
        found = draft_faults(name, draft.document)
        if found:
            raise InvalidDefinition(found)
        published = publish(draft.document, published_by=by, note=draft.note if note is None else note)
        draft.delete()
    return published


def document_of(name: str, version: int | str) -> dict[str, Any]:
    """The document of a version by its number, or of the `draft`. NoSuchVersion where there is none."""
    if version == "draft":
        return dict(_draft(name).document)
    return dict(_version(name, int(version)).document)


def compare(name: str, old: int | str, new: int | str) -> list[Change]:
    """What is different in words, from one version (or the draft) to another. NoSuchVersion."""
    return differences(document_of(name, old), document_of(name, new))


def retire(name: str, version: int, *, by: str, reason: str = "") -> bool:
    """Let no new job start on a version; jobs that run on it go on. False where it was retired. NoSuchVersion."""
    _version(name, version)
    _, created = Retirement.objects.get_or_create(
        name=name, version=version, defaults={"reason": reason[:500], "retired_by": by[:150]}
    )
    if created:
        logger.info("%s v%d was retired by %s: %s", name, version, by, reason)
    return created


def restore(name: str, version: int, *, by: str) -> bool:
    """Let jobs start on a version again. False where it was not retired. NoSuchVersion."""
    _version(name, version)
    removed, _ = Retirement.objects.filter(name=name, version=version).delete()
    if removed:
        logger.info("%s v%d was restored by %s", name, version, by)
    return bool(removed)


def roll_back(name: str, version: int, *, by: str, note: str = "") -> Published:
    """Publish the document of an earlier version again, as the next one. NoSuchVersion; InvalidDefinition where what it
    names (a plugin, a department) is no longer there."""
    document = _version(name, version).document
    return publish(document, published_by=by, note=note or f"Back to version {version}")


def _draft(name: str) -> Draft:
    draft = Draft.objects.filter(name=name).first()
    if draft is None:
        raise NoSuchVersion(f"There is no draft of {name}.")
    return draft


def _version(name: str, version: int) -> Definition:
    found = Definition.objects.filter(name=name, version=version).first() if 0 < version < 2**31 else None
    if found is None:
        raise NoSuchVersion(f"{name} has no version {version}.")
    return found


def _changed(name: str) -> DraftChanged:
    draft = Draft.objects.filter(name=name).first()
    if draft is None:
        return DraftChanged("The draft was published or discarded meanwhile.")
    detail = f"{draft.updated_by or 'Somebody'} changed the draft at {draft.updated_at:%Y-%m-%d %H:%M:%S %Z}."
    return DraftChanged(f"{detail} Read it again: it is at revision {draft.revision}.")
