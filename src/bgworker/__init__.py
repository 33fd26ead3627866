"""bgworker: background jobs from one SQLite file, without a server."""

from bgworker.app import BgWorker, Task
from bgworker.errors import (
    BgWorkerError,
    DuplicateTask,
    JobFailed,
    NotJson,
    PayloadTooLarge,
    SoftTimeout,
    UnknownJob,
    UnknownTask,
    UnusableDatabase,
)
from bgworker.flows import chain, group
from bgworker.handle import Handle
from bgworker.model import JobState, Retry
from bgworker.schedule import cron, every

__version__ = "0.1.0"

__all__ = [
    "BgWorker",
    "BgWorkerError",
    "DuplicateTask",
    "Handle",
    "JobFailed",
    "JobState",
    "NotJson",
    "PayloadTooLarge",
    "Retry",
    "SoftTimeout",
    "Task",
    "UnknownJob",
    "UnknownTask",
    "UnusableDatabase",
    "chain",
    "cron",
    "every",
    "group",
]
