"""What only RQ's own keys show to be wrong: asked by the doctor, in one round trip of reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bgtop.backends.raw_names import text
from bgtop.backends.rq.wire import CHANNEL, FINISHED, SCHEDULED, SCHEDULER_JOBS, WORKER
from bgtop.symptoms import finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_search import Command
    from bgtop.backends.rq.jobs import Ask
    from bgtop.model import Finding

_LOCK: Final = b"rq:scheduler-lock:"
"""Of the scheduler that moves the jobs of a queue: held by a worker, for a minute at a time."""

_LOCK_OF_RQ_SCHEDULER: Final = b"rq:scheduler_lock"

MOST_QUEUES: Final = 1_000
KEPT: Final = 20
"""Results without expiry from which they are worth a word, as with Celery."""

LATE: Final = 90.0
"""Seconds a job may be due: rq-scheduler looks once a minute."""


class _Sets(NamedTuple):
    """What a queue's registries say: the first scheduled job's time, and the finished jobs."""

    due: Reply
    lock: Reply
    kept: Reply
    finished: Reply


def findings(
    ask: Ask, url: str, queues: Sequence[bytes], workers: Sequence[bytes], now: float
) -> Iterator[Finding]:
    """``workers`` are the members of ``rq:workers``; ``now`` is in seconds since the epoch."""
    place = f"--url {_word(url.partition('+')[2] or url)}"
    some = queues[:MOST_QUEUES]
    names = [key.removeprefix(WORKER) for key in workers]
    commands: list[Command] = [
        ("ZRANGE", SCHEDULER_JOBS, 0, 0, "WITHSCORES"),
        ("EXISTS", _LOCK_OF_RQ_SCHEDULER),
        ("PUBSUB", "NUMSUB", *(CHANNEL + name for name in names)),
    ]
    for name in some:
        commands += [
            ("ZRANGE", SCHEDULED + name, 0, 0, "WITHSCORES"),
            ("EXISTS", _LOCK + name),
            ("ZCOUNT", FINISHED + name, "+inf", "+inf"),
            ("ZCARD", FINISHED + name),
        ]
    foreign, its_lock, listeners, *replies = ask(commands)
    if its_lock == 0:
        yield from _late("rq-scheduler", foreign, now, f"rqscheduler {place}")
    yield from _shared(listeners)
    for number, name in enumerate(some):
        sets = _Sets(*replies[4 * number : 4 * number + 4])
        label = text(name)
        if sets.lock == 0:
            yield from _late(
                label, sets.due, now, f"rq worker {_word(label)} --with-scheduler {place}"
            )
        yield from _kept(label, sets)


def _late(subject: str, due: Reply, now: float, mend: str) -> Iterator[Finding]:
    """A job that is due, where nobody holds the lock of those who would move it."""
    match due:
        case [bytes(), bytes(score)]:
            late = now - _seconds(score)
            if late > LATE:
                yield finding(
                    "scheduler-missing",
                    subject,
                    f"a job has been due for {late:.0f} s, and nobody holds the scheduler's lock",
                    mend,
                )


def _seconds(score: bytes) -> float:
    try:
        return float(score)
    except ValueError:
        return float("inf")


def _shared(listeners: Reply) -> Iterator[Finding]:
    """Each worker listens to a channel of its name; channels know no databases."""
    pairs = listeners if isinstance(listeners, list) else []
    for channel, count in zip(pairs[::2], pairs[1::2], strict=False):
        if isinstance(channel, bytes) and isinstance(count, int) and count > 1:
            label = text(channel.removeprefix(CHANNEL))
            yield finding(
                "duplicate-worker",
                label,
                f"{count} connections listen to the commands for this name, over all databases "
                "of the server: a shutdown reaches each",
                "start each worker with a name of its own: rq worker --name NAME",
            )


def _kept(label: str, sets: _Sets) -> Iterator[Finding]:
    if isinstance(sets.kept, int) and sets.kept >= KEPT:
        yield finding(
            "results-kept",
            label,
            f"{sets.kept} of {_number(sets.finished)} finished jobs have no expiry",
            "enqueue with a result_ttl in seconds instead of -1, or rq worker --results-ttl 86400",
        )


def _number(reply: Reply) -> str:
    return str(reply) if isinstance(reply, int) else "?"


def _word(label: str) -> str:
    from shlex import quote

    return quote(label)
