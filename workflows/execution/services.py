"""The background services, run by the workers between their jobs: no process of their own to forget."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Protocol

from django.db import Error
from django.db.models.functions import Now

from workflows.messaging.relay import Relay
from workflows.models import ServiceRun

from .archiver import Archiver
from .events import Waiters
from .lateness import Lateness
from .prune import Pruner
from .rescue import Rescuer
from .retention import Retainer
from .settling import Settler
from .slots import Limits
from .timers import Timers

logger = logging.getLogger(__name__)


class Service(Protocol):
    """One file, one class: `run_once` does a bounded amount and answers counts."""

    name: str
    every_seconds: float

    def run_once(self) -> dict[str, int]: ...


EVERYWHERE: list[Service] = [Timers(), Rescuer(), Relay(), Waiters(), Settler()]
"""Services that every worker runs: they take rows as workers take jobs, so any number at once does no harm."""

ONCE: list[Service] = [Pruner(), Lateness(), Limits(), Archiver(), Retainer()]
"""Services of which one run at a time is enough: a row says when each is due, and who moves it first runs it."""


def register_service(service: Service, *, once: bool = False) -> None:
    """Let the workers run a service of a higher floor. Called when the applications start."""
    services = ONCE if once else EVERYWHERE
    if all(known.name != service.name for known in services):
        services.append(service)


MANY = 100
"""A service that did so much has found more than one turn does, and gets another at once."""

_hurried: set[str] = set()


def hurry(name: str) -> None:
    """Let a service run in this process at the next turn, whatever its period: there is something for it to do."""
    _hurried.add(name)


class ServiceLoop:
    """Runs what is due in this process. Cheap to call often."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    def run_due(self) -> None:
        """Run every service whose time has come. An error of one is logged and stops no other."""
        for service in EVERYWHERE:
            if self._is_due(service, service.every_seconds):
                self._run(service)
        for service in ONCE:
            if self._is_due(service, min(service.every_seconds, 60.0)) and self._take(service):
                self._run(service, record=True)

    def _is_due(self, service: Service, seconds: float) -> bool:
        now = time.monotonic()
        if now < self._next.get(service.name, 0.0) and service.name not in _hurried:
            return False
        _hurried.discard(service.name)
        self._next[service.name] = now + seconds
        return True

    def _take(self, service: Service) -> bool:
        """Move the service's row to its next time; False where another worker did, or it is not due yet."""
        ServiceRun.objects.get_or_create(name=service.name)
        return bool(
            ServiceRun.objects.filter(name=service.name, due_at__lte=Now()).update(
                due_at=Now() + timedelta(seconds=service.every_seconds), ran_at=Now()
            )
        )

    def _run(self, service: Service, *, record: bool = False) -> None:
        counts: dict[str, int] = {}
        error = ""
        try:
            counts = service.run_once()
        except Error:
            raise  # the database is gone: that is the worker's to handle, not the service's
        except Exception as failure:
            logger.exception("The service %s failed", service.name)
            error = f"{type(failure).__name__}: {failure}"
        if any(counts.values()):
            logger.info("%s: %s", service.name, counts)
        if sum(counts.values()) >= MANY:
            hurry(service.name)
        if record:
            ServiceRun.objects.filter(name=service.name).update(counts=counts, error=error)
