"""What the doctor looks at: one bounded, read-only look at a queue and at the disk it is on."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping

from bgworker.engines.sqlite.holder import holder_of
from bgworker.engines.sqlite.locks import QueueFiles, size_of
from bgworker.engines.sqlite.opening import network_mount
from bgworker.engines.sqlite.reserve import room_left
from bgworker.inspector import Inspector, WorkerStats
from bgworker.model import Millis
from bgworker.values import dataclass

SOME = 100
"""Rows of a kind that are looked at: enough to name some."""
_CHECK_FOR = 2.0
"""Seconds the check of the file may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was seen. ``damage`` is ``None`` when there was no time to look at all of the file.

    ``waiting``: since when the oldest job of a queue waits. ``unknown``: waiting jobs by task, of
    tasks that no worker alive knows; when none is alive, that none ever declared.
    ``orphans``: running jobs of dead workers.
    ``network_fs``: type and mount point. ``stopped_writer``: the pid of a stopped process that
    all other writers wait for.
    """

    path: str
    now: Millis
    sqlite: tuple[int, int, int]
    database_bytes: int
    log_bytes: int
    free_bytes: int
    network_fs: str | None
    marked_full: bool
    reserve: bool
    damage: tuple[str, ...] | None
    workers: tuple[WorkerStats, ...]
    waiting: Mapping[str, Millis]
    unknown: Mapping[str, int]
    orphans: tuple[str, ...]
    stopped_writer: int | None


def take_survey(inspector: Inspector, path: str, now: Millis) -> Survey:
    """Look; raises what the inspector raises for a file that cannot be read."""
    files = QueueFiles(path)
    stats = inspector.stats(now)
    alive = {worker.name for worker in stats.workers if worker.state != "dead"}
    waiting = {q.name: q.available_since for q in stats.queues if q.available_since is not None}
    held = inspector.rows("held_by_the_dead", json.dumps(sorted(alive)), SOME)
    major, minor, patch = sqlite3.sqlite_version_info[:3]
    return Survey(
        path=path,
        now=now,
        sqlite=(major, minor, patch),
        database_bytes=size_of(path),
        log_bytes=size_of(files.wal),
        free_bytes=room_left(os.path.dirname(path)),
        network_fs=network_mount(path),
        marked_full=size_of(files.mutex) > 0,
        reserve=size_of(files.reserve) > 0,
        damage=inspector.damage(_CHECK_FOR),
        workers=stats.workers,
        waiting=waiting,
        unknown=_unknown(inspector, list(waiting)[:SOME], alive),
        orphans=tuple(str(job) for (job,) in held),
        stopped_writer=_stopped_holder(files.mutex),
    )


def _unknown(inspector: Inspector, queues: Iterable[str], alive: set[str]) -> Mapping[str, int]:
    """Of the first jobs that wait, those of tasks nobody knows: they stay in front until seen."""
    waiting: Counter[str] = Counter()
    for task, n in inspector.rows("tasks_in_lanes", SOME):
        waiting[task] += n
    for queue in queues:
        waiting.update(task for (task,) in inspector.rows("head_of_queue", queue, SOME))
    if alive:
        lists = [tasks for name, tasks in inspector.rows("tasks_of_workers") if name in alive]
        known = {task for tasks in lists for task in json.loads(tasks)}
    else:  # that there is no worker is another finding
        known = {name for (name,) in inspector.rows("declared_tasks")}
    return {task: n for task, n in waiting.items() if task not in known}


def _stopped_holder(path: str) -> int | None:
    holder = holder_of(path)
    return holder.pid if holder is not None and holder.is_stopped else None
