"""Documents over REST: up, listed, down."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from tests.factories import UserFactory
from tests.intake.makers import make_definition
from workflows.api import documents
from workflows.intake.documents import store_document
from workflows.intake.submit import Submission, submit_job
from workflows.models import Document

pytestmark = pytest.mark.django_db
DOCUMENTS = "/api/v1/documents/"
PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n%%EOF\n"


def upload(client: APIClient, name: str = "letter.pdf", content: bytes = PDF) -> Any:
    return client.post(DOCUMENTS, {"file": SimpleUploadedFile(name, content)}, format="multipart")


def test_an_uploaded_document_comes_back_as_it_was(client: APIClient) -> None:
    response = upload(client)
    assert response.status_code == 201
    body = response.json()
    assert (body["name"], body["media_type"], body["size"]) == ("letter.pdf", "application/pdf", len(PDF))
    assert body["sha256"] == hashlib.sha256(PDF).hexdigest()
    assert client.get(response["Location"]).json() == body
    content = client.get(f"{response['Location']}content/")
    assert b"".join(content.streaming_content) == PDF


def test_a_download_is_an_attachment_that_no_browser_runs(client: APIClient) -> None:
    where = upload(client)["Location"]
    response = client.get(f"{where}content/")
    assert response["Content-Disposition"].startswith("attachment")
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert response["Content-Type"] == "application/pdf"


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("letter.exe", b"MZ\x90\0", 415),
        ("letter", b"text", 415),
        ("letter.pdf", b"MZ\x90\0 not a pdf", 415),
        ("letter.png", PDF, 415),
        ("letter.txt", PDF, 415),
        ("letter.html", b"<script>", 415),
        ("empty.txt", b"", 422),
    ],
)
def test_a_file_that_is_not_taken_or_lies_about_its_type_is_refused(
    client: APIClient, name: str, content: bytes, status: int
) -> None:
    response = upload(client, name, content)
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    assert not Document.objects.exists()


def test_a_document_over_the_limit_is_refused_and_nothing_of_it_stays(client: APIClient, settings: Any) -> None:
    settings.WORKFLOW_DOCUMENT_MAX_BYTES = 2_000
    assert upload(client, "a.txt", b"x" * 2_001).status_code == 413
    assert upload(client, "a.txt", b"x" * 500_000).status_code == 413
    assert upload(client, "a.txt", b"x" * 2_000).status_code == 201
    assert len([path for path in settings.MEDIA_ROOT.rglob("*") if path.is_file()]) == 1


def test_a_form_without_its_file_or_with_more_is_refused(client: APIClient) -> None:
    assert client.post(DOCUMENTS, {}, format="multipart").status_code == 422
    more = {"file": SimpleUploadedFile("a.txt", b"x"), "job": "1"}
    response = client.post(DOCUMENTS, more, format="multipart")
    assert [error["pointer"] for error in response.json()["errors"]] == ["/job"]
    two = {"file": [SimpleUploadedFile("a.txt", b"x"), SimpleUploadedFile("b.txt", b"x")]}
    assert client.post(DOCUMENTS, two, format="multipart").status_code == 422
    assert client.post(DOCUMENTS, b"{}", content_type="application/json").status_code == 415
    assert client.post(DOCUMENTS, b"junk", content_type="multipart/form-data; boundary=x").status_code in (400, 422)
    assert client.post(DOCUMENTS, b"junk", content_type="multipart/form-data").status_code == 400
    assert not Document.objects.exists()


def test_a_full_storage_is_told_and_leaves_no_row(client: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **named: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(documents, "store_document", full)
    response = upload(client)
    assert response.status_code == 507
    assert b"device" not in response.content


def test_foreign_documents_and_absent_ones_answer_alike(client: APIClient) -> None:
    foreign = store_document("a.txt", b"hello", uploaded_by=UserFactory())
    for tail in ("", "content/"):
        answers = [client.get(f"{DOCUMENTS}{pk}/{tail}") for pk in (foreign.pk, uuid.uuid4())]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].json() == answers[1].json()


def test_who_may_see_a_job_may_read_its_documents(client: APIClient, client_of: Callable[..., APIClient]) -> None:
    make_definition("claim")
    user = client.user  # type: ignore[attr-defined]
    job = submit_job(Submission("claim", {}), submitted_by=user).job
    made = store_document("receipt.txt", b"paid", uploaded_by=None, job=job, task="pay")
    assert client.get(f"{DOCUMENTS}{made.pk}/").json()["task"] == "pay"
    assert client_of(UserFactory()).get(f"{DOCUMENTS}{made.pk}/").status_code == 404


def test_a_document_whose_content_is_lost_is_not_found(client: APIClient) -> None:
    body = upload(client).json()
    document = Document.objects.get(pk=body["id"])
    document.content.storage.delete(document.content.name)
    assert client.get(f"{DOCUMENTS}{document.pk}/content/").status_code == 404


def test_a_cursor_of_one_jobs_documents_is_none_of_anothers(client: APIClient) -> None:
    make_definition("claim")
    user = client.user  # type: ignore[attr-defined]
    links = []
    for _ in range(2):
        job = submit_job(Submission("claim", {}), submitted_by=user).job
        for number in range(2):
            store_document(f"{number}.txt", b"x", uploaded_by=user, job=job)
        links.append(client.get(f"/api/v1/jobs/{job.pk}/documents/?page_size=1").json()["next"])
    cursor = links[0].split("cursor=")[1].split("&")[0]
    other = links[1].split("?")[0]
    assert client.get(links[0]).status_code == 200
    assert client.get(f"{other}?cursor={cursor}").status_code == 400
