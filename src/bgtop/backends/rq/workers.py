"""RQ's workers: what each wrote of itself, whether it lives, and what it runs.

An idle worker refreshes its hash every 405 s only, and a killed one leaves it behind for up to
480 s. But each worker listens to a channel of its own, and the server knows at once when that
connection is gone: ``PUBSUB NUMSUB`` is the proof of life. Channels know no databases, so of two
workers with the same name in two databases, one speaks for both.

The running job is named by the field ``current_job`` up to RQ 2, and since 3.0 by the set
``rq:worker:<name>:executions``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.raw_names import labels, text
from bgtop.backends.rq.wire import (
    CHANNEL,
    LONGEST_DESCRIPTION,
    STARTED,
    WORKER,
    count,
    job_key,
    listened_to,
    moment,
    task_name,
    word,
)
from bgtop.model import CurrentTask, WorkerReading, WorkerState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_search import Command
    from bgtop.backends.rq.troubles import Troubles

MOST_WORKERS = 20_000
SECONDS_TO_SUBSCRIBE = 10.0
"""How long after its birth a worker may be on its way to its channel."""

MOST_STARTED = 1_000

FIRST_WITH_SETS = 3
_MAJOR = re.compile(r"rq (\d{1,4})\.")

_FIELDS = (
    *("state", "current_job", "queues", "pid", "hostname", "birth", "last_heartbeat", "version"),
    *("successful_job_count", "failed_job_count"),
)
_STATES = {
    b"started": WorkerState.IDLE,
    b"idle": WorkerState.IDLE,
    b"suspended": WorkerState.IDLE,
    b"busy": WorkerState.ACTIVE,
}


class Run(NamedTuple):
    """A job in the hands of a worker; ``execution`` names the very run, since RQ 3.0."""

    worker: bytes
    job: bytes
    execution: bytes | None = None


class JobFacts(NamedTuple):
    """What the hash of a running job tells; ``words`` is the size of its description in bytes."""

    origin: object
    worker: object
    started_at: object
    words: int


class Worker:
    """One worker as of one poll."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.fields: dict[str, Reply] | None = None
        """Its hash; ``None`` when there is none."""
        self.runs: tuple[Run, ...] = ()
        self.listens: bool | None = None
        """Whether its channel is subscribed to; ``None`` when we may not ask."""
        self.queues: tuple[bytes, ...] = ()
        self.serves: tuple[Reply, list[bytes]] = None, []
        """What its hash says of its queues, and which names it is to be read with."""

    @property
    def said(self) -> tuple[Reply, ...] | None:
        """The values of its fields, to be compared; a worker writes nothing but strings there."""
        return None if self.fields is None else tuple(self.fields.values())

    def state(self, now: float) -> WorkerState:
        """By the proof of life first, then by its own word; ``now`` in seconds since the epoch."""
        fields = self.fields or {}
        said = fields.get("state")
        if self.listens is False:
            born = moment(fields.get("birth"))
            young = born is not None and now - born.timestamp() < SECONDS_TO_SUBSCRIBE
            return WorkerState.UNKNOWN if young and said is None else WorkerState.DEAD
        known = _STATES.get(said) if isinstance(said, bytes) else None
        return known if known is not None and self.listens else WorkerState.UNKNOWN


class Shown(NamedTuple):
    """What a worker's row was made of, and the row: most workers say the same for minutes."""

    basis: int
    """The hash of it: of a thousand workers it would be a megabyte."""
    reading: WorkerReading
    serves: tuple[Reply, list[bytes]]
    queues: tuple[bytes, ...]
    has_set: bool
    """Whether it may name its jobs in a set, as since RQ 3.0."""


