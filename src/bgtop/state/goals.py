"""What somebody waits for: a queue that is empty, idle or short enough; and whether it is so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bgtop.model import Frame, QueueReading
from bgworker.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Fewer than ``below`` jobs wait in a queue; ``idle``: and none is running or delivered."""

    queue: str
    below: int = 1
    idle: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Why the goals are not reached yet (nothing: they are), and which queues are not there."""

    lacks: tuple[str, ...]
    absent: tuple[str, ...] = ()

    @property
    def reached(self) -> bool:
        """Whether there is nothing left to wait for."""
        return not self.lacks


def progress_of(frame: Frame, goals: Sequence[Goal]) -> Progress:
    """How far the goals are; a goal holds for the queues of its name in all sources.

    A queue that is not there has no jobs: brokers forget empty ones. That is believed only when
    every source has told all its queues; its workers need not have been heard.
    """
    blind = [*_unread(frame)]
    lacks, absent = list(blind), []
    for goal in goals:
        queues = [
            queue
            for source in frame.snapshot.sources
            if source.reading is not None
            for queue in source.reading.queues
            if queue.name == goal.queue
        ]
        if not queues and not blind:
            absent.append(goal.queue)
        for queue in queues:
            lacks += _lacking(queue, goal)
    return Progress(tuple(lacks), tuple(absent))


def _unread(frame: Frame) -> Iterator[str]:
    for source in (*frame.snapshot.sources, *frame.searches):
        if source.failure is not None:
            yield f"{source.name}: {source.failure.message}"
        elif source.reading is None or not (source.reading.complete or source.reading.counted):
            yield f"{source.name}: not read completely yet"


def _lacking(queue: QueueReading, goal: Goal) -> Iterator[str]:
    if queue.depth is None:
        yield f"{queue.name}: the depth cannot be told"
    elif queue.depth >= goal.below:
        yield f"{queue.name}: {queue.depth} waiting"
    if not goal.idle:
        return
    known = [count for count in (queue.unacked, queue.running) if count is not None]
    if not known:
        yield f"{queue.name}: what runs cannot be told"
    elif any(known):
        yield f"{queue.name}: {max(known)} running or delivered"
