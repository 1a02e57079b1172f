"""kill -9 of each process of a cluster: it goes on, or all of it ends and says so, and another one goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.execution.jobs import chain, publish, register, submit
from tests.faults.clusters import alive, children, cluster, eventually
from workflows.models import Definition, History, Job, TaskRun, Worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]


@pytest.fixture
def definition(tmp_path: Path) -> Definition:
    register("noted", "Slow", file=str(tmp_path / "notes"), seconds=0.2)
    return publish(chain("noted", *["noted"] * 5))


def works(definition: Definition) -> bool:
    """Whether a job that is submitted now is worked through, and by whoever."""
    job = submit(definition)
    return eventually(lambda: Job.objects.filter(pk=job.pk, status="DONE").exists())


def at_work(job: Job) -> Callable[[], bool]:
    """Whether a worker is in the middle of the job."""
    return TaskRun.objects.filter(job=job, status="done").exists


def family(main: int) -> dict[str, int]:
    """The processes of a cluster that has just been started, in the order in which django-q2 starts them."""
    assert eventually(lambda: len(children(main)) == 5)
    return dict(zip(("sentinel", "worker", "other worker", "monitor", "pusher"), children(main), strict=True))


def test_a_killed_worker_or_pusher_is_replaced(definition: Definition) -> None:
    with cluster() as main:
        processes = family(main.pid)
        assert works(definition), "and from here on nothing is left to do"
        for name in ("pusher", "worker"):
            os.kill(processes[name], signal.SIGKILL)
            assert works(definition), f"the {name} was killed when there was nothing to do"
        for name in ("pusher", "other worker"):
            busy = submit(definition)
            assert eventually(at_work(busy))
            newest = children(main.pid)
            victim = processes[name] if processes[name] in newest else newest[-2 if name == "pusher" else -1]
            os.kill(victim, signal.SIGKILL)
            assert eventually(lambda job=busy: Job.objects.filter(pk=job.pk, status="DONE").exists())
        assert main.poll() is None
        assert eventually(lambda: len(children(main.pid)) == 5)
        main.send_signal(signal.SIGTERM)
        assert main.wait(20) == 0, "a cluster that is told to stop has not failed"


@pytest.mark.parametrize("victim", ["sentinel", "monitor"])
def test_a_cluster_that_cannot_go_on_ends_and_another_goes_on(definition: Definition, victim: str) -> None:
    long = publish(chain("long", *["noted"] * 30))  # longer than the cluster may take to end
    with cluster() as first:
        processes = family(first.pid)
        busy = submit(long)
        assert eventually(at_work(busy))
        os.kill(processes[victim], signal.SIGKILL)
        assert first.wait(20) != 0, "whoever supervises it is to start another"
        assert eventually(lambda: not any(alive(pid) for pid in processes.values()), 5), "no orphan"
    with cluster() as second:
        assert eventually(lambda: Job.objects.filter(pk=busy.pk, status="DONE").exists())
        assert History.objects.filter(job=busy, event="lease.expired").count() == 1
        # The same when there is nothing to do.
        processes = family(second.pid)
        os.kill(processes[victim], signal.SIGKILL)
        assert second.wait(20) != 0
        assert eventually(lambda: not any(alive(pid) for pid in processes.values()), 5)


def test_a_cluster_whose_workers_can_get_no_tick_any_more_ends(definition: Definition) -> None:
    """A worker that is killed while it waits for a tick takes the lock of the queue along, and no other gets one."""
    with cluster() as main:
        processes = family(main.pid)
        assert eventually(lambda: Worker.objects.count() == 2)
        os.kill(processes["pusher"], signal.SIGSTOP)
        seen = {worker.pid: worker.seen_at for worker in Worker.objects.all()}
        assert set(seen) == {processes["worker"], processes["other worker"]}
        # The ticks that are left are used up. Then both wait: one for the queue, the other one for the queue's lock.
        looks = [False]
        assert eventually(lambda: looks.append(all(map(waits, seen))) or all(looks[-20:]))
        for pid in seen:
            os.kill(pid, signal.SIGKILL)
        os.kill(processes["pusher"], signal.SIGCONT)
        assert main.wait(30) != 0
        assert eventually(lambda: not any(alive(pid) for pid in processes.values()), 5)


def waits(pid: int) -> bool:
    """Whether the main thread of the process is in a system call for a lock or for a pipe to be filled."""
    number = Path(f"/proc/{pid}/syscall").read_text().split()[0]
    return number in WAITS


WAITS = {"0", "202"}
"""read and futex."""
