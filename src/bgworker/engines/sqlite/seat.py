"""A worker's seat: its row, its proof of life, its doorbell."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Sequence

from bgworker.engines.sqlite import schedules
from bgworker.engines.sqlite.declined import Declined
from bgworker.engines.sqlite.faults import cannot_open
from bgworker.engines.sqlite.locks import LifeLock, QueueFiles
from bgworker.engines.sqlite.queries import SQL
from bgworker.engines.sqlite.store import Store
from bgworker.errors import UnusableDatabase
from bgworker.model import Millis, TaskPolicy, WorkerProfile
from bgworker.scoreboard import Scoreboard
from bgworker.values import dataclass, field
from bgworker.wake import Doorbell


@dataclass(frozen=True, slots=True)
class SqliteSeat:
    """See :class:`bgworker.contracts.Membership`. ``number`` owns this worker's claims.

    ``declined`` is the only thing about it that changes, by :meth:`decline`.
    """

    name: str
    number: int
    queues: tuple[str, ...] | None
    rate_limit: float | None
    schedules: frozenset[str]
    life: LifeLock
    bell: Doorbell
    declined: Declined = field(default_factory=Declined)

    @property
    def board_fd(self) -> int:
        """The file that is both scoreboard and proof of life."""
        return self.life.fd

    def fileno(self) -> int:
        """Readable when somebody enqueued."""
        return self.bell.fileno()

    def silence(self) -> bool:
        """Take all rings so far; whether one of them was about a cancellation."""
        return self.bell.silence()

    def decline(self, tasks: frozenset[str], /) -> None:
        """Claim no jobs of these tasks."""
        self.declined.replace(tasks)

    def leave(self) -> None:
        """Remove bell and proof of life: this worker has left."""
        self.bell.close()
        self.life.release()

    def vanish(self) -> None:
        """Close everything and remove nothing, as when the process ends: others will rescue."""
        self.bell.close()
        self.life.close()


def take_seat(
    store: Store,
    files: QueueFiles,
    profile: WorkerProfile,
    tasks: Sequence[TaskPolicy],
    now: Millis,
) -> SqliteSeat:
    """Lock first, row second: a row without a held lock is a dead worker's."""
    try:
        life = LifeLock(files.life(profile.name))
    except BlockingIOError:
        raise UnusableDatabase(f"a worker named {profile.name!r} is running already") from None
    except OSError as error:
        raise cannot_open(error, files.database) from None
    try:
        board = Scoreboard(life.fd, profile.concurrency)
        board.beat(now, processed=0, failed=0)
        board.close()
        bell = Doorbell(files.workers, f"{profile.name}.bell")
        number = _enter(store, profile, tasks, now)
    except BaseException as error:
        remove_traces(files, profile.name)
        life.close()
        if isinstance(error, OSError):
            raise cannot_open(error, files.database) from None
        raise
    mine = _scheduled(tasks)
    return SqliteSeat(profile.name, number, profile.queues, profile.rate_limit, mine, life, bell)


def _scheduled(tasks: Sequence[TaskPolicy]) -> frozenset[str]:
    return frozenset(task.name for task in tasks if task.schedule is not None)


def _enter(store: Store, profile: WorkerProfile, tasks: Sequence[TaskPolicy], now: Millis) -> int:
    """The worker's row; its number."""
    queues = None if profile.queues is None else json.dumps(profile.queues)
    row = (profile.name, profile.host, profile.pid, profile.concurrency, queues)
    said = json.dumps(sorted(_scheduled(tasks))) if tasks else None
    known = json.dumps([task.name for task in tasks])
    rows = [(t.name, t.queue, t.priority, t.on_failure) for t in tasks]
    with store.write() as db:
        number = db.execute(SQL["join"], (*row, profile.version, now, said, known)).lastrowid or 0
        db.executemany(SQL["put_task"], rows)
        _declare_limits(db, profile, tasks)
        schedules.declare_all(db, store.files, number, tasks, now)
    return number


def _declare_limits(
    db: sqlite3.Connection, profile: WorkerProfile, tasks: Sequence[TaskPolicy]
) -> None:
    """What this worker's application says holds for all from now on; rates keep their state."""
    declared = [("task", t.name, t.concurrency, t.rate_limit) for t in tasks]
    declared += [("queue", q.name, q.concurrency, q.rate_limit) for q in profile.limits]
    if profile.rate_limit is not None:
        declared.append(("workers", "", None, profile.rate_limit))
    for scope, name, concurrency, rate in declared:
        if concurrency is None and rate is None:
            db.execute(SQL["drop_limit"], (scope, name))
        else:
            db.execute(SQL["put_limit"], (scope, name, concurrency, rate))


def remove_traces(files: QueueFiles, worker: str) -> None:
    """Remove a dead worker's files; its doorbell would only refuse."""
    for path in (files.life(worker), os.path.join(files.workers, f"{worker}.bell")):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
