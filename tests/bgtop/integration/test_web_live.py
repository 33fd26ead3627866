"""The loop behind the web server, on a source that counts how often it is read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timezone
from threading import Barrier, Event, Lock, Thread
from typing import Any

import pytest

from bgtop.actions import Outcome, Performed, PurgeQueue, Verb
from bgtop.config import Config, SourceSpec
from bgtop.contracts import Interest, Unreachable
from bgtop.jobs import JobList, JobQuery, JobReading, JobState
from bgtop.model import BackendInfo, Capability, QueueReading, Reading, TaskTypeReading
from bgtop.sampler import Feed
from bgtop.testing import wait_until
from bgtop.web.live import Live
from bgtop.web.looks import Look


class Counted:
    """A backend that remembers what each poll was asked."""

    def __init__(self) -> None:
        self.info = BackendInfo(
            system="counted", broker="none", url="", capabilities=frozenset(Capability),
            verbs=frozenset(Verb),
        )  # fmt: skip
        self.polls: list[Interest] = []
        self.down = False
        self.performed: list[Any] = []

    def poll(self, interest: Interest, /) -> Reading:
        self.polls.append(interest)
        if self.down:
            raise Unreachable("down")
        job = JobReading(id="1", state=JobState.WAITING, kwargs='{"password": "S3CRET"}')
        return Reading(
            taken_at=datetime.now(timezone.utc),
            queues=(QueueReading(name="mail", depth=len(self.polls)),),
            jobs=JobList(query=interest.jobs, rows=(job,)) if interest.jobs else None,
            task_types=(TaskTypeReading(name="t"),) if interest.task_types else None,
        )

    def perform(self, action: Any, /) -> Outcome:
        self.performed.append(action)
        return Outcome(3)

    def close(self) -> None:
        pass


@pytest.fixture
def backend() -> Counted:
    return Counted()


@pytest.fixture
def live(backend: Counted) -> Iterator[Live]:
    """Polls each half minute: what comes in between was asked for."""
    faults: list[str] = []
    config = Config(sources=(SourceSpec(name="s", url="x:"),), refresh_interval=30.0)
    live = Live([Feed(name="s", backend=backend)], config, report=faults.append)
    live.start()
    wait_until(lambda: live.frame.snapshot.sources[0].reading is not None)
    yield live
    live.close()
    assert faults == []


def asked(live: Live, *looks: Look) -> None:
    """Look, and wait until it is answered."""
    done = Event()
    live.look(looks, done.set)
    assert done.wait(10)


def test_many_who_look_at_the_same_cost_one_poll(live: Live, backend: Counted) -> None:
    look = Look("s", jobs=JobQuery(queue="mail"))
    before, together = len(backend.polls), Barrier(20)

    def visitor() -> None:
        together.wait()
        asked(live, look)

    threads = [Thread(target=visitor) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked(live, look)

    assert len(backend.polls) == before + 1
    jobs = live.answers[look].jobs
    assert jobs is not None
    assert jobs.rows[0].kwargs == '{"password": "***"}'


def test_different_looks_are_answered_a_few_a_second(live: Live, backend: Counted) -> None:
    before, began = len(backend.polls), time.monotonic()
    asked(live, *(Look("s", jobs=JobQuery(queue=str(n))) for n in range(12)))

    assert len(backend.polls) == before + 12
    assert time.monotonic() - began > 1.0


def test_more_than_can_wait_are_told_at_once(live: Live) -> None:
    began = time.monotonic()
    asked(live, *(Look("s", jobs=JobQuery(queue=str(n))) for n in range(64)), Look("gone"))
    done = Event()
    for n in range(500):
        live.look([Look("s", jobs=JobQuery(id=str(n)))], lambda: None)
    live.look([Look("s", jobs=JobQuery(id="last"))], done.set)

    assert done.wait(3)
    assert time.monotonic() - began < 40


def test_what_is_held_goes_with_the_usual_polls(backend: Counted) -> None:
    config = Config(sources=(SourceSpec(name="s", url="x:"),), refresh_interval=0.3)
    live = Live([Feed(name="s", backend=backend)], config, report=print)
    look, types = Look("s", jobs=JobQuery(queue="mail")), Look("s", part="task_types")
    live.start()
    try:
        live.hold([look, types], 1)
        wait_until(lambda: look in live.answers and types in live.answers)
        first = live.answers[look].clock
        wait_until(lambda: live.answers[look].clock > first + 1.0)
        count, taken = len(backend.polls), live.answers[look].clock - first
        assert count <= taken / 0.3 + 8
        live.hold([look, types], -1)
        wait_until(lambda: backend.polls[-1] == Interest())
    finally:
        live.close()


def test_a_source_that_is_down_is_not_asked_more_often(live: Live, backend: Counted) -> None:
    backend.down = True
    look = Look("s", jobs=JobQuery(id="x"))
    asked(live, look)
    wait_until(lambda: live.frame.snapshot.sources[0].failure is not None)
    live.hold([look], 1)
    before = len(backend.polls)
    for _ in range(50):
        asked(live, look)

    assert len(backend.polls) <= before + 3


def test_an_action_is_answered_and_what_was_read_before_is_forgotten(
    live: Live, backend: Counted
) -> None:
    look = Look("s", jobs=JobQuery(queue="mail"))
    asked(live, look)
    said: list[Performed] = []
    lock = Lock()

    def done(performed: Performed) -> None:
        with lock:
            said.append(performed)

    action = PurgeQueue(queue="mail")
    live.perform("s", action, done)
    live.perform("nowhere", action, done)
    wait_until(lambda: len(said) == 2)

    assert sorted(p.source for p in said if p.fault) == ["nowhere"]
    assert [p.outcome for p in said if p.outcome] == [Outcome(3)]
    assert backend.performed == [action]
    assert look not in live.answers
