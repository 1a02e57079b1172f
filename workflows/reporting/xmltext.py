"""Text in XML 1.0: what it may hold, and how the rest is shown."""

from __future__ import annotations

import re

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_SPECIAL = str.maketrans(
    # Tab and line ends as references: a parser turns the bare ones in an attribute into blanks.
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
)
REPLACEMENT = "\ufffd"


def attribute(value: str) -> tuple[str, bool]:
    """The text as it stands between the quotes of an attribute, and whether a character had to be replaced by U+FFFD
    because XML 1.0 has no way to write it."""
    clean, replaced = _FORBIDDEN.subn(REPLACEMENT, value)
    return clean.translate(_SPECIAL), replaced > 0
