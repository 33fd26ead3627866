"""Single tasks in Redis, as :attr:`bgtop.contracts.Interest.jobs` asks for them.

Redis hands out the elements of a list only whole. So it is asked first how much memory a queue
takes, and only as many of its tasks are fetched as are small enough on average.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from hiredis import ReplyError

from bgtop.backends.huey.depths import LIST, SORTED_SET
from bgtop.backends.huey.messages import result_in
from bgtop.backends.huey.rows import NOT_LISTED, STORED, Stored, ended, listed, row_of, with_result
from bgtop.backends.huey.wire import EXPIRING, RESULTS, SCHEDULE, WAITING, enqueued_at, priority_of
from bgtop.backends.redis_link import RedisLink, pack
from bgtop.contracts import BackendError
from bgtop.model import JobList, JobReading, JobState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bgtop.backends.huey.messages import Result
    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_search import Command
    from bgtop.model import JobQuery, WorkerReading

MOST_QUEUES = 200
"""Queues a list is made of; with more it is a part of the whole, and says so."""

LARGEST = 64 * 1024
BYTES_OF_TASKS = 4 * 1024 * 1024
"""About how much one look fetches."""

MOST_READ = 5_000
BYTES_OF_A_SEARCH = 16 * 1024 * 1024
SECONDS_BETWEEN_SEARCHES = 10.0
MOST_REMEMBERED = 10_000
MOST_RESULTS_TRIED = 1_000
"""Queues in whose results one id is looked for."""

_MARKED_REVOKED = b"r:"


class Scope(NamedTuple):
    """What the last poll has seen."""

    labels: Mapping[bytes, str]
    kinds: Mapping[bytes, str]
    """The command that counts a queue, where that is known."""
    waiting: Mapping[bytes, int]
    scheduled: Mapping[bytes, int]
    workers: Sequence[WorkerReading]
    """The consumers with an agent, if any of them lives."""


class _Source(NamedTuple):
    """One key that holds tasks."""

    queue: bytes
    state: JobState
    key: bytes
    is_list: bool
    length: int


class Found(NamedTuple):
    """Tasks, and whether there are more; ``unreadable`` are states that could not be read."""

    tasks: list[Stored]
    more: bool
    unreadable: frozenset[JobState]


class Looking:
    """Answers queries, and finds tasks by their id."""

    def __init__(self, link: RedisLink) -> None:
        self.cut_short = False
        """Whether the last search ended before it had read everything."""
        self._link = link
        self._known: OrderedDict[str, Stored] = OrderedDict()
        self._in_vain: dict[str, float] = {}

    def answer(self, query: JobQuery, scope: Scope) -> JobList:
        """The jobs asked for; raises :class:`bgtop.contracts.BackendError`."""
        if query.id is not None:
            row = self._one(query.id, scope)
            more = row is None and self.cut_short
            return JobList(query=query, rows=(row,) if row else (), more=more)
        running = [*_running(query, scope.workers)]
        unreadable = NOT_LISTED if scope.workers else NOT_LISTED | {JobState.RUNNING}
        if query.worker is not None:
            return listed(query, running, more=False, unreadable=unreadable)
        queues = [name for name, label in scope.labels.items() if query.queue in (None, label)]
        wanted = query.states
        if JobState.CANCELLED in wanted:  # they lie among those not cancelled
            wanted |= STORED
        found = self.gather(scope, queues, wanted & STORED, query.limit, BYTES_OF_TASKS)
        revoked = self._revoked(found.tasks)
        rows = [
            row_of(stored, scope.labels[stored.queue], revoked=flag)
            for stored, flag in zip(found.tasks, revoked, strict=True)
        ]
        for row, stored in zip(rows, found.tasks, strict=True):
            self._remember(row.id, stored)
        return listed(
            query, [*running, *rows], more=found.more, unreadable=unreadable | found.unreadable
        )

    def gather(
        self,
        scope: Scope,
        queues: Sequence[bytes],
        states: frozenset[JobState],
        limit: int,
        most_bytes: int,
    ) -> Found:
        """The next tasks of each state; raises :class:`bgtop.contracts.BackendError`."""
        sources = [*_sources(scope, queues, states)]
        more, sources = len(sources) > 2 * MOST_QUEUES, sources[: 2 * MOST_QUEUES]
        if not sources:
            return Found([], more, frozenset())
        asked = [("MEMORY", "USAGE", source.key, "SAMPLES", "5") for source in sources]
        sizes = self._link.exchange(pack(*asked))
        counts = _counts(sources, sizes, limit + 1, most_bytes)
        chosen = [(s, n) for s, n in zip(sources, counts, strict=True) if n]
        unreadable = {source.state for source in sources} - {source.state for source, _ in chosen}
        more = more or len(chosen) < len(sources)
        if not chosen:
            return Found([], more, frozenset(unreadable))
        try:
            replies = self._link.exchange(pack(*(_range(s, n) for s, n in chosen)))
        except BackendError as fault:
            # Other kinds tell of the server; this one of an answer larger than we hold.
            if type(fault) is not BackendError:
                raise
            return Found([], True, states)
        tasks = []
        for (source, count), reply in zip(chosen, replies, strict=True):
            if isinstance(reply, ReplyError):
                unreadable.add(source.state)
            some = [*_tasks(source, reply)]
            more = more or len(some) > limit or count < min(source.length, limit)
            tasks += some
        return Found(tasks, more, frozenset(unreadable))

    def find(self, identity: str, scope: Scope, *, search: bool = True) -> Stored | None:
        """The task with this id; without ``search`` a search in vain is not made again at once."""
        self.cut_short = False
        known = self._known.get(identity)
        if known is not None and self._is_there(known, scope):
            return known
        tick = time.monotonic()
        if not search and self._in_vain.get(identity, tick) > tick:
            return None
        found = self.gather(scope, [*scope.labels], STORED, MOST_READ, BYTES_OF_A_SEARCH)
        for stored in found.tasks:
            if stored.id == identity:
                self._remember(identity, stored)
                return stored
        self.cut_short = found.more or bool(found.unreadable)
        if len(self._in_vain) > MOST_REMEMBERED:
            self._in_vain.clear()
        self._in_vain[identity] = tick + SECONDS_BETWEEN_SEARCHES
        return None

    def _remember(self, identity: str, stored: Stored) -> None:
        self._known[identity] = stored
        self._known.move_to_end(identity)
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)

    def _is_there(self, stored: Stored, scope: Scope) -> bool:
        key, is_list = key_of(stored, scope)
        assert isinstance(stored.key, bytes)  # noqa: S101  # in Redis it is an element
        last = ("LPOS", key, stored.key, "RANK", -1, "MAXLEN", 2 * MOST_READ)
        asked: Command = last if is_list else ("ZSCORE", key, stored.key)
        return isinstance(self._link.exchange(pack(asked))[0], (int, bytes))

    def _revoked(self, tasks: Sequence[Stored]) -> list[bool]:
        """Which of these are marked; plain Huey and that with expiry keep marks differently."""
        commands: list[Command] = []
        for stored in tasks:
            name = _MARKED_REVOKED + stored.id.encode("utf-8", "surrogatepass")
            commands.append(("HEXISTS", RESULTS + stored.queue, name))
            commands.append(("EXISTS", EXPIRING + stored.queue + b"." + name))
        replies = self._link.exchange(pack(*commands)) if commands else []
        return [1 in pair for pair in zip(replies[::2], replies[1::2], strict=True)]

    def _one(self, identity: str, scope: Scope) -> JobReading | None:
        stored = self.find(identity, scope, search=False)
        if stored is not None:
            (revoked,) = self._revoked([stored])
            row = row_of(stored, scope.labels[stored.queue], revoked=revoked)
            result = self.results(identity, [stored.queue]).get(stored.queue)
            return row if result is None else with_result(row, result)
        for worker in scope.workers:
            for row in _current(worker):
                if row.id == identity:
                    return row
        known = self._known.get(identity)
        queues = [*scope.labels] if known is None else [known.queue]
        for queue, result in self.results(identity, queues[:MOST_RESULTS_TRIED]).items():
            return ended(identity, scope.labels.get(queue, "?"), result)
        return None

    def results(self, identity: str, queues: Sequence[bytes]) -> dict[bytes, Result]:
        """What these queues store as the result of this task."""
        # Names of marks, locks and the like hold a colon or a dot; an id that does is none.
        if not identity or not queues or {":", "."} & set(identity):
            return {}
        name = identity.encode("utf-8", "surrogatepass")
        asked: list[Command] = []
        for queue in queues:
            asked.append(("HSTRLEN", RESULTS + queue, name))
            asked.append(("STRLEN", EXPIRING + queue + b"." + name))
        sizes = self._link.exchange(pack(*asked))
        found = {}
        for number, size in enumerate(sizes):
            if not isinstance(size, int) or not 0 < size <= LARGEST:
                continue
            queue = queues[number // 2]
            read: Command = ("HGET", RESULTS + queue, name)
            if number % 2:
                read = ("GET", EXPIRING + queue + b"." + name)
            raw = self._link.exchange(pack(read))[0]
            result = result_in(raw) if isinstance(raw, bytes) else None
            if result is not None:
                found[queue] = result
        return found


def key_of(stored: Stored, scope: Scope) -> tuple[bytes, bool]:
    """The key a task lies in, and whether that is a list."""
    if stored.state is JobState.SCHEDULED:
        return SCHEDULE + stored.queue, False
    return WAITING + stored.queue, scope.kinds.get(stored.queue, LIST) != SORTED_SET


def _sources(
    scope: Scope, queues: Iterable[bytes], states: frozenset[JobState]
) -> Iterator[_Source]:
    for queue in queues:
        if JobState.WAITING in states and scope.waiting.get(queue):
            is_list = scope.kinds.get(queue, LIST) != SORTED_SET
            count = scope.waiting[queue]
            yield _Source(queue, JobState.WAITING, WAITING + queue, is_list, count)
        if JobState.SCHEDULED in states and scope.scheduled.get(queue):
            count = scope.scheduled[queue]
            yield _Source(queue, JobState.SCHEDULED, SCHEDULE + queue, False, count)


def _counts(
    sources: Sequence[_Source], sizes: Sequence[Reply], most: int, most_bytes: int
) -> list[int]:
    """How many tasks to fetch of each, by their average size; the first ones first."""
    counts = []
    for source, used in zip(sources, sizes, strict=True):
        # Who may not ask for the memory is given what is usual.
        average = max(used // source.length, 1) if isinstance(used, int) else 1_024
        count = min(most, max(most_bytes, 0) // average)
        most_bytes -= min(count, source.length) * average
        counts.append(count)
    return counts


def _range(source: _Source, count: int) -> Command:
    if source.is_list:
        return ("LRANGE", source.key, -count, -1)
    return ("ZRANGE", source.key, 0, count - 1, "WITHSCORES")


def _tasks(source: _Source, reply: Reply) -> Iterator[Stored]:
    """The next to be taken comes first: it is at the end of a list, at the front of a set."""
    words = reply if isinstance(reply, list) else []
    if source.is_list:
        for raw in reversed(words):
            if isinstance(raw, bytes):
                yield _stored(source, raw, raw)._replace(priority=0)
        return
    for member, score in zip(words[::2], words[1::2], strict=False):
        if not isinstance(member, bytes) or not isinstance(score, bytes):
            continue
        if source.state is JobState.SCHEDULED:
            yield _stored(source, member, member)
        else:
            stored = _stored(source, member, member[8:])
            yield stored._replace(priority=priority_of(score), put_at=enqueued_at(member))


def _stored(source: _Source, element: bytes, raw: bytes) -> Stored:
    kept = raw if len(raw) <= LARGEST else None
    return Stored(source.queue, source.state, kept, len(raw), element)


def _running(query: JobQuery, workers: Sequence[WorkerReading]) -> Iterator[JobReading]:
    for worker in workers:
        if query.worker in (None, worker.name):
            yield from (row for row in _current(worker) if query.queue in (None, row.queue))


def _current(worker: WorkerReading) -> Iterator[JobReading]:
    """What the agent of a consumer says it runs."""
    for task in worker.current or ():
        yield JobReading(
            id=task.id,
            state=JobState.RUNNING,
            name=task.name,
            queue=worker.queues[0] if worker.queues else None,
            worker=worker.name,
            started_at=task.started_at,
        )
