"""The conformance suite passes an honest backend and finds out each kind of lie."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from contextlib import contextmanager
from datetime import datetime, timezone

import pytest

from bgtop.contracts import BackendPlugin, Interest, Mark, Unreachable
from bgtop.model import (
    BackendInfo,
    Capability,
    QueueReading,
    Reading,
    WorkerReading,
    WorkerState,
)
from bgtop.testing import BackendSuite

PASSWORD = "hunter2"


class Shelf:
    """The smallest queue system: names and numbers in one process."""

    def __init__(self) -> None:
        self.waiting: dict[str, dict[int, int]] = {}
        self.held: dict[str, int] = {}
        self.workers: dict[str, datetime] = {}
        self.writes: list[str] = []
        self.running = True


class ShelfBackend:
    """An honest backend; each lie below changes one thing."""

    capabilities = frozenset(
        {
            *(Capability.DEPTH, Capability.PRIORITIES, Capability.UNACKED),
            *(Capability.WORKERS, Capability.HEARTBEATS),
        }
    )

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.closed = threading.Event()
        self.info = BackendInfo(
            system="shelf", broker="memory", url="shelf://:***@here", capabilities=self.capabilities
        )

    def queue(self, name: str) -> QueueReading:
        counts = dict(self.shelf.waiting[name])
        held = self.shelf.held.get(name, 0)
        depth = sum(counts.values()) - held
        counts[0] = counts.get(0, 0) - held
        return QueueReading(name=name, depth=depth, by_priority=counts, unacked=held)

    def poll(self, interest: Interest) -> Reading:
        if self.closed.is_set() or not self.shelf.running:
            raise Unreachable("the shelf is gone")
        return Reading(
            taken_at=datetime.now(timezone.utc),
            queues=tuple(self.queue(name) for name in sorted(self.shelf.waiting)),
            workers=tuple(
                WorkerReading(name=name, last_heartbeat_at=heard_at)
                for name, heard_at in sorted(self.shelf.workers.items())
            ),
            round_trips=1,
        )

    def close(self) -> None:
        self.closed.set()


class HonestSuite(BackendSuite):
    capabilities = ShelfBackend.capabilities
    plugin = BackendPlugin(
        name="shelf", summary="a shelf", schemes=("shelf",), open=lambda url, settings: int(url)
    )
    bad_urls = ("shelf://nowhere",)
    priorities = (0, 5)
    secret = PASSWORD
    backend_class = ShelfBackend

    @pytest.fixture(autouse=True)
    def _source(self) -> None:
        self.shelf = Shelf()

    def open_backend(self) -> ShelfBackend:
        return self.backend_class(self.shelf)

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        counts = self.shelf.waiting.setdefault(queue, {0: 0})
        counts[priority] = counts.get(priority, 0) + count

    @contextmanager
    def hold(self, queue: str, count: int):
        self.shelf.held[queue] = count
        yield

    @contextmanager
    def running_worker(self, *queues: str):
        self.shelf.workers["w1"] = datetime.now(timezone.utc)
        yield "w1"
        del self.shelf.workers["w1"]

    def stop_source(self) -> None:
        self.shelf.running = False

    def start_source(self) -> None:
        self.shelf.running = True

    @contextmanager
    def writes_seen(self):
        yield self.shelf.writes


class TestHonest(HonestSuite):
    capabilities = HonestSuite.capabilities


def changed(**fields: object) -> Callable[[ShelfBackend, Reading], Reading]:
    return lambda backend, reading: dataclasses.replace(reading, **fields)


def on_queues(change: Callable[[QueueReading], QueueReading]):
    return lambda backend, reading: dataclasses.replace(
        reading, queues=tuple(map(change, reading.queues))
    )


def writing(backend: ShelfBackend, reading: Reading) -> Reading:
    backend.shelf.writes.append("SET")
    return reading


def printing(backend: ShelfBackend, reading: Reading) -> Reading:
    print("polled")  # the lie under test
    return reading


def each_queue_alone(backend: ShelfBackend, reading: Reading) -> Reading:
    return dataclasses.replace(reading, round_trips=len(reading.queues))


def in_order_of_depth(backend: ShelfBackend, reading: Reading) -> Reading:
    return dataclasses.replace(reading, queues=tuple(reversed(reading.queues)))


def as_a_list(backend: ShelfBackend, reading: Reading) -> Reading:
    return dataclasses.replace(reading, queues=list(reading.queues))


LIES = {
    "naive time": (changed(taken_at=datetime.now()), "taken_at_is_now_in_utc"),  # noqa: DTZ005  # the lie
    "old time": (changed(taken_at=datetime(2020, 1, 1, tzinfo=timezone.utc)), "taken_at_is_now"),
    "unsorted": (in_order_of_depth, "sorted_and_unique"),
    "mutable": (as_a_list, "are_values"),
    "one trip a queue": (each_queue_alone, "round_trips"),
    "writes": (writing, "writes_nothing"),
    "prints": (printing, "nothing_is_printed"),
    "a warning of two lines": (changed(warnings=("a\nb",)), "warnings_are_single"),
    "ghost job": (
        on_queues(lambda queue: dataclasses.replace(queue, depth=queue.depth + 1)),
        "depth_is_what_was_put",
    ),
    "priorities lost": (
        on_queues(lambda queue: dataclasses.replace(queue, by_priority={0: queue.depth})),
        "depth_is_what_was_put",
    ),
    "cleaned names": (
        on_queues(lambda queue: dataclasses.replace(queue, name=repr(queue.name))),
        "test_hostile_names",
    ),
    "declared and missing": (
        on_queues(lambda queue: dataclasses.replace(queue, unacked=None)),
        "test_declared_facts",
    ),
    "undeclared and there": (
        on_queues(lambda queue: dataclasses.replace(queue, running=0)),
        "test_undeclared_facts",
    ),
    "held is still waiting": (
        on_queues(lambda queue: dataclasses.replace(queue, depth=queue.depth + queue.unacked)),
        "held_jobs",
    ),
    "workers never leave": (
        changed(workers=(WorkerReading(name="w1", last_heartbeat_at=datetime.now(timezone.utc)),)),
        "worker_is_seen",
    ),
    "workers are never sure": (
        changed(workers=(WorkerReading(name="w1", state=WorkerState.UNKNOWN),)),
        "worker_is_seen",
    ),
}


class Shut(Exception):
    """No BackendError."""


class PasswordInError(ShelfBackend):
    def poll(self, interest: Interest) -> Reading:
        if not self.shelf.running or self.closed.is_set():
            raise Unreachable(f"shelf://:{PASSWORD}@here is gone")
        return super().poll(interest)


class StrangeError(ShelfBackend):
    def poll(self, interest: Interest) -> Reading:
        try:
            return super().poll(interest)
        except Unreachable as error:
            raise Shut from error


class NeverBack(ShelfBackend):
    def poll(self, interest: Interest) -> Reading:
        if not self.shelf.running:
            self.close()
        return super().poll(interest)


class ClosesOnce(ShelfBackend):
    def close(self) -> None:
        if self.closed.is_set():
            raise Shut
        super().close()


class PasswordShown(ShelfBackend):
    def __init__(self, shelf: Shelf) -> None:
        super().__init__(shelf)
        self.info = dataclasses.replace(self.info, url=f"shelf://:{PASSWORD}@here")


BAD_CLASSES = [
    (PasswordInError, "lost_source"),
    (PasswordInError, "closed_backend_says"),
    (StrangeError, "lost_source"),
    (StrangeError, "closing_during"),
    (NeverBack, "lost_source"),
    (ClosesOnce, "closing_twice"),
    (PasswordShown, "holds_no_password"),
]


def liar(lie: Callable[[ShelfBackend, Reading], Reading]) -> type[ShelfBackend]:
    class Liar(ShelfBackend):
        def poll(self, interest: Interest) -> Reading:
            return lie(self, super().poll(interest))

    return Liar


CASES = [
    *(pytest.param(liar(lie), words, id=name) for name, (lie, words) in LIES.items()),
    *(pytest.param(kind, words, id=f"{kind.__name__} {words}") for kind, words in BAD_CLASSES),
]


@pytest.mark.parametrize(("backend_class", "words"), CASES)
def test_a_lie_is_found_out(backend_class, words, monkeypatch, capfd) -> None:
    (name,) = [name for name in dir(BackendSuite) if words in name]
    suite = HonestSuite()
    suite.backend_class = backend_class
    suite.shelf = Shelf()
    monkeypatch.setattr(HonestSuite, "patience", 0.05)
    arguments = {"backend": suite.open_backend(), "capfd": capfd}
    test = getattr(suite, name)
    wanted = test.__code__.co_varnames[1 : test.__code__.co_argcount]

    with pytest.raises((AssertionError, pytest.fail.Exception, Shut)):
        test(**{name: arguments[name] for name in wanted})


def test_tests_of_undeclared_capabilities_are_not_collected() -> None:
    class Modest(BackendSuite):
        capabilities = frozenset({Capability.DEPTH})

    class Grand(BackendSuite):
        capabilities = frozenset(Capability)

    assert Modest.test_a_worker_is_seen_and_leaves is None
    assert Modest.test_depth_is_what_was_put is not None
    assert Grand.test_the_oldest_age_grows is not None


@pytest.mark.parametrize(
    "mark",
    [Mark("shelf:books"), Mark("*", broker="wood"), Mark("shelf", option="x", broker="wood")],
)
def test_marks_that_lead_nowhere_are_found_out(mark: Mark) -> None:
    suite = HonestSuite()
    suite.plugin = BackendPlugin(
        name="shelf", summary="books", schemes=("shelf+wood",), open=lambda *_: None, marks=(mark,)
    )

    with pytest.raises(AssertionError):
        suite.test_what_is_found_by_its_marks_can_be_opened()

    suite.plugin = dataclasses.replace(suite.plugin, marks=(Mark("shelf:*", broker="wood"),))
    suite.test_what_is_found_by_its_marks_can_be_opened()
