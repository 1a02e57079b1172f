"""Definitions in the admin: drafts with their faults beside them, versions that retire and come back, and trials."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from tests.execution.jobs import submit
from tests.factories import DepartmentFactory, UserFactory
from tests.intake.makers import document_of, make_definition
from workflows.execution.definitions import get_definition
from workflows.execution.worker import drain
from workflows.models import Definition, Draft, Job, Retirement

pytestmark = pytest.mark.django_db


@pytest.fixture
def configurator() -> Client:
    get_definition.cache_clear()
    user = UserFactory(username="conny", is_staff=True)
    user.groups.add(Group.objects.get(name="configurators"))
    client = Client()
    client.force_login(user)
    return client


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:workflows_{name}", args=args)


def said(response: Any) -> str:
    return " ".join(str(message) for message in response.context["messages"])


def form(document: Any, revision: int = 0, **more: Any) -> dict[str, Any]:
    return {"text": json.dumps(document), "note": "", "revision": revision, **more}


def test_a_wrong_draft_is_saved_with_its_faults_beside_it_and_not_published(configurator: Client) -> None:
    wrong = {"name": "claim", "tasks": {"a": {"type": "plugin", "plugin": "no.such"}}}
    shown = configurator.post(page("draft_add"), form(wrong), follow=True)
    assert b"/tasks/a/plugin" in shown.content
    draft = Draft.objects.get()
    assert (draft.document, draft.updated_by) == (wrong, "conny")
    refused = configurator.post(page("draft_change", draft.pk), form(wrong, 1, _publish="1"), follow=True)
    assert "was not published" in said(refused)
    assert not Definition.objects.exists()


def test_a_draft_shows_what_it_changes_and_becomes_the_next_version(configurator: Client) -> None:
    version = make_definition("claim", title="Claim")
    opened = configurator.get(f"{page('draft_add')}?from={version.pk}")
    assert json.loads(opened.context["form"].initial["text"]) == version.document
    saved = configurator.post(page("draft_add"), form(document_of("claim", title="Claims"), over=1), follow=True)
    assert "Title `Claim` → `Claims`." in saved.content.decode()
    draft = Draft.objects.get()
    again = configurator.get(f"{page('draft_add')}?from={version.pk}")
    assert again.url == page("draft_change", draft.pk)
    done = configurator.post(
        page("draft_change", draft.pk), form(draft.document, 1, _publish="1", note="s"), follow=True
    )
    assert "claim v2 is published" in said(done)
    assert "Title `Claim` → `Claims`." in done.content.decode()
    assert not Draft.objects.exists()
    assert LogEntry.objects.get().user.username == "conny"
    assert "published or discarded" in said(configurator.get(page("draft_change", draft.pk), follow=True))


def test_nobody_overwrites_a_draft_they_have_not_seen(configurator: Client) -> None:
    configurator.post(page("draft_add"), form(document_of("claim")))
    draft = Draft.objects.get()
    configurator.post(page("draft_change", draft.pk), form(document_of("claim", title="First"), 1))
    late = configurator.post(page("draft_change", draft.pk), form(document_of("claim", title="Second"), 1))
    assert "conny changed the draft" in late.content.decode()
    assert Draft.objects.get().document["title"] == "First"
    assert "changed the draft" in configurator.post(page("draft_add"), form(document_of("claim"))).content.decode()


def test_a_draft_that_was_overtaken_is_published_only_over_what_was_seen(configurator: Client) -> None:
    make_definition("claim")
    configurator.post(page("draft_add"), form(document_of("claim", title="Mine")))
    make_definition("claim", version=2, title="Theirs")
    draft = Draft.objects.get()
    assert "Version 2 was published after" in configurator.get(page("draft_change", draft.pk)).content.decode()
    body = form(draft.document, 1, _publish="1")
    assert "Version 2 was published" in said(configurator.post(page("draft_change", draft.pk), body, follow=True))
    body = form(draft.document, 2, _publish="1", _over_newest="1")
    assert "claim v3 is published" in said(configurator.post(page("draft_change", draft.pk), body, follow=True))


@pytest.mark.parametrize("text", ["{", "[]", '{"tasks": {}}', '{"name": 7}', '{"name": "a", "x": "\\u0000"}'])
def test_what_cannot_be_a_draft_is_told_in_the_form(configurator: Client, text: str) -> None:
    answer = configurator.post(page("draft_add"), {"text": text, "revision": 0})
    assert answer.status_code == 200
    assert not Draft.objects.exists()


def test_a_version_retires_comes_back_and_is_rolled_back_to(configurator: Client) -> None:
    version = make_definition("claim")
    make_definition("claim", version=2, title="Two")
    configurator.post(page("retire", version.pk))
    assert Retirement.objects.get().retired_by == "conny"
    shown = configurator.get(page("definition_change", version.pk)).content.decode()
    assert page("restore", version.pk) in shown
    configurator.post(page("restore", version.pk))
    assert not Retirement.objects.exists()
    done = configurator.post(page("rollback", version.pk), follow=True)
    assert "claim v3 is published" in said(done)
    assert [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")][:2] == ["Retired.", "Restored."]


def test_a_version_is_simulated_on_a_page_of_its_own(configurator: Client) -> None:
    DepartmentFactory(code="claims")
    document = {"tasks": {"ask": {"type": "human", "department": "claims", "due": "P1D"}}}
    version = make_definition("claim", **document)
    body = {"input": "{}", "outcomes": '{"ask": ["reject"]}', "now": "2030-01-01 00:00:00"}
    shown = configurator.post(page("simulate", version.pk), body).content.decode()
    for words in ("It ends as DONE.", "reject", "claims", "2030-01-02 00:00"):
        assert words in shown
    wrong = configurator.post(page("simulate", version.pk), {**body, "outcomes": '{"x": ["y"]}'}).content.decode()
    assert "no task" in wrong
    for outcomes in ("{", "[]", '{"ask": "reject"}', '{"ask": [1]}'):
        assert configurator.post(page("simulate", version.pk), {**body, "outcomes": outcomes}).context["form"].errors
    assert not Job.objects.exists()


def test_past_jobs_are_tried_on_a_version(configurator: Client) -> None:
    user = configurator.get(page("draft_changelist")).wsgi_request.user
    job = submit(make_definition("claim"), submitted_by=user, correlation_id="C-1")
    drain()
    other = make_definition("claim", version=2, tasks={"other": {"type": "pass"}})
    shown = configurator.get(page("backtest", other.pk)).content.decode()
    assert "1 would change" in shown
    assert page("job_change", job.pk) in shown


def test_live_jobs_are_moved_from_the_page_of_a_version_after_a_look() -> None:
    get_definition.cache_clear()
    DepartmentFactory(code="claims")
    human = {"type": "human", "department": "claims"}
    job = submit(make_definition("claim", tasks={"check": human}))
    drain()
    new = make_definition("claim", version=2, tasks={"verify": human})
    client = Client()
    client.force_login(UserFactory(username="boss", is_staff=True, is_superuser=True))
    where = page("migrate", new.pk)
    assert "Need a mapping" in client.get(where).content.decode()
    body = {"mapping": '{"check": "verify"}', "reason": "renamed"}
    assert "1 of them move cleanly" in client.post(where, {**body, "_dry": "1"}).content.decode()
    assert Job.objects.get().version == 1
    for wrong, words in (
        ('{"check": "x"}', "has no task"),
        ("[]", "object of names"),
        ('{"check": 1}', "object of names"),
    ):
        assert words in client.post(where, {"mapping": wrong, "_move": "1"}).content.decode().replace("&#x27;", "'")
    assert "1 of 1 jobs were moved" in said(client.post(where, {**body, "_move": "1"}))
    job.refresh_from_db()
    assert job.version == 2


def test_who_may_not_configure_sees_no_drafts_and_changes_nothing() -> None:
    version = make_definition("claim")
    user = UserFactory(is_staff=True)
    user.groups.add(Group.objects.get(name="operators"))
    client = Client()
    client.force_login(user)
    for name in ("draft_changelist", "draft_add"):
        assert client.get(page(name)).status_code == 403
    for name in ("retire", "restore", "rollback"):
        assert client.post(page(name, version.pk)).status_code == 403
        assert client.get(page(name, version.pk)).status_code == 405
    for name in ("simulate", "backtest"):
        assert client.get(page(name, version.pk)).status_code == 403
    assert not Retirement.objects.exists()