class Workers:
    """All workers of one poll; the calls come in the order written here."""

    def __init__(self, shown: dict[bytes, Shown]) -> None:
        """``shown`` are the rows of the last poll; it is kept up to date."""
        self._shown = shown
        self._workers: list[Worker] = []
        self._with_sets: list[Worker] = []
        """Those that may name their jobs in a set: of some release that is not known to be old."""
        self._runs: list[Run] = []
        self._facts: dict[Run, JobFacts] = {}
        self._names: dict[bytes, str] = {}
        self._described: list[bytes] = []
        self._lost: list[tuple[bytes, Run]] = []
        self._now = 0.0
        self.lost: dict[bytes, int] = {}
        """By queue: started jobs whose worker is dead."""

    def learn(self, members: Iterable[bytes], troubles: Troubles) -> None:
        """Take the members of ``rq:workers``: the keys of hashes."""
        keys = sorted(members)
        names = [key[len(WORKER) :] for key in keys if key.startswith(WORKER)]
        if len(names) < len(keys):
            troubles.say(f"{len(keys) - len(names)} members of 'rq:workers' name no worker")
        if len(names) > MOST_WORKERS:
            troubles.say(f"there are more than {MOST_WORKERS:,} workers: some are left out")
        self._workers = [Worker(name) for name in names[:MOST_WORKERS]]
        shown = self._shown
        self._with_sets = [w for w in self._workers if w.name not in shown or shown[w.name].has_set]

    def commands(self) -> list[Command]:
        """What to ask first: their hashes, their jobs, and who listens."""
        if not self._workers:
            return []
        asked: list[Command] = [("HMGET", WORKER + w.name, *_FIELDS) for w in self._workers]
        asked += [("SMEMBERS", WORKER + w.name + b":executions") for w in self._with_sets]
        asked.append(("PUBSUB", "NUMSUB", *(CHANNEL + w.name for w in self._workers)))
        return asked

    @property
    def questions(self) -> int:
        """What ``commands`` depend on: while it is the same they need not be packed anew."""
        return hash(tuple([w.name for w in (*self._workers, *self._with_sets)]))

    def absorb(self, replies: Sequence[Reply], troubles: Troubles) -> None:
        """Take the replies to ``commands``."""
        if not self._workers:
            return
        number = len(self._workers)
        members = {w.name: said for w, said in zip(self._with_sets, replies[number:], strict=False)}
        listeners = _listeners(replies[-1])
        if listeners is None:
            troubles.say("which workers live is unknown: the server does not let us ask (PUBSUB)")
        for worker, fields in zip(self._workers, replies, strict=False):
            troubles.note(WORKER + worker.name, fields)
            if isinstance(fields, list) and any(field is not None for field in fields):
                worker.fields = dict(zip(_FIELDS, fields, strict=True))
            worker.runs = _runs_of(worker, members.get(worker.name))
            if listeners is not None:
                worker.listens = listeners.get(CHANNEL + worker.name, 0) > 0

    def read_queues(self, with_commas: list[bytes]) -> set[bytes]:
        """The names of all queues somebody serves; commas are in those known by other means."""
        for worker in self._workers:
            worker.serves = ((worker.fields or {}).get("queues"), with_commas)
            before = self._shown.get(worker.name)
            same = before is not None and before.serves == worker.serves
            worker.queues = before.queues if before and same else listened_to(*worker.serves)
        return {queue for worker in self._workers for queue in worker.queues}

    def job_commands(self, now: float) -> list[Command]:
        """What to ask next of the jobs that run, and of those whose worker died."""
        self._now = now
        runs = (run for worker in self._workers for run in worker.runs)
        keys = {run: key for run in runs if (key := job_key(run.job)) is not None}
        self._runs = [*keys]
        asked: list[Command] = []
        for key in keys.values():
            asked += [
                ("HMGET", key, "origin", "worker_name", "started_at"),
                ("HSTRLEN", key, "description"),
            ]
        return asked

    def absorb_jobs(self, replies: Sequence[Reply], troubles: Troubles) -> None:
        """Take the replies to ``job_commands``."""
        self._facts = {}
        for run, fields, size in zip(self._runs, replies[::2], replies[1::2], strict=True):
            troubles.note(job_key(run.job) or b"", fields)
            match fields, size:
                case [origin, worker, started_at], int(words):
                    self._facts[run] = JobFacts(origin, worker, started_at, words)

    def last_commands(self) -> list[Command]:
        """What to ask at last: descriptions of a decent size, and what is started where."""
        dead = {w.name for w in self._workers if w.state(self._now) is WorkerState.DEAD}
        known = self._facts.items()
        self._described = [
            run.job
            for run, facts in known
            if run.worker not in dead and 0 < facts.words <= LONGEST_DESCRIPTION
        ]
        self._lost = [
            (facts.origin, run)
            for run, facts in known
            if run.worker in dead and isinstance(facts.origin, bytes) and _is_still(run, facts)
        ]
        asked: list[Command] = [
            ("HGET", job_key(job) or b"", "description") for job in self._described
        ]
        asked += [
            (
                "ZRANGEBYSCORE",
                STARTED + origin,
                f"{self._now:.6f}",
                "+inf",
                "LIMIT",
                0,
                MOST_STARTED,
            )
            for origin, _ in self._lost
        ]
        return asked

    def absorb_last(self, replies: Sequence[Reply]) -> None:
        """Take the replies to ``last_commands``."""
        number = len(self._described)
        named = zip(self._described, map(task_name, replies[:number]), strict=True)
        self._names = {job: name for job, name in named if name is not None}
        self.lost = {}
        for (origin, run), started in zip(self._lost, replies[number:], strict=True):
            members = started if isinstance(started, list) else []
            if any(isinstance(member, bytes) and _is_of(run, member) for member in members):
                self.lost[origin] = self.lost.get(origin, 0) + 1

    def consumers(self) -> Mapping[bytes, int] | None:
        """How many live workers serve each queue; ``None`` when nobody's life is known."""
        if any(worker.listens is None for worker in self._workers):
            return None
        served: dict[bytes, int] = {}
        for worker in self._workers:
            for queue in worker.queues if worker.listens else ():
                served[queue] = served.get(queue, 0) + 1
        return served

    def readings(self) -> Iterator[WorkerReading]:
        """All of them, by the name shown."""
        named = labels(worker.name for worker in self._workers)
        before = dict(self._shown)
        self._shown.clear()
        for worker in sorted(self._workers, key=lambda worker: named[worker.name]):
            state = worker.state(self._now)
            dead = state is WorkerState.DEAD
            current = () if dead else tuple(self._current(run) for run in worker.runs)
            basis = hash((named[worker.name], state, worker.said, worker.queues, current))
            shown = before.get(worker.name)
            if shown is None or shown.basis != basis:
                reading = _reading(worker, named[worker.name], state, current)
                old = _MAJOR.match(reading.version or "")
                has_set = old is None or int(old[1]) >= FIRST_WITH_SETS
                shown = Shown(basis, reading, worker.serves, worker.queues, has_set)
            self._shown[worker.name] = shown
            yield shown.reading

    def _current(self, run: Run) -> CurrentTask:
        facts, shown = self._facts.get(run), text(run.job)
        return CurrentTask(
            id=shown,
            # Without a description of a decent size the id is all there is to say.
            name=self._names.get(run.job, shown),
            started_at=None if facts is None else moment(facts.started_at),
        )


