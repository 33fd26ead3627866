# ruff: noqa: S101  # assertions are what a conformance suite is made of
"""The tests every backend has to pass, whatever system it reads."""

from __future__ import annotations

import dataclasses
import threading
from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from bgtop.contracts import Backend, BackendError, Interest, Settings
from bgtop.model import Capability, QueueReading, Reading, WorkerReading, WorkerState
from bgtop.testing.event_suite import EventSuite
from bgtop.testing.hooks import is_one_line, needs
from bgtop.testing.waiting import queue_in, settled, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

# Facts every queue has; the others exist only once something has happened.
_ALWAYS: Mapping[Capability, tuple[str, ...]] = {
    Capability.DEPTH: ("depth",),
    Capability.PRIORITIES: ("by_priority",),
    Capability.UNACKED: ("unacked",),
    Capability.SCHEDULED: ("scheduled",),
    Capability.DEFERRED: ("deferred",),
    Capability.RUNNING: ("running",),
    Capability.FAILED: ("failed",),
    Capability.DEAD: ("dead",),
    Capability.COUNTERS: ("entered_total", "left_total"),
    Capability.CONSUMERS: ("consumers",),
}
_SOMETIMES: Mapping[Capability, tuple[str, ...]] = {
    Capability.OLDEST_AGE: ("oldest",),
    Capability.RUNTIME: ("runtime_mean_seconds",),
    Capability.LAST_COMPLETED: ("last_completed_at",),
}


