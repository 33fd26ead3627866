"""Single tasks in Huey's SQLite file: what is shown of them, and what can be done to them.

The order of a queue is that of Huey's own ``dequeue``: by priority, then by number of the row.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final, NamedTuple

from bgtop.actions import CancelJob, DeleteJob, Outcome, PurgeQueue, RetryJob
from bgtop.backends.huey.messages import result_in, revocation
from bgtop.backends.huey.rows import (
    CUT_SHORT,
    NOT_LISTED,
    NOT_REVOKED,
    REVOKED,
    STORED,
    TAKEN,
    Stored,
    ended,
    listed,
    revocable,
    row_of,
    with_result,
)
from bgtop.backends.huey.verbs import WHY_NOT
from bgtop.backends.performer import Performer
from bgtop.backends.raw_names import queue_named
from bgtop.contracts import NoSuchTarget
from bgtop.model import JobList, JobReading, JobState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bgtop.backends.huey.messages import Result
    from bgtop.model import JobQuery

UNREADABLE: Final = NOT_LISTED | {JobState.RUNNING}

BYTES_OF_TASKS = 4 * 1024 * 1024
"""How much one look reads, of all queues."""

MOST_READ = 5_000
BYTES_OF_A_SEARCH = 16 * 1024 * 1024

# What is longer than 64 KiB stays where it is.
_WAITING: Final = """
    SELECT id, length(data), CASE WHEN length(data) <= 65536 THEN CAST(data AS BLOB) END,
           CAST(priority AS INTEGER)
    FROM task WHERE queue = CAST(? AS TEXT) ORDER BY priority DESC, id LIMIT ?
"""
_SCHEDULED: Final = """
    SELECT id, length(data), CASE WHEN length(data) <= 65536 THEN CAST(data AS BLOB) END, NULL
    FROM schedule WHERE queue = CAST(? AS TEXT) ORDER BY timestamp, id LIMIT ?
"""
_TABLES: Final = {JobState.WAITING: "task", JobState.SCHEDULED: "schedule"}
_HAS: Final = "SELECT 1 FROM kv WHERE queue = CAST(? AS TEXT) AND key = CAST(? AS TEXT)"
_RESULT: Final = """
    SELECT CASE WHEN length(value) <= 65536 THEN CAST(value AS BLOB) END
    FROM kv WHERE queue = CAST(? AS TEXT) AND key = CAST(? AS TEXT)
"""
_MARK: Final = """
    INSERT OR REPLACE INTO kv (queue, key, value) VALUES (CAST(? AS TEXT), CAST(? AS TEXT), ?)
