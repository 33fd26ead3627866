"""What ``bgworker check`` finds out about an application: nothing is stored, no job is touched."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import quote

from bgworker.capabilities import ASKED_BY_CALLS, Target, is_limited, needs, rate_in_words
from bgworker.contracts import Feature
from bgworker.engines import allows_network_fs, open_engine, sqlite_path
from bgworker.engines.sqlite.faults import FAULTS, in_words
from bgworker.engines.sqlite.locks import QueueFiles
from bgworker.engines.sqlite.migrate import refuse_newer, version_of
from bgworker.engines.sqlite.opening import refuse_orphaned_log, refuse_place
from bgworker.errors import BgWorkerError, UnusableDatabase
from bgworker.log import printable
from bgworker.model import Millis, TaskPolicy
from bgworker.report import iso, table
from bgworker.ticks import next_tick
from bgworker.values import dataclass
from bgworker.worker.forker import AppUnusable, Forker, Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that is not well, in a line; of a task, a feature, an engine if it is of one."""

    what: str
    task: str | None = None
    feature: Feature | None = None
    engine: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """What was found. ``notes`` is what cannot be told from declarations.

    ``traceback`` is the application's own, if it cannot be imported.
    """

    app: str
    url: str | None = None
    now: Millis
    tasks: Sequence[TaskPolicy] = ()
    faults: Sequence[Fault] = ()
    notes: Sequence[str] = ()
    traceback: str = ""


def check(app: str, url: str | None, target: Target | None, now: Millis) -> Checkup:
    """Import the application in a process of its own, as a worker does, and look at what it says.

    ``url`` overrides the application's own, as for ``bgworker run``.
    """
    try:
        manifest = _manifest(app)
    except AppUnusable as error:
        last = error.why.strip().rpartition("\n")[2]
        fault = Fault(what=f"{error}: {last}" if last else str(error))
        return Checkup(app=app, now=now, faults=[fault], traceback=error.why)
    url = url or manifest.url
    faults = [] if manifest.tasks else [Fault(what=f"{app} declares no task")]
    faults += _faults_of_schedules(manifest.tasks, now)
    faults += _faults_of_url(url)
    return Checkup(
        app=app,
        url=url,
        now=now,
        tasks=manifest.tasks,
        faults=[*faults, *(missing(manifest, target) if target else ())],
        notes=_notes(target) if target else (),
    )


def missing(manifest: Manifest, target: Target) -> Iterator[Fault]:
    """What the declared tasks and queues use and this engine lacks."""
    callbacks = {name for task in manifest.tasks for name in (task.on_success, task.on_failure)}
    for task in manifest.tasks:
        if task.name in callbacks:  # declared by us, with the options of their task
            continue
        for feature, option in needs(task).items():
            if feature in target.lacks:
                what = f"{option} on {target.scheme}: {target.lacks[feature]}"
                yield Fault(what=what, task=task.name, feature=feature, engine=target.scheme)
    feature = Feature.QUEUE_LIMIT
    for queue in manifest.queues:
        if is_limited(queue) and feature in target.lacks:
            what = f"the limits of queue {queue.name!r} on {target.scheme}: {target.lacks[feature]}"
            yield Fault(what=what, feature=feature, engine=target.scheme)


def checkup_text(found: Checkup) -> str:
    """A table of tasks, then a line for each fault and note, or that all is well."""
    parts = [_tasks_text(found)] if found.tasks else []
    lines = [
        printable(f"{fault.task}: {fault.what}" if fault.task else fault.what)
        for fault in found.faults
    ]
    lines += [f"note: {note}" for note in found.notes]
    if not found.faults:
        count = "1 task" if len(found.tasks) == 1 else f"{len(found.tasks)} tasks"
        lines.append(printable(f"ok: {count} in {found.app}, and {found.url} can be used"))
    return "\n\n".join([*parts, "\n".join(lines)])


