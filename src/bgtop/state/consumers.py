"""Who takes from each queue, by what workers answered: for systems whose brokers do not tell. Pure.

Celery on Redis is one: its workers wait for several keys at once, and the server names none of
them. Only when all living workers have answered a queue is proven to have nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgtop.model import WorkerState
from bgtop.state.thresholds import consumers_of
from bgworker.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bgtop.model import Frame, Reading, Source

    Answers = Mapping[str, Mapping[str, object]]
    """By worker, what it answered by question."""

QUESTION = "active_queues"


def unknown_at(frame: Frame) -> list[Source]:
    """The sources where jobs wait of which nobody knows who takes them."""
    return [
        source
        for source in frame.snapshot.sources
        if source.failure is None and source.reading is not None
        if any(
            queue.depth and consumers_of(source, queue) is None for queue in source.reading.queues
        )
    ]


def may_be_unheard(frame: Frame) -> bool:
    """Whether a worker may live that is not among those of the frame.

    One of Celery on Redis that has no remote control is announced by nothing but its heartbeats.
    """
    return any(
        source.failure is None and (source.info.system, source.info.broker) == ("celery", "redis")
        for source in frame.snapshot.sources
    )


def with_answers(frame: Frame, source: str, answers: Answers, *, silent: int | None) -> Frame:
    """The same frame, with the consumers of each queue of this source that follow.

    ``silent`` is how many who got the question did not answer; ``None`` if nobody knows.
    """
    sources = [
        replace(one, reading=_told(one.reading, answers, silent))
        if one.key == source and one.reading is not None
        else one
        for one in frame.snapshot.sources
    ]
    return replace(frame, snapshot=replace(frame.snapshot, sources=tuple(sources)))


def _told(reading: Reading, answers: Answers, silent: int | None) -> Reading:
    served = {
        worker: names
        for worker, said in answers.items()
        if (names := _names(said.get(QUESTION))) is not None
    }
    # Who was announced, is not heard and did not get the question does not live.
    gone = {WorkerState.DEAD, WorkerState.UNKNOWN} if silent == 0 else {WorkerState.DEAD}
    living = {one.name for one in reading.workers if one.state not in gone}
    everybody_answered = living <= served.keys()
    queues = []
    for queue in reading.queues:
        count = sum(_takes(worker, names, queue.name) for worker, names in served.items())
        known = queue.consumers is not None or not (count or everybody_answered)
        queues.append(queue if known else replace(queue, consumers=count))
    return replace(reading, queues=tuple(queues))


def _names(answer: object) -> list[str] | None:
    """The queues in an answer; ``None`` for what is none, such as an error."""
    if not isinstance(answer, list):
        return None
    names = [one.get("name") for one in answer if isinstance(one, dict)]
    return [name for name in names if isinstance(name, str)]


def _takes(worker: str, names: Sequence[str], queue: str) -> bool:
    """Where several applications share a place, their prefix begins both names."""
    return any(
        queue == name or (queue.endswith(name) and worker.startswith(queue[: -len(name)]))
        for name in names
        if name
    )
