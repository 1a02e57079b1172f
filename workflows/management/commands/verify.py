"""`manage.py verify [--json] [--again SECONDS] [--since WHEN] [--deep] [CHECK…]`: does every invariant hold?

Reads only; exit code 1 where something was found.
"""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from workflows.engine.durations import parse_duration
from workflows.engine.exceptions import InvalidDuration
from workflows.operations.findings import Check, Finding, examine, still_there
from workflows.operations.invariants import all_checks

PROGRESS_SECONDS = 5.0


class Command(BaseCommand):
    help = "Checks the live database for what must never be, and says what was found. Changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("checks", nargs="*", metavar="CHECK", help="only these (default: all that are not deep)")
        parser.add_argument("--json", action="store_true", help="one JSON document")
        parser.add_argument("--list", action="store_true", help="the checks and what they mean; nothing is read")
        parser.add_argument("--deep", action="store_true", help="the deep ones, too: every file is read")
        parser.add_argument(
            "--since",
            type=_moment,
            metavar="WHEN",
            help="only jobs born since then: a date, a time, or a duration such as P7D (default: all jobs)",
        )
        parser.add_argument(
            "--again",
            type=float,
            default=0.0,
            metavar="SECONDS",
            help="look once more after so long, and tell only what is still there",
        )

    def handle(self, *args: Any, checks: list[str], again: float, since: datetime | None, **options: Any) -> None:
        if again < 0:
            raise CommandError("--again is a number of seconds from 0.")
        chosen = _chosen(checks, deep=options["deep"])
        if options["list"]:
            for check in chosen:
                self.stdout.write(f"{check.name}{' (deep)' if check.deep else ''}: {check.meaning}")
            return
        with ExitStack() as stack:
            for connection in connections.all():
                stack.enter_context(connection.execute_wrapper(_only_questions))
            found: Mapping[str, Finding] = examine(chosen, since=since, progress=self._progress())
            if again:
                found = still_there(chosen, found, after_seconds=again)
        bad = sum(1 for finding in found.values() if finding.count)
        if options["json"]:
            self._as_json(chosen, found, ok=not bad)
        else:
            self._as_text(chosen, found, bad)
        if bad:
            raise SystemExit(1)

    def _progress(self) -> Callable[[str], None]:
        """Says on the standard error how far it is, where it takes longer than a few seconds."""
        said = time.monotonic()

        def progress(text: str) -> None:
            nonlocal said
            if time.monotonic() - said >= PROGRESS_SECONDS:
                said = time.monotonic()
                self.stderr.write(f"{text} …")

        return progress

    def _as_json(self, checks: Sequence[Check], found: Mapping[str, Finding], *, ok: bool) -> None:
        rows = [
            {
                "name": check.name,
                "meaning": check.meaning,
                "count": found[check.name].count,
                "examples": found[check.name].examples,
            }
            for check in checks
        ]
        self.stdout.write(json.dumps({"ok": ok, "checks": rows}, ensure_ascii=False, indent=2))

    def _as_text(self, checks: Sequence[Check], found: Mapping[str, Finding], bad: int) -> None:
        for check in checks:
            finding = found[check.name]
            self.stdout.write(
                f"{'FOUND' if finding.count else 'ok   '} {finding.count:6} {check.name}: {check.meaning}"
            )
            for example in finding.examples:
                self.stdout.write(f"               {example}")
        self.stdout.write(
            f"{len(checks)} checks, {bad} found something." if bad else f"{len(checks)} checks, all well."
        )


def _chosen(names: Sequence[str], *, deep: bool) -> list[Check]:
    checks = all_checks()
    unknown = set(names) - {check.name for check in checks}
    if unknown:
        known = ", ".join(check.name for check in checks)
        raise CommandError(f"There is no check {', '.join(sorted(unknown))}. There are: {known}.")
    if names:
        return [check for check in checks if check.name in names]
    return [check for check in checks if deep or not check.deep]


def _moment(text: str) -> datetime:
    """A moment as it is written: a time, a date, or how long ago."""
    try:
        moment, day = parse_datetime(text), parse_date(text[:10]) if len(text) == 10 else None
        if day is not None:
            moment = datetime(day.year, day.month, day.day)
        if moment is None:
            return timezone.now() - parse_duration(text)
    except (ValueError, InvalidDuration) as error:
        raise ArgumentTypeError(str(error)) from None
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


def _only_questions(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Send a statement only if it is a question. Not left to the database: a setting of its session would stay with a
    connection that a pool lends to others."""
    if not sql.lstrip().upper().startswith("SELECT "):
        raise RuntimeError(f"A check only asks; it does not run {sql[:80]!r}.")
    return execute(sql, params, many, context)
