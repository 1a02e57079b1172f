"""A claimed batch: a step of each job in turn, and one commit for all results that may share it.

A backlog is committed in large transactions, a lone job at once. Each job keeps its own fence in the shared statement,
so one that lost its lease is left out alone. No finished step waits for a neighbour that is known to be slow.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence

from django.db import DatabaseError, InterfaceError, OperationalError

from workflows.models.statements import Checkpoint, ClaimedJob, checkpoint, release

from .children import settle
from .exceptions import LeaseLost
from .executor import JobRun

logger = logging.getLogger(__name__)


class Batch:
    """Works on the jobs of one claim.

    `in_time` says whether another step may begin; what has not begun by then, or could go on, is handed back.
    `give_up` is told of a job that the engine itself fails on.
    """

    def __init__(
        self,
        owner: str,
        jobs: Sequence[ClaimedJob],
        *,
        in_time: Callable[[], bool],
        give_up: Callable[[ClaimedJob, Exception], None],
    ) -> None:
        self.owner = owner
        self.runs = [JobRun(job, owner) for job in jobs]
        self.in_time = in_time
        self.give_up = give_up
        self._advanced = False
        self._told: set[uuid.UUID] = set()

    @property
    def steps(self) -> int:
        """How many steps were run."""
        return sum(run.steps for run in self.runs)

    def work(self) -> None:
        """Run every job to its next stop, or until the time is up."""
        active = list(self.runs)
        while active:
            active = self._round(active)
            self._settle()

    def _settle(self) -> None:
        """Look after the groups whose children have just ended, each once, however many of them there are."""
        ended = [run.job for run in self.runs if run.ended and run.job.id not in self._told]
        self._told |= {job.id for job in ended}
        groups = {job.group_id for job in ended if job.group_id is not None}
        if groups:
            settle(groups)

    def _round(self, active: list[JobRun]) -> list[JobRun]:
        """One step of each job; answers the jobs that can go on."""
        waiting: list[tuple[JobRun, Checkpoint]] = []
        going_on: list[JobRun] = []
        for place, run in enumerate(active):
            if self._advanced and not self.in_time():
                self._flush(waiting)
                # Nothing of these is uncommitted: they are handed back as they are, and not counted as claimed.
                release(
                    self.owner, [late.job.id for late in (*going_on, *active[place:]) if not late.over], begun=False
                )
                return []
            self._advanced = True
            if not self._survives(run, run.begin) or run.over:
                continue
            if waiting and not run.quick:
                self._flush(waiting)
            if not self._survives(run, run.advance) or run.held:
                continue
            if run.planned is not None:
                waiting.append((run, run.planned))
            elif not self._survives(run, run.commit):
                continue
            going_on.append(run)
        self._flush(waiting)
        return [run for run in going_on if not run.over]

    def _flush(self, waiting: list[tuple[JobRun, Checkpoint]]) -> None:
        """Commit together. A job whose guard refused is looked at alone: a signal came, or its lease is lost."""
        if not waiting:
            return
        try:
            written = checkpoint(self.owner, [planned for _, planned in waiting])
        except (OperationalError, InterfaceError):
            raise
        except DatabaseError:
            # One of them holds what the database cannot keep. Alone, each tells for itself.
            logger.exception("A batch of %d jobs cannot be committed together", len(waiting))
            written = set()
        for run, _ in waiting:
            if run.job.id in written:
                run.written()
            else:
                self._survives(run, run.commit)
        waiting.clear()

    def _survives(self, run: JobRun, act: Callable[[], None]) -> bool:
        """Do one thing for a job; False where the job is not ours any more. A lost database ends the whole batch."""
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
