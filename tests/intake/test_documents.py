"""Keeping files: what is taken, under which name, and what a failure leaves behind."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest
from django.db import IntegrityError

from workflows.intake.documents import clean_name, open_document, store_document
from workflows.intake.exceptions import InvalidDocument
from workflows.models import Document

pytestmark = pytest.mark.django_db


def archive(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return out.getvalue()


def office(member: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("[Content_Types].xml", "<Types/>")
        file.writestr(member, "<x/>")
    return out.getvalue()


ODT = archive(mimetype=b"application/vnd.oasis.opendocument.text", content_dot_xml=b"<x/>")

GOOD = [
    ("a.pdf", b"%PDF-1.7\n...", "application/pdf"),
    ("a.PNG", b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "image/png"),
    ("a.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF\0", "image/jpeg"),
    ("a.jpeg", b"\xff\xd8\xff\xe1\0\x10Exif\0", "image/jpeg"),
    ("a.gif", b"GIF89a" + b"\0" * 20, "image/gif"),
    ("a.txt", "Grüße".encode(), "text/plain"),
    ("a.txt", "Grüße".encode("latin-1"), "text/plain"),
    ("a.csv", "a;b\n".encode("utf-16"), "text/csv"),
    ("a.json", b'{"a": 1}', "application/json"),
    ("a.xml", b"<a/>", "application/xml"),
    ("a.eml", b"From: a@example.org\r\n\r\nHello", "message/rfc822"),
    ("a.docx", office("word/document.xml"), "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("a.xlsx", office("xl/workbook.xml"), "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("a.odt", ODT, "application/vnd.oasis.opendocument.text"),
]


@pytest.mark.parametrize(("name", "content", "media_type"), GOOD)
def test_a_file_of_a_type_that_is_taken_is_kept_as_what_it_is(name: str, content: bytes, media_type: str) -> None:
    document = store_document(name, content, uploaded_by=None)
    assert document.media_type == media_type
    with open_document(Document.objects.get(pk=document.pk)) as file:
        assert file.read() == content


BAD = [
    ("a.pdf", b"<html>", "wrong_type"),
    ("a.jpg", b"\xff\xd8 and no more of a picture", "wrong_type"),
    ("a.jpg", b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "wrong_type"),
    ("a.png", b"MZ\x90\0" + b"\x89PNG\r\n\x1a\n", "wrong_type"),
    ("a.txt", b"MZ\x90\0\3\0", "wrong_type"),
    ("a.txt", b"text with \0 in it", "wrong_type"),
    ("a.txt", b"x" * 70_000 + b"\0", "wrong_type"),
    ("a.csv", b"PK\x03\x04", "wrong_type"),
    ("a.docx", office("xl/workbook.xml"), "wrong_type"),
    ("a.xlsx", b"PK\x03\x04 broken", "wrong_type"),
    ("a.odt", archive(mimetype=b"text/plain"), "wrong_type"),
    ("a.docx", b"plain", "wrong_type"),
    ("a.zip", archive(a=b"x"), "unsupported_type"),
    ("a.html", b"<p>", "unsupported_type"),
    ("a.svg", b"<svg/>", "unsupported_type"),
    ("a.pdf.exe", b"%PDF-", "unsupported_type"),
    ("a", b"text", "unsupported_type"),
    ("a.txt", b"", "empty"),
]


@pytest.mark.parametrize(("name", "content", "code"), BAD)
def test_a_file_that_is_not_what_it_says_is_refused(name: str, content: bytes, code: str) -> None:
    with pytest.raises(InvalidDocument) as error:
        store_document(name, content, uploaded_by=None)
    assert error.value.code == code
    assert not Document.objects.exists()


def test_a_file_that_is_too_large_is_not_read_to_its_end(settings: Any) -> None:
    settings.WORKFLOW_DOCUMENT_MAX_BYTES = 1024

    class Endless(io.RawIOBase):
        taken = 0

        def seekable(self) -> bool:
            return True

        def seek(self, *args: Any) -> int:
            return 0

        def read(self, size: int = -1) -> bytes:
            self.taken += size
            return b"x" * size

    stream = Endless()
    with pytest.raises(InvalidDocument) as error:
        store_document("a.txt", stream, uploaded_by=None)
    assert error.value.code == "too_large"
    assert stream.taken <= 2**17


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd.txt", "passwd.txt"),
        ("C:\\Users\\me\\a.txt", "a.txt"),
        ("a\0b\n.txt", "ab.txt"),
        ("invoice\u202efdp.txt", "invoicefdp.txt"),
        ("  two   words .txt", "two words .txt"),
        ("u\u0308ber.txt", "über.txt"),
        ("..", "document"),
    ],
)
def test_a_name_loses_its_folders_and_what_cannot_be_seen(given: str, kept: str) -> None:
    assert clean_name(given) == kept


def test_a_very_long_name_keeps_its_extension() -> None:
    name = clean_name("x" * 5000 + ".pdf")
    assert len(name) == 200
    assert name.endswith("x.pdf")


def test_no_name_from_outside_becomes_a_path(settings: Any) -> None:
    document = store_document("../../evil.txt", b"hello", uploaded_by=None)
    [kept] = [path for path in settings.MEDIA_ROOT.rglob("*") if path.is_file()]
    assert kept.name == str(document.pk)


def test_a_row_that_cannot_be_written_leaves_no_file(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **named: Any) -> None:
        raise IntegrityError("no")

    monkeypatch.setattr(Document, "save", fail)
    with pytest.raises(IntegrityError):
        store_document("a.txt", b"hello", uploaded_by=None)
    assert [path for path in settings.MEDIA_ROOT.rglob("*") if path.is_file()] == []
