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
from multiprocessing.util import Finalize
from pathlib import Path

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, connection, connections
from django.db.models.functions import Now

from workflows.models import Worker
from workflows.models.statements import ClaimedJob, claim, extend, open_line, release

from .doorbell import Doorbell
from .exceptions import LeaseLost
from .executor import fail_hard
from .gates import admit, may_claim
from .limits import watch
from .pool import Committer, JobPool
from .services import ServiceLoop

logger = logging.getLogger(__name__)

OVERDUE_EXIT = 75
BREATHER_SECONDS = 1.0
"""How long a worker waits after the database failed it, before it asks again."""
STOP_SECONDS = 10.0
"""How long a worker that is stopped waits for its steps in threads."""
FIRST_CLAIM = 10
"""So many jobs are claimed at once before it is known how quick their steps are."""
QUICK_BATCH_SECONDS = 0.1
"""A claim that is worked off in this time may be twice as large the next time."""


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
        except Exception:  # whatever it is, the next beat must come: without this thread no lease is kept
            logger.warning("Worker %s cannot keep its leases.", self.owner, exc_info=True)
            connection.close()

    def safe(self) -> bool:
        """False once so much time has passed without a confirmed beat that another worker may soon take over. No new
        step is begun then."""
        margin = max(settings.WORKFLOW_LEASE_SECONDS / 3, 1.0)
        return time.monotonic() - self.confirmed < settings.WORKFLOW_LEASE_SECONDS - margin


