"""Idempotency keys: a submission that is repeated, because its answer was lost, gives the first job again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AbstractBaseUser

from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import canonical, check_json, pointer_to
from workflows.models import IdempotencyKey, Job, find_job
from workflows.models.statements.births import Key

from .exceptions import IdempotencyConflict, InvalidSubmission

MAX_KEY = 255
MAX_DIFFERENCES = 20


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """One use of a key: by whom, for which request."""

    principal: str
    key: str
    request: dict[str, Any]
    fingerprint: str

    def earlier_job(self) -> Job | None:
        """The job that this key made before, archived or not, or None.

        Raises IdempotencyConflict where it was for another request.
        """
        kept = IdempotencyKey.objects.filter(principal=self.principal, key=self.key).first()
        if kept is None:
            return None
        if kept.fingerprint != self.fingerprint:
            raise IdempotencyConflict(find_job(kept.job_id), differences(kept.request, self.request))
        try:
            return find_job(kept.job_id)
        except Job.DoesNotExist:
            return None  # retention deleted the job, and its key with it, a moment ago

    def row(self) -> Key:
        """What is remembered of it, written with the job."""
        return Key(self.principal, self.key, self.fingerprint, self.request)


def claim_for(key: str, request: dict[str, Any], user: AbstractBaseUser | None) -> KeyClaim:
    """The claim of a user on a key. Keys of two users never meet.

    Raises InvalidSubmission where the key is empty, longer than 255 characters or not printable, and where the
    request holds what is not JSON.
    """
    if not 1 <= len(key) <= MAX_KEY or not key.isprintable():
        detail = f"must be 1 to {MAX_KEY} printable characters"
        raise InvalidSubmission([Fault("", "invalid_idempotency_key", f"The Idempotency-Key {detail}.")])
    faults = check_json(request, 2**24)
    if faults:
        raise InvalidSubmission(faults)
    fingerprint = hashlib.sha256(canonical(request).encode()).hexdigest()
    return KeyClaim(str(user.pk) if user is not None else "", key, request, fingerprint)


def differences(first: Any, second: Any, path: tuple[str | int, ...] = ()) -> list[str]:
    """JSON Pointers to what differs between two requests, at most twenty."""
    if isinstance(first, dict) and isinstance(second, dict):
        found: list[str] = []
        for name in sorted(first.keys() | second.keys()):
            if name not in first or name not in second:
                found.append(pointer_to([*path, name]))
            else:
                found.extend(differences(first[name], second[name], (*path, name)))
        return found[:MAX_DIFFERENCES]
    # Compared as text: for Python, true equals 1.
    return [] if canonical(first) == canonical(second) else [pointer_to(path)]