"""
_FORGET: Final = "DELETE FROM kv WHERE queue = CAST(? AS TEXT) AND key = CAST(? AS TEXT)"
_PURGE: Final = "DELETE FROM task WHERE queue = CAST(? AS TEXT)"


class File(NamedTuple):
    """An open file, and the names of its queues as they are shown."""

    connection: sqlite3.Connection
    labels: Mapping[bytes, str]


def answer(file: File, query: JobQuery) -> JobList:
    """The jobs asked for; raises :class:`sqlite3.Error`."""
    if query.id is not None:
        row, cut_short = _one(file, query.id)
        return JobList(query=query, rows=(row,) if row else (), more=row is None and cut_short)
    queues = [name for name, label in file.labels.items() if query.queue in (None, label)]
    states = query.states & STORED
    if JobState.CANCELLED in query.states:  # they lie among those not cancelled
        states = STORED
    rows: list[JobReading] = []
    more = False
    left = BYTES_OF_TASKS
    for queue in queues if query.worker is None else ():
        for state in sorted(states, key=list(_TABLES).index):
            count = 0
            for stored in _stored(file, queue, state, query.limit + 1):
                left -= 0 if stored.raw is None else len(stored.raw)
                count += 1
                rows.append(_row(file, stored))
                if left < 0:
                    break
            more = more or count > query.limit
        if left < 0:
            more = True
            break
    return listed(query, rows, more=more, unreadable=UNREADABLE)


def _stored(file: File, queue: bytes, state: JobState, most: int) -> Iterator[Stored]:
    sql = _WAITING if state is JobState.WAITING else _SCHEDULED
    for number, size, raw, priority in file.connection.execute(sql, (queue, most)):
        yield Stored(queue, state, raw, size or 0, number, priority)


def _row(file: File, stored: Stored) -> JobReading:
    marked = file.connection.execute(_HAS, (stored.queue, b"r:" + _bytes(stored.id))).fetchone()
    return row_of(stored, file.labels[stored.queue], revoked=marked is not None)


def _bytes(words: str) -> bytes:
    return words.encode("utf-8", "surrogatepass")


def _find(file: File, identity: str) -> tuple[Stored | None, bool]:
    """The task with this id; else whether there are more than were read."""
    needle = _bytes(identity)
    left = BYTES_OF_A_SEARCH
    cut_short = False
    for queue in file.labels:
        for state in _TABLES:
            for count, stored in enumerate(_stored(file, queue, state, MOST_READ + 1)):
                raw = stored.raw or b""
                left -= len(raw)
                if count == MOST_READ or left < 0:
                    cut_short = True
                    break
                # Most are plain pickles, in which the id stands as it is.
                plain = raw.startswith(b"\x80") and not identity.startswith("unread-")
                if (needle in raw or not plain) and stored.id == identity:
                    return stored, False
    return None, cut_short


def _one(file: File, identity: str) -> tuple[JobReading | None, bool]:
    stored, cut_short = _find(file, identity)
    if stored is not None:
        row = _row(file, stored)
        for _, result in _results(file, identity, [stored.queue]):
            row = with_result(row, result)
        return row, False
    for queue, result in _results(file, identity, file.labels):
        return ended(identity, file.labels[queue], result), False
    return None, cut_short


def _results(file: File, identity: str, queues: Iterable[bytes]) -> Iterator[tuple[bytes, Result]]:
    # Names of marks, locks and the like hold a colon or a dot; an id that does is none.
    if not identity or {":", "."} & set(identity):
        return
    for queue in queues:
        found = file.connection.execute(_RESULT, (queue, _bytes(identity))).fetchone()
        result = result_in(found[0]) if found is not None and found[0] is not None else None
        if result is not None:
            yield queue, result


class Actions(Performer[File]):
    """Carries actions out, each in one transaction; they also raise :class:`sqlite3.Error`."""

    why_not = WHY_NOT

    def _cancel(self, action: CancelJob, scope: File) -> Outcome:
        stored = _found(scope, action.id)
        value = revocation(revocable(stored))
        _write(scope, _MARK, (stored.queue, b"r:" + _bytes(action.id), value))
        return Outcome(1, REVOKED)

    def _retry(self, action: RetryJob, scope: File) -> Outcome:
        """Take the mark of a revoked task away: Huey's ``restore``."""
        stored = _found(scope, action.id)
        if not _write(scope, _FORGET, (stored.queue, b"r:" + _bytes(action.id))):
            raise NoSuchTarget(NOT_REVOKED.format(id=action.id))
        return Outcome(1)

    def _delete(self, action: DeleteJob, scope: File) -> Outcome:
        identity = action.id
        stored, _ = _find(scope, identity)
        if stored is None:
            for queue, _ in _results(scope, identity, scope.labels):
                if _write(scope, _FORGET, (queue, _bytes(identity))):
                    return Outcome(1, "its result is forgotten")
            stored = _found(scope, identity)
        # A number is given away anew once its row is gone, so the task itself is compared too.
        same = "length(data) = ?" if stored.raw is None else "CAST(data AS BLOB) = ?"
        sql = f"DELETE FROM {_TABLES[stored.state]} WHERE id = ? AND {same}"  # noqa: S608
        what = stored.size if stored.raw is None else stored.raw
        if not _write(scope, sql, (stored.key, what)):
            raise NoSuchTarget(f"the task {identity!r} has just been taken by a consumer")
        return Outcome(1)

    def _purge(self, action: PurgeQueue, scope: File) -> Outcome:
        return Outcome(_write(scope, _PURGE, (queue_named(action.queue, scope.labels),)))


def _found(file: File, identity: str) -> Stored:
    stored, cut_short = _find(file, identity)
    if stored is None:
        raise NoSuchTarget((CUT_SHORT if cut_short else TAKEN).format(id=identity))
    return stored


def _write(file: File, sql: str, values: tuple[object, ...]) -> int:
    """How many rows it changed; the lock is held for this one statement."""
    connection = file.connection
    connection.execute("BEGIN IMMEDIATE")
    try:
        changed = connection.execute(sql, values).rowcount
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return changed
