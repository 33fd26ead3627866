"""bgworker: background jobs from one SQLite file, without a server."""

from bgworker.app import BgWorker, Task
from bgworker.callbacks import JobRun
from bgworker.errors import (
    BgWorkerError,
    DuplicateTask,
    JobFailed,
    NotJson,
    PayloadTooLarge,
    ResultTooLarge,
    SoftTimeout,
    UnknownJob,
    UnknownTask,
    UnusableDatabase,
)
from bgworker.flows import chain, group
from bgworker.handle import Handle
from bgworker.model import Progress, Retry
from bgworker.running import current_job, progress
from bgworker.schedule import cron, every
from bgworker.states import JobState

__version__ = "0.1.0"

__all__ = [
    "BgWorker",
    "BgWorkerError",
    "DuplicateTask",
    "Handle",
    "JobFailed",
    "JobRun",
    "JobState",
    "NotJson",
    "PayloadTooLarge",
    "Progress",
    "ResultTooLarge",
    "Retry",
    "SoftTimeout",
    "Task",
    "UnknownJob",
    "UnknownTask",
    "UnusableDatabase",
    "chain",
    "cron",
    "current_job",
    "every",
    "group",
    "progress",
]
