"""News that waits for a session, which may be held up for hours by a terminal that nobody reads."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import TYPE_CHECKING

from bgtop.state.fold import Polled, PollFailed

if TYPE_CHECKING:
    from bgtop.sampler import News


class Backlog:
    """Of each source only its latest look waits: a reading tells all that those before it told."""

    def __init__(self) -> None:
        self._news: deque[News | str] = deque()
        """In the order of their coming; a source stands for its look."""
        self._looks: dict[str, Polled | PollFailed] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._news)

    def append(self, news: News) -> None:
        """Called from the threads of samplers."""
        with self._lock:
            if not isinstance(news, (Polled, PollFailed)):
                self._news.append(news)
                return
            if news.source not in self._looks:
                self._news.append(news.source)
            self._looks[news.source] = news

    def popleft(self) -> News:
        """What has waited longest; there has to be something."""
        with self._lock:
            first = self._news.popleft()
            return self._looks.pop(first) if isinstance(first, str) else first
