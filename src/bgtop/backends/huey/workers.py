"""Huey's consumers: those that run our agent, else what the connections of the database suggest.

Huey publishes nothing about its consumers. An agent (:mod:`bgtop.agents.huey`) keeps a hash that
expires; how long it has left to live tells when it was written, by the server's own clock. Without
agents CLIENT LIST shows what consumers look like: idle workers block in BRPOP or BZPOPMIN, and a
scheduler runs a script each second. Others may look like that too: workers of Celery wait like
those of Huey, but for other keys, and Dramatiq's run scripts all the time. One such row for the
whole database is all that is inferred, and its name says so.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from hiredis import ReplyError

from bgtop.backends.huey.wire import (
    AGENT_FIELDS,
    AGENTS,
    NO_SIGNS,
    Beat,
    Signs,
    connected_clients,
    read_beat,
    signs_of,
)
from bgtop.backends.raw_names import text
from bgtop.backends.redis_link import pack
from bgtop.model import CurrentTask, WorkerReading, WorkerState
from bgtop.symptoms import DRIFT, clock_drift

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from bgtop.backends.redis_connection import Reply, Request
    from bgtop.model import Finding

INFERRED = "huey (inferred)"

MOST_AGENTS = 1_000
KEYS_PER_EXISTS = 100
SECONDS_OF_MEMORY = 3_600.0
"""How long an agent that ended without a word is still listed."""

MOST_CLIENTS = 2_000
"""CLIENT LIST costs the server 1 µs and us 300 bytes a connection; beyond this it is not sent."""

FEW_CLIENTS = 100
SECONDS_BETWEEN_LISTS = 10.0
SECONDS_BETWEEN_SHORT_LISTS = 2.0


class Agents:
    """The consumers with an agent: their names in the first round trip, the rest in the second."""

    def __init__(self) -> None:
        self.workers: tuple[WorkerReading, ...] = ()
        self.queues: frozenset[bytes] = frozenset()
        """The queues that the agents name."""
        self.counts: dict[str, str] = {}
        """JSON of what each has done by task, by the name of the worker."""
        self.alive = False
        self._seen: list[tuple[bytes, float]] = []
        self._news: list[tuple[bytes, float]] = []
        """Those heard since they were asked last."""
        self._said: dict[bytes, _Said] = {}
        self._holding = 0
        self._registry = pack(("ZREVRANGE", AGENTS, 0, MOST_AGENTS - 1, "WITHSCORES"))

    def requests(self) -> list[Request]:
        """Ask for the names of all agents, and whether what they said still holds."""
        keys = [AGENTS + b":" + member for member, said in self._said.items() if said.worker]
        self._holding = len(keys)
        starts = range(0, len(keys), KEYS_PER_EXISTS)
        held = [pack(("EXISTS", *keys[start : start + KEYS_PER_EXISTS])) for start in starts]
        return [self._registry, *held]

    def absorb(self, replies: Sequence[Reply]) -> None:
        """Take the reply to ``requests``."""
        reply, *held = replies
        if sum(number for number in held if isinstance(number, int)) != self._holding:
            self._said = {}
        # Without agents there is no second question, and so no second answer.
        self._seen, self.workers, self.queues, self.alive = [], (), frozenset(), False
        self._news = []
        if isinstance(reply, list):
            for member, score in zip(reply[::2], reply[1::2], strict=False):
                if isinstance(member, bytes) and isinstance(score, bytes):
                    self._seen.append((member, float(score)))

    def beats(self) -> list[Request]:
        """Ask what each agent says that spoke since, and how long that will still be said."""
        known, self._news = self._said, []
        self._said = {member: known[member] for member, _ in self._seen if member in known}
        for member, score in self._seen:
            said = known.get(member)
            if said is None or said.score != score:
                self._news.append((member, score))
        commands: list[Sequence[bytes | str | int]] = []
        for member, _ in self._news:
            key = AGENTS + b":" + member
            commands += [("PTTL", key), ("HMGET", key, *AGENT_FIELDS)]
        return [pack(*commands)] if commands else []

    def absorb_beats(self, replies: Sequence[Reply], now: float) -> None:
        """Take the replies to ``beats``."""
        for (member, score), left, values in zip(
            self._news, replies[::2], replies[1::2], strict=True
        ):
            self._said[member] = _said(member, score, left, values, now)

    def settle(self, now: float) -> None:
        """Decide who is there, by what each said last; ``now`` in seconds since the epoch."""
        workers, queues = [], set()
        self.counts = {
            said.worker.name: said.counts
            for said in self._said.values()
            if said.worker is not None and said.counts is not None
        }
        for member, score in self._seen:
            said = self._said.get(member)
            if said is None:
                continue
            if said.worker is not None and now < said.until:
                workers.append(said.worker)
                queues.add(said.queue)
            elif (said.gone or said.worker is not None) and 0 <= now - score < SECONDS_OF_MEMORY:
                heard = datetime.fromtimestamp(score, timezone.utc)
                workers.append(WorkerReading(name=text(member), last_heartbeat_at=heard))
        self.alive = bool(queues)
        self.workers = tuple(sorted(workers, key=lambda worker: worker.name))
        self.queues = frozenset(queues)

    def findings(self) -> Iterator[Finding]:
        """Whose clock is another than ours: each beat says what its own told."""
        for said in self._said.values():
            if said.worker is not None and abs(said.ahead) > DRIFT:
                yield clock_drift(said.worker.name, said.ahead, said.worker.host)


class _Said(NamedTuple):
    """What an agent said when it was heard at ``score``; ``worker`` holds until ``until``."""

    score: float
    until: float = 0.0
    worker: WorkerReading | None = None
    queue: bytes = b""
    counts: str | None = None
    gone: bool = False
    """Whether it had nothing to say any more."""
    ahead: float = 0.0
    """By how much its clock is ahead of ours, or behind."""


def _said(member: bytes, score: float, left: Reply, values: Reply, now: float) -> _Said:
    beat = read_beat(values) if isinstance(values, list) else None
    if beat is None or not isinstance(left, int) or left < 0:
        return _Said(score, gone=left == -2)
    age = min(max(0.0, beat.ttl - left / 1000), beat.ttl)
    heard = now - age
    return _Said(
        score,
        until=now + left / 1000,
        worker=_alive(text(member), beat, heard),
        queue=beat.queue.encode("utf-8", "backslashreplace"),
        counts=beat.counts,
        ahead=0.0 if beat.beat is None else beat.beat - heard,
    )


def _alive(name: str, beat: Beat, heard: float) -> WorkerReading:
    """Times the agent read from its own clock are moved to ours."""
    ahead = 0.0 if beat.beat is None else heard - beat.beat

    def ours(moment: float | None) -> datetime | None:
        return None if moment is None else datetime.fromtimestamp(moment + ahead, timezone.utc)

    return WorkerReading(
        name=name,
        last_heartbeat_at=datetime.fromtimestamp(heard, timezone.utc),
        queues=(beat.queue,),
        concurrency=beat.concurrency,
        running=beat.running,
        processed=beat.processed,
        failed=beat.failed,
        pid=beat.pid,
        host=beat.host,
        started_at=ours(beat.started),
        version=beat.version,
        current=None
        if beat.current is None
        else tuple(
            CurrentTask(id=task_id, name=task, started_at=ours(started))
            for task_id, task, started in beat.current
        ),
    )


class Connections:
    """Signs of consumers without an agent; looked for now and then, as the list may be long."""

    def __init__(self, db: int) -> None:
        self.trouble: str | None = None
        """Why nothing can be inferred."""
        self._db = db
        self._signs = NO_SIGNS
        self._workers: frozenset[bytes] = frozenset()
        """Connections that have waited for a job of Huey's and are still there."""
        self._others_run_scripts = False
        self._told_apart = True
        """Whether queues were known, so that who waits for other keys was left out."""
        self._next_at = float("-inf")
        self._due = False
        self._count_due = pack(("INFO", "clients"))
        self._list_due = pack(("CLIENT", "LIST"), ("EXISTS", _HEARTBEATS_OF_DRAMATIQ))

    def start_over(self) -> None:
        """Look at the next poll: this is a new connection."""
        self._next_at = float("-inf")
        self._workers = frozenset()

    def requests(self, tick: float, *, queues_known: bool) -> list[Request]:
        """How many connections there are, when it is time to look at them."""
        anew = queues_known and not self._told_apart
        return [self._count_due] if tick >= self._next_at or anew else []

    def absorb(self, replies: Sequence[Reply], tick: float) -> None:
        """Take the reply to ``requests``: it decides whether, and how often, we look."""
        count = connected_clients(replies[0])
        few = count is not None and count <= FEW_CLIENTS
        self._next_at = tick + (SECONDS_BETWEEN_SHORT_LISTS if few else SECONDS_BETWEEN_LISTS)
        self._due = count is not None and count <= MOST_CLIENTS
        if not self._due:
            self._take(NO_SIGNS, _REFUSED if count is None else _MANY.format(count))

    def listing(self) -> list[Request]:
        """The connections themselves."""
        return [self._list_due] if self._due else []

    def absorb_listing(self, replies: Sequence[Reply], queues: Collection[bytes]) -> None:
        """Take the replies to ``listing``, given the names of the queues that are known."""
        self._due, self._told_apart = False, bool(queues)
        reply, self._others_run_scripts = replies[0], replies[1] == 1
        if isinstance(reply, bytes):
            self._take(signs_of(reply, self._db, queues), None)
        elif isinstance(reply, ReplyError):
            self._take(NO_SIGNS, _REFUSED)

    def _take(self, signs: Signs, trouble: str | None) -> None:
        self._signs, self.trouble = signs, trouble
        proven = signs.waiting if self._told_apart else frozenset()
        self._workers = (self._workers | proven) & signs.there

    def worker(self, *, queues_known: bool) -> WorkerReading | None:
        """One row for all consumers of the database, given two signs of one.

        Idle while some worker waits for a job; active while none does, but those that did are
        connected or the schedule is read; unknown if somebody else may be who runs scripts.
        """
        waiting, scheduling = self._signs.waiting, self._signs.scheduling
        if bool(waiting) + bool(scheduling) + queues_known >= 2 and waiting:
            return WorkerReading(name=INFERRED, state=WorkerState.IDLE)
        if not queues_known or not (self._workers or scheduling):
            return None
        proven = self._workers or not self._others_run_scripts
        state = WorkerState.ACTIVE if proven else WorkerState.UNKNOWN
        return WorkerReading(name=INFERRED, state=state)


_HEARTBEATS_OF_DRAMATIQ = "dramatiq:__heartbeats__"
_REFUSED = "consumers cannot be inferred: the server does not let us list its connections"
_MANY = "consumers are not inferred: {:,} connections are too many to list"
