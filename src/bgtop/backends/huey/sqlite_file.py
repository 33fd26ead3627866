"""Huey's SQLite file: read-only, in one short transaction a poll, on a connection of that poll.

Tables (Huey 2.5 and 3.5): ``task(id, queue, data, priority)``, ``schedule(id, queue, …)`` and
``kv(queue, key, value)``; ``queue`` is the name as the application gave it. There is no time in
them: the oldest job, which has the lowest id, has waited at least since it was first seen.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from urllib.parse import quote_from_bytes, unquote_to_bytes

from bgtop.backends.huey import sqlite_jobs
from bgtop.backends.raw_names import configured_queues, labels
from bgtop.contracts import BackendError, NotPermitted, Unreachable, WrongSource
from bgtop.model import Age, AgeKind, BackendInfo, Capability, QueueReading, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bgtop.actions import Action, Outcome
    from bgtop.contracts import Interest, Settings
    from bgtop.model import JobList, JobQuery

    T = TypeVar("T")

CAPABILITIES = frozenset(
    {
        *(Capability.DEPTH, Capability.PRIORITIES, Capability.SCHEDULED),
        *(Capability.OLDEST_AGE, Capability.JOBS),
    }
)

MOST_ROWS = 100_000
"""Queues times priorities; a file with more is misused, and would have to be held in memory."""

_WAITING: Final = """
    SELECT CAST(queue AS BLOB), CAST(priority AS INTEGER), count(*), min(id)
    FROM task GROUP BY queue, priority LIMIT ?
"""
_SCHEDULED: Final = "SELECT CAST(queue AS BLOB), count(*) FROM schedule GROUP BY queue LIMIT ?"
# The id of a task stands at the beginning of its message, and differs for each.
_BEGINNING: Final = "SELECT substr(data, 1, 512) FROM task WHERE id = ?"
# Steps from name to name along the primary key, instead of reading each key.
_WITH_RESULTS: Final = """
    WITH RECURSIVE names(queue) AS (
        SELECT min(queue) FROM kv
        UNION ALL
        SELECT (SELECT min(kv.queue) FROM kv WHERE kv.queue > names.queue)
        FROM names WHERE names.queue IS NOT NULL
    )
    SELECT CAST(queue AS BLOB) FROM names WHERE queue IS NOT NULL LIMIT ?
"""
_INSTRUCTIONS_PER_LOOK = 10_000


class _Waiting(NamedTuple):
    """One queue's jobs: by priority, the lowest id, and a digest of the job that has it."""

    by_priority: dict[int, int]
    first: int
    digest: int


class _Look(NamedTuple):
    """What one transaction saw, by raw queue name."""

    waiting: dict[bytes, _Waiting]
    scheduled: dict[bytes, int]
    named: list[bytes]


