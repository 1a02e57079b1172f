"""Which failures are the same failure: the message of an error without what differs from job to job.

In the manner of log template mining (He et al., Drain, 2017), with fixed patterns instead of a learned tree: what a
message becomes must not depend on the messages that came before it.
"""

from __future__ import annotations

import hashlib
import re

from .jsonvalue import canonical

MESSAGE_LENGTH = 500
VARIES = "…"
"""Stands for whatever was taken out of a message."""

_READ = 10_000
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        # Texts in quotation marks, of whatever kind comes first; an apostrophe within a word begins none. What stands
        # in back quotes is code, a name in a definition, and is the cause itself.
        r'"(?:\\.|[^"\\\n])*"'
        r"|(?<!\w)'(?:\\.|[^'\\\n])*'(?!\w)"
        r"|[“„][^“”\n]*[“”]|«[^»\n]*»",
        # Addresses and places: URLs, e-mail, paths of two parts and more.
        r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+",
        r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
        r"(?:\b[A-Za-z]:)?(?:\\[\w.$-]+){2,}\\?",
        r"(?<![\w/])[\w.~-]*(?:/[\w.~-]+){2,}/?",
        # Points in time, and times of day.
        r"\b\d{4}-\d{2}-\d{2}(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?",
        r"\b\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\b",
        # UUIDs and hexadecimal numbers, before plain numbers: one of digits alone is still one.
        r"(?i)\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
        r"(?i)\b0x[0-9a-f]+\b",
        r"(?i)(?<![0-9a-z])[0-9a-f]{8,}(?![0-9a-z])",
        # Every other word with a digit in it, or with something that was taken out: numbers, references such as CLM-17.
        rf"(?:[\w.+-]|(?<=\d),(?=\d))*[\d{VARIES}](?:[\w.+{VARIES}-]|(?<=\d),(?=\d))*",
    )
)
_LIST = re.compile(rf"{VARIES}(?:[\s,]+{VARIES})+")
_BLANK = re.compile(r"\s+")


def message_of(cause: str) -> str:
    """The cause of an error without numbers, ids, points in time, paths, addresses and quoted texts: at most 500
    characters. Causes that differ in such parts alone give the same message, and a message gives itself."""
    text = _BLANK.sub(" ", cause[:_READ]).strip()
    for pattern in _PATTERNS:
        text = pattern.sub(VARIES, text)
    return _LIST.sub(VARIES, text)[:MESSAGE_LENGTH].strip()


def fingerprint(plugin: str, error: str, message: str) -> str:
    """The name of a cause: 32 hexadecimal digits. `plugin` is the plugin or the type of the task that failed."""
    return hashlib.sha256(canonical([plugin, error, message]).encode()).hexdigest()[:32]
