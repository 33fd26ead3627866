"""Reading sources again and again without a screen, until somebody has seen enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bgtop.actions import Performed
from bgtop.oneshot import Inbox, Wanted
from bgtop.sampler import Feed, Found, News, Sampler, stop_all
from bgtop.session import first_knowledge, frame_of
from bgtop.state.fold import PollFailed
from bgtop.state.knowledge import learn

if TYPE_CHECKING:
    from bgtop.config import Config
    from bgtop.model import Frame
    from bgtop.state.fold import Sample
    from bgtop.state.knowledge import Knowledge


class Following:
    """Polls every ``wanted.interval``; a source that fails is tried again just as often."""

    def __init__(
        self,
        feeds: Sequence[Feed],
        config: Config,
        wanted: Wanted,
        *,
        report: Callable[[str], None],
    ) -> None:
        self._config, self._wanted, self._report = config, wanted, report
        self._known = first_knowledge(feeds)
        self._inbox = Inbox()
        self.feeds: list[Feed] = []
        """Of the sources that are read, also those that were found."""
        self._samplers: dict[str, Sampler] = {}
        self._retry_at: dict[str, float] = {}
        for feed in feeds:
            self._begin(feed)

    def close(self) -> None:
        """No more polls."""
        stop_all([*self._samplers.values()])

    @property
    def frame(self) -> Frame:
        """What is known now."""
        return frame_of(self._known, self._config)

    @property
    def known(self) -> Knowledge:
        """The same as it is remembered."""
        return self._known

    def learn(self, seconds: float) -> Sample | None:
        """Wait so long at most for news; what is known now and was not before."""
        now = time.monotonic()
        due = min(self._retry_at.values(), default=now + seconds)
        news = self._inbox.next_within(max(0.0, min(seconds, due - now)))
        self._try_again()
        return None if news is None else self._take(news)

    def _begin(self, feed: Feed) -> None:
        sampler = Sampler(
            feed,
            interest=self._wanted.interest or self._config.interest,
            interval=self._wanted.interval,
            deliver=self._inbox.deliver,
            report=self._report,
        )
        self.feeds.append(feed)
        self._samplers[feed.key] = sampler
        sampler.start()

    def _take(self, news: News) -> Sample | None:
        if isinstance(news, Performed):
            return None
        if isinstance(news, Found):
            feed = news.open()
            if feed is None:
                return None
            self._begin(feed)
            news = feed.joined
        self._known = learn(self._known, news, self._config.selection)
        if isinstance(news, PollFailed):
            # The pauses of a live view grow; who waits for a deadline has no time for that.
            self._retry_at[news.source] = time.monotonic() + self._wanted.interval
        return news

    def _try_again(self) -> None:
        now = time.monotonic()
        for key in [key for key, at in self._retry_at.items() if at <= now]:
            del self._retry_at[key]
            self._samplers[key].wake()
