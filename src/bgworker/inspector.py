"""Looking at a queue without touching it: read-only, no lock, no transaction held.

Depths come from tallies, ages from the head of an index, what runs from the workers' scoreboards:
a look costs the same with ten jobs and with ten million.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from bgworker.engines.sqlite.faults import FAULTS, cannot_open, in_words, refuse_what_is_no_file
from bgworker.engines.sqlite.locks import QueueFiles, is_dead
from bgworker.engines.sqlite.migrate import refuse_newer, version_of
from bgworker.engines.sqlite.queries import SQL
from bgworker.engines.sqlite.records import find_record, record_of
from bgworker.engines.sqlite.schedules import standing_of
from bgworker.errors import UnusableDatabase
from bgworker.model import JobId, JobRecord, Millis
from bgworker.scoreboard import Board, read_board
from bgworker.standing import Standing
from bgworker.states import JobState
from bgworker.values import dataclass

SHOW_DEAD_FOR = 3_600_000
"""Milliseconds for which a dead worker is still listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """One queue. ``states`` has every state; ``*_total`` only grow.

    ``available_since`` is when the oldest waiting job became available to workers.
    """

    name: str
    states: Mapping[JobState, int]
    by_priority: Mapping[int, int]
    available_since: Millis | None
    paused: bool
    succeeded_total: int
    failed_total: int
    dead_total: int
    cancelled_total: int
    retried_total: int
    runs: int
    run_ms: int
    last_ended_at: Millis | None

    @property
    def ended_total(self) -> int:
        """Jobs that ever reached an ending."""
        return self.succeeded_total + self.failed_total + self.dead_total + self.cancelled_total


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A job in execution right now."""

    id: JobId
    task: str
    queue: str
    started_at: Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStats:
    """One worker; ``state`` is ``active``, ``idle`` or ``dead``, proved by its lock."""

    name: str
    state: str
    host: str
    pid: int
    concurrency: int
    queues: tuple[str, ...] | None
    version: str
    started_at: Millis
    last_heartbeat_at: Millis | None
    processed: int
    failed: int
    current: tuple[Running, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """One look at everything."""

    queues: tuple[QueueStats, ...]
    workers: tuple[WorkerStats, ...]
    rescued: int
    stale_writes: int


class Inspector:
    """Reads one queue file; opens it on first use and keeps no transaction between calls."""

    def __init__(self, path: str) -> None:
        self._files = QueueFiles(os.path.realpath(path))
        self._db: sqlite3.Connection | None = None
        self._inode: int | None = None
        self.reads = 0
        """Statements executed so far: what the looks cost."""

    def stats(self, now: Millis) -> Stats:
        """One look at all queues and workers.

        Raises:
            UnusableDatabase: there is no queue in this file, or a newer one.
            QueueUnavailable: it cannot be read right now.
        """
        rows = self._rows("tallies", "queue_totals", "available_since", "counters")
        tallies, totals, since, counters = rows
        counts = dict(counters)
        return Stats(
            queues=_queues(tallies, totals, since),
            workers=self._workers(now),
            rescued=counts.get("rescued", 0),
            stale_writes=counts.get("stale_writes", 0),
        )

    def job(self, job: str) -> JobRecord:
        """Everything stored about one job; raises :class:`bgworker.errors.UnknownJob`."""
        return find_record(self._read, job, self._files.database)

    def ended(
        self, state: JobState, queue: str | None = None, task: str | None = None, *, limit: int
    ) -> Sequence[JobRecord]:
        """Jobs that ended as ``failed`` or ``dead``, the newest first; of one queue, one task."""
        rows = self._read(SQL["bad_records"], (state.value, queue, task, limit))
        return [record_of(row) for row in rows]

    def ended_ids(
        self, state: JobState, queue: str | None = None, task: str | None = None
    ) -> Sequence[JobId]:
        """The ids of all such jobs."""
        rows = self._read(SQL["bad_ids"], (state.value, queue, task))
        return [JobId(str(id_)) for (id_,) in rows]

    def check(self) -> None:
        """Raise what :meth:`stats` would raise if there is no queue to look at."""
        self._read(SQL["data_version"], ())

    def schedules(self) -> tuple[Standing, ...]:
        """All schedules, enabled or not, in the order of their names."""
        return tuple(standing_of(row) for row in self._read(SQL["schedules"], ()))

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """The rows of one of the named queries that read."""
        return self._read(SQL[query], parameters)

    def damage(self, seconds: float) -> tuple[str, ...] | None:
        """What is damaged in the file: nothing, it is to be hoped. ``None``: that takes longer."""
        ends = time.monotonic() + seconds
        db = self._connection()
        db.set_progress_handler(lambda: time.monotonic() > ends, 10_000)
        try:
            found = db.execute(SQL["quick_check"]).fetchall()
        except FAULTS as error:
            if str(error) == "interrupted":
                return None
            raise in_words(error, self._files.database) from None
        finally:
            db.set_progress_handler(None, 0)
        return tuple(str(said) for (said,) in found if said != "ok")

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _workers(self, now: Millis) -> tuple[WorkerStats, ...]:
        rows = self._read(SQL["workers"], (now - SHOW_DEAD_FOR,))
        boards = [(row, read_board(self._files.life(row[0]))) for row in rows]
        ids = [slot.job for _, board in boards if board for slot in board.running]
        tasks = {id_: rest for id_, *rest in self._read(SQL["names_of"], (json.dumps(ids),))}
        found = []
        for row, board in boards:
            dead = bool(row[-1]) or is_dead(self._files.life(row[0]))
            found.append(_worker(row, board, tasks, dead=dead))
        return tuple(found)

    def _rows(self, *names: str) -> list[list[tuple[Any, ...]]]:
        return [self._read(SQL[name], ()) for name in names]

    def _read(self, sql: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        self.reads += 1
        try:
            return self._connection().execute(sql, parameters).fetchall()
        except FAULTS as error:
            self.close()
            raise cannot_open(error, self._files.database) from None

    def _connection(self) -> sqlite3.Connection:
        path = self._files.database
        try:
            inode = os.stat(path).st_ino
        except OSError:
            self.close()
            raise UnusableDatabase(f"there is no file {path}") from None
        if self._db is not None and inode != self._inode:  # replaced under our feet
            self.close()
        if self._db is None:
            refuse_what_is_no_file(path)
            db = sqlite3.connect(
                f"file:{quote(os.fsencode(path))}?mode=ro",
                uri=True,
                isolation_level=None,
                timeout=1.0,
                check_same_thread=False,
            )
            self._db, self._inode = db, inode
            version = version_of(db)
            if version == 0:
                self.close()
                raise UnusableDatabase(f"{path} is an SQLite file, but no bgworker queue")
            refuse_newer(version, path)
        return self._db


def _queues(
    tallies: Sequence[tuple[Any, ...]],
    totals: Sequence[tuple[Any, ...]],
    since: Sequence[tuple[str, Millis | None, Millis | None]],
) -> tuple[QueueStats, ...]:
    states: dict[str, dict[JobState, int]] = {}
    waiting: dict[str, dict[int, int]] = {}
    paused: set[str] = set()
    for queue, priority, state, n, is_paused in tallies:
        if is_paused:
            paused.add(queue)
        counts = states.setdefault(queue, dict.fromkeys(JobState, 0))
        counts[JobState(state)] += n
        if state == "queued" and n:
            waiting.setdefault(queue, {})[priority] = n
    heads = _heads(since)
    ever = {row[0]: row[1:] for row in totals}
    found = []
    for name in sorted(states):
        succeeded, failed, dead, cancelled, retried, runs, run_ms, last = ever.get(
            name, (0, 0, 0, 0, 0, 0, 0, None)
        )
        found.append(
            QueueStats(
                name=name,
                states=states[name],
                by_priority=waiting.get(name, {}),
                available_since=heads.get(name),
                paused=name in paused,
                succeeded_total=succeeded,
                failed_total=failed,
                dead_total=dead,
                cancelled_total=cancelled,
                retried_total=retried,
                runs=runs,
                run_ms=run_ms,
                last_ended_at=last,
            )
        )
    return tuple(found)


def _heads(since: Sequence[tuple[str, Millis | None, Millis | None]]) -> dict[str, Millis]:
    """By queue, when the oldest of its waiting jobs became available."""
    found: dict[str, Millis] = {}
    for queue, *places in since:
        for at in places:
            if at is not None:
                found[queue] = min(at, found.get(queue, at))
    return found


def _worker(
    row: tuple[Any, ...],
    board: Board | None,
    tasks: Mapping[int, Sequence[str]],
    *,
    dead: bool,
) -> WorkerStats:
    name, host, pid, concurrency, queues, version, started_at, stopped_at, *counts, _ = row
    current = tuple(
        Running(
            id=JobId(str(slot.job)),
            task=tasks[slot.job][0],
            queue=tasks[slot.job][1],
            started_at=slot.started_at,
        )
        for slot in (board.running if board and not dead else ())
        if slot.job in tasks  # it may have ended between the two looks
    )
    return WorkerStats(
        name=name,
        state="dead" if dead else "active" if current else "idle",
        host=host,
        pid=pid,
        concurrency=concurrency,
        queues=None if queues is None else tuple(json.loads(queues)),
        version=version,
        started_at=started_at,
        last_heartbeat_at=board.heartbeat_at if board else stopped_at,
        processed=board.processed if board else counts[0],
        failed=board.failed if board else counts[1],
        current=current,
    )
