"""One Django task, run in a worker's child process."""

from __future__ import annotations

from importlib import import_module
from traceback import format_exception
from typing import TYPE_CHECKING, Any

from django.db import close_old_connections, reset_queries
from django.utils import timezone

from bgworker.contrib.django.results import error_of

if TYPE_CHECKING:
    from bgworker.contrib.django.queue import QueueBackend


def run(api: str, alias: str, id_: str, _: str, *, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Run a task, of which ``_`` is the path, with signals, context and fresh connections."""
    tasks = import_module(api)
    backend = tasks.task_backends[alias]
    result = backend.get_result(id_)
    task = result.task
    for name, value in (("started_at", timezone.now()), ("last_attempted_at", timezone.now())):
        object.__setattr__(result, name, value)
    if task.takes_context:
        args = [tasks.TaskContext(task_result=result), *args]
    reset_queries()
    close_old_connections()
    backend.signal("task_started", result)
    try:
        value = _normalize(api, task.call(*args, **kwargs))
    except BaseException as error:
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        result.errors.append(error_of(tasks, kind, "".join(format_exception(error))))
        _finish(backend, result, tasks.TaskResultStatus.FAILED)
        raise
    object.__setattr__(result, "_return_value", value)
    _finish(backend, result, tasks.TaskResultStatus.SUCCESSFUL)
    return value


def _finish(backend: QueueBackend, result: Any, status: Any) -> None:
    object.__setattr__(result, "finished_at", timezone.now())
    object.__setattr__(result, "status", status)
    backend.signal("task_finished", result)
    close_old_connections()


def _normalize(api: str, value: Any) -> Any:
    """A result as Django wants it: tuples become lists, keys of dicts strings."""
    home = "django_tasks.utils" if api == "django_tasks" else "django.utils.json"
    return import_module(home).normalize_json(value)
