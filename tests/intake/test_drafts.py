"""Drafts may be wrong and are never overwritten unseen; versions retire, come back, and are published once more."""

from __future__ import annotations

from typing import Any

import pytest

from tests.intake.makers import document_of, make_definition
from workflows.engine.exceptions import InvalidDefinition
from workflows.intake import drafts
from workflows.intake.exceptions import DraftChanged, NoSuchVersion, UnknownWorkflow, VersionPublished
from workflows.intake.submit import Submission, submit_job, submit_jobs
from workflows.models import Definition, Draft, Retirement

pytestmark = pytest.mark.django_db
WRONG = {"name": "claim", "tasks": {"a": {"type": "plugin", "plugin": "no.such"}}}


def save(document: Any, revision: int | None = drafts.NEW, **fields: Any) -> drafts.SavedDraft:
    return drafts.save_draft("claim", document, revision=revision, by="ann", **fields)


def test_a_wrong_draft_is_kept_and_its_faults_are_told() -> None:
    saved = save(WRONG)
    assert [(fault.pointer, fault.code) for fault in saved.faults] == [("/tasks/a/plugin", "unknown_plugin")]
    assert Draft.objects.get().document == WRONG
    with pytest.raises(InvalidDefinition):
        drafts.publish_draft("claim", revision=1, by="ann")
    assert not Definition.objects.exists()
    assert Draft.objects.exists()


@pytest.mark.parametrize("document", [[], None, "text", {"a": "\0"}, {"a": float("nan")}, {"a": "x" * 2**20}])
def test_what_no_database_keeps_is_no_draft(document: Any) -> None:
    with pytest.raises(InvalidDefinition):
        save(document)
    assert not Draft.objects.exists()


def test_a_draft_becomes_the_next_version_and_is_gone() -> None:
    make_definition("claim")
    save(document_of("claim", title="New"), note="Title")
    published = drafts.publish_draft("claim", revision=1, by="bob")
    assert (published.definition.version, published.definition.note, published.definition.published_by) == (
        2,
        "Title",
        "bob",
    )
    assert not Draft.objects.exists()
    with pytest.raises(NoSuchVersion):
        drafts.publish_draft("claim", revision=None, by="bob")


def test_nobody_overwrites_publishes_or_discards_what_they_have_not_seen() -> None:
    save(document_of("claim"))
    save(document_of("claim", title="Ann's"), 1)
    for act in (
        lambda: save(document_of("claim", title="Bob's"), 1),
        lambda: save(document_of("claim", title="Bob's"), drafts.NEW),
        lambda: drafts.discard_draft("claim", revision=1),
        lambda: drafts.publish_draft("claim", revision=1, by="bob"),
    ):
        with pytest.raises(DraftChanged, match="revision 2"):
            act()
    assert Draft.objects.get().document["title"] == "Ann's"
    drafts.discard_draft("claim", revision=2)
    with pytest.raises(DraftChanged, match="discarded meanwhile"):
        save(document_of("claim"), 2)


def test_a_draft_does_not_undo_what_was_published_meanwhile() -> None:
    make_definition("claim")
    save(document_of("claim", title="Mine"))
    make_definition("claim", version=2, title="Theirs")
    with pytest.raises(VersionPublished, match="based_on 2"):
        drafts.publish_draft("claim", revision=1, by="ann")
    saved = save(document_of("claim", title="Mine"), 1, based_on=2)
    assert drafts.publish_draft("claim", revision=saved.draft.revision, by="ann").definition.version == 3


def test_a_draft_keeps_the_name_of_its_workflow() -> None:
    assert [fault.code for fault in save(document_of("order")).faults] == ["other_name"]
    with pytest.raises(InvalidDefinition):
        drafts.publish_draft("claim", revision=None, by="ann")


def submitted(version: int | None = None) -> int:
    return submit_job(Submission("claim", {}, version=version), submitted_by=None).job.version


def test_no_job_starts_on_a_retired_version_from_the_next_submission_on() -> None:
    make_definition("claim")
    make_definition("claim", version=2, title="Two")
    running = submit_job(Submission("claim", {}), submitted_by=None).job
    assert running.version == 2
    assert drafts.retire("claim", 2, by="ann", reason="wrong")
    assert not drafts.retire("claim", 2, by="bob")
    assert submitted() == 1
    with pytest.raises(UnknownWorkflow) as refused:
        submitted(2)
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [("/version", "retired_version")]
    running.refresh_from_db()
    assert running.version == 2
    drafts.retire("claim", 1, by="ann")
    with pytest.raises(UnknownWorkflow) as refused:
        submitted()
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [("/workflow", "retired_version")]
    assert drafts.restore("claim", 2, by="ann")
    assert not drafts.restore("claim", 2, by="ann")
    assert submitted() == submitted(2) == 2
    assert Retirement.objects.get().version == 1


def test_a_batch_names_the_retired_version_by_index() -> None:
    make_definition("claim")
    drafts.retire("claim", 1, by="ann")
    with pytest.raises(UnknownWorkflow) as refused:
        submit_jobs([Submission("claim", {}, version=1)], submitted_by=None)
    assert [fault.pointer for fault in refused.value.faults] == ["/jobs/0/version"]


def test_rolling_back_publishes_the_old_document_as_the_next_version() -> None:
    make_definition("claim")
    make_definition("claim", version=2, title="Two")
    published = drafts.roll_back("claim", 1, by="ann")
    assert (published.definition.version, published.definition.note) == (3, "Back to version 1")
    assert published.definition.document == Definition.objects.get(version=1).document
    assert not drafts.roll_back("claim", 3, by="ann").created


@pytest.mark.parametrize("version", [0, 2, -1, 2**40])
def test_what_was_never_published_is_neither_retired_nor_rolled_back_to(version: int) -> None:
    make_definition("claim")
    for act in (drafts.retire, drafts.restore, drafts.roll_back):
        with pytest.raises(NoSuchVersion):
            act("claim", version, by="ann")


def test_the_difference_is_told_between_versions_and_to_the_draft() -> None:
    make_definition("claim")
    make_definition("claim", version=2, title="Two")
    save(document_of("claim", title="Three"))
    assert [change.sentence for change in drafts.compare("claim", 1, 2)] == ["Title `Two` added."]
    assert [change.sentence for change in drafts.compare("claim", 2, "draft")] == ["Title `Two` → `Three`."]
    with pytest.raises(NoSuchVersion):
        drafts.compare("claim", 1, 3)
