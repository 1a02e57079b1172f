"""Which files are taken, and whether a file is what its name says."""

from __future__ import annotations

import codecs
import zipfile
from pathlib import PurePath
from typing import IO

import puremagic

from .exceptions import InvalidDocument

_OFFICE = "application/vnd.openxmlformats-officedocument."
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."

MEDIA_TYPES = {
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".txt": "text/plain",
    ".csv": "text/csv",
    ".json": "application/json",
    ".xml": "application/xml",
    ".eml": "message/rfc822",
    ".docx": _OFFICE + "wordprocessingml.document",
    ".xlsx": _OFFICE + "spreadsheetml.sheet",
    ".odt": _OPEN_DOCUMENT + "text",
    ".ods": _OPEN_DOCUMENT + "spreadsheet",
}
"""The types that are taken, by extension."""

_IMAGES_AND_PDF = frozenset({".pdf", ".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff"})
_TEXTS = frozenset({".txt", ".csv", ".json", ".xml", ".eml"})
_ZIP_MEMBER = {".docx": "word/document.xml", ".xlsx": "xl/workbook.xml"}
_MAX_ZIP_MEMBERS = 10_000


def media_type_of(name: str, content: IO[bytes]) -> str:
    """The media type of a file, found in its content. Leaves the file at its start.

    Raises InvalidDocument where its type is not taken, or is another than its name says.
    """
    extension = PurePath(name).suffix.lower()
    if extension not in MEDIA_TYPES:
        taken = ", ".join(sorted(known.lstrip(".") for known in MEDIA_TYPES))
        raise InvalidDocument("unsupported_type", f"Files of this type are not taken. These are: {taken}.")
    try:
        if extension in _TEXTS:
            honest = _is_text(content)
        elif extension in _IMAGES_AND_PDF:
            honest = MEDIA_TYPES[extension] in _found_types(content)
        else:
            honest = _is_office_file(extension, content)
    finally:
        content.seek(0)
    if not honest:
        raise InvalidDocument("wrong_type", f"The content is no {extension.lstrip('.')} file.")
    return MEDIA_TYPES[extension]


def _found_types(content: IO[bytes]) -> set[str]:
    content.seek(0)
    head = content.read(4096)
    try:
        found = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return set()
    # Only signatures at the very start count: a picture inside a program does not make the program a picture.
    return {match.mime_type for match in found if match.offset == 0 and len(match.byte_match or b"") >= 3}


_BINARY_HEADS = (
    b"%PDF-",
    b"\x7fELF",
    b"MZ\x90",
    b"\x89PNG",
    b"GIF8",
    b"\xff\xd8\xff",
    b"PK\x03\x04",
    b"\xca\xfe\xba\xbe",
)
_CONTROLS = bytes(set(range(32)) - {7, 8, 9, 10, 11, 12, 13, 27})


def _is_text(content: IO[bytes]) -> bool:
    """True for text in any encoding without NULs, or in UTF-16 that says so."""
    content.seek(0)
    first = True
    while chunk := content.read(2**16):
        if first:
            if chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                return _decodes(chunk + content.read(), "utf-16")
            if chunk.startswith(_BINARY_HEADS):
                return False
            first = False
        if len(chunk.translate(None, _CONTROLS)) != len(chunk):
            return False
    return True


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        return "\0" not in data.decode(encoding)
    except UnicodeDecodeError:
        return False


def _is_office_file(extension: str, content: IO[bytes]) -> bool:
    """True where the archive's directory is that of such a file. Nothing is unpacked but a few bytes of type."""
    content.seek(0)
    if content.read(4) != b"PK\x03\x04":
        return False
    content.seek(0)
    try:
        with zipfile.ZipFile(content) as archive:
            names = archive.namelist()
            if len(names) > _MAX_ZIP_MEMBERS:
                return False
            if extension in _ZIP_MEMBER:
                return _ZIP_MEMBER[extension] in names and "[Content_Types].xml" in names
            if "mimetype" not in names or archive.getinfo("mimetype").file_size > 100:
                return False
            return archive.read("mimetype").decode("ascii", "replace").strip() == MEDIA_TYPES[extension]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError, EOFError):
        return False
