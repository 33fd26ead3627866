"""What runs by the clock: RQ's own cron, and the repeated jobs of rq-scheduler.

A cron scheduler tells its jobs as JSON in its hash, and when it was last heard in
``rq:cron_schedulers`` (RQ 2.5 and later). rq-scheduler keeps rule or interval in the job's
``meta``, which is a pickle: it is read without being loaded.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bgtop.backends.raw_names import text
from bgtop.backends.rq import job_wire, wire
from bgtop.backends.rq.job_wire import instant, of_decent_size
from bgtop.backends.rq.wire import moment, task_name
from bgtop.model import ScheduleReading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_search import Command
    from bgtop.backends.rq.jobs import Ask

CRON_SCHEDULERS = b"rq:cron_schedulers"
CRON_SCHEDULER = b"rq:cron_scheduler:"
MOST_SCHEDULERS = 100
MOST_JOBS = 500
"""Jobs of rq-scheduler that are looked at, the next to be due first."""
_LONGEST_JOBS = 256 * 1024
_LONGEST_META = 4 * 1024
_SILENT = 300.0
"""Seconds after which a cron scheduler that is not heard is taken for gone."""


def schedules(ask: Ask, now: float) -> tuple[ScheduleReading, ...]:
    """All of them, in three round trips; ``now`` in seconds since the epoch."""
    crons, delayed = ask(
        [
            ("ZRANGE", CRON_SCHEDULERS, 0, MOST_SCHEDULERS - 1, "WITHSCORES"),
            ("ZRANGE", wire.SCHEDULER_JOBS, 0, MOST_JOBS - 1, "WITHSCORES"),
        ]
    )
    alive = [name for name, score in _pairs(crons) if _number(score) > now - _SILENT]
    jobs = [(id_, score) for id_, score in _pairs(delayed) if wire.job_key(id_) is not None]
    sizes: list[Command] = [("HSTRLEN", CRON_SCHEDULER + name, "cron_jobs") for name in alive]
    for id_, _ in jobs:
        sizes += [("HSTRLEN", wire.JOB + id_, name) for name in ("meta", "description")]
    fits = iter(ask(sizes))
    told: list[Command] = [
        ("HGET", CRON_SCHEDULER + name, "cron_jobs")
        for name in alive
        if of_decent_size(next(fits), _LONGEST_JOBS)
    ]
    for id_, _ in jobs:
        meta, words = (of_decent_size(next(fits), most) for most in _LONG)
        names = ("meta" if meta else "-", "description" if words else "-")
        told.append(("HMGET", wire.JOB + id_, *names, "origin", "enqueued_at"))
    answers = ask(told)
    count = len(answers) - len(jobs)
    found = [one for reply in answers[:count] for one in _cron(reply)]
    found += [
        one
        for (id_, score), reply in zip(jobs, answers[count:], strict=True)
        for one in _repeated(id_, score, reply)
    ]
    return tuple(sorted(found, key=lambda one: one.name))


_LONG = (_LONGEST_META, wire.LONGEST_DESCRIPTION)


def _cron(reply: Reply) -> Iterator[ScheduleReading]:
    """The jobs of one cron scheduler; an interval is counted from its last time."""
    try:
        jobs = json.loads(reply) if isinstance(reply, bytes) else []
    except (ValueError, RecursionError):
        return
    for job in jobs if isinstance(jobs, list) else []:
        if not isinstance(job, dict) or not _word(job.get("func_name")):
            continue
        yield ScheduleReading(
            name=_word(job.get("name")) or _word(job.get("func_name")) or "?",
            task=_word(job.get("func_name")),
            queue=_word(job.get("queue_name")),
            rule=_rule(job.get("cron"), job.get("interval")),
            next_at=moment(str(job.get("next_enqueue_time")).encode("utf-8", "replace")),
            last_at=moment(str(job.get("latest_enqueue_time")).encode("utf-8", "replace")),
            enabled=True,
        )


def _repeated(id_: bytes, score: bytes, reply: Reply) -> Iterator[ScheduleReading]:
    """A job of rq-scheduler, if it is put in again and again."""
    match reply:
        case [meta, description, origin, enqueued_at]:
            kept = job_wire.meta_of(meta)
            rule = _rule(kept.get("cron_string"), kept.get("interval"))
            if rule is not None:
                yield ScheduleReading(
                    name=text(id_),
                    task=task_name(description),
                    queue=wire.word(origin),
                    rule=rule,
                    next_at=instant(score),
                    last_at=moment(enqueued_at),
                    enabled=True,
                )


def _rule(cron: object, interval: object) -> str | None:
    if isinstance(cron, str) and cron:
        return cron[:100]
    if isinstance(interval, (int, float)) and 0 < interval < 10**9:
        return f"every {interval:g}s"
    return None


def _word(value: object) -> str | None:
    return value[:200] if isinstance(value, str) and value else None


def _pairs(reply: Reply) -> list[tuple[bytes, bytes]]:
    members = [one for one in reply if isinstance(one, bytes)] if isinstance(reply, list) else []
    return list(zip(members[::2], members[1::2], strict=False))


def _number(score: bytes) -> float:
    try:
        return float(score)
    except ValueError:
        return 0.0
