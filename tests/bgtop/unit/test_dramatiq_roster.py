"""Who is a worker and how alive, decided from looks that are plain values."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bgtop.backends.dramatiq.agent_words import Words, words_in
from bgtop.backends.dramatiq.roster import Look, Roster, Traffic
from bgtop.model import WorkerState

NOW = 1_000_000.0
A, B = b"a" * 36, b"b" * 36


class Broker:
    """A made-up server that is looked at every second."""

    def __init__(self, dead_after: float = 30.0) -> None:
        self.roster = Roster(dead_after)
        self.now = NOW
        self.scores: dict[bytes, float] = {}
        self.pushes = self.pops = 0
        self.tells = True

    def pass_second(
        self, *, works: tuple[bytes, ...] = (), enqueues: tuple[bytes, ...] = ()
    ) -> None:
        self.now += 1
        for process in works:
            self.scores[process] = self.now - 0.1
            self.pops += 2
        for process in enqueues:
            self.scores[process] = self.now - 0.1
            self.pushes += 1
        self.look()

    def look(self) -> None:
        traffic = Traffic(self.pushes, self.pops) if self.tells else None
        self.roster.look(Look(dict(self.scores), traffic, self.now))

    def states(self) -> dict[str, WorkerState | None]:
        return {worker.name[0]: worker.state for worker in self.roster.readings()}


@pytest.fixture
def broker() -> Broker:
    return Broker()


def times(count: int, act: Callable[[], None]) -> None:
    for _ in range(count):
        act()


def words(**fields: object) -> Words | None:
    import json

    return words_in(json.dumps({"agent": "dramatiq", **fields}).encode())


def test_who_beats_twice_while_nobody_enqueues_is_a_worker(broker: Broker) -> None:
    broker.pass_second(works=(A,))
    broker.pass_second(works=(A,))
    assert broker.states() == {}
    broker.pass_second(works=(A,))

    assert broker.states() == {"a": WorkerState.IDLE}
    assert broker.roster.is_sure()


def test_who_beats_only_when_something_is_enqueued_proves_nothing(broker: Broker) -> None:
    times(9, lambda: broker.pass_second(enqueues=(A,)))

    assert broker.states() == {}
    assert broker.roster.is_anyone_unproved()


def test_in_the_same_second_nobody_can_tell_who_enqueued(broker: Broker) -> None:
    times(5, lambda: broker.pass_second(works=(A,), enqueues=(B,)))
    assert broker.states() == {}
    times(2, lambda: broker.pass_second(works=(A,)))

    assert broker.states() == {"a": WorkerState.IDLE}


def test_who_never_pauses_and_proves_nothing_is_listed_as_unknown(broker: Broker) -> None:
    times(12, lambda: broker.pass_second(works=(A,), enqueues=(B,)))

    assert broker.states() == {"a": WorkerState.UNKNOWN, "b": WorkerState.UNKNOWN}
    assert broker.roster.unknown() == 2
    times(6, broker.pass_second)
    assert broker.states() == {}
    broker.pass_second(works=(A,), enqueues=(B,))
    assert broker.states() == {}


def test_without_the_traffic_nothing_is_proved_by_beating(broker: Broker) -> None:
    broker.tells = False
    times(12, lambda: broker.pass_second(works=(A,)))

    assert broker.states() == {"a": WorkerState.UNKNOWN}


def test_a_beat_without_any_pop_is_not_that_of_a_worker(broker: Broker) -> None:
    """As of a script that waits for its queue to be empty."""

    def ask_size() -> None:
        broker.scores[A] = broker.now + 0.5
        broker.pass_second()

    times(5, ask_size)

    assert broker.states() == {}


def test_who_held_messages_is_a_worker_and_active_while_it_holds_them(broker: Broker) -> None:
    broker.pass_second(enqueues=(A, B))
    broker.roster.held(A, b"mail", 2)
    broker.roster.held(B, b"mail.DQ", 5)
    assert broker.states() == {"a": WorkerState.ACTIVE, "b": WorkerState.IDLE}
    broker.roster.forget_held([])

    assert broker.states() == {"a": WorkerState.IDLE, "b": WorkerState.IDLE}


def test_a_silent_worker_is_dead_then_forgotten_unless_it_holds_messages(broker: Broker) -> None:
    broker.pass_second(works=(A, B))
    broker.roster.prove([A])
    broker.roster.held(B, b"mail", 1)
    times(29, broker.pass_second)
    assert broker.states() == {"a": WorkerState.IDLE, "b": WorkerState.ACTIVE}
    times(2, broker.pass_second)
    assert broker.states() == {"a": WorkerState.DEAD, "b": WorkerState.DEAD}
    times(30, broker.pass_second)
    assert broker.states() == {"b": WorkerState.DEAD}
    del broker.scores[B]
    broker.pass_second()

    assert broker.states() == {}


def test_a_worker_whose_clock_is_wrong_is_heard_all_the_same(broker: Broker) -> None:
    """What counts is when its score changed."""

    def beat() -> None:
        broker.scores[A] = broker.scores.get(A, NOW - 5_000) + 1
        broker.pass_second()

    times(3, beat)
    broker.roster.prove([A])
    beat()

    (worker,) = broker.roster.readings()
    assert worker.state is WorkerState.IDLE
    assert worker.last_heartbeat_at is not None
    assert broker.now - 2 <= worker.last_heartbeat_at.timestamp() <= broker.now


def test_one_late_beat_is_no_other_clock(broker: Broker) -> None:
    """A command may be on its way for long; one whose beats all seem late has another time."""
    found = []
    broker.scores = {A: NOW - 100, B: NOW - 100}
    broker.look()
    broker.roster.prove([A, B])
    for late in (20.0, 0.1, 0.1):
        broker.scores = {A: broker.now + 1 - late, B: broker.now + 1 - 20.0}
        broker.pass_second()
        found.append([one.subject[0] for one in broker.roster.findings()])

    assert found == [[], ["b"], ["b"]]


def test_one_look_is_enough_when_nobody_was_heard_of_late(broker: Broker) -> None:
    broker.scores = {A: NOW - 300, B: NOW - 40}
    broker.look()

    assert broker.roster.is_sure()
    assert broker.states() == {}


def test_one_look_is_not_enough_when_somebody_was(broker: Broker) -> None:
    broker.scores = {A: NOW - 0.5}
    broker.look()
    assert not broker.roster.is_sure()
    times(5, broker.pass_second)

    assert broker.roster.is_sure()


def test_what_happened_while_we_were_away_proves_nothing(broker: Broker) -> None:
    broker.pass_second(works=(A,))
    broker.pass_second(works=(A,))
    broker.roster.start_over()
    broker.pass_second(works=(A,))

    assert broker.states() == {}


def test_words_of_all_or_of_none(broker: Broker) -> None:
    broker.pass_second(works=(A, B))
    broker.roster.prove([A, B])
    broker.roster.hear(A, words(current=[], queues=["mail"]))
    assert broker.roster.live_words() is None
    broker.roster.hear(B, words(current=[], queues=[]))
    assert len(broker.roster.live_words() or ()) == 2
    broker.roster.hear(B, words(left=True))
    assert len(broker.roster.live_words() or ()) == 1
    assert broker.states() == {"a": None}
    broker.roster.hear(B, words(worker=False))

    assert len(broker.roster.live_words() or ()) == 1
    assert broker.states() == {"a": None}
    assert broker.roster.queues_named() == {"mail"}


def test_words_of_the_dead_do_not_count(broker: Broker) -> None:
    """They stay for a while after a worker was killed."""
    broker.pass_second(works=(A,))
    broker.roster.hear(A, words(current=[], queues=["mail"]))
    times(31, broker.pass_second)

    assert broker.states() == {"a": WorkerState.DEAD}
    assert broker.roster.live_words() is None


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"{}", b'{"agent": 1}', b"[" * 50_000, b"\xff"])
def test_what_no_agent_wrote_is_nothing(raw: bytes) -> None:
    assert words_in(raw) is None


def test_what_an_agent_cannot_mean_is_left_out() -> None:
    said = words(
        pid=True,
        threads=-1,
        host="h" * 1000,
        processed=2**60,
        failed="3",
        started_at=2**52,
        queues=["b", 1, "a", "b"],
        current=[{"id": "1", "actor": "x", "queue": "a", "started_at": "now"}, {"id": "2"}, 3],
    )

    assert said is not None
    assert (said.pid, said.threads, said.host, said.processed, said.failed) == (None,) * 5
    assert said.started_at is None
    assert said.queues == ("a", "b")
    assert [(task.id, task.started_at) for task in said.current or ()] == [("1", None)]
    assert said.running_in == ("a",)
