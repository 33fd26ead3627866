"""Figures of RQ's tasks, from the newest jobs in the registries of those that ended.

A job that ended does not change: what was learned of it is kept as long as it is looked at.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.figures import runtimes
from bgtop.backends.rq import wire
from bgtop.backends.rq.jobs import MOST_QUEUES, read_parts
from bgtop.backends.rq.wire import moment, task_name
from bgtop.model import TaskTypeReading

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from bgtop.backends.redis_search import Command
    from bgtop.backends.rq.jobs import Ask
    from bgtop.model import WorkerReading

SAMPLE = 2_000
"""Ended jobs that are looked at, over all queues: half of them failed, if there are so many."""
_FEWEST = 10
_FOR_EVER = b"inf"


class Run(NamedTuple):
    """One job that ended."""

    task: str
    failed: bool
    seconds: float | None
    ended_at: datetime | None
    exception: str | None


class Figures:
    """Looks at the newest ended jobs at each poll somebody wants to know."""

    def __init__(self) -> None:
        self._known: dict[tuple[bool, bytes, bytes], Run | None] = {}

    def readings(
        self, ask: Ask, queues: Sequence[bytes], workers: Iterable[WorkerReading]
    ) -> tuple[TaskTypeReading, ...]:
        """Three round trips. ``workers`` tell what is running."""
        jobs, sampled = self._newest(ask, queues[:MOST_QUEUES])
        # A result that is kept for ever has the same score after its job ran again.
        self._known = {
            job: self._known[job] for job in jobs if job in self._known and job[2] != _FOR_EVER
        }
        new = [job for job in jobs if job not in self._known]
        for job, run in zip(new, _runs(ask, new), strict=True):
            self._known[job] = run
        running = Counter(task.name for worker in workers for task in worker.current or ())
        of: dict[str, list[Run]] = {name: [] for name in running}
        for job in jobs:
            found = self._known[job]
            if found is not None:
                of.setdefault(found.task, []).append(found)
        cut = sampled or len(queues) > MOST_QUEUES
        return tuple(
            _reading(name, of[name], running[name], len(jobs) if cut else None)
            for name in sorted(of)
        )

    def _newest(
        self, ask: Ask, queues: Sequence[bytes]
    ) -> tuple[list[tuple[bool, bytes, bytes]], bool]:
        """Which jobs ended last, each with its score; and whether there are more."""
        each = max(_FEWEST, SAMPLE // 2 // max(1, len(queues)))
        keys = [(failed, queue) for queue in queues for failed in (False, True)]
        commands: list[Command] = [
            ("ZREVRANGE", (wire.FAILED if f else wire.FINISHED) + q, 0, each - 1, "WITHSCORES")
            for f, q in keys
        ]
        found, more = [], False
        for (failed, _), reply in zip(keys, ask(commands), strict=True):
            members = reply if isinstance(reply, list) else []
            pairs = zip(members[::2], members[1::2], strict=False)
            jobs = [
                (failed, id_, score)
                for id_, score in pairs
                if isinstance(id_, bytes) and isinstance(score, bytes) and wire.job_key(id_)
            ]
            more = more or len(jobs) == each
            found += jobs
        return found, more


def _runs(ask: Ask, jobs: Sequence[tuple[bool, bytes, bytes]]) -> list[Run | None]:
    """What is known of these; ``None`` for a job whose hash is gone."""
    found: list[Run | None] = []
    parts = read_parts(ask, [(id_, failed) for failed, id_, _ in jobs])
    for (failed, _, _), part in zip(jobs, parts, strict=True):
        if part.fields is None:
            found.append(None)
            continue
        began, ended = (moment(part.fields[name]) for name in ("started_at", "ended_at"))
        seconds = None if began is None or ended is None else (ended - began).total_seconds()
        kind = (part.ending.error or "unknown").partition(":")[0] if failed else None
        name = task_name(part.description) or "?"
        found.append(Run(name, failed, seconds and max(0.0, seconds), ended, kind))
    return found


def _reading(name: str, runs: Sequence[Run], running: int, sampled: int | None) -> TaskTypeReading:
    took = runtimes([run.seconds for run in runs if run.seconds is not None])
    failed = [run for run in runs if run.failed]
    return TaskTypeReading(
        name=name,
        running=running,
        succeeded=len(runs) - len(failed),
        failed=len(failed),
        runtime_mean_seconds=took.mean,
        runtime_p50_seconds=took.p50,
        runtime_p95_seconds=took.p95,
        exceptions=Counter(run.exception for run in failed if run.exception is not None),
        last_ended_at=max((run.ended_at for run in runs if run.ended_at is not None), default=None),
        sampled=sampled,
    )