class HueyInSqlite:
    """Implements :class:`bgtop.contracts.Backend`; ``commands`` counts SQL statements.

    Those that list single jobs are left out of the count: they differ with what is listed.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        self._path = sqlite_path(url)
        self._seconds = settings.read_timeout
        self._known: dict[bytes, None] = dict.fromkeys(configured_queues(url))
        self._firsts: dict[bytes, tuple[int, int, float]] = {}
        self._closed = False
        self._busy = threading.Lock()
        self.info = BackendInfo(
            system="huey",
            broker="sqlite",
            url=f"huey+{url}",
            capabilities=CAPABILITIES,
            verbs=sqlite_jobs.Actions.verbs(),
        )

    def close(self) -> None:
        """Refuse further polls; one under way ends within the read timeout."""
        self._closed = True

    def poll(self, interest: Interest, /) -> Reading:
        """One look; raises :class:`bgtop.contracts.BackendError`."""
        with self._busy:
            taken_at, tick = datetime.now(timezone.utc), time.monotonic()
            look, jobs = self._use(lambda connection: self._look(connection, interest.jobs))
            shown = labels(self._known)
            queues = [self._queue(name, shown[name], look, tick) for name in self._known]
            return Reading(
                taken_at=taken_at,
                queues=tuple(sorted(queues, key=lambda queue: queue.name)),
                broker_version=sqlite3.sqlite_version,
                round_trips=0,
                commands=5 + len(look.waiting),
                jobs=jobs,
            )

    def perform(self, action: Action, /) -> Outcome:
        """Do this in one transaction; raises :class:`bgtop.contracts.BackendError`."""
        actions = sqlite_jobs.Actions()
        actions.check(action)

        def act(connection: sqlite3.Connection) -> Outcome:
            self._look(connection, None)
            return actions.perform(action, sqlite_jobs.File(connection, labels(self._known)))

        with self._busy:
            return self._use(act, mode="rw")

    def _look(
        self, connection: sqlite3.Connection, query: JobQuery | None
    ) -> tuple[_Look, JobList | None]:
        look = _read(connection, os.fsdecode(self._path))
        self._remember((*look.named, *look.waiting, *look.scheduled))
        if query is None:
            return look, None
        return look, sqlite_jobs.answer(sqlite_jobs.File(connection, labels(self._known)), query)

    def _remember(self, names: Iterable[bytes]) -> None:
        self._known.update(dict.fromkeys(names))

    def _queue(self, name: bytes, label: str, look: _Look, tick: float) -> QueueReading:
        waiting = look.waiting.get(name)
        by_priority = {} if waiting is None else waiting.by_priority
        return QueueReading(
            name=label,
            depth=sum(by_priority.values()),
            by_priority=by_priority,
            scheduled=look.scheduled.get(name, 0),
            oldest=self._age(name, waiting, tick),
        )

    def _age(self, name: bytes, waiting: _Waiting | None, tick: float) -> Age | None:
        if waiting is None:
            self._firsts.pop(name, None)
            return None
        known = self._firsts.get(name)
        # SQLite gives an id away anew once its row is gone, so the job itself is compared too.
        if known is None or known[:2] != (waiting.first, waiting.digest):
            known = self._firsts[name] = (waiting.first, waiting.digest, tick)
        return Age(tick - known[2], AgeKind.AT_LEAST)

    def _use(self, use: Callable[[sqlite3.Connection], T], mode: str = "ro") -> T:
        """Do this with a connection of its own."""
        if self._closed:
            raise Unreachable("this source is closed")
        deadline = time.monotonic() + self._seconds
        path = os.fsdecode(self._path)
        _refuse_to_leave_files(path)
        try:
            address = f"file:{quote_from_bytes(self._path)}?mode={mode}"
            connection = sqlite3.connect(
                address, uri=True, timeout=self._seconds, isolation_level=None
            )
            try:
                connection.set_progress_handler(
                    lambda: self._closed or time.monotonic() > deadline, _INSTRUCTIONS_PER_LOOK
                )
                return use(connection)
            finally:
                connection.close()
        except sqlite3.Error as error:
            if mode == "rw" and "readonly" in str(error):
                raise NotPermitted(f"we may read {path!r}, but not write to it") from error
            raise _failure(error, path, self._seconds, closed=self._closed) from error


def _refuse_to_leave_files(path: str) -> None:
    """Reading a WAL file that nobody has open makes SQLite put two files beside it.

    Where these would belong to another user than the file does, Huey could not write to them.
    """
    try:
        owner = os.stat(path).st_uid
        # Root gives the files to the owner of the database (SQLite does so by itself).
        if os.geteuid() in (0, owner) or os.path.exists(path + "-wal"):
            return
        # Only now: closing a file drops the locks that SQLite may hold on it in this process.
        with open(path, "rb") as file:
            in_wal_mode = file.read(20)[18:] == b"\x02\x02"
    except PermissionError:
        raise NotPermitted(f"no permission to read {path!r}") from None
    except OSError as error:
        raise Unreachable(f"{path!r} cannot be opened: {error.strerror}") from error
    if in_wal_mode:
        raise NotPermitted(
            f"{path!r} is open in no process, and reading it would leave files beside it that "
            "its owner cannot write; start a consumer, or run bgtop as its owner"
        )


def _read(connection: sqlite3.Connection, path: str) -> _Look:
    """Everything in one transaction, so that the numbers belong together."""
    connection.execute("BEGIN")
    limit = (MOST_ROWS + 1,)
    rows = connection.execute(_WAITING, limit).fetchall()
    counted = connection.execute(_SCHEDULED, limit).fetchall()
    named = connection.execute(_WITH_RESULTS, limit).fetchall()
    if max(len(rows), len(counted), len(named)) > MOST_ROWS:
        raise WrongSource(f"{path!r} holds more than {MOST_ROWS:,} queues and priorities")
    split: dict[bytes, dict[int, int]] = {}
    firsts: dict[bytes, int] = {}
    for queue, priority, count, first in rows:
        counts = split.setdefault(queue, {})
        counts[priority] = counts.get(priority, 0) + count
        firsts[queue] = min(first, firsts.get(queue, first))
    waiting = {}
    for queue, first in firsts.items():
        (beginning,) = connection.execute(_BEGINNING, (first,)).fetchone()
        waiting[queue] = _Waiting(split[queue], first, hash(beginning))
    connection.execute("COMMIT")
    scheduled: dict[bytes, int] = {}
    for queue, count in counted:
        scheduled[queue] = scheduled.get(queue, 0) + count
    return _Look(waiting, scheduled, [queue for (queue,) in named])


def sqlite_path(url: str) -> bytes:
    """The file of ``sqlite:///relative.db`` or ``sqlite:////absolute.db``, percent-decoded.

    Raises:
        ValueError: it names no file.
    """
    rest = url.partition("://")[2].partition("#")[0].partition("?")[0]
    host, slash, name = rest.partition("/")
    try:
        path = unquote_to_bytes(os.fsencode(name))
    except UnicodeEncodeError:
        path = b""
    if host or not slash or not path or path == b":memory:" or path[-1:] == b"/" or b"\0" in path:
        raise ValueError("name a file: huey+sqlite:///huey.db, or huey+sqlite:////absolute/huey.db")
    return path


# By what SQLite says: Python 3.10 does not know its codes. The first that fits counts.
_FAULTS: Final[tuple[tuple[str, type[BackendError], str], ...]] = (
    ("locked", Unreachable, "is locked by a writer for more than {seconds:g} s"),
    ("interrupted", Unreachable, "cannot be counted within {seconds:g} s"),
    ("no such table", WrongSource, "has no tables of Huey"),
    ("no such column", WrongSource, "has no tables of Huey"),
    ("not a database", WrongSource, "is no SQLite database"),
    ("malformed", WrongSource, "is damaged"),
    ("unable to open", Unreachable, "cannot be opened; may we write to its folder?"),
    ("readonly", NotPermitted, "has to be recovered by its application first"),
)


def _failure(error: sqlite3.Error, path: str, seconds: float, *, closed: bool) -> BackendError:
    """SQLite's words in ours."""
    if closed:
        return Unreachable("this source is closed")
    said = str(error)
    for words, kind, ours in _FAULTS:
        if words in said:
            return kind(f"{path!r} {ours.format(seconds=seconds)}")
    return Unreachable(f"{path!r} cannot be read ({type(error).__name__})")
