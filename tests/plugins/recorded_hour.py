"""An hour of several sources as their samplers would deliver it, with everything that goes wrong.

Made by a generator with a seed, so it is the same hour each time.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from bgtop.model import (
    Age,
    AgeKind,
    BackendInfo,
    Capability,
    CurrentTask,
    Finding,
    QueueReading,
    Reading,
    ScheduleReading,
    Snapshot,
    Source,
    TaskTypeReading,
    WorkerReading,
    WorkerState,
)
from bgtop.state.fold import Joined, Polled, PollFailed, Sample
from bgtop.state.knowledge import Knowledge
from bgtop.symptoms import Severity
from bgtop.task_events import BUCKETS, EventKind, EventsReading, HistogramReading, TaskEventsReading

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)

TASKS = ("mail.send", "shop.bill", "media.crop", "search.index")


@dataclass
class Shop:
    """A source: queues that fill and drain, workers that come, die and are started again."""

    chance: random.Random
    key: str
    system: str
    queues: dict[str, list[int]] = field(default_factory=dict)
    workers: dict[str, int] = field(default_factory=dict)
    counts: bool = True
    events: bool = False
    born: datetime = NOON

    @property
    def info(self) -> BackendInfo:
        known = {Capability.DEPTH, Capability.WORKERS, Capability.TASK_TYPES, Capability.SCHEDULES}
        return BackendInfo(
            system=self.system,
            broker="redis",
            url=f"redis://:***@{self.key.partition(chr(0))[0]}/0",
            capabilities=frozenset(known),
        )

    def reading(self, at: datetime) -> Reading:
        chance = self.chance
        if chance.random() < 0.05:
            self.queues.setdefault(f"extra.{chance.randrange(5)}", [0, 0])
        if chance.random() < 0.05 and self.queues.pop(f"extra.{chance.randrange(5)}", None):
            pass
        if chance.random() < 0.03:
            self.workers.pop(chance.choice([*self.workers, ""]), None)
        if chance.random() < 0.1:
            self.workers.setdefault(f"w@h{chance.randrange(12)}", chance.randrange(9000))
        return Reading(
            taken_at=at,
            queues=tuple([self._queue(name, at) for name in sorted(self.queues)]),
            workers=tuple([self._worker(name, at) for name in self.workers]),
            totals={"unacked": chance.randrange(4)} if chance.random() < 0.5 else {},
            broker_version="7.0.15",
            round_trips=2,
            commands=40 + chance.randrange(3),
            warnings=("the clock of w@h1 is late",) if chance.random() < 0.1 else (),
            complete=chance.random() < 0.99,
            task_types=tuple([self._task(name, at) for name in TASKS]),
            schedules=(
                ScheduleReading(name="nightly", task=TASKS[1], rule="0 3 * * *", next_at=NOON),
            ),
            events=self._events(at) if self.events else None,
            findings=(_finding(chance),) if chance.random() < 0.1 else (),
        )

    def _queue(self, name: str, at: datetime) -> QueueReading:
        chance, counters = self.chance, self.queues[name]
        if chance.random() < 0.6:
            counters[0] += chance.randrange(30)
            counters[1] = min(counters[0], counters[1] + chance.randrange(32))
        if chance.random() < 0.004:
            counters[:] = [0, 0]
        depth = counters[0] - counters[1]
        return QueueReading(
            name=name,
            depth=depth,
            by_priority={0: depth, 3: 0} if depth % 7 == 0 else None,
            entered_total=counters[0] if self.counts else None,
            left_total=counters[1] if self.counts else None,
            running=chance.choice([None, 0, 1, 2]),
            failed=depth // 50,
            oldest=Age(chance.random() * 300, chance.choice([*AgeKind])) if depth else None,
            runtime_mean_seconds=chance.choice([None, 0.25, chance.random()]),
            last_completed_at=at - timedelta(seconds=chance.randrange(500)) if depth % 2 else None,
            consumers=len(self.workers),
            paused=chance.random() < 0.02,
            internal=name.startswith("_"),
        )

    def _worker(self, name: str, at: datetime) -> WorkerReading:
        chance = self.chance
        self.workers[name] += chance.randrange(9)
        busy = chance.random() < 0.5
        return WorkerReading(
            name=name,
            state=chance.choice([None, None, None, WorkerState.ACTIVE]),
            last_heartbeat_at=at - timedelta(seconds=chance.random() * 45),
            queues=tuple(sorted(self.queues)[:2]),
            concurrency=2,
            running=int(busy),
            processed=self.workers[name],
            cpu_percent=round(chance.random() * 100, 1),
            rss_bytes=40_000_000 + chance.randrange(5) * 4096,
            current=(CurrentTask(id=f"{chance.randrange(999)}", name="mail.send", started_at=at),)
            if busy
            else (),
        )

    def _task(self, name: str, at: datetime) -> TaskTypeReading:
        chance = self.chance
        return TaskTypeReading(
            name=name,
            waiting=chance.randrange(3),
            runtime_p95_seconds=chance.random(),
            exceptions={"ValueError": chance.randrange(3)},
            last_ended_at=at,
        )

    def _events(self, at: datetime) -> EventsReading:
        seconds = int((at - self.born).total_seconds())
        counts = tuple([seconds // (place + 5) for place in range(len(BUCKETS) + 1)])
        return EventsReading(
            since=self.born,
            series=tuple(
                [
                    TaskEventsReading(
                        task=task,
                        queue=queue,
                        counts={EventKind.SENT: seconds, EventKind.LOST: seconds // 600},
                        in_flight=self.chance.randrange(3),
                        runtime=HistogramReading(counts=counts, seconds=seconds * 1.25),
                        exceptions={"KeyError": seconds // 300},
                    )
                    for task in TASKS[: 2 + seconds // 1000]
                    for queue in ("mail", None)
                ]
            ),
            kinds=frozenset({EventKind.SENT, EventKind.LOST}),
            missed=seconds // 900,
        )


def _finding(chance: random.Random) -> Finding:
    return Finding(
        code="warning",
        severity=chance.choice([*Severity]),
        subject="mail",
        words="what is shown may mislead",
        evidence=f"seen {chance.randrange(9)} times",
        mend="look",
    )


def shops(seed: int = 7) -> list[Shop]:
    """A Celery with counters and events, an RQ found later at the same place, and a Huey apart."""
    chance = random.Random(seed)
    names = [f"queue.{number:02}" for number in range(20)]
    return [
        Shop(
            chance,
            "shop:6379",
            "celery",
            {name: [100, 90] for name in [*names, "_internal"]},
            {f"w@h{number}": number * 100 for number in range(10)},
            events=True,
        ),
        Shop(chance, "shop:6379\0rq", "rq", {"default": [5, 5], "high": [0, 0]}, {"r1": 5}),
        Shop(chance, "edge", "huey", {"crops": [9, 3]}, {}, counts=False),
    ]


def beginning(*found: Shop) -> Snapshot:
    """What is known before the first sample."""
    sources = tuple([Source(name=shop.key, info=shop.info) for shop in found])
    return Snapshot(taken_at=NOON, sources=sources)


def hour(seed: int = 7, seconds: int = 3600) -> Iterator[tuple[datetime, Sample]]:
    """(when it came, sample), at five seconds each but the last source's, which is slow."""
    celery, rq, huey = shops(seed)
    chance = random.Random(seed + 1)
    down: dict[str, int] = {}
    for second in range(0, seconds, 5):
        if second == 600:
            yield _at(second, -0.5), Joined(source=rq.key, name="shop:6379", info=rq.info)
        if second == 1800:  # the system was reset, and its workers started anew
            for counters in celery.queues.values():
                counters[:] = [0, 0]
            celery.workers = {f"w@h{number}": 0 for number in range(4)}
            celery.born = _at(second)
        for place, shop in enumerate((celery, *([rq] if second >= 600 else []), huey)):
            if shop is huey and second % 60:
                continue
            at = _at(second, place / 3 + chance.random() / 10)
            if chance.random() < 0.02 or down.get(shop.key, 0) % 6:
                down[shop.key] = down.get(shop.key, 0) + 1
                yield at, _failure(shop, at, down[shop.key])
                continue
            down.pop(shop.key, None)
            yield at, _polled(shop, at, 5000.0 + second + place / 3)


