"""bgworker's queue, read through its own inspector: no lock, no write, no transaction held."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bgtop.backends.bgworker import checkup, control, jobs
from bgtop.backends.bgworker.jobs import instant
from bgtop.backends.local_processes import LocalProcesses
from bgtop.contracts import Interest, Settings, Unreachable, WrongSource
from bgtop.model import (
    Age,
    BackendInfo,
    Capability,
    CurrentTask,
    QueueReading,
    Reading,
    WorkerReading,
    WorkerState,
)
from bgworker.engines import sqlite_path
from bgworker.errors import BadUrl, QueueUnavailable, UnusableDatabase
from bgworker.inspector import Inspector, QueueStats, Stats, WorkerStats
from bgworker.states import JobState
from bgworker.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgtop.actions import Action, Outcome
    from bgtop.backends.bgworker.events import Events
    from bgtop.task_events import EventsReading

CAPABILITIES = frozenset(
    {
        Capability.DEPTH,
        Capability.PRIORITIES,
        Capability.UNACKED,
        Capability.SCHEDULED,
        Capability.DEFERRED,
        Capability.RUNNING,
        Capability.FAILED,
        Capability.DEAD,
        Capability.OLDEST_AGE,
        Capability.COUNTERS,
        Capability.RUNTIME,
        Capability.LAST_COMPLETED,
        Capability.CONSUMERS,
        Capability.WORKERS,
        Capability.WORKER_LIST,
        Capability.HEARTBEATS,
        Capability.CURRENT_TASKS,
        Capability.JOBS,
        Capability.TASK_TYPES,
        Capability.SCHEDULES,
        Capability.EVENTS,
    }
)


class BgWorkerBackend:
    """One queue file. ``commands`` counts SQL statements; there are no round trips."""

    def __init__(self, url: str, _: Settings) -> None:
        try:
            self._inspector = Inspector(sqlite_path(url))
        except BadUrl as error:
            raise ValueError(str(error)) from None
        self._processes = LocalProcesses("bgworker")
        self._events: Events | None = None
        self._url = url
        self._closed = False
        self._busy = threading.Lock()  # SQLite must not be closed under a running statement
        self.info = BackendInfo(
            system="bgworker",
            broker="sqlite",
            url=url,
            capabilities=CAPABILITIES,
            verbs=control.VERBS,
        )

    def poll(self, interest: Interest, /) -> Reading:
        """One look; raises :class:`WrongSource` for a file that is no queue."""
        with self._using():
            taken_at, reads = datetime.now(timezone.utc), self._inspector.reads
            stats = self._inspector.stats(int(taken_at.timestamp() * 1000))
            reading = reading_of(stats, taken_at)
            reading = self._looked_inside(reading, interest, stats)
            workers = self._processes.measured(reading.workers, time.monotonic())
            return replace(reading, workers=workers, commands=self._inspector.reads - reads)

    def _looked_inside(self, reading: Reading, interest: Interest, stats: Stats) -> Reading:
        inside, query = self._inspector, interest.jobs
        return replace(
            reading,
            jobs=jobs.job_list(inside, query, stats.workers) if query else None,
            task_types=jobs.task_types(inside) if interest.task_types else None,
            schedules=jobs.schedules(inside) if interest.schedules else None,
            events=self._followed(stats, reading.taken_at) if interest.events else None,
            findings=checkup.findings(self._url) if interest.checkup else (),
        )

    def _followed(self, stats: Stats, now: datetime) -> EventsReading:
        """Counting begins when it is first asked for, and goes on: rows are there also later."""
        if self._events is None:
            from bgtop.backends.bgworker.events import Events

            self._events = Events(self._inspector)
        return self._events.look(stats, now)

    def perform(self, action: Action, /) -> Outcome:
        """Have bgworker's own engine do it; raises what :mod:`control` raises besides."""
        with self._using():
            return control.perform(self._inspector, self._url, action, self._workers)

    def _workers(self) -> tuple[WorkerReading, ...]:
        now = datetime.now(timezone.utc)
        return reading_of(self._inspector.stats(int(now.timestamp() * 1000)), now).workers

    def close(self) -> None:
        """Close the file."""
        with self._busy:
            self._closed = True
            self._inspector.close()

    @contextmanager
    def _using(self) -> Iterator[None]:
        """Be the only user; bgworker's faults are told as a backend's."""
        with self._busy:
            if self._closed:
                raise Unreachable("this source is closed")
            try:
                yield
            except UnusableDatabase as error:
                raise WrongSource(f"{error}{_other_owner(self._url)}") from None
            except QueueUnavailable as error:
                raise Unreachable(str(error)) from None


