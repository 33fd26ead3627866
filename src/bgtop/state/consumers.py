"""Who takes from each queue, by what workers answered: for systems whose brokers do not tell. Pure.

Celery on Redis is one: its workers wait for several keys at once, and the server names none of
them. Only when all living workers have answered a queue is proven to have nobody.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from bgtop.model import Capability, WorkerState
from bgtop.state.thresholds import consumers_at
from bgworker.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgtop.model import Frame, Reading, Source

QUESTION = "active_queues"


class Answers(NamedTuple):
    """What workers said, as a :class:`bgtop.contracts.Inspector` tells it."""

    by_worker: Mapping[str, Mapping[str, object]]
    """What each answered by question."""
    silent: int | None
    """How many who got the question did not answer; ``None`` if nobody knows."""
    prefixes: Mapping[str, str] = MappingProxyType({})
    """By worker, of which application it is."""


def unknown_at(frame: Frame) -> list[Source]:
    """The sources where jobs wait of which nobody knows who takes them."""
    return [
        source
        for source in frame.snapshot.sources
        if source.failure is None and source.reading is not None
        for consumers in (consumers_at(source),)
        if any(queue.depth and consumers(queue) is None for queue in source.reading.queues)
    ]


def may_be_unheard(frame: Frame) -> bool:
    """Whether a worker may live that is not among those of the frame: nothing lists it.

    One of Celery that has no remote control is announced by nothing but its heartbeats, and one
    of Dramatiq proves only after some of these that it is no producer.
    """
    able = [one.info.capabilities for one in frame.snapshot.sources if one.failure is None]
    return any(Capability.WORKERS in can and Capability.WORKER_LIST not in can for can in able)


def with_answers(frame: Frame, source: str, answers: Answers) -> Frame:
    """The same frame, with the consumers of each queue of this source that follow."""
    sources = [
        replace(one, reading=_told(one.reading, answers))
        if one.key == source and one.reading is not None
        else one
        for one in frame.snapshot.sources
    ]
    return replace(frame, snapshot=replace(frame.snapshot, sources=tuple(sources)))


def _told(reading: Reading, answers: Answers) -> Reading:
    served = _served(reading, answers)
    # Who was announced, is not heard and did not get the question does not live.
    gone = {WorkerState.DEAD} | ({WorkerState.UNKNOWN} if answers.silent == 0 else set())
    living = {one.name for one in reading.workers if one.state not in gone}
    everybody_answered = living <= served.keys()
    queues = []
    for queue in reading.queues:
        count = sum(queue.name in names for names in served.values())
        known = queue.consumers is not None or not (count or everybody_answered)
        queues.append(queue if known else replace(queue, consumers=count))
    workers = [
        replace(one, queues=tuple(sorted(served[one.name])))
        if one.queues is None and one.name in served
        else one
        for one in reading.workers
    ]
    return replace(reading, queues=tuple(queues), workers=tuple(workers))


def _served(reading: Reading, answers: Answers) -> dict[str, set[str]]:
    """By worker the queues it takes from, as they are called in the reading."""
    said = {
        worker: names
        for worker, told in answers.by_worker.items()
        if (names := _names(told.get(QUESTION))) is not None
    }
    whole = {
        worker: {answers.prefixes.get(worker, "") + name for name in names}
        for worker, names in said.items()
    }
    # Where several applications share a place their prefixes begin the names, and only there.
    shown = {queue.name for queue in reading.queues}
    several = any(whole[worker] & shown for worker in whole if answers.prefixes.get(worker))
    return whole if several else said


def _names(answer: object) -> set[str] | None:
    """The queues in an answer; ``None`` for what is none, such as an error."""
    if not isinstance(answer, list):
        return None
    names = [one.get("name") for one in answer if isinstance(one, dict)]
    return {name for name in names if isinstance(name, str)}
