"""One reading of each source, or several for rates: the live session without a screen."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from threading import Event
from typing import Final

from bgtop.actions import Performed
from bgtop.config import Config
from bgtop.contracts import Interest
from bgtop.model import Frame
from bgtop.sampler import PATIENCE, Feed, Found, News, Sampler, stop_all
from bgtop.session import first_knowledge, frame_of
from bgtop.state.fold import Polled, PollFailed, Sample
from bgtop.state.knowledge import Knowledge, learn
from bgworker.values import dataclass, replace

_SLACK: Final = 0.98
"""Polls begin an interval apart but end when they end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How much is read: so many samples, so many seconds apart; ``interest`` as configured."""

    samples: int = 1
    interval: float = 1.0
    interest: Interest | None = None


class Inbox:
    """News from the samplers' threads, waited for by ours."""

    def __init__(self) -> None:
        self._news: deque[News] = deque()
        self._arrived = Event()

    def deliver(self, news: News) -> None:
        """Called from other threads."""
        self._news.append(news)
        self._arrived.set()

    def next(self) -> News:
        """The oldest, waited for."""
        while (news := self.next_within(None)) is None:
            pass
        return news

    def next_within(self, seconds: float | None) -> News | None:
        """The oldest, waited for so long at most."""
        if not self._news:
            self._arrived.wait(seconds)
        self._arrived.clear()
        return self._news.popleft() if self._news else None


def take_frame(
    feeds: Sequence[Feed],
    config: Config,
    wanted: Wanted,
    *,
    report: Callable[[str], None],
    begun: Callable[[Feed], object] | None = None,
) -> Frame:
    """Read every source as often as wanted; one that fails is not tried again.

    A source that is still gathering first facts is read again for a few seconds. Sources found
    meanwhile are read like those that were named. ``begun`` is told each of them.
    """
    look = _Look(first_knowledge(feeds), config, wanted, report)
    look.begun = begun
    try:
        for feed in feeds:
            look.begin(feed)
        while look.awaited:
            look.take(look.inbox.next())
    finally:
        stop_all(look.samplers)
    return frame_of(look.known, config)


class _Look:
    """What is known, who polls, and how far each source has come."""

    def __init__(
        self, known: Knowledge, config: Config, wanted: Wanted, report: Callable[[str], None]
    ) -> None:
        self.known = known
        self.inbox = Inbox()
        self.samplers: list[Sampler] = []
        self.awaited: dict[str, _Progress] = {}
        self.begun: Callable[[Feed], object] | None = None
        self._config = config
        self._wanted = wanted
        self._report = report

    def begin(self, feed: Feed) -> None:
        """Read one more source."""
        if self.begun is not None:
            self.begun(feed)
        sampler = Sampler(
            feed,
            interest=self._wanted.interest or self._config.interest,
            interval=self._wanted.interval,
            deliver=self.inbox.deliver,
            report=self._report,
        )
        self.samplers.append(sampler)
        self.awaited[feed.key] = _Progress(self._wanted)
        sampler.start()

    def take(self, news: News) -> None:
        """Learn, and decide whether that was all of this source."""
        if isinstance(news, Found):
            feed = news.open()
            if feed is not None:
                self.known = learn(self.known, feed.joined, self._config.selection)
                self.begin(feed)
        elif not isinstance(news, Performed) and news.source in self.awaited:
            if isinstance(news, PollFailed):
                news = replace(news, retry_at=None)  # nobody tries again
            self.known = learn(self.known, news, self._config.selection)
            if self.awaited[news.source].ended_by(news):
                del self.awaited[news.source]


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