_OF_HUEY = {"kv", "schedule", "task"}
"""The tables of Huey's SqliteStorage, versions 2 and 3."""


def _other_owner(url: str) -> str:
    """How to watch a file that is no queue of bgworker's but, by its tables, one of Huey's."""
    from urllib.parse import quote

    tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
    with suppress(sqlite3.Error, BadUrl):
        place = f"file:{quote(sqlite_path(url))}?mode=ro"
        with closing(sqlite3.connect(place, uri=True, timeout=0)) as file:
            if {name for (name,) in file.execute(tables)} >= _OF_HUEY:
                return f"; its tables are Huey's: huey+{url.partition('?')[0]} shows them"
    return ""


def reading_of(stats: Stats, taken_at: datetime) -> Reading:
    """A reading from bgworker's own words."""
    names = tuple([queue.name for queue in stats.queues])
    return Reading(
        taken_at=taken_at,
        queues=tuple(_queue(queue, stats.workers, taken_at) for queue in stats.queues),
        workers=tuple(_worker(worker, names) for worker in stats.workers),
        broker_version=sqlite3.sqlite_version,
    )


def _queue(queue: QueueStats, workers: tuple[WorkerStats, ...], taken_at: datetime) -> QueueReading:
    states = queue.states
    alive = sum(n for state, n in states.items() if not state.is_final)
    since, last = queue.available_since, queue.last_ended_at
    return QueueReading(
        name=queue.name,
        depth=states[JobState.QUEUED],
        by_priority=queue.by_priority,
        unacked=states[JobState.RUNNING],
        scheduled=states[JobState.SCHEDULED] + states[JobState.RETRYING],
        deferred=states[JobState.BLOCKED],
        running=_running(queue, workers),
        failed=states[JobState.FAILED],
        dead=states[JobState.DEAD],
        oldest=None if since is None else Age(_seconds_between(since, taken_at)),
        entered_total=alive + queue.ended_total,
        left_total=queue.ended_total,
        runtime_mean_seconds=queue.run_ms / queue.runs / 1000 if queue.runs else None,
        last_completed_at=None if last is None else instant(last),
        consumers=sum(_serves(worker, queue.name) for worker in workers),
        paused=queue.paused,
    )


def _running(queue: QueueStats, workers: tuple[WorkerStats, ...]) -> int:
    """What the scoreboards show; a job that ended between the two looks is running no more."""
    shown = sum(job.queue == queue.name for worker in workers for job in worker.current)
    return min(shown, queue.states[JobState.RUNNING])


def _serves(worker: WorkerStats, queue: str) -> bool:
    return worker.state != "dead" and (worker.queues is None or queue in worker.queues)


def _worker(worker: WorkerStats, names: tuple[str, ...]) -> WorkerReading:
    """``names`` are all queues: a worker that was given none takes from each."""
    beat = worker.last_heartbeat_at
    return WorkerReading(
        name=worker.name,
        state=WorkerState(worker.state),
        last_heartbeat_at=None if beat is None else instant(beat),
        queues=names if worker.queues is None else worker.queues,
        concurrency=worker.concurrency,
        running=len(worker.current),
        processed=worker.processed,
        failed=worker.failed,
        pid=worker.pid,
        host=worker.host,
        started_at=instant(worker.started_at),
        version=worker.version,
        current=tuple(
            CurrentTask(id=job.id, name=job.task, started_at=instant(job.started_at))
            for job in worker.current
        ),
    )


def _seconds_between(since: int, until: datetime) -> float:
    return max(0.0, until.timestamp() - since / 1000)
