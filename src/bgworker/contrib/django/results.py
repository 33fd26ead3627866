"""Stored jobs as Django's task results."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils.module_loading import import_string

from bgworker.codec import load_args, load_error
from bgworker.model import JobRecord, Millis
from bgworker.states import JobState

if TYPE_CHECKING:
    from bgworker.contrib.django.queue import QueueBackend

_STATUSES = {JobState.RUNNING: "RUNNING", JobState.SUCCEEDED: "SUCCESSFUL"}
_ENDED_BADLY = frozenset({JobState.FAILED, JobState.DEAD, JobState.CANCELLED})


def result_of(backend: QueueBackend, id_: str, record: JobRecord) -> Any:
    """The task result a stored job stands for.

    ``attempts`` counts runs, so a job whose worker was killed has more than one.
    """
    api = backend.api
    (_, _, _, path), given = load_args(record.args)
    task = import_string(path)
    if not isinstance(task, import_module(f"{api.__name__}.base").Task):
        raise TypeError(f"{path} is no task any more")
    task = task.using(
        priority=-record.priority,
        queue_name=record.queue,
        backend=backend.alias,
        run_after=instant(record.run_at) if record.state is JobState.SCHEDULED else None,
    )
    started_at = instant(record.started_at)
    result = api.TaskResult(
        task=task,
        id=id_,
        status=api.TaskResultStatus[_status(record.state)],
        enqueued_at=instant(record.enqueued_at),
        started_at=started_at,
        last_attempted_at=started_at,
        finished_at=instant(record.finished_at),
        args=given["args"],
        kwargs=given["kwargs"],
        backend=backend.alias,
        errors=[_stored_error(api, record.error)] if record.error is not None else [],
        worker_ids=[record.worker or "unknown"] * record.attempts,
    )
    if record.result is not None:
        object.__setattr__(result, "_return_value", json.loads(record.result))
    return result


def does_not_exist(api: ModuleType, id_: str) -> Exception:
    """The API's error for a result that is not stored."""
    kind = import_module(f"{api.__name__}.exceptions").TaskResultDoesNotExist
    error: Exception = kind(f"no task result {id_!r} is stored")
    return error


def instant(at: Millis | None) -> datetime | None:
    """Aware or naive, as ``USE_TZ`` wants it."""
    if at is None:
        return None
    aware = datetime.fromtimestamp(at / 1000, tz=timezone.utc)
    return aware if settings.USE_TZ else aware.astimezone().replace(tzinfo=None)


def backends() -> Iterator[QueueBackend]:
    """All of ``TASKS`` that are ours, of either API."""
    from bgworker.contrib.django.queue import QueueBackend

    for alias, entry in getattr(settings, "TASKS", {}).items():
        kind = import_string(entry["BACKEND"])
        if issubclass(kind, QueueBackend):
            yield kind.api.task_backends[alias]


def error_of(api: ModuleType, kind: str, traceback: str) -> Any:
    """A task error; ``kind`` is the exception's name as bgworker stores it."""
    path = kind if "." in kind else f"builtins.{kind}"
    task_error = import_module(f"{api.__name__}.base").TaskError
    return task_error(exception_class_path=path, traceback=traceback)


def _status(state: JobState) -> str:
    return "FAILED" if state in _ENDED_BADLY else _STATUSES.get(state, "READY")


def _stored_error(api: ModuleType, stored: str) -> Any:
    """What no exception stands for (a crash, say) is told by the traceback."""
    kind, message, traceback = load_error(stored)
    if "." not in kind and not hasattr(builtins, kind):
        return error_of(api, "bgworker.errors.JobFailed", f"{kind}: {message}\n{traceback}")
    return error_of(api, kind, traceback)
