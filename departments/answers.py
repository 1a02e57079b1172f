"""What a decision or a response must be before it counts: a known outcome, and data that fits the form."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings

from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import SchemaValidator, check_json

from .exceptions import InvalidAnswer
from .models import WorkItem

STATUS_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
COMMENT_MAX = 4000
RESPONSE_ID_MAX = 200


def require_decision(item: WorkItem, outcome: Any, data: Any, comment: Any) -> None:
    """Refuse a decision that does not fit the item. Raises InvalidAnswer with every fault."""
    faults = _outcome_faults(outcome, item.outcomes, at="/outcome")
    faults += comment_faults(comment, at="/comment")
    faults += _data_faults(data, item.form)
    if data is not None and not isinstance(data, dict) and not faults:
        faults.append(Fault("/data", "type", "must be an object with the fields of the form"))
    if faults:
        raise InvalidAnswer(faults)


def require_response(item: WorkItem | None, status: Any, data: Any) -> None:
    """Refuse a response that does not fit; `item` is None where a plugin's step waits. Raises InvalidAnswer."""
    faults = _outcome_faults(status, item.outcomes if item else [], at="/status")
    faults += _data_faults(data, item.form if item else None)
    if faults:
        raise InvalidAnswer(faults)


def require_response_id(response_id: Any) -> None:
    """Refuse a sender's key that is empty or too long to be kept. Raises InvalidAnswer."""
    faults = [] if response_id is None else _text_faults(response_id, RESPONSE_ID_MAX, at="/response_id", least=1)
    if faults:
        raise InvalidAnswer(faults)


def require_comment(text: Any) -> None:
    """Refuse an empty comment, or one too long to be read. Raises InvalidAnswer."""
    faults = _text_faults(text, COMMENT_MAX, at="/text", least=1)
    if faults:
        raise InvalidAnswer(faults)


def comment_faults(text: Any, *, at: str) -> list[Fault]:
    """What is wrong with a comment that may be empty."""
    return _text_faults(text, COMMENT_MAX, at=at, least=0)


def can_be_stored(name: str) -> bool:
    """False for text with characters that PostgreSQL keeps in no column, and so refuses even in a comparison."""
    return not check_json(name, settings.WORKFLOW_VALUE_MAX_BYTES)


def _outcome_faults(word: Any, known: list[str], *, at: str) -> list[Fault]:
    if known:
        if word in known:
            return []
        return [Fault(at, "unknown_outcome", f"must be one of: {', '.join(known)}")]
    if isinstance(word, str) and STATUS_WORD.fullmatch(word):
        return []
    return [Fault(at, "invalid_word", "must be a word of letters, digits, “_”, “-” and “.”, at most 100 of them")]


def _data_faults(data: Any, form: Any) -> list[Fault]:
    """What the database cannot keep; where it can keep all of it, what the form does not want."""
    faults = check_json(data, settings.WORKFLOW_VALUE_MAX_BYTES, at="/data")
    if faults or form is None:
        return faults
    return SchemaValidator(form).faults({} if data is None else data, at="/data")


def _text_faults(text: Any, most: int, *, at: str, least: int) -> list[Fault]:
    if not isinstance(text, str):
        return [Fault(at, "type", "must be text")]
    if len(text.strip()) < least:
        return [Fault(at, "required", "must not be empty")]
    if len(text) > most:
        return [Fault(at, "too_long", f"must be at most {most} characters")]
    return check_json(text, 8 * most, at=at)
