"""What is remembered. One module a subject; import from here."""

from .definitions import Definition
from .documents import Document
from .history import History
from .ids import uuid7
from .jobs import CLAIMABLE, FINISHED, IdempotencyKey, Job, JobData, JobStatus
from .messages import Message, Signal
from .plugins import PluginRegistration
from .services import ServiceRun, Worker
from .task_runs import TaskRun, TaskRunStatus
from .tokens import ApiToken

__all__ = [
    "CLAIMABLE",
    "FINISHED",
    "ApiToken",
    "Definition",
    "Document",
    "History",
    "IdempotencyKey",
    "Job",
    "JobData",
    "JobStatus",
    "Message",
    "PluginRegistration",
    "ServiceRun",
    "Signal",
    "TaskRun",
    "TaskRunStatus",
    "Worker",
    "uuid7",
]
