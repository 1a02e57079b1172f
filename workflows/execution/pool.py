"""The jobs that a worker has in hand: a step of each in turn, and commits for whatever is finished meanwhile.

A lone job is committed at once, a backlog in large transactions; on PostgreSQL the worker goes on with the other half
of its jobs while the server writes the first half down. Each job keeps its own fence in the shared statement, so one
that lost its lease is left out alone. A step that may have had an effect outside has a commit to itself.

No finished step waits for a slow neighbour: before a step that is known to be slow, everything is sent; where a step
turns out to be slow, the `Committer` writes what is finished, and hands back what has not begun. Steps that wait for
the network run side by side, each in a thread that has no connection to the database.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError

from workflows.models.statements import Checkpoint, ClaimedJob, Line, answered, checkpoint, release, send

from .children import settle
from .doorbell import readable
from .exceptions import LeaseLost
from .executor import JobRun
from .limits import armed
from .steps import PreparedStep, StepResult

logger = logging.getLogger(__name__)

Planned = tuple[JobRun, Checkpoint]


class Arrivals:
    """The steps in threads that have ended, with a file descriptor that can be waited for."""

    def __init__(self) -> None:
        self._ended: deque[Future[StepResult]] = deque()
        self._here, self._there = socket.socketpair()
        self._here.setblocking(False)
        self._there.setblocking(False)

    def fileno(self) -> int:
        return self._here.fileno()

    def tell(self, future: Future[StepResult]) -> None:
        """One has ended. Called in its thread."""
        self._ended.append(future)
        with contextlib.suppress(OSError):  # full of bytes that nobody has read: whoever waits wakes anyway; or closed
            self._there.send(b".")

    def take(self) -> list[Future[StepResult]]:
        """Those that have ended since the last call."""
        with contextlib.suppress(BlockingIOError):
            self._here.recv(65536)  # before looking: one that ends after it is seen, or rings again
        return [self._ended.popleft() for _ in range(len(self._ended))]

    def wait(self, seconds: float) -> None:
        """Wait until one may have ended, at most so long."""
        readable(seconds, self)

    def close(self) -> None:
        self._here.close()
        self._there.close()


class JobPool:
    """Works on claimed jobs.

    `in_time` says whether another step may begin; what has not begun by then, or could go on, is handed back.
    `give_up` is told of a job that the engine itself fails on. Without a `line`, each commit is waited for; with one,
    `more` is asked for further jobs while the last commit of those in hand is on its way.
    """

    def __init__(
        self,
        owner: str,
        *,
        in_time: Callable[[], bool],
        give_up: Callable[[ClaimedJob, Exception], None],
        line: Line | None = None,
        more: Callable[[], Sequence[ClaimedJob]] = tuple,
    ) -> None:
        self.owner = owner
        self.in_time = in_time
        self.give_up = give_up
        self.line = line
        self.more = more
        self.steps = 0
        """How many steps were run."""
        self.step_began: float | None = None
        """Since when this thread is in a step, by the monotonic clock; None between two steps."""
        self._lock = threading.Lock()
        self._ready: deque[JobRun] = deque()
        self._finished: list[Planned] = []
        self._sent: list[Planned] = []
        self._written: list[tuple[JobRun, bool]] = []
        """What the committer has written, or could not write."""
        self._apart: dict[Future[StepResult], tuple[JobRun, PreparedStep, float]] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._arrivals: Arrivals | None = None
        self._ended: list[JobRun] = []
        self._advanced = False
        self.closed = False

    @property
    def arrivals(self) -> Arrivals | None:
        """What to wait for while steps run in threads; None while none does."""
        return self._arrivals if self._apart else None

    @property
    def apart(self) -> int:
        """How many steps are run in threads at the moment."""
        return len(self._apart)

    @property
    def in_hand(self) -> int:
        """How many jobs there are that this thread works on itself."""
        return len(self._ready) + len(self._finished) + len(self._sent)

    def add(self, jobs: Sequence[ClaimedJob]) -> None:
        """Take claimed jobs in hand. At least one step is begun of them, however little time there is."""
        self._ready.extend(JobRun(job, self.owner) for job in jobs)
        self._advanced = False

    def work(self) -> None:
        """Run every job to its next stop, or until the time is up; steps in threads go on."""
        with armed():
            self._work()

    def _work(self) -> None:
        while True:
            self._take_arrivals()
            self._take_written()
            run = self._next()
            if run is not None:
                if self._advanced and not self.in_time():
                    self._stop(run)
                    return
                self._advanced = True
                self._begin(run)
            elif self._finished:
                self._send()
            elif self._sent:
                self._refill()
                self._take_answer()
                self._settle()
            else:
                self._settle()
                return

    def _refill(self) -> None:
        if self.in_time():
            self._ready.extend(JobRun(job, self.owner) for job in self.more())

    def wait(self, seconds: float) -> None:
        """Wait for a step that is run in a thread, at most so long."""
        if self.arrivals is not None:
            self.arrivals.wait(seconds)

    def close(self, seconds: float) -> None:
        """Wait at most so long for the steps in threads, and write what they came to."""
        until = time.monotonic() + seconds
        while self._apart and time.monotonic() < until:
            self.wait(0.2)
            self.work()
        if self._threads is not None:
            self._threads.shutdown(wait=False)
        self.let_go()

    def let_go(self) -> None:
        """Give up what is in hand, and the line."""
        self.closed = True
        if self._arrivals is not None:
            self._arrivals.close()
        if self.line is not None:
            self.line.close()

    # ---- one step -----------------------------------------------------------------------------------------------

    def _next(self) -> JobRun | None:
        """The job whose turn it is. Half of the jobs are sent away before the other half is worked on."""
        if self.line is not None and self._finished and len(self._finished) >= max(1, self.in_hand // 2):
            self._send()
        with self._lock:
            return self._ready.popleft() if self._ready else None

    def _begin(self, run: JobRun) -> None:
        if not self._survives(run, run.begin) or run.over:
            self._ended.append(run)
            return
        steps: list[PreparedStep | None] = []
        if not self._survives(run, lambda: steps.append(run.begin_step())) or run.held:
            return
        [step] = steps
        if step is None:
            self._end(run, None, None)
        elif step.concurrent:
            self._run_apart(run, step)
        else:
            if not run.quick:
                self._send()
                if self._ended:
                    self._take_answer()
                    self._settle()
            self.step_began = time.monotonic()
            try:
                result = step.run()
            finally:
                self.step_began = None
            self._end(run, step, result)

    def _end(self, run: JobRun, step: PreparedStep | None, result: StepResult | None) -> None:
        if step is not None:
            self.steps += 1
        if not self._survives(run, lambda: run.end_step(step, result)):
            return
        if run.planned is None:
            if self._survives(run, run.commit):
                self._went(run)
        elif run.alone:
            self._send()  # what came before goes first, and this by itself
            self._finished.append((run, run.planned))
            self._send()
        else:
            with self._lock:
                self._finished.append((run, run.planned))

    def _went(self, *runs: JobRun) -> None:
        """Their commits stand: they go on, or have ended."""
        with self._lock:
            self._ready.extend(run for run in runs if not run.over)
        self._ended += [run for run in runs if run.over]

    def _settle(self) -> None:
        """Look after the groups whose children have ended, each once, however many of them there are. Only when nothing
        is finished and not written: a group that fails cancels what is left of it."""
        ended, self._ended = self._ended, []
        groups = {run.job.group_id for run in ended if run.ended and run.job.group_id is not None}
        if groups:
            settle(groups)

    def _stop(self, run: JobRun) -> None:
        """The time is up: nothing of these is uncommitted, so they are handed back, and not counted as claimed."""
        with self._lock:
            self._ready.appendleft(run)
        while self._finished or self._sent:
            self._send()
            self._take_answer()
        self._take_written()
        self._settle()
        with self._lock:
            late = [run.job.id for run in self._ready if not run.over]
            self._ready.clear()
        if late:
            release(self.owner, late, begun=False)

    # ---- commits ------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Commit what is finished, together. With a line, the answer is taken when it is needed."""
        with self._lock:
            batch, self._finished = self._finished, []
        if not batch:
            return
        self._take_answer()
        planned = [checkpoint for _, checkpoint in batch]
        if self.line is None:
            self._answer(batch, lambda: checkpoint(self.owner, planned))
        else:
            send(self.line, self.owner, planned)
            self._sent = batch

    def _take_answer(self) -> None:
        batch, self._sent = self._sent, []
        if batch and self.line is not None:
            line = self.line
            self._answer(batch, lambda: answered(line))

    def _answer(self, batch: Sequence[Planned], ask: Callable[[], set[uuid.UUID]]) -> None:
        """What became of a commit. A job whose guard refused is looked at alone: a signal came, or it is not ours."""
        try:
            written = ask()
        except (OperationalError, InterfaceError):
            raise
        except DatabaseError:
            # One of them holds what the database cannot keep. Alone, each tells for itself.
            logger.exception("A batch of %d jobs cannot be committed together", len(batch))
            written = set()
        self._went_or_not([(run, run.job.id in written) for run, _ in batch])

    def _went_or_not(self, answers: Sequence[tuple[JobRun, bool]]) -> None:
        went = []
        for run, is_written in answers:
            if is_written:
                run.written()
                went.append(run)
            elif self._survives(run, run.commit):
                went.append(run)
        self._went(*went)

    def _take_written(self) -> None:
        if self._written:
            with self._lock:
                answers, self._written = self._written, []
            self._went_or_not(answers)

    def relieve(self) -> None:
        """Write what is finished, and hand back what has not begun, while this pool's own thread is in a long step.
        Called in the committer's thread, on its own connection."""
        with self._lock:
            batch, self._finished = self._finished, []
            idle = [run.job.id for run in self._ready]
            self._ready.clear()
            if batch:
                try:
                    written = checkpoint(self.owner, [planned for _, planned in batch])
                except DatabaseError:
                    logger.warning("The committer of %s could not write %d jobs", self.owner, len(batch))
                    written = set()
                self._written += [(run, run.job.id in written) for run, _ in batch]
        if idle:
            release(self.owner, idle, begun=False)

    # ---- side by side -------------------------------------------------------------------------------------------

    def _run_apart(self, run: JobRun, step: PreparedStep) -> None:
        if self._threads is None or self._arrivals is None:
            self._arrivals = Arrivals()
            most = settings.WORKFLOW_CONCURRENT_STEPS
            self._threads = ThreadPoolExecutor(max_workers=most, thread_name_prefix="step")
        future = self._threads.submit(step.run_apart)
        self._apart[future] = (run, step, time.monotonic() + step.seconds)
        future.add_done_callback(self._arrivals.tell)

    def _take_arrivals(self) -> None:
        if self.arrivals is None:
            return
        for future in self.arrivals.take():
            if future in self._apart:  # else its time was over before
                run, step, _ = self._apart.pop(future)
                self._end(run, step, future.result())
        now = time.monotonic()
        for future, (run, step, until) in list(self._apart.items()):
            if now > until and not future.done():
                del self._apart[future]
                future.cancel()
                self._end(run, step, step.overdue())

    def _survives(self, run: JobRun, act: Callable[[], object]) -> bool:
        """Do one thing for a job; False where the job is not ours any more. A lost database ends all of them."""
        try:
            act()
        except LeaseLost as error:
            logger.warning("%s", error)
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            self.give_up(run.job, error)
        else:
            return True
        run.over = True
        return False


class Committer(threading.Thread):
    """Watches over a pool whose thread may be stuck in a step that was thought to be quick."""

    STUCK_SECONDS = 0.05

    def __init__(self, pool: JobPool, busy: threading.Event) -> None:
        super().__init__(name="committer", daemon=True)
        self.pool = pool
        self.busy = busy
        self._relieved: float | None = None

    def run(self) -> None:
        from django.db import connection

        while not self.pool.closed:
            if not self.busy.wait(1.0):
                continue
            time.sleep(self.STUCK_SECONDS)
            began = self.pool.step_began
            if began is None or began == self._relieved or time.monotonic() - began < self.STUCK_SECONDS:
                continue
            self._relieved = began  # once a step: nothing is added to the pool while it runs
            try:
                self.pool.relieve()
            except DatabaseError:
                logger.warning("The committer of %s lost the database", self.pool.owner)
            finally:
                connection.close()
