"""A cluster that works, or ends: what django-q2 does not notice when one of its processes is killed.

Its sentinel replaces whatever dies. But the processes share queues, a queue has locks, and who is killed while it holds
one takes it along: the monitor nearly always, for it waits inside of it; a worker that waits for its next tick; with
bad luck the pusher, or a worker that is about to say what its tick came to. Then all processes are there, and nothing
is done. No lock can be taken from the dead, so the whole cluster ends, with a code that lets its supervisor start
another: what was being worked on goes on from its last commit when its lease is over.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from types import FrameType
from typing import Any

from django.conf import settings

logger = logging.getLogger(__name__)

STUCK_EXIT = 70
LOOK_SECONDS = 0.5
RECYCLED = -2
"""What django-q2 says of a worker that has had its last tick, and may still be waiting for its steps in threads."""


class ClusterWatch(threading.Thread):
    """A thread of the sentinel that looks whether the cluster still works, and ends all of it when it does not."""

    def __init__(self) -> None:
        super().__init__(name="watch", daemon=True)
        # Counted in looks, not by the clock: a machine that slept, or a sentinel that was stopped, proves nothing.
        self.patience = int(max(settings.WORKFLOW_LEASE_SECONDS, 5) / LOOK_SECONDS)
        self.monitor = 0
        self.monitor_was_killed = False
        self._workers: dict[int, Any] = {}
        self._idle: dict[int, int] = {}

    def see(self, monitor: int) -> None:
        """What the sentinel says in each round of its guard: the process that is its monitor now, 0 for none yet."""
        if self.monitor and monitor != self.monitor:
            self.monitor_was_killed = True
        self.monitor = monitor

    def run(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            fault = self.look()
            if fault:
                logger.critical("The cluster ends, for its supervisor to start another: %s.", fault)
                for process in multiprocessing.active_children():
                    process.kill()
                os._exit(STUCK_EXIT)

    def look(self) -> str:
        """What is wrong with the cluster, in words; empty where nothing is.

        There is always another tick, so no worker is ever without one for longer than it takes to fetch it.
        """
        if self.monitor_was_killed:
            return "its monitor was killed, and nobody can read what the workers say"
        workers = [process for process in multiprocessing.active_children() if hasattr(process, "timer")]
        living: dict[int, Any] = {process.pid or 0: process for process in workers}
        for pid in self._workers.keys() - living.keys():
            worker = self._workers.pop(pid)
            self._idle.pop(pid, None)
            # The sentinel takes this lock in each of its rounds, without a limit.
            if not worker.timer.get_lock().acquire(timeout=self.patience * LOOK_SECONDS):
                return f"worker {pid} was killed and holds a lock of the sentinel's"
            worker.timer.get_lock().release()
        for pid, worker in living.items():
            self._workers[pid] = worker
            timer = worker.timer.get_obj().value  # read past the lock, which may be a dead worker's
            self._idle[pid] = 0 if timer > 0 or timer == RECYCLED else self._idle.get(pid, 0) + 1
            if self._idle[pid] > self.patience:
                return f"worker {pid} waits for a tick and gets none"
        return ""


def run_cluster() -> int:
    """Run a cluster in this process and its children until it is told to stop; the exit code.

    Anything but 0 says that it did not end because it was told to, and that another one should be started.
    """
    from django_q.cluster import Cluster

    cluster = Cluster()
    asked = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        if cluster.sentinel is not None:
            cluster.sig_handler(number, frame)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    cluster.start()
    if asked:
        # It takes a sentinel that is being forked for one that has ended, and forgets what it was told.
        cluster.stop()
    cluster.sentinel.join()
    if cluster.sentinel.exitcode:
        logger.critical("The cluster's sentinel ended with code %s.", cluster.sentinel.exitcode)
        return 1
    return 0
