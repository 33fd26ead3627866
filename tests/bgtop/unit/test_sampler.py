"""One thread per source: paced, interruptible, and never brought down by a backend."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from frames import INFO, T0, queues

from bgtop.config import Config
from bgtop.contracts import Interest, Unreachable
from bgtop.model import BackendInfo, Reading
from bgtop.oneshot import Wanted, take_frame
from bgtop.sampler import Feed, Sampler, stop_all
from bgtop.state.fold import Polled, PollFailed, Sample

WaitUntil = Callable[..., object]


class Source:
    """A backend whose next polls are written down: readings to give, exceptions to raise.

    The last one is repeated. An :class:`threading.Event` in the list holds a poll up.
    """

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.polls: list[float] = []
        self.closed = threading.Event()

    @property
    def info(self) -> BackendInfo:
        return INFO

    def poll(self, interest: Interest, /) -> Reading:
        self.polls.append(time.monotonic())
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, threading.Event):
            step.wait(20)
            raise Unreachable("closed")
        if isinstance(step, BaseException):
            raise step
        assert isinstance(step, Reading)
        return step

    def close(self) -> None:
        self.closed.set()
        for step in self.script:
            if isinstance(step, threading.Event):
                step.set()


class Watched:
    """A sampler, what it delivered and what it reported."""

    def __init__(self, source: Source, interval: float = 60.0) -> None:
        self.source = source
        self.samples: list[Sample] = []
        self.reports: list[str] = []
        self.sampler = Sampler(
            Feed(name="a", backend=source),
            interest=Interest(),
            interval=interval,
            deliver=self.samples.append,
            report=self.reports.append,
        )


@pytest.fixture
def watch() -> Any:
    watched: list[Watched] = []

    def start(source: Source, interval: float = 60.0) -> Watched:
        watched.append(Watched(source, interval))
        watched[-1].sampler.start()
        return watched[-1]

    yield start
    stop_all([each.sampler for each in watched])


READING = queues("mail")


def test_a_poll_is_delivered_at_once_with_what_it_cost(watch: Any, wait_until: WaitUntil) -> None:
    watched = watch(Source(READING))

    wait_until(lambda: watched.samples)

    [sample] = watched.samples
    assert isinstance(sample, Polled)
    assert (sample.source, sample.reading, sample.info) == ("a", READING, INFO)
    assert 0 <= sample.poll_seconds < 1


def test_polls_begin_an_interval_apart(watch: Any, wait_until: WaitUntil) -> None:
    watched = watch(Source(READING), interval=0.1)

    wait_until(lambda: len(watched.source.polls) >= 5)

    pauses = [b - a for a, b in zip(watched.source.polls, watched.source.polls[1:], strict=False)]
    assert min(pauses) > 0.08


def test_waking_polls_at_once(watch: Any, wait_until: WaitUntil) -> None:
    watched = watch(Source(READING))
    wait_until(lambda: watched.samples)

    watched.sampler.wake()

    wait_until(lambda: len(watched.samples) == 2)


def test_failures_are_delivered_in_words_and_retried(watch: Any, wait_until: WaitUntil) -> None:
    watched = watch(Source(Unreachable("refused by h:1"), Unreachable("refused by h:1"), READING))

    wait_until(lambda: len(watched.samples) >= 3)

    first, second, third = watched.samples[:3]
    assert isinstance(first, PollFailed)
    assert isinstance(second, PollFailed)
    assert (first.message, first.attempts, second.attempts) == ("refused by h:1", 1, 2)
    assert first.retry_at is not None
    assert 0.5 <= (first.retry_at - first.at).total_seconds() <= 1.0
    assert isinstance(third, Polled)
    assert watched.reports == []


def test_back_off_begins_anew_after_a_good_poll() -> None:
    watched = Watched(Source(Unreachable("x"), Unreachable("x"), READING, Unreachable("x")))

    samples = [watched.sampler.poll_once()[0] for _ in range(4)]

    assert [getattr(sample, "attempts", 0) for sample in samples] == [1, 2, 0, 1]


@pytest.mark.parametrize("fault", [ZeroDivisionError("division by zero"), SystemExit(3)])
def test_a_fault_of_the_backend_is_a_failed_poll_and_is_reported(
    fault: BaseException, watch: Any, wait_until: WaitUntil
) -> None:
    watched = watch(Source(fault, READING))

    wait_until(lambda: len(watched.samples) >= 2)

    [report] = watched.reports
    assert "Traceback" in report
    sample = watched.samples[0]
    assert isinstance(sample, PollFailed)
    assert sample.message == f"fault in the backend: {type(fault).__name__}: {fault}"


def test_a_failure_without_words_has_at_least_a_name() -> None:
    sample, _ = Watched(Source(Unreachable())).sampler.poll_once()

    assert isinstance(sample, PollFailed)
    assert sample.message == "Unreachable"


def test_stopping_ends_a_wait_at_once(wait_until: WaitUntil) -> None:
    watched = Watched(Source(READING))
    watched.sampler.start()
    wait_until(lambda: watched.samples)

    stop_all([watched.sampler])

    assert not watched.sampler._thread.is_alive(), "it would have waited for a minute"
    assert watched.source.closed.is_set()
    assert len(watched.source.polls) == 1


def test_stopping_closes_a_backend_whose_poll_hangs(wait_until: WaitUntil) -> None:
    watched = Watched(Source(threading.Event()))
    watched.sampler.start()
    wait_until(lambda: watched.source.polls)

    stop_all([watched.sampler])

    assert not watched.sampler._thread.is_alive(), "it would have hung for 20 s"
    assert watched.samples == [], "nothing is delivered any more"


def test_many_that_hang_are_waited_for_together(wait_until: WaitUntil) -> None:
    class Stubborn(Source):
        def close(self) -> None:
            """Does not end the poll in flight."""

    release = threading.Event()
    all_watched = [Watched(Stubborn(release)) for _ in range(5)]
    for watched in all_watched:
        watched.sampler.start()
    wait_until(lambda: all(watched.source.polls for watched in all_watched))

    began = time.monotonic()
    stop_all([watched.sampler for watched in all_watched])

    assert time.monotonic() - began < 4, "not a second for each"
    release.set()


def test_stopping_what_was_never_started_is_harmless() -> None:
    watched = Watched(Source(READING))

    stop_all([watched.sampler])

    assert watched.source.closed.is_set()
    assert watched.source.polls == []


def test_a_source_gathering_first_facts_is_asked_again_soon(
    watch: Any, wait_until: WaitUntil
) -> None:
    incomplete = Reading(taken_at=T0, complete=False)

    watched = watch(Source(incomplete, incomplete, READING))

    wait_until(lambda: len(watched.samples) == 3, seconds=3)


def taken(*sources: Source, wanted: Wanted | None = None) -> Any:
    feeds = [Feed(name=f"s{n}", backend=source) for n, source in enumerate(sources)]
    wanted = wanted or Wanted()
    return take_frame(feeds, Config(), wanted, report=lambda text: None)


def test_one_shot_reads_every_source_once() -> None:
    good, bad = Source(READING), Source(Unreachable("refused"))

    frame = taken(good, bad)

    first, second = frame.snapshot.sources
    assert first.reading is not None
    assert second.failure is not None
    assert (len(good.polls), len(bad.polls)) == (1, 1)
    assert good.closed.is_set()
    assert bad.closed.is_set()


def test_one_shot_waits_for_a_complete_reading() -> None:
    source = Source(Reading(taken_at=T0, complete=False), READING)

    frame = taken(source)

    assert frame.snapshot.sources[0].reading.complete
    assert len(source.polls) == 2


def test_one_shot_takes_as_many_samples_as_asked_so_far_apart() -> None:
    source = Source(READING)

    taken(source, wanted=Wanted(samples=3, interval=0.1))

    assert len(source.polls) == 3
    assert source.polls[-1] - source.polls[0] > 0.18
