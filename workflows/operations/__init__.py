"""The repairs an operator makes. Doors call these; each leaves its actor and reason in the history."""

from .exceptions import NotSupported, OperationError, WrongState
from .repair import cancel_job, retry_job, skip_task

__all__ = ["NotSupported", "OperationError", "WrongState", "cancel_job", "retry_job", "skip_task"]
