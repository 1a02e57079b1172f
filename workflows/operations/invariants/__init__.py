"""What must hold at every moment, whatever was killed: the invariants of jobs and of all that hangs on them.

One module a subject, each with its checks as a list. `manage.py verify` runs them, and those of `stranded`; a higher
floor adds its own by `register_check`. Which of them the database enforces by itself, too, says `structure`.
"""

from __future__ import annotations

from collections.abc import Sequence

from workflows.operations import stranded
from workflows.operations.findings import Check

from . import documents, history, jobs, messages, states, structure, waits

_registered: list[Check] = []


def register_check(check: Check) -> None:
    """Let a higher floor add a check of its own. Called when the application starts."""
    if all(check.name != other.name for other in _registered):
        _registered.append(check)


def all_checks() -> Sequence[Check]:
    """Every check there is, in the order they are run."""
    own = (structure, jobs, history, states, waits, messages, documents)
    return (*stranded.CHECKS, *(check for module in own for check in module.CHECKS), *_registered)