class BackendSuite(EventSuite):
    """Subclass it in a test module; each test opens a backend of its own.

    A capability is checked in both directions: what is declared must be there, and what is not
    declared must be ``None`` everywhere.
    """

    # What a reading looks like

    def test_a_source_without_jobs_can_be_read(self, backend: Backend) -> None:
        """Empty is a state like any other."""
        reading = settled(backend)

        assert sum(queue.depth or 0 for queue in reading.queues) == 0

    @needs(Capability.DEPTH)
    def test_depth_is_what_was_put(self, backend: Backend) -> None:
        """Over several queues and all priorities; nothing is added, nothing forgotten."""
        expected: dict[str, dict[int, int]] = {}
        for number, queue in enumerate(("alpha", "beta", "gamma"), start=1):
            expected[queue] = {p: number + i for i, p in enumerate(self.priorities)}
            for priority, count in expected[queue].items():
                self.fill(queue, count, priority)
        reading = settled(backend)
        shown = {queue.name: queue for queue in reading.queues}

        assert {name: shown[name].depth for name in expected} == {
            name: sum(counts.values()) for name, counts in expected.items()
        }
        if Capability.PRIORITIES in self.capabilities:
            for name, counts in expected.items():
                found = shown[name].by_priority
                assert found is not None
                assert {p: n for p, n in found.items() if n} == counts

    @needs(Capability.DEPTH)
    def test_depth_follows_the_queue(self, backend: Backend) -> None:
        """A queue known already is read anew at each poll."""
        self.fill("alpha", 2)
        settled(backend)
        self.fill("alpha", 3, self.priorities[-1])
        queue = queue_in(settled(backend), "alpha")

        assert queue is not None
        assert queue.depth == 5

    def test_readings_are_sorted_and_unique(self, backend: Backend) -> None:
        """The order of the screen must not depend on the order of a hash table."""
        for queue in ("beta", "Alpha", "alpha", "10", "9"):
            self.fill(queue, 1)
        reading = settled(backend)

        for names in ([q.name for q in reading.queues], [w.name for w in reading.workers]):
            assert names == sorted(set(names))

    def test_readings_are_values(self, backend: Backend) -> None:
        """Frozen, of the model's own types, and never changed by a later poll."""
        self.fill("alpha", 1)
        reading = settled(backend)
        before = repr(reading)
        self.fill("alpha", 2)
        settled(backend)

        assert type(reading) is Reading
        assert all(type(queue) is QueueReading for queue in reading.queues)
        assert all(type(worker) is WorkerReading for worker in reading.workers)
        assert isinstance(reading.queues, tuple)
        assert isinstance(reading.workers, tuple)
        assert repr(reading) == before
        with pytest.raises(dataclasses.FrozenInstanceError):
            reading.complete = False  # type: ignore[misc]  # that it cannot is the test

    def test_taken_at_is_now_in_utc(self, backend: Backend) -> None:
        """An aware time, taken during the poll."""
        before = datetime.now(timezone.utc)
        taken_at = backend.poll(Interest()).taken_at
        after = datetime.now(timezone.utc)

        assert taken_at.utcoffset() == timedelta(0)
        assert before <= taken_at <= after

    def test_warnings_are_single_lines(self, backend: Backend) -> None:
        """They are shown as they are, whatever the names in them."""
        for name in self.hostile_names:
            self.fill(name, 1)

        assert all(is_one_line(warning) for warning in settled(backend).warnings)

    # Capabilities, in both directions

    def test_declared_facts_are_there(self, backend: Backend) -> None:
        """For each queue, or for the source as a whole where only that can be known."""
        self.fill("alpha", 1)
        reading = settled(backend)

        assert queue_in(reading, "alpha") is not None
        for capability, fields in _ALWAYS.items():
            if capability not in self.capabilities:
                continue
            for field in fields:
                missing = [q.name for q in reading.queues if getattr(q, field) is None]
                assert missing == [] or field in reading.totals, (capability, missing)

    def test_undeclared_facts_are_never_there(self, backend: Backend) -> None:
        """A number that is there only sometimes misleads; declare it or leave it out."""
        self.fill("alpha", 1)
        reading = settled(backend)

        for capability, fields in (*_ALWAYS.items(), *_SOMETIMES.items()):
            for field in fields if capability not in self.capabilities else ():
                assert [q.name for q in reading.queues if getattr(q, field) is not None] == []
                assert field not in reading.totals
        if Capability.WORKERS not in self.capabilities:
            assert reading.workers == ()
        if Capability.HEARTBEATS not in self.capabilities:
            assert [w.name for w in reading.workers if w.last_heartbeat_at is not None] == []
        if Capability.EVENTS not in self.capabilities:
            assert backend.poll(Interest(events=True)).events is None
        if Capability.CURRENT_TASKS not in self.capabilities:
            assert [w.name for w in reading.workers if w.current is not None] == []

    @needs(Capability.OLDEST_AGE)
    def test_the_oldest_age_grows(self, backend: Backend) -> None:
        """The age of the oldest job of a filled queue, in seconds."""
        self.fill("alpha", 1)

        def age() -> float:
            queue = queue_in(backend.poll(Interest()), "alpha")
            return -1.0 if queue is None or queue.oldest is None else queue.oldest.seconds

        wait_until(lambda: age() >= 0, seconds=self.patience, why="there is an age")
        first = age()
        wait_until(lambda: age() > first, seconds=self.patience, why="the age grows")

    @needs(Capability.LAST_COMPLETED, Capability.RUNTIME)
    def test_a_completed_job_is_noticed(self, backend: Backend) -> None:
        """When it ended and how long it took, as far as declared."""
        wanted = self.capabilities & {Capability.LAST_COMPLETED, Capability.RUNTIME}
        self.complete_one("alpha")

        def noticed() -> bool:
            queue = queue_in(backend.poll(Interest()), "alpha")
            fields = (_SOMETIMES[capability][0] for capability in wanted)
            return queue is not None and all(getattr(queue, f) is not None for f in fields)

        wait_until(noticed, seconds=self.patience, why=f"{wanted} of a completed job")

    @needs(Capability.UNACKED)
    def test_held_jobs_are_unacked_and_not_waiting(self, backend: Backend) -> None:
        """A delivered job leaves the depth and is counted once, at its queue or in the total."""
        self.fill("alpha", 5)
        with self.hold("alpha", 2):
            wait_until(
                lambda: _depth_and_unacked(settled(backend), "alpha") == (3, 2),
                seconds=self.patience,
                why="3 waiting and 2 unacked",
            )

    @needs(Capability.WORKERS)
    def test_a_worker_is_seen_and_leaves(self, backend: Backend) -> None:
        """It appears with a heartbeat of our time, and is gone or dead once it has ended."""

        def seen(name: str) -> WorkerReading | None:
            workers = backend.poll(Interest()).workers
            return next((worker for worker in workers if worker.name == name), None)

        def lives(name: str) -> bool:
            worker = seen(name)
            if worker is None or worker.state in {WorkerState.UNKNOWN, WorkerState.DEAD}:
                return False
            needs_heartbeat = Capability.HEARTBEATS in self.capabilities
            return worker.last_heartbeat_at is not None or not needs_heartbeat

        backend.poll(Interest())
        with self.running_worker("alpha") as name:
            wait_until(lambda: lives(name), seconds=self.patience, every=0.1, why=f"{name} is seen")
            worker = seen(name)
            assert worker is not None
            if worker.last_heartbeat_at is not None:
                age = datetime.now(timezone.utc) - worker.last_heartbeat_at
                assert timedelta(seconds=-1) < age < timedelta(seconds=30)
        wait_until(
            lambda: not lives(name),
            seconds=self.patience,
            every=0.1,
            why=f"{name} is not seen alive",
        )

    @needs(Capability.WORKER_LIST)
    def test_the_first_complete_reading_has_every_worker(self, backend: Backend) -> None:
        """Who is missing in it is missed."""

        def has(one: Backend, name: str) -> bool:
            return any(worker.name == name for worker in settled(one).workers)

        with self.running_worker("alpha") as name:
            wait_until(lambda: has(backend, name), seconds=self.patience, why=f"{name} is seen")
            with closing(self.open_backend()) as another:
                assert has(another, name)

    # Cost

    def test_round_trips_do_not_grow_with_queues(self) -> None:
        """The number of round trips and the time of the network belong together."""

        def steady_round_trips() -> int:
            with closing(self.open_backend()) as backend:
                settled(backend)
                return min(backend.poll(Interest()).round_trips for _ in range(5))

        for number in range(3):
            self.fill(f"few-{number}", 1, self.priorities[-1])
        few = steady_round_trips()
        for number in range(40):
            self.fill(f"many-{number}", 1, self.priorities[-1])

        assert steady_round_trips() <= few

    def test_polling_writes_nothing(self, backend: Backend) -> None:
        """Watching never changes what is watched."""
        self.fill("alpha", 3, self.priorities[-1])
        with self.writes_seen() as writes:
            for internal in (False, True, False):
                settled(backend, Interest(internal=internal))

        assert writes == []

    def test_nothing_is_printed(self, backend: Backend, capfd: pytest.CaptureFixture[str]) -> None:
        """The screen belongs to the renderer."""
        self.fill("alpha", 1)
        settled(backend)

        assert capfd.readouterr() == ("", "")

    # Hostile input

    def test_hostile_names_survive_as_data(self, backend: Backend) -> None:
        """A name is neither interpreted nor cleaned here; renderers clean what they draw."""
        for count, name in enumerate(self.hostile_names, start=1):
            self.fill(name, count)
        reading = settled(backend, Interest(internal=True))

        found = {queue.name: queue.depth for queue in reading.queues}
        assert {name: found.get(name) for name in self.hostile_names} == {
            name: count for count, name in enumerate(self.hostile_names, start=1)
        }

    # Failure and ending

    def test_a_lost_source_is_one_line_and_comes_back(self, backend: Backend) -> None:
        """The backend says what failed, and reconnects by itself at a later poll."""
        self.fill("alpha", 1)
        settled(backend)
        self.stop_source()
        with pytest.raises(BackendError) as failed:
            backend.poll(Interest())
        self.check_words(str(failed.value))
        self.start_source()
        self.fill("beta", 4)

        wait_until(
            lambda: self.depth_of(backend, "beta") == 4,
            seconds=self.patience,
            why="beta is read again",
        )

    def test_closing_twice_is_harmless(self, backend: Backend) -> None:
        """Also when nothing was opened yet."""
        backend.close()
        backend.close()
        other = self.open_backend()
        other.poll(Interest())
        other.close()
        other.close()

    def test_a_closed_backend_says_so(self, backend: Backend) -> None:
        """Polling after the end is an error of the documented kind."""
        backend.poll(Interest())
        backend.close()
        with pytest.raises(BackendError) as failed:
            backend.poll(Interest())
        self.check_words(str(failed.value))

    def test_closing_during_a_poll(self, backend: Backend) -> None:
        """Another thread may close at any moment; the polling one ends with a BackendError."""
        ended: list[BaseException] = []
        polled = threading.Event()

        def poll_for_ever() -> None:
            try:
                while True:
                    backend.poll(Interest())
                    polled.set()
            except BaseException as error:  # noqa: BLE001  # whatever it is, the test tells
                ended.append(error)

        thread = threading.Thread(target=poll_for_ever)
        thread.start()
        polled.wait(10)
        backend.close()
        thread.join(10)

        assert not thread.is_alive()
        assert [type(error) for error in ended if not isinstance(error, BackendError)] == []

    # What it says of itself

    def test_info_is_constant_and_holds_no_password(self, backend: Backend) -> None:
        """It is shown on the screen and exported as labels."""
        settled(backend)
        info = backend.info
        settled(backend)

        assert info.capabilities == self.capabilities
        assert backend.info == info
        assert info.system
        assert info.broker
        self.check_words(info.url)
        self.check_words(repr(info))

    def test_the_plugin_describes_itself(self) -> None:
        """Name and summary are shown by ``bgtop plugins``; schemes are complete."""
        if self.plugin is None:
            pytest.skip("no plug-in named")
        assert self.plugin.name
        assert is_one_line(self.plugin.summary)
        assert self.plugin.schemes
        assert all("://" not in scheme for scheme in self.plugin.schemes)

    def test_what_is_found_by_its_marks_can_be_opened(self) -> None:
        """A mark leads to ``NAME+BROKER://``, and an option takes the text of a ``*``."""
        for mark in self.plugin.marks if self.plugin is not None else ():
            assert self.plugin is not None
            assert f"{self.plugin.name}+{mark.broker}" in self.plugin.schemes
            assert mark.name.strip("*"), "a mark of any name is none"
            assert mark.option is None or "*" in mark.name

    def test_bad_urls_are_refused_when_opened(self) -> None:
        """With one line for the operator, before anything is connected."""
        if self.plugin is None or not self.bad_urls:
            pytest.skip("no bad URLs named")
        for url in self.bad_urls:
            with pytest.raises(ValueError) as failed:  # noqa: PT011  # the words are the plug-in's
                self.plugin.open(url, Settings())
            self.check_words(str(failed.value))


def _depth_and_unacked(reading: Reading, name: str) -> tuple[int | None, int | None]:
    queue = queue_in(reading, name)
    if queue is None:
        return None, None
    known = queue.unacked if queue.unacked is not None else reading.totals.get("unacked")
    return queue.depth, known
