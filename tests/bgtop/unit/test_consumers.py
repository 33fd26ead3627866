"""Who takes from a queue, by what workers answer: a number, or nothing that was not proven."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from bgtop.model import (
    BackendInfo,
    Capability,
    Frame,
    QueueReading,
    Reading,
    Snapshot,
    Source,
    WorkerReading,
    WorkerState,
)
from bgtop.state.consumers import Answers, may_be_unheard, unknown_at, with_answers

NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)
INFO = BackendInfo(
    system="celery",
    broker="redis",
    url="redis://h/0",
    capabilities=frozenset({Capability.WORKERS}),
)


def frame_of(*queues: str, **workers: WorkerState) -> Frame:
    reading = Reading(
        taken_at=NOW,
        queues=tuple(QueueReading(name=name, depth=2) for name in queues),
        workers=tuple(WorkerReading(name=name, state=state) for name, state in workers.items()),
    )
    source = Source(name="h", info=INFO, reading=reading)
    return Frame(snapshot=Snapshot(taken_at=NOW, sources=(source,)))


def consumers(
    frame: Frame, silent: int | None, prefixes: dict[str, str] | None = None, **answers: object
) -> list[int | None]:
    said = {worker: {"active_queues": answer} for worker, answer in answers.items()}
    told = Answers(said, silent, prefixes or {})
    (source,) = with_answers(frame, "h", told).snapshot.sources
    assert source.reading is not None
    return [queue.consumers for queue in source.reading.queues]


def test_only_where_jobs_wait_and_somebody_may_live_is_anything_unknown() -> None:
    assert unknown_at(frame_of("mail", w=WorkerState.DEAD)) == []
    assert unknown_at(frame_of(w=WorkerState.IDLE)) == []
    assert [one.name for one in unknown_at(frame_of("mail", w=WorkerState.IDLE))] == ["h"]


@pytest.mark.parametrize(
    ("told", "unheard"),
    [
        ({Capability.WORKERS}, True),
        ({Capability.WORKERS, Capability.WORKER_LIST}, False),
        (set(), False),
    ],
)
def test_only_where_workers_are_listed_is_none_overlooked(
    told: set[Capability], unheard: bool
) -> None:
    info = replace(INFO, system="another", capabilities=frozenset(told))
    source = Source(name="h", info=info, reading=Reading(taken_at=NOW))

    assert may_be_unheard(Frame(snapshot=Snapshot(taken_at=NOW, sources=(source,)))) is unheard


def test_all_answered() -> None:
    frame = frame_of("lost", "mail", a=WorkerState.IDLE, b=WorkerState.ACTIVE)
    mail = [{"name": "mail", "routing_key": "x"}, {"no": "name"}, 7]
    assert consumers(frame, 0, a=mail, b=mail) == [0, 2]


@pytest.mark.parametrize("answer", [None, {"error": "KeyError"}, "mail"])
def test_somebody_alive_said_nothing_of_use(answer: object) -> None:
    frame = frame_of("lost", "mail", a=WorkerState.IDLE, b=WorkerState.ACTIVE)
    assert consumers(frame, 0, a=[{"name": "mail"}], b=answer) == [None, 1]


@pytest.mark.parametrize(("silent", "known"), [(0, 0), (1, None), (None, None)])
def test_who_is_announced_and_not_heard_is_gone_if_everybody_reached_has_answered(
    silent: int | None, known: int | None
) -> None:
    frame = frame_of("mail", killed=WorkerState.UNKNOWN)
    assert consumers(frame, silent) == [known]


def test_prefixes_tell_queues_of_one_name_apart() -> None:
    frame = frame_of("a:mail", "b:mail", **{"a:w@h": WorkerState.IDLE, "b:w@h": WorkerState.IDLE})
    served = {"a:w@h": [{"name": "mail"}], "b:w@h": [{"name": "other"}]}
    assert consumers(frame, 0, {"a:w@h": "a:", "b:w@h": "b:"}, **served) == [1, 0]


def test_a_prefix_is_in_the_names_of_queues_only_where_there_are_several() -> None:
    """As of workers, of which those of one application may be all that live."""
    served = {"w@h": [{"name": "mail"}]}
    several = frame_of("a:mail", "b:mail", **{"w@h": WorkerState.IDLE})
    assert consumers(several, 0, {"w@h": "a:"}, **served) == [1, 0]
    one = frame_of("mail", "other", **{"w@h": WorkerState.IDLE})
    assert consumers(one, 0, {"w@h": "a:"}, **served) == [1, 0]


def test_how_a_worker_is_called_says_nothing_of_its_queues() -> None:
    frame = frame_of("email", "mail", **{"e1@h": WorkerState.IDLE})
    assert consumers(frame, 0, **{"e1@h": [{"name": "mail"}]}) == [0, 1]