class JobWorker:
    """One worker process's work: everything between a claim and the release of its leases.

    `alone` is for a thread that has to see what its caller has not committed: then nothing is done on another
    connection than the caller's.
    """

    def __init__(self, queue: str, *, alone: bool = False) -> None:
        self.queue = queue
        self.alone = alone
        self.name = worker_name()
        self.doorbell = Doorbell(queue)
        self.services = ServiceLoop()
        self.heartbeat = Heartbeat(self.name, queue)
        self._pool: JobPool | None = None
        self._until = float("inf")
        self._suspects: list[ClaimedJob] = []
        self._limit = FIRST_CLAIM
        self._backlog = False
        self._claimed_at = 0.0

    @property
    def pool(self) -> JobPool:
        """The jobs in hand."""
        if self._pool is None:
            self._pool = JobPool(
                self.name,
                in_time=lambda: self.heartbeat.safe() and time.monotonic() < self._until,
                give_up=self._give_up,
                line=None if self.alone else open_line(),
                more=self._more,
            )
            if not self.alone:
                Committer(self._pool, self.heartbeat.busy).start()
        return self._pool

    def tick(self, seconds: float) -> int:
        """Work for about `seconds`, but never break off a step; answer how many steps were run. Steps in threads may
        go on after it."""
        if not self.heartbeat.is_alive():
            self.heartbeat.start()
            gc.freeze()  # what was loaded before the first job stays for good: no collection need look at it
        until = time.monotonic() + seconds
        before = self.heartbeat.steps
        try:
            self.doorbell_open()
            while True:
                self.services.run_due()
                jobs = self.claim() if may_claim() else None
                if jobs is not None or self._waiting:
                    self.run(jobs or (), until)
                left = until - time.monotonic()
                if left <= 0:
                    break
                if jobs is None:
                    self.doorbell.wait(left, self.pool.arrivals)
        except (OperationalError, InterfaceError) as error:
            logger.warning("Worker %s lost the database: %s", self.name, error)
            self._let_go()
            time.sleep(BREATHER_SECONDS)
        except Exception:
            self._let_go()
            raise
        return self.heartbeat.steps - before

    @property
    def _waiting(self) -> bool:
        return bool(self._suspects) or (self._pool is not None and self._pool.apart > 0)

    def claim(self) -> list[ClaimedJob] | None:
        """Claim jobs, and answer those that may be worked on; None where there is nothing to be claimed, or as many
        steps run in threads as may.

        As many jobs are taken at once as steps are quick: a worker that is slow leaves them to others.
        """
        if self._backlog:
            quick = time.monotonic() - self._claimed_at < QUICK_BATCH_SECONDS
            self._limit = min(self._limit * 2, settings.WORKFLOW_CLAIM_BATCH) if quick else max(self._limit // 2, 1)
        most = min(self._limit, settings.WORKFLOW_CLAIM_BATCH, settings.WORKFLOW_CONCURRENT_STEPS - self.pool.apart)
        if most <= 0 or self._suspects:
            return None
        self._claimed_at = time.monotonic()
        jobs = claim(self.queue, self.name, most, settings.WORKFLOW_LEASE_SECONDS)
        self._backlog = len(jobs) == most
        if not jobs:
            return None
        if not self.heartbeat.busy.is_set():
            self.heartbeat.confirmed = time.monotonic()
            self.heartbeat.busy.set()
        jobs = admit(self.name, jobs)
        # A job that was claimed before without a commit is suspected of killing its worker.
        suspects = [job for job in jobs if job.claims > 1]
        if suspects[1:]:
            release(self.name, [job.id for job in suspects[1:]], begun=False)
        self._suspects += suspects[:1]
        return [job for job in jobs if job.claims <= 1]

    def _more(self) -> Sequence[ClaimedJob]:
        """Further jobs for a pool that is about to run empty; none where the last claim found all there was."""
        return (self._backlog and not self.alone and may_claim() and self.claim()) or ()

    def doorbell_open(self) -> None:
        """Listen before looking, so that what comes in between rings."""
        try:
            self.doorbell.open()
        except Exception as error:
            raise OperationalError(str(error)) from error

    def run(self, jobs: Sequence[ClaimedJob], until: float) -> None:
        """Run claimed jobs to their next stop. What is not begun when the time is up is handed back.

        A job that is suspected of killing its worker runs last and alone, so that it can take no other job's claim
        with it.
        """
        self._until = until
        pool, before = self.pool, self.pool.steps
        try:
            pool.add(jobs)
            pool.work()
            if self._suspects and not pool.apart:
                suspects, self._suspects = self._suspects, []
                pool.add(suspects)
                pool.work()
        finally:
            self.heartbeat.steps += pool.steps - before
            if not self._waiting:
                self.heartbeat.busy.clear()

    def close(self) -> bool:
        """Wait a while for the steps in threads, write what they came to, and give up the leases. False where some of
        them go on: they are run again elsewhere, with the same idempotency key, when their leases have passed."""
        left = 0
        try:
            if self._pool is not None:
                self._pool.close(STOP_SECONDS)
                left = self._pool.apart
            if self._suspects:
                release(self.name, [job.id for job in self._suspects], begun=False)
        except (OperationalError, InterfaceError) as error:
            logger.warning("Worker %s lost the database while it stopped: %s", self.name, error)
        self._let_go()
        if left:
            logger.warning("Worker %s stops with %d steps still running in threads.", self.name, left)
        return not left

    def _let_go(self) -> None:
        """Close every connection. The leases of what was in hand pass, and others go on with it: under the old name
        the next beats would extend them, too."""
        self.name = self.heartbeat.owner = worker_name()
        if self._pool is not None:
            self._pool.let_go()
        self._pool, self._suspects = None, []
        self.heartbeat.busy.clear()
        connections.close_all()
        self.doorbell.close()

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
        Finalize(None, _end, args=(_worker,), exitpriority=10)
    close_old_connections()
    return _worker.tick(settings.TICK_SECONDS)


def _end(worker: JobWorker) -> None:
    """At the end of this process: it waits for its steps in threads, but not for ever."""
    if not worker.close():
        os._exit(0)  # Python would wait for the threads


def drain(queue: str = "default", *, most: int = 100_000) -> int:
    """Run everything that can run now, in this process and on this thread's connection, and answer the number of
    steps: for tests and scripts."""
    worker = JobWorker(queue, alone=True)
    try:
        while worker.heartbeat.steps < most:
            jobs = worker.claim()
            if jobs is None and not worker._waiting:
                break
            worker.run(jobs or (), float("inf"))
            if jobs is None and worker.pool.apart:
                worker.pool.wait(1.0)
        return worker.heartbeat.steps
    finally:
        worker.pool.let_go()