def _at(second: int, more: float = 0.0) -> datetime:
    return NOON + timedelta(seconds=second + more)


def _polled(shop: Shop, at: datetime, clock: float) -> Polled:
    reading = shop.reading(at - timedelta(seconds=0.004))
    took = 0.001 + shop.chance.random() / 100
    return Polled(source=shop.key, info=shop.info, reading=reading, clock=clock, poll_seconds=took)


def _failure(shop: Shop, at: datetime, attempts: int) -> PollFailed:
    return PollFailed(
        source=shop.key,
        at=at,
        message="connection refused",
        retry_at=at + timedelta(seconds=5) if attempts % 2 else None,
        attempts=attempts,
    )


def many(queues: int, workers: int, seconds: int = 3600) -> Iterator[tuple[datetime, Sample]]:
    """One source of that size, every five seconds: a third of its queues change each time."""
    chance = random.Random(3)
    info = shops()[0].info
    depths = [0] * queues
    since = [NOON] * queues
    totals: list[list[int]] = [[0, 0] for _ in range(queues)]
    for second in range(0, seconds, 5):
        at = _at(second, 0.1)
        for place in range(queues):
            if chance.random() < 0.33:
                entered = chance.randrange(20)
                left = min(depths[place] + entered, chance.randrange(22))
                totals[place][0] += entered
                totals[place][1] += left
                depths[place] += entered - left
                since[place] = at - timedelta(seconds=chance.random() * 20)
        reading = _large(at, depths, totals, since, workers)
        yield (
            at,
            Polled(
                source="shop:6379",
                info=info,
                reading=reading,
                clock=9000.0 + second,
                poll_seconds=0.01,
            ),
        )


def _large(at: datetime, depths: Any, totals: Any, since: Any, workers: int) -> Reading:
    second = int((at - NOON).total_seconds())
    return Reading(
        taken_at=at,
        queues=tuple(
            [
                QueueReading(
                    name=f"queue.{place:05}",
                    depth=depth,
                    entered_total=totals[place][0],
                    left_total=totals[place][1],
                    oldest=Age((at - since[place]).total_seconds()) if depth else None,
                    consumers=2,
                )
                for place, depth in enumerate(depths)
            ]
        ),
        workers=tuple(
            [
                WorkerReading(
                    name=f"celery@host-{place:03}",
                    last_heartbeat_at=at - timedelta(seconds=second % 3),
                    running=(second + place) % 3,
                    processed=second * (place + 1),
                    cpu_percent=float((second * place) % 100),
                )
                for place in range(workers)
            ]
        ),
        broker_version="7.0.15",
        round_trips=2,
        commands=45,
    )


def same(one: Knowledge, other: Knowledge) -> bool:
    """Whether the same is known. In columns of numbers what is unknown equals nothing at all."""
    return (
        (one.snapshot, one.rates, one.history) == (other.snapshot, other.rates, other.history)
    ) and repr(one.trends) == repr(other.trends)
