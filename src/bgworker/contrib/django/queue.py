"""What both backends do: enqueue, look results up, run, check."""

from __future__ import annotations

import secrets
import sqlite3
import sys
import threading
from functools import partial
from types import ModuleType
from typing import Any, ClassVar
from urllib.parse import quote

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.db.utils import ConnectionDoesNotExist
from django.utils import timezone

from bgworker.app import BgWorker
from bgworker.codec import dump_args
from bgworker.contrib.django import results
from bgworker.contrib.django.running import run
from bgworker.engines.sqlite import SqliteEngine
from bgworker.errors import UnknownJob
from bgworker.model import JobSpec
from bgworker.tracing import beneath, send

OPTIONS = frozenset({"url", "database", "on_commit", "timeout"})
_APPS: dict[tuple[str | None, str], BgWorker] = {}
_SQLITE = sqlite3.sqlite_version
_MAKING = threading.Lock()


class QueueBackend:
    """Mixed into the ``BaseTaskBackend`` of one of the two APIs.

    ``OPTIONS``: ``url`` of the queue, or the alias of an SQLite ``database`` that is to hold the
    queue's tables too; ``on_commit`` (with ``url``) to enqueue when the transaction commits;
    ``timeout`` in seconds for each run.
    """

    api: ClassVar[ModuleType]
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    alias: str
    options: dict[str, Any]
    queues: set[str]

    @property
    def database(self) -> str | None:
        """The alias of the database that holds the queue, if one does."""
        return self.options.get("database")

    @property
    def app(self) -> BgWorker:
        """The queue; Django has a backend for each thread, and all of a process share it."""
        key = (self._url(), f"{self.api.__name__}.{self.alias}")
        with _MAKING:
            if key not in _APPS:
                app = BgWorker(key[0])
                timeout = self.options.get("timeout")
                app.task(name=key[1], timeout=timeout)(run)
                _APPS[key] = app
            return _APPS[key]

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """Store a job; the result's id is known at once, whenever it is stored."""
        self.validate_task(task)  # type: ignore[attr-defined]
        result = self.api.TaskResult(
            task=task,
            id=secrets.token_hex(16),
            status=self.api.TaskResultStatus.READY,
            enqueued_at=timezone.now(),
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        self._store(self._spec(result))
        self.signal("task_enqueued", result)
        return result

    def get_result(self, result_id: str) -> Any:
        """What is known of a task; raises ``TaskResultDoesNotExist``."""
        dispatcher = self.app.dispatcher
        job = dispatcher.find(self.task_name, str(result_id))
        if job is None:
            raise results.does_not_exist(self.api, result_id)
        try:
            record = dispatcher.fetch(job)
        except UnknownJob:  # retention was quicker
            raise results.does_not_exist(self.api, result_id) from None
        return results.result_of(self, str(result_id), record)

    def check(self, **_: Any) -> list[Any]:
        """Whether the options make sense, for ``manage.py check``."""
        found: list[Any] = []
        unknown = sorted(set(self.options) - OPTIONS)
        if unknown:
            known = ", ".join(sorted(OPTIONS))
            found.append(self._error(f"unknown OPTIONS {', '.join(unknown)}; known: {known}", 1))
        if self.database is not None and ("url" in self.options or "on_commit" in self.options):
            found.append(self._error("OPTIONS: database= excludes url= and on_commit=", 2))
        try:
            self.app  # noqa: B018 - asking makes it
        except (ImproperlyConfigured, ConnectionDoesNotExist, ValueError) as error:
            found.append(self._error(str(error), 3))
        if self.database is not None and not _is_sound(sqlite3.sqlite_version_info[:3]):
            hint = "Upgrade SQLite to 3.51.3, or give the queue a file of its own with url=."
            what = f"two programs that write back its log can damage a file of SQLite {_SQLITE}"
            found.append(checks.Warning(f"TASKS[{self.alias!r}]: {what}", hint, id="bgworker.W001"))
        return found

    def prepare(self) -> None:
        """Make the queue's tables; outside any transaction."""
        self.app.dispatcher.find(self.task_name, "")

    @property
    def task_name(self) -> str:
        """What the workers of bgworker know all tasks of this backend by."""
        return f"{self.api.__name__}.{self.alias}"

    def signal(self, name: str, result: Any) -> None:
        """Send one of the API's signals."""
        getattr(sys.modules[f"{self.api.__name__}.signals"], name).send(
            type(self), task_result=result
        )

    def _spec(self, result: Any) -> JobSpec:
        task = result.task
        run_at = task.run_after
        if run_at is not None and timezone.is_naive(run_at):
            run_at = timezone.make_aware(run_at)
        return JobSpec(
            task=self.task_name,
            args=dump_args(
                [self.api.__name__, self.alias, result.id, task.module_path],
                {"args": result.args, "kwargs": result.kwargs},
            ),
            queue=task.queue_name,
            priority=-task.priority,  # ours: lower numbers first
            run_at=None if run_at is None else round(run_at.timestamp() * 1000),
            idempotency_key=result.id,
        )

    def _store(self, spec: JobSpec) -> None:
        dispatcher = self.app.dispatcher
        if self.database is None:
            if self.options.get("on_commit"):
                transaction.on_commit(lambda: dispatcher.enqueue([spec]) and None)
            else:
                dispatcher.enqueue([spec])
            return
        connection = connections[self.database]
        engine = beneath(dispatcher)
        if connection.get_autocommit() or not isinstance(engine, SqliteEngine):
            dispatcher.enqueue([spec])
            return
        send(dispatcher, [spec], partial(engine.enqueue_in, connection.connection))
        transaction.on_commit(engine.ring, using=self.database)

    def _url(self) -> str | None:
        if self.database is None:
            return self.options.get("url")
        settings = connections[self.database].settings_dict
        path = str(settings["NAME"])
        if not settings["ENGINE"].endswith(".sqlite3") or "memory" in path:
            raise ImproperlyConfigured(
                f"TASKS[{self.alias!r}]: DATABASES[{self.database!r}] is no SQLite file"
            )
        return f"sqlite:///{quote(path)}"

    def _error(self, what: str, number: int) -> Any:
        return checks.Error(f"TASKS[{self.alias!r}]: {what}", id=f"bgworker.E{number:03}")


def _is_sound(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite is free of the race between two checkpoints and a commit."""
    major, minor, patch = version
    mended = {(3, 44): 6, (3, 50): 7}.get((major, minor))
    return version >= (3, 51, 3) or (mended is not None and patch >= mended)
