"""The repairs an operator makes. Doors call these; each leaves its actor and reason in the history."""

from .exceptions import OperationError, WrongState
from .repair import cancel_job, restart_job, retry_job, skip_task
from .suspend import resume_job, suspend_job

__all__ = [
    "OperationError",
    "WrongState",
    "cancel_job",
    "restart_job",
    "resume_job",
    "retry_job",
    "skip_task",
    "suspend_job",
]
