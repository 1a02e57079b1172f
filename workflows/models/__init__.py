"""What is remembered. One module a subject; import from here."""

from .archive import ArchivedJob, Companion, Retention, RetentionRun, find_job, register_companion
from .calendars import Calendar
from .children import ChildGroup, ChildGroupData
from .dead_letters import BulkRepair, BulkRepairItem, DeadLetter
from .definitions import Definition, Draft, Retirement
from .documents import Document
from .events import Event, EventSchema, EventWaiter, Subscription, SubscriptionRun
from .history import History
from .ids import least_uuid7, uuid7
from .jobs import CLAIMABLE, FINISHED, IdempotencyKey, Job, JobData, JobStatus
from .limits import Limit, Slot, Suspension
from .messages import Message, Signal
from .plugins import PluginRegistration
from .schedules import Backfill, Schedule, ScheduleRun
from .services import ServiceRun, Worker
from .statistics import WaitStatistic
from .task_runs import TaskRun, TaskRunStatus
from .tokens import ApiToken

__all__ = [
    "CLAIMABLE",
    "FINISHED",
    "ApiToken",
    "ArchivedJob",
    "Backfill",
    "BulkRepair",
    "BulkRepairItem",
    "Calendar",
    "ChildGroup",
    "ChildGroupData",
    "Companion",
    "DeadLetter",
    "Definition",
    "Document",
    "Draft",
    "Event",
    "EventSchema",
    "EventWaiter",
    "History",
    "IdempotencyKey",
    "Job",
    "JobData",
    "JobStatus",
    "Limit",
    "Message",
    "PluginRegistration",
    "Retention",
    "RetentionRun",
    "Retirement",
    "Schedule",
    "ScheduleRun",
    "ServiceRun",
    "Signal",
    "Slot",
    "Subscription",
    "SubscriptionRun",
    "Suspension",
    "TaskRun",
    "TaskRunStatus",
    "WaitStatistic",
    "Worker",
    "find_job",
    "least_uuid7",
    "register_companion",
    "uuid7",
]
