"""Sources that are looked at and acted on by the calling thread, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from bgtop.sampler import PATIENCE, Feed, News, Sampler
from bgtop.session import first_knowledge, frame_of
from bgtop.state.fold import PollFailed
from bgtop.state.intake import Selection
from bgtop.state.knowledge import learn
from bgworker.values import replace

if TYPE_CHECKING:
    from bgtop.actions import Action, Performed
    from bgtop.config import Config
    from bgtop.contracts import Interest
    from bgtop.model import Frame

_AGAIN: Final = 0.2
"""Seconds between polls of a source that still gathers its first facts."""


def _nobody(_: News) -> None:
    """Nothing is delivered: these samplers are never started."""


class Hands:
    """Reads and changes sources; what is filtered from a screen can be acted on all the same."""

    def __init__(
        self, feeds: Sequence[Feed], config: Config, *, report: Callable[[str], None]
    ) -> None:
        self._config = config
        self._selection = Selection(
            internal=True, redact=config.redact, dead_after=config.dead_after
        )
        self._report = report
        self._known = first_knowledge(feeds)
        self._feeds: dict[str, Feed] = {}
        self._samplers: dict[str, Sampler] = {}
        for feed in feeds:
            self._open(feed)

    def close(self) -> None:
        """Close all sources."""
        for feed in self._feeds.values():
            feed.backend.close()

    def look(self, interest: Interest) -> Frame:
        """Every source as it is now; those that fail say so in it."""
        read: set[str] = set()
        while todo := [key for key in self._samplers if key not in read]:
            for key in todo:
                self._read(key, interest)
                read.add(key)
        return frame_of(self._known, replace(self._config, max_queues=None, max_workers=None))

    def perform(self, key: str, action: Action) -> Performed:
        """Do this to the source of this key; what came of it."""
        return self._samplers[key].performed(action)

    def _open(self, feed: Feed) -> None:
        self._feeds[feed.key] = feed
        self._samplers[feed.key] = Sampler(
            feed,
            interest=self._config.interest,
            interval=_AGAIN,
            deliver=_nobody,
            report=self._report,
        )

    def _read(self, key: str, interest: Interest) -> None:
        sampler, feed = self._samplers[key], self._feeds[key]
        sampler.look(interest)
        until = time.monotonic() + PATIENCE
        while True:
            sample, _ = sampler.poll_once()
            self._known = learn(self._known, sample, self._selection)
            for found in feed.newly_found():
                joined = found.open()
                if joined is not None:
                    self._known = learn(self._known, joined.joined, self._selection)
                    self._open(joined)
            if isinstance(sample, PollFailed) or sample.reading.complete:
                return
            if time.monotonic() >= until:
                return
            time.sleep(_AGAIN)
