"""One reading of each source, or several for rates: the live session without a screen."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Final

from bgtop.config import Config
from bgtop.model import Frame
from bgtop.sampler import PATIENCE, Feed, Sampler, stop_all
from bgtop.session import first_knowledge, frame_of
from bgtop.state.fold import Polled, Sample
from bgtop.state.knowledge import learn

_SLACK: Final = 0.98
"""Polls begin an interval apart but end when they end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How much is read: so many samples, so many seconds apart."""

    samples: int = 1
    interval: float = 1.0


class _Inbox:
    """Samples from the samplers' threads, waited for by ours."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()
        self._arrived = Event()

    def deliver(self, sample: Sample) -> None:
        """Called from other threads."""
        self._samples.append(sample)
        self._arrived.set()

    def next(self) -> Sample:
        """The oldest sample, waited for."""
        while not self._samples:
            self._arrived.wait()
            self._arrived.clear()
        return self._samples.popleft()


def take_frame(
    feeds: Sequence[Feed], config: Config, wanted: Wanted, *, report: Callable[[str], None]
) -> Frame:
    """Read every source as often as wanted; one that fails is not tried again.

    A source that is still gathering first facts is read again for a few seconds.
    """
    inbox = _Inbox()
    samplers = [
        Sampler(
            feed,
            interest=config.interest,
            interval=wanted.interval,
            deliver=inbox.deliver,
            report=report,
        )
        for feed in feeds
    ]
    known = first_knowledge(feeds)
    awaited = {feed.name: _Progress(wanted) for feed in feeds}
    try:
        for sampler in samplers:
            sampler.start()
        while awaited:
            sample = inbox.next()
            progress = awaited.get(sample.source)
            if progress is not None:
                known = learn(known, sample, config.selection)
                if progress.ended_by(sample):
                    del awaited[sample.source]
    finally:
        stop_all(samplers)
    return frame_of(known, config)


class _Progress:
    """How far the reading of one source has come."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._count = 0
        self._first: float | None = None

    def ended_by(self, sample: Sample) -> bool:
        """Whether nothing more is to come after this sample."""
        if not isinstance(sample, Polled):
            return True
        if self._first is None:
            self._first = sample.clock
        self._count += 1
        passed = sample.clock - self._first
        if self._count < self._wanted.samples:
            return False
        if passed < (self._wanted.samples - 1) * self._wanted.interval * _SLACK:
            return False
        return sample.reading.complete or passed >= PATIENCE
