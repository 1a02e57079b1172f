"""The admin: configured things are changed, what happened is read, repairs have an actor, tokens stay secret."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from tests.factories import UserFactory
from tests.intake.makers import document_of, make_definition, make_registration
from workflows.intake.documents import store_document
from workflows.intake.submit import Submission, submit_job
from workflows.models import ApiToken, Definition, Job, PluginRegistration, ServiceRun, Worker

pytestmark = pytest.mark.django_db

REGISTRATION = {
    "job_type": "shape.it",
    "module": "plugins.transform.fields",
    "class_name": "TransformFields",
    "configuration": '{"fields": {"reference": "/reference"}}',
}


@pytest.fixture
def boss() -> Client:
    client = Client()
    client.force_login(UserFactory(username="boss", is_staff=True, is_superuser=True))
    return client


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:workflows_{name}", args=args)


def said(response: Any) -> str:
    return " ".join(str(message) for message in response.context["messages"])


def test_every_page_of_the_admin_opens(boss: Client) -> None:
    make_definition("claim")
    registration = make_registration("shape.it")
    user = UserFactory()
    document = store_document("note.txt", b"hello", uploaded_by=user)
    job = submit_job(Submission("claim", {"a": 1}, documents=[document.id]), submitted_by=user).job
    ApiToken.objects.create(user=user)
    service = ServiceRun.objects.create(name="rescue")
    worker = Worker.objects.create(name="w", queue="default", host="here", pid=1)
    rows = {
        "job": job,
        "definition": Definition.objects.get(),
        "pluginregistration": registration,
        "document": document,
        "servicerun": service,
        "worker": worker,
    }
    assert boss.get(reverse("admin:index")).status_code == 200
    assert boss.get(page("apitoken_changelist")).status_code == 200
    for name, row in rows.items():
        assert boss.get(page(f"{name}_changelist")).status_code == 200, name
        assert boss.get(page(f"{name}_change", row.pk)).status_code == 200, name


def test_the_pages_of_the_queue_library_are_not_shown(boss: Client) -> None:
    assert b"django_q" not in boss.get(reverse("admin:index")).content


# ---- plugins --------------------------------------------------------------------------------------------------------


def test_a_registration_that_can_run_is_saved_and_logged(boss: Client) -> None:
    body = {**REGISTRATION, "enabled": "on"}
    response = boss.post(page("pluginregistration_add"), body)
    assert response.status_code == 302, response.context["errors"]
    assert LogEntry.objects.get().object_id == str(PluginRegistration.objects.get().pk)


@pytest.mark.parametrize(
    "fault",
    [
        {"module": "os"},
        {"module": "plugins.nothing.here"},
        {"class_name": "Nothing"},
        {"configuration": '{"no_such_key": 1}'},
        {"configuration": "{"},
        {"job_type": "Not A Name"},
    ],
)
def test_a_registration_that_could_never_run_is_refused(boss: Client, fault: dict[str, str]) -> None:
    response = boss.post(page("pluginregistration_add"), {**REGISTRATION, **fault})
    assert response.status_code == 200
    assert response.context["errors"]
    assert not PluginRegistration.objects.exists()


def test_the_check_button_gives_the_verdict(boss: Client) -> None:
    good = make_registration("shape.it")
    bad = PluginRegistration.objects.create(job_type="bad.one", module="plugins.nothing", class_name="Nothing")
    assert b"Check" in boss.get(page("pluginregistration_change", good.pk)).content
    assert "loads" in said(boss.post(page("pluginregistration_check", good.pk), follow=True))
    assert "plugins.nothing" in said(boss.post(page("pluginregistration_check", bad.pk), follow=True))
    assert boss.get(page("pluginregistration_check", good.pk)).status_code == 405


def test_only_who_may_see_registrations_may_check_them() -> None:
    registration = make_registration("shape.it")
    client = Client()
    client.force_login(UserFactory(is_staff=True))
    assert client.post(page("pluginregistration_check", registration.pk)).status_code == 403


def test_registrations_can_be_exported_and_a_faulty_import_is_refused(boss: Client) -> None:
    from tablib import Dataset

    from workflows.admin import PluginRegistrationResource

    make_registration("shape.it")
    exported = PluginRegistrationResource().export().dict
    assert [row["job_type"] for row in exported] == ["shape.it"]
    rows = Dataset(headers=["job_type", "module", "class_name", "configuration", "description", "enabled"])
    rows.append(["evil.one", "os", "System", "{}", "", "1"])
    result = PluginRegistrationResource().import_data(rows, dry_run=False)
    assert result.has_validation_errors()
    assert not PluginRegistration.objects.filter(job_type="evil.one").exists()


# ---- definitions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [json.dumps(document_of("claim")), "name: claim\ntasks:\n  start: {type: pass}\ntransitions: []\n"]
)
def test_a_definition_is_published_as_json_or_yaml_and_logged(boss: Client, text: str) -> None:
    response = boss.post(page("definition_add"), {"text": text, "note": "first"}, follow=True)
    assert "claim v1 is published" in said(response)
    kept = Definition.objects.get()
    assert (kept.document, kept.note, kept.published_by) == (document_of("claim"), "first", "boss")
    assert LogEntry.objects.get().user.username == "boss"


def test_the_faults_of_a_definition_are_shown_and_nothing_is_published(boss: Client) -> None:
    broken = {"name": "claim", "tasks": {"a": {"type": "plugin", "plugin": "no.such"}}, "transitions": [{"from": "a"}]}
    response = boss.post(page("definition_add"), {"text": json.dumps(broken)})
    assert response.status_code == 200
    assert b"/tasks/a/plugin" in response.content
    assert b"/transitions/0" in response.content
    assert b"no.such" in response.content
    assert not Definition.objects.exists()


def test_a_definition_that_cannot_be_read_is_told_in_the_form(boss: Client) -> None:
    response = boss.post(page("definition_add"), {"text": '{"name": "claim", "name": "order"}'})
    assert response.context["form"].errors["text"]
    assert not Definition.objects.exists()


def test_checking_a_definition_publishes_nothing(boss: Client) -> None:
    response = boss.post(page("definition_add"), {"text": json.dumps(document_of("claim")), "_check": "1"})
    assert "no fault" in said(response)
    assert not Definition.objects.exists()


def test_an_equal_document_makes_no_version_and_the_next_one_starts_from_the_newest(boss: Client) -> None:
    definition = make_definition("claim", title="Claim")
    prefilled = boss.get(f"{page('definition_add')}?from={definition.pk}").context["form"].initial["text"]
    assert json.loads(prefilled) == definition.document
    response = boss.post(page("definition_add"), {"text": prefilled}, follow=True)
    assert "nothing was published" in said(response)
    assert Definition.objects.count() == 1


@pytest.mark.parametrize("source", ["", "x", "-1", "9" * 30])
def test_a_source_that_is_none_opens_an_empty_form(boss: Client, source: str) -> None:
    assert boss.get(f"{page('definition_add')}?from={source}").status_code == 200


def test_a_published_definition_can_be_neither_changed_nor_deleted(boss: Client) -> None:
    definition = make_definition("claim")
    assert boss.post(page("definition_change", definition.pk), {"title": "x"}).status_code == 403
    assert boss.post(page("definition_delete", definition.pk), {"post": "yes"}).status_code == 403


def test_who_may_only_read_definitions_publishes_none() -> None:
    client = Client()
    operator = UserFactory(is_staff=True)
    operator.groups.add(Group.objects.get(name="operators"))
    client.force_login(operator)
    assert client.get(page("definition_changelist")).status_code == 200
    assert client.post(page("definition_add"), {"text": json.dumps(document_of("claim"))}).status_code == 403


# ---- jobs -----------------------------------------------------------------------------------------------------------


def test_a_job_is_found_by_its_id_and_by_the_beginning_of_its_reference(boss: Client) -> None:
    make_definition("claim")
    job = submit_job(Submission("claim", {}, correlation_id="C-100"), submitted_by=None).job
    submit_job(Submission("claim", {}, correlation_id="D-1"), submitted_by=None)
    for term, count in ((str(job.pk), 1), ("C-1", 1), (str(uuid.uuid4()), 0), ("nothing", 0), ("", 2)):
        found = boss.get(page("job_changelist"), {"q": term}).context["cl"].result_list
        assert len(found) == count, term
    assert boss.get(page("job_changelist"), {"q": "a\0b"}).status_code == 200


def test_jobs_are_filtered_by_status_and_workflow(boss: Client) -> None:
    make_definition("claim")
    make_definition("order")
    submit_job(Submission("claim", {}), submitted_by=None)
    for query, count in (
        ("status__exact=NEW", 1),
        ("status__exact=DONE", 0),
        ("workflow=claim", 1),
        ("workflow=order", 0),
    ):
        found = boss.get(f"{page('job_changelist')}?{query}").context["cl"].result_list
        assert len(found) == count, query


def test_a_job_shows_its_input_and_history_and_cannot_be_changed(boss: Client) -> None:
    make_definition("claim")
    job = submit_job(Submission("claim", {"marker": "<b>x</b>"}), submitted_by=None).job
    content = boss.get(page("job_change", job.pk)).content
    assert b"job.submitted" in content
    assert b"&lt;b&gt;x&lt;/b&gt;" in content
    assert boss.post(page("job_change", job.pk), {"priority": 1}).status_code == 403
    assert boss.get(page("job_add")).status_code == 403


def test_who_is_no_operator_is_offered_no_repair() -> None:
    from django.contrib.auth.models import Permission

    make_definition("claim")
    job = submit_job(Submission("claim", {}), submitted_by=None).job
    user = UserFactory(is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_job"))
    client = Client()
    client.force_login(user)
    body = {"action": "repair_selected", "_selected_action": str(job.pk)}
    assert b"What to do" not in client.post(page("job_changelist"), body, follow=True).content
    assert b"/repair/" not in client.get(page("job_change", job.pk)).content
    assert client.post(page("job_repair", job.pk), {"verb": "cancel"}).status_code == 403
    for name in ("deadletter_changelist", "bulkrepair_changelist", "bulkrepair_add"):
        assert client.get(page(name)).status_code == 403
    job.refresh_from_db()
    assert job.status == "NEW"


@pytest.mark.parametrize("count", [1, 30])
def test_the_list_of_jobs_takes_the_same_queries_however_long_it_is(
    boss: Client, count: int, django_assert_max_num_queries: Any
) -> None:
    make_definition("claim")
    for _ in range(count):
        submit_job(Submission("claim", {}), submitted_by=UserFactory())
    with django_assert_max_num_queries(9):
        boss.get(page("job_changelist"))
    assert Job.objects.count() == count


# ---- tokens ---------------------------------------------------------------------------------------------------------


def test_no_page_shows_a_token_or_makes_one(boss: Client) -> None:
    row, token = ApiToken.objects.create(user=UserFactory(), note="the portal")
    content = boss.get(page("apitoken_changelist")).content.decode()
    assert "the portal" in content
    assert token not in content
    assert row.token_key not in content
    assert boss.get(page("apitoken_add")).status_code == 403
    assert boss.get(page("apitoken_change", row.pk)).status_code == 404


def test_a_token_can_be_revoked(boss: Client) -> None:
    row, _ = ApiToken.objects.create(user=UserFactory(), expiry=None)
    body = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
    boss.post(page("apitoken_changelist"), body)
    assert not ApiToken.objects.exists()
    assert LogEntry.objects.filter(action_flag=3).exists()