def checkup_json(found: Checkup) -> str:
    """One document; its keys are listed in ``docs/reference/json.md``."""
    faults = [
        {
            "what": fault.what,
            "task": fault.task,
            "feature": fault.feature and fault.feature.value,
            "engine": fault.engine,
        }
        for fault in found.faults
    ]
    document = {
        "app": found.app,
        "url": found.url,
        "tasks": [_task(task, found.now) for task in found.tasks],
        "findings": faults,
        "notes": list(found.notes),
    }
    return json.dumps(document)


def _manifest(app: str) -> Manifest:
    forker = Forker(app, quiet=True)
    try:
        return forker.manifest()
    finally:
        forker.close()


def _faults_of_schedules(tasks: Sequence[TaskPolicy], now: Millis) -> Iterator[Fault]:
    for task in tasks:
        if task.schedule is not None and next_tick(task.schedule, now) is None:
            what = f"schedule={task.schedule.expression!r} names no time in the next 50 years"
            yield Fault(what=what, task=task.name, feature=Feature.SCHEDULE)


def _faults_of_url(url: str) -> Iterator[Fault]:
    """Why a worker could not use the queue; nothing is created to find out."""
    try:
        open_engine(url).close()  # opens nothing yet
        if url.startswith("sqlite:"):
            _refuse_file(os.path.realpath(sqlite_path(url)), network=allows_network_fs(url))
    except BgWorkerError as error:
        yield Fault(what=str(error))


def _refuse_file(path: str, *, network: bool) -> None:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise UnusableDatabase(f"there is no folder {folder} for the queue {path}")
    files = QueueFiles(path)
    try:
        refuse_place(files, allow_network_fs=network)
        refuse_orphaned_log(files)
        if os.path.exists(path) and os.path.getsize(path):
            _refuse_content(path)
    except FAULTS as error:
        raise in_words(error, path) from None
    for place in (folder, path, files.directory):
        if os.path.exists(place) and not os.access(place, os.W_OK):
            raise UnusableDatabase(f"{place} may not be written by this user")


def _refuse_content(path: str) -> None:
    """A file without our tables is no fault: they may share it with an application's."""
    address = f"file:{quote(os.fsencode(path))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as db:
        refuse_newer(version_of(db), path)


def _notes(target: Target) -> list[str]:
    """What the target lacks and only calls ask for."""
    return [
        f"{asked} on {target.scheme}, if calls use it: {target.lacks[feature]}"
        for feature, asked in ASKED_BY_CALLS.items()
        if feature in target.lacks
    ]


def _tasks_text(found: Checkup) -> str:
    heads = ["TASK", "QUEUE", "SCHEDULE", "NEXT (UTC)", "PRIORITY", "RATE", "AT ONCE"]
    heads += ["TIMEOUT", "RETRIES"]
    rows = []
    for task in found.tasks:
        row = _task(task, found.now)
        timeout = row["timeout"] or row["hard_timeout"]
        schedule = f"{row['schedule']} {row['tz'] or ''}".strip() if row["schedule"] else "–"
        next_at = (row["next_fire_at"] or "–")[:19].replace("T", " ")
        cells = [row["rate_limit"], row["concurrency"], timeout and f"{timeout:g} s"]
        limits = ["–" if cell is None else str(cell) for cell in cells]
        head = [row["name"], row["queue"], schedule, next_at, str(row["priority"])]
        rows.append([*head, *limits, str(row["retries"])])
    return table(heads, rows, left=4)


def _task(task: TaskPolicy, now: Millis) -> dict[str, Any]:
    schedule = task.schedule
    return {
        "name": task.name,
        "queue": task.queue,
        "priority": task.priority,
        "schedule": schedule and schedule.expression,
        "tz": schedule and schedule.tz,
        "next_fire_at": schedule and iso(next_tick(schedule, now)),
        "rate_limit": None if task.rate_limit is None else rate_in_words(task.rate_limit),
        "concurrency": task.concurrency,
        "timeout": task.timeout,
        "hard_timeout": task.hard_timeout,
        "retries": task.retry.max,
    }
