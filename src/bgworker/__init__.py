"""bgworker: background jobs from one SQLite file, without a server."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_HOMES = {
    "BgWorker": "app",
    "Task": "app",
    "JobRun": "callbacks",
    "chain": "flows",
    "group": "flows",
    "Handle": "handle",
    "Progress": "model",
    "Retry": "model",
    "current_job": "running",
    "progress": "running",
    "cron": "schedule",
    "every": "schedule",
    "JobState": "states",
}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """What is imported when it is asked for: who only looks at a queue needs little of it."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = import_module(f"bgworker.{_HOMES.get(name, 'errors')}")
        globals()[name] = getattr(home, name)
        return globals()[name]
