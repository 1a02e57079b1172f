"""The project's django-q2 broker: it hands out no tasks of its own, it keeps the workers of a cluster in ticks.

The Job table is the queue (decision 3 of the house). A tick is an ordinary django-q2 task of bounded length in which
the worker itself claims from that table, so no lease is spent in a queue in memory.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
import uuid
from typing import Any

from django_q.brokers import Broker
from django_q.signing import SignedPackage

from workflows.models import Job

from .cluster import ClusterWatch

TICK = "workflows.execution.worker.run_tick"
DEFAULT_QUEUE = "default"
PR_SET_PDEATHSIG = 1


_parent = 0


def remember_parent() -> None:
    """Before a fork: whose child the new process will be."""
    global _parent
    _parent = os.getpid()


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies, and look once whether it already has.

    Without it a killed sentinel leaves its workers behind, working on, with nobody to stop them. Linux only; elsewhere
    a supervisor that stops the whole group does the same.
    """
    try:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):
        return
    if _parent and os.getppid() != _parent:
        os._exit(1)


_registered = False
_watch: ClusterWatch | None = None


class TickBroker(Broker):  # type: ignore[misc]  # django-q2 has no types
    """A broker whose queue is never empty: whenever a worker is free, there is a tick for it.

    The queue between pusher and workers is as short as there are workers (`queue_limit`), and putting into a full one
    blocks, so ticks are made as fast as they are run and no faster.
    """

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._guard_forks()

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        self._guard_forks()

    @staticmethod
    def _guard_forks() -> None:
        """The broker is made in the sentinel; whatever it forks from now on dies with it."""
        global _registered
        if not _registered:
            _registered = True
            die_with_parent()
            os.register_at_fork(before=remember_parent, after_in_child=die_with_parent)

    @property
    def queue(self) -> str:
        """The job queue this cluster serves: its own name, or the default one for the cluster named in settings."""
        from django_q.conf import Conf

        return DEFAULT_QUEUE if self.list_key == Conf.PREFIX else str(self.list_key)

    def dequeue(self) -> list[tuple[str, str]]:
        tick = {
            "id": uuid.uuid4().hex,
            "name": "tick",
            "func": TICK,
            "args": (self.queue,),
            "kwargs": {},
            "started": time.time(),
        }
        return [(str(tick["id"]), SignedPackage.dumps(tick))]

    def enqueue(self, task: str) -> str:
        raise RuntimeError("Submit a job instead: the workflow clusters run nothing but the Job table.")

    def queue_size(self) -> int:
        return int(Job.objects.claimable().filter(queue=self.queue).count())

    def lock_size(self) -> int:
        return int(Job.objects.leased().filter(queue=self.queue).count())

    def set_stat(self, key: str, value: str, timeout: int) -> Any:
        """The sentinel says how it stands, in each round of its guard and in no other process."""
        global _watch
        if _watch is None:
            _watch = ClusterWatch()
            _watch.start()
        _watch.see(SignedPackage.loads(value).monitor)
        return super().set_stat(key, value, timeout)

    def ping(self) -> bool:
        return True

    def info(self) -> str:
        return "The Job table"
