"""A worker: claims from the Job table, runs jobs to their next stop, and listens for the doorbell in between.

django-q2 gives it a process and calls `run_tick` again and again; each tick is of bounded length, so that django-q2's
own bookkeeping (recycling, stopping) gets its turn.
"""

from __future__ import annotations

import gc
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections, connection, connections
from django.db.models.functions import Now

from workflows.models import Worker
from workflows.models.statements import ClaimedJob, claim, extend, release

from .batch import Batch
from .doorbell import Doorbell
from .exceptions import LeaseLost
from .executor import fail_hard
from .gates import admit, may_claim
from .limits import watch
from .services import ServiceLoop

logger = logging.getLogger(__name__)

OVERDUE_EXIT = 75
BREATHER_SECONDS = 1.0
"""How long a worker waits after the database failed it, before it asks again."""


def worker_name() -> str:
    """A name that no other worker has, ever: host, boot, process, start, chance."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    boot_id = boot.read_text(encoding="ascii")[:8] if boot.exists() else "0"
    return f"{socket.gethostname()[:80]}:{boot_id}:{os.getpid()}:{int(time.time())}:{secrets.token_hex(4)}"


class Heartbeat(threading.Thread):
    """Keeps the leases of one worker alive while it works, and ends the process when a step resists its limit.

    It says nothing about progress of its own: the step's limit is what bounds a lease.
    """

    def __init__(self, owner: str, queue: str) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.owner = owner
        self.queue = queue
        self.confirmed = time.monotonic()
        self.busy = threading.Event()
        self.steps = 0

    def run(self) -> None:
        beat = 0.0
        while True:
            time.sleep(0.5)
            if watch.overdue():
                logger.critical("A step resists its time limit; worker %s ends itself.", self.owner)
                os._exit(OVERDUE_EXIT)
            if time.monotonic() - beat >= settings.WORKFLOW_HEARTBEAT_SECONDS:
                beat = time.monotonic()
                self._beat(beat)

    def _beat(self, now: float) -> None:
        try:
            # A lease that could not be extended has passed: then nothing is confirmed, and no new step begins.
            kept = not self.busy.is_set() or extend(self.owner, settings.WORKFLOW_LEASE_SECONDS) > 0
            Worker.objects.update_or_create(
                name=self.owner,
                defaults={"seen_at": Now(), "steps": self.steps},
                create_defaults={
                    "queue": self.queue,
                    "host": socket.gethostname()[:100],
                    "pid": os.getpid(),
                    "seen_at": Now(),
                },
            )
            if kept:
                self.confirmed = now
        except DatabaseError:
            logger.warning("Worker %s cannot reach the database to keep its leases.", self.owner)
            connection.close()

    def safe(self) -> bool:
        """False once so much time has passed without a confirmed beat that another worker may soon take over. No new
        step is begun then."""
        margin = max(settings.WORKFLOW_LEASE_SECONDS / 3, 1.0)
        return time.monotonic() - self.confirmed < settings.WORKFLOW_LEASE_SECONDS - margin


class JobWorker:
    """One worker process's work: everything between a claim and the release of its leases."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.name = worker_name()
        self.doorbell = Doorbell(queue)
        self.services = ServiceLoop()
        self.heartbeat = Heartbeat(self.name, queue)

    def tick(self, seconds: float) -> int:
        """Work for about `seconds`, but never break off a step; answer how many steps were run."""
        if not self.heartbeat.is_alive():
            self.heartbeat.start()
            gc.freeze()  # what was loaded before the first job stays for good: no collection need look at it
        until = time.monotonic() + seconds
        before = self.heartbeat.steps
        try:
            self.doorbell_open()
            while True:
                self.services.run_due()
                jobs = self._claim() if may_claim() else []
                if jobs:
                    self.run(admit(self.name, jobs), until)
                elif not self.doorbell.wait(until - time.monotonic()) and time.monotonic() >= until:
                    break
                if time.monotonic() >= until:
                    break
        except (OperationalError, InterfaceError) as error:
            logger.warning("Worker %s lost the database: %s", self.name, error)
            connections.close_all()
            self.doorbell.close()
            time.sleep(BREATHER_SECONDS)
        return self.heartbeat.steps - before

    def _claim(self) -> list[ClaimedJob]:
        return claim(self.queue, self.name, settings.WORKFLOW_CLAIM_BATCH, settings.WORKFLOW_LEASE_SECONDS)

    def doorbell_open(self) -> None:
        """Listen before looking, so that what comes in between rings."""
        try:
            self.doorbell.open()
        except Exception as error:
            raise OperationalError(str(error)) from error

    def run(self, jobs: Sequence[ClaimedJob], until: float) -> None:
        """Run a claimed batch. What is not begun when the time is up is handed back.

        A job that was claimed before without a commit is suspected of killing its worker. It runs last and alone, so
        that it can take no other job's claim with it.
        """
        self.heartbeat.confirmed = time.monotonic()
        self.heartbeat.busy.set()
        try:
            good = [job for job in jobs if job.claims <= 1]
            suspects = [job for job in jobs if job.claims > 1]
            if suspects[1:]:
                release(self.name, [job.id for job in suspects[1:]], begun=False)
            for group in (good, suspects[:1]):
                if group:
                    self._work(group, until)
        finally:
            self.heartbeat.busy.clear()

    def _work(self, jobs: Sequence[ClaimedJob], until: float) -> None:
        in_time = lambda: self.heartbeat.safe() and time.monotonic() < until  # noqa: E731
        batch = Batch(self.name, jobs, in_time=in_time, give_up=self._give_up)
        try:
            batch.work()
        finally:
            self.heartbeat.steps += batch.steps

    def _give_up(self, job: ClaimedJob, error: Exception) -> None:
        """The engine itself failed on a job. Try it again elsewhere; when that is no use, give it to a person."""
        logger.exception("Job %s cannot be worked on", job.id)
        if job.claims < settings.WORKFLOW_MAX_CLAIMS:
            release(self.name, [job.id], begun=True)
            return
        try:
            fail_hard(job, self.name, "InternalError", f"{type(error).__name__}: {error}")
        except LeaseLost as lost:
            logger.warning("%s", lost)


_worker: JobWorker | None = None


def run_tick(queue: str = "default") -> int:
    """What django-q2 runs in its worker processes, over and over: one tick of this process's worker."""
    global _worker
    if _worker is None or _worker.queue != queue:
        _worker = JobWorker(queue)
    close_old_connections()
    return _worker.tick(settings.TICK_SECONDS)


def drain(queue: str = "default", *, most: int = 100_000) -> int:
    """Run everything that can run now, in this process, and answer the number of steps: for tests and scripts."""
    worker = JobWorker(queue)
    while worker.heartbeat.steps < most:
        jobs = claim(queue, worker.name, settings.WORKFLOW_CLAIM_BATCH, settings.WORKFLOW_LEASE_SECONDS)
        if not jobs:
            break
        worker.run(admit(worker.name, jobs), float("inf"))
    return worker.heartbeat.steps