def _reading(
    worker: Worker, name: str, state: WorkerState, current: tuple[CurrentTask, ...]
) -> WorkerReading:
    fields = worker.fields
    if fields is None:
        return WorkerReading(name=name, state=state, concurrency=1, current=())
    succeeded, failed = (count(fields[f"{kind}_job_count"]) for kind in ("successful", "failed"))
    version = word(fields["version"])
    return WorkerReading(
        name=name,
        state=state,
        last_heartbeat_at=moment(fields["last_heartbeat"]),
        queues=tuple(text(queue) for queue in worker.queues),
        concurrency=1,
        running=len(current),
        processed=None if succeeded is None or failed is None else succeeded + failed,
        failed=failed,
        pid=count(fields["pid"]) or None,
        host=word(fields["hostname"]),
        started_at=moment(fields["birth"]),
        version=version and f"rq {version}",
        current=current,
    )


def _listeners(reply: Reply) -> dict[Reply, int] | None:
    if not isinstance(reply, list):
        return None
    pairs = zip(reply[::2], reply[1::2], strict=False)
    return {channel: n for channel, n in pairs if isinstance(n, int) and isinstance(channel, bytes)}


def _runs_of(worker: Worker, executions: Reply) -> tuple[Run, ...]:
    """What a worker has in hand, by either of the ways RQ notes it; stale notes do not count."""
    fields = worker.fields or {}
    if fields.get("state") != b"busy":
        return ()
    members = executions if isinstance(executions, list) else []
    runs = [
        Run(worker.name, job, member)
        for member in members
        if isinstance(member, bytes) and (job := member.rpartition(b":")[0])
    ]
    current = fields.get("current_job")
    if not runs and isinstance(current, bytes) and current:
        runs = [Run(worker.name, current)]
    return tuple(sorted(runs))


def _is_still(run: Run, facts: JobFacts) -> bool:
    """Whether this worker was the last to have the job: it may run elsewhere by now."""
    return run.execution is not None or facts.worker == run.worker


def _is_of(run: Run, member: bytes) -> bool:
    """Whether a member of ``rq:wip`` is this run: ``<job>:<execution>`` since 2.0, or ``<job>``."""
    if run.execution is not None:
        return member == run.execution
    return run.job in {member, member.rpartition(b":")[0]}
