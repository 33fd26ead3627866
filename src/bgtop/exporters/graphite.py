"""Numbers for Graphite itself: plain text or pickle, over TCP.

What cannot be sent is kept, up to a bound, and sent later with the time it was measured at. A batch
of which it is not sure that it was read is sent again: for Graphite that is the same point.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from bgtop.contracts import ExporterPlugin
from bgtop.exporters.addresses import Address, address_of, connected, words_of
from bgtop.exporters.graphite_points import Point, Times, pickled, plaintext
from bgtop.exporters.names import Naming, checked_prefix
from bgtop.exporters.sending import Sender
from bgtop.exporters.statsd import finished

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bgtop.contracts import ExportSettings

PORT: Final = 2003
PICKLE_PORT: Final = 2004
MOST_POINTS: Final = 100_000
"""Points that are kept while nobody takes them: some 20 MB."""

_PATIENCE: Final = 3.0
_AT_ONCE: Final = 10_000
"""Points that are sent through one connection when many have waited."""

_ENCODERS: Final[dict[str, Callable[[Sequence[Point]], bytes]]] = {
    "tcp": plaintext,
    "pickle": pickled,
}


class GraphiteExporter(Sender):
    """Every frame is sent, those that wait first; ``dropped`` are points there was no room for."""

    def __init__(self, address: Address, settings: ExportSettings, *, most: int) -> None:
        super().__init__("graphite", settings)
        self._encode = _ENCODERS[address.kind]
        self._address = address._replace(kind="tcp")
        self._most = most
        self._naming = Naming(settings.prefix, settings.tags)
        self._times = Times()
        self._waiting: deque[list[Point]] = deque()
        self._kept = 0

    def _taken(self) -> None:
        now = datetime.now(timezone.utc)
        told = self._telling.bounded(self._told(now))
        points = list(self._times.points(told, self._naming, int(now.timestamp())))
        self._waiting.append(points)
        self._kept += len(points)
        while self._kept > self._most and len(self._waiting) > 1:
            oldest = self._waiting.popleft()
            self._kept -= len(oldest)
            self._dropped += len(oldest)

    def _send(self) -> str | None:
        while True:
            with self._lock:
                if not self._waiting:
                    return None
                batches = self._next()
            try:
                with connected(self._address, _PATIENCE) as link:
                    link.sendall(self._encode([point for batch in batches for point in batch]))
                    finished(link)
            except OSError as error:
                return f"{self._address}: {words_of(error)}"
            with self._lock:
                for batch in batches:
                    # It may have been dropped for want of room while it was sent.
                    if self._waiting and self._waiting[0] is batch:
                        self._waiting.popleft()
                        self._kept -= len(batch)

    def _next(self) -> list[list[Point]]:
        """The oldest batches, at least one, as many as one connection is worth."""
        taken: list[list[Point]] = []
        points = 0
        for batch in self._waiting:
            points += len(batch)
            if taken and points > _AT_ONCE:
                break
            taken.append(batch)
        return taken


def _open(text: str, settings: ExportSettings) -> GraphiteExporter:
    if settings.tags not in {None, "graphite"}:
        raise ValueError(f"--tags {settings.tags}: Graphite takes its own tags only")
    checked_prefix(settings.prefix)
    kinds = tuple(_ENCODERS)
    port = PICKLE_PORT if text.startswith("pickle://") else PORT
    address = address_of(text, kind="tcp", port=port, kinds=kinds)
    return GraphiteExporter(address, settings, most=MOST_POINTS)


plugin = ExporterPlugin(
    name="graphite",
    summary="Graphite, at HOST:PORT (plain text) or pickle://HOST:PORT",
    open=_open,
)
